"""How a robot stands: where its feet are below the body in the neutral posture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..errors import WbcError
from .dynamics import FloatingDynamics

NARROW = 0.01  # [m] least width of what feet stand on
ARMATURE = 0.3  # of a trunk joint's inertia in the neutral posture
SINGULAR = 0.5  # of the neutral manipulability: below it a leg's motion is damped


@dataclass(frozen=True)
class Stance:
    """The neutral posture on level ground.

    Attributes:
        q: ``(n,)`` actuated joints.
        below: ``(C, 3)`` contact points in the base frame.
        radius: ``(C,)`` height of the points over the ground [m].
        com: ``(3,)`` centre of mass in the base frame.
        height: Of the base over the ground [m].
        legs: Indices of each foot's joints.
        first: ``(F,)`` first contact point of each foot.
        dexterity: ``(F,)`` manipulability of each foot.
        trunk: Indices of the joints that are neither legs nor arms.
        armature: ``(n,)`` inertia that is added to the trunk's joints [kg m^2]. A pelvis between
            heavy legs and a heavy torso weighs so little that hardly any torque turns it in the
            model, and what the model does not know turns it in truth.
    """

    q: Array
    below: Array
    radius: Array
    com: Array
    height: float
    legs: tuple[NDArray[np.intp], ...]
    first: NDArray[np.intp]
    dexterity: Array
    trunk: NDArray[np.intp]
    armature: Array

    @classmethod
    def of(cls, model: RobotModel, dynamics: FloatingDynamics) -> Stance:
        """Read off ``dynamics``, which are at the neutral posture with the base at the origin.

        Raises:
            WbcError: The centre of mass is not above the feet, or they touch the ground in a line.
        """
        d, joints = dynamics, model.embodiment.joints
        legs = tuple(
            np.array([joints.index(j) for j in leg.joints])
            for leg in model.embodiment.of_kind("leg")
        )
        below, com = d.points.copy(), d.com.copy()
        radius = np.array([f.radius for f in d.feet])[d.owner]
        low, high = below.min(axis=0), below.max(axis=0)
        slack = 0.25 * (high - low)[:2]
        over = (com[:2] > low[:2] - slack).all() and (com[:2] < high[:2] + slack).all()
        if high[2] > com[2] or not over:
            raise WbcError(
                "the neutral posture does not stand: its centre of mass is not above its feet",
                where=model.embodiment.name,
                value=[round(float(x), 3) for x in com - below.mean(axis=0)],
                remedy="give a standing posture (neutral), or a URDF whose z axis points up",
            )
        spread = below[:, :2] - below[:, :2].mean(axis=0)
        if np.linalg.svd(spread, compute_uv=False)[-1] < NARROW:
            raise WbcError(
                "the robot cannot stand still: its feet touch the ground in a line",
                where=model.embodiment.name,
                value=[np.round(p, 3).tolist() for p in below],
                remedy="give the feet's links collision shapes with soles, in the URDF",
            )
        first = np.flatnonzero(np.diff(d.owner, prepend=-1))
        height = float(-(below[:, 2] - radius).min())
        limbs = {
            j for group in ("leg", "arm") for g in model.embodiment.of_kind(group) for j in g.joints
        }
        trunk = np.array([i for i, j in enumerate(joints) if j not in limbs], dtype=np.intp)
        armature = np.zeros(model.n)
        armature[trunk] = ARMATURE * np.diag(d.M)[6 + trunk]
        return cls(
            model.neutral,
            below,
            radius,
            com,
            height,
            legs,
            first,
            _manipulability(d, legs, first),
            trunk,
            armature,
        )

    @property
    def lean(self) -> Array:
        """``(2,)`` of the centre of mass over the middle of the feet."""
        return np.asarray((self.com - self.below.mean(axis=0))[:2])

    @property
    def half(self) -> Array:
        """``(2,)`` half the extent of the support."""
        return np.asarray(0.5 * np.ptp(self.below[:, :2], axis=0))

    def hips(self, place: Array, R: Array) -> Array:
        """``(..., C, 2)`` where the points would be below bodies at ``place`` ``(..., 2)``."""
        return np.asarray(place[..., None, :] + self.below[:, :2] @ R[:2, :2].T)

    def soles(self, dynamics: FloatingDynamics) -> Array:
        """``(C, 3)`` where the contact points meet the ground."""
        return np.asarray(dynamics.points - self.radius[:, None] * np.array([0.0, 0.0, 1.0]))

    def singularity(self, dynamics: FloatingDynamics) -> Array:
        r"""``(F,)`` 0 for a leg that moves freely to 1 for a stretched one.

        :math:`(1 - m / m_0)^2` of the manipulability below a threshold :math:`m_0` (Nakamura and
        Hanafusa, *Inverse kinematic solutions with singularity robustness*, 1986).
        """
        spare = _manipulability(dynamics, self.legs, self.first) / self.dexterity
        return np.asarray(np.maximum(0.0, 1.0 - spare / SINGULAR) ** 2)


def _manipulability(
    dynamics: FloatingDynamics, legs: tuple[NDArray[np.intp], ...], first: NDArray[np.intp]
) -> Array:
    r"""``(F,)`` :math:`\sqrt{\det J J^T}` of each foot's first point by its leg's joints."""
    found = [dynamics.J[point][:, 6 + joints] for point, joints in zip(first, legs, strict=True)]
    return np.sqrt(np.maximum(np.linalg.det(np.array([J @ J.T for J in found])), 1e-18))
