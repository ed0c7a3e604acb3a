"""Rigid-body numbers of a legged robot at one moment, in its actuated coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pinocchio as pin

from icl_vla_embodiments import Observation
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..errors import WbcError
from .feet import Foot


class FloatingDynamics:
    r"""Equation of motion :math:`M \dot u + h = (0, \tau) + J_c^T f` at a measured state.

    The velocity is :math:`u = (v_b, \omega_b, \dot q)`, ``(6 + n,)``, the base's in base axes and
    the actuated joints'; mimic followers move with their masters (:math:`v = S u`). World axes
    for everything at frames.

    Attributes:
        base: ``T_world_base`` ``(4, 4)``.
        q: ``(n,)`` actuated positions.
        u: ``(6 + n,)``.
        M: ``(6 + n, 6 + n)``.
        h: ``(6 + n,)`` Coriolis, centrifugal and gravity.
        com: ``(3,)``; ``com_velocity``: ``(3,)``.
        inertia: ``(3, 3)`` of the whole body about its centre of mass.
        momentum: ``(6,)`` linear and angular, about the centre of mass.
        momentum_map: ``(6, 6 + n)`` from ``u``.
        points: ``(C, 3)`` contact points; ``point_velocities`` the same.
        J: ``(C, 3, 6 + n)`` of the contact points; ``drift`` ``(C, 3)`` their acceleration at
            :math:`\dot u = 0`.
    """

    def __init__(self, model: RobotModel, feet: Sequence[Foot]) -> None:
        self._model = model
        # a copy: frames are added, and data that others made of theirs have no room for them
        m = self._pin = model.model.copy()
        if m.njoints < 2 or m.joints[1].nv != 6:
            raise WbcError("legs need a floating base", where=model.embodiment.name)
        self.S = np.zeros((m.nv, 6 + model.n))
        self.S[:6, :6] = np.eye(6)
        self.S[6:, 6:] = model.G[6:]
        self._plain = bool(m.nv == 6 + model.n and np.array_equal(self.S, np.eye(m.nv)))
        self.feet = tuple(feet)
        self.owner = np.repeat(np.arange(len(feet)), [len(f.points) for f in feet])
        self._frames = [
            m.addFrame(
                pin.Frame(
                    f"{foot.leg}:contact{i}",
                    m.frames[foot.frame].parentJoint,
                    foot.frame,
                    m.frames[foot.frame].placement * pin.SE3(np.eye(3), point),
                    pin.FrameType.OP_FRAME,
                )
            )
            for foot in feet
            for i, point in enumerate(foot.points)
        ]
        self._data, self._still = m.createData(), np.zeros(m.nv)
        self.mass = float(pin.computeTotalMass(m))

    def update(self, observation: Observation) -> None:
        """Compute everything at a measured state.

        Raises:
            WbcError: Joint states, base pose or base velocity are missing.
        """
        o = observation
        if o.q is None or o.v is None or o.T_world_base is None or o.base_twist is None:
            raise WbcError(
                "legs need the measured joints, base pose and base velocity",
                where="observation",
                valid=("q", "v", "T_world_base", "base_twist"),
            )
        m, data = self._pin, self._data
        q = self._model.full(o.q)
        q[:3] = o.T_world_base[:3, 3]
        q[3:7] = pin.Quaternion(np.ascontiguousarray(o.T_world_base[:3, :3])).coeffs()
        self.base = o.T_world_base
        self.q = o.q
        self.u = np.concatenate([o.base_twist, o.v])
        v = self.S @ self.u
        pin.computeAllTerms(m, data, q, v)
        pin.forwardKinematics(m, data, q, v, self._still)  # for the frames' drifts
        pin.updateFramePlacements(m, data)
        upper = np.triu(data.M)
        self.M = self._reduce(upper + np.triu(data.M, 1).T)
        self.h = self.S.T @ data.nle
        self.com = data.com[0].copy()
        self.com_velocity = data.vcom[0].copy()
        self.inertia = data.Ig.inertia.copy()
        self.momentum = data.hg.vector.copy()
        self.momentum_map = data.Ag @ self.S
        count = len(self._frames)
        self.points = np.empty((count, 3))
        self.drift = np.empty((count, 3))
        self.J = np.empty((count, 3, 6 + self._model.n))
        for i, frame in enumerate(self._frames):
            self.points[i] = data.oMf[frame].translation
            self.J[i], drift = self._frame(frame, 3)
            self.drift[i] = drift
        self.point_velocities = self.J @ self.u

    def _reduce(self, M: Array) -> Array:
        return M if self._plain else self.S.T @ M @ self.S

    def _frame(self, frame: int, rows: int) -> tuple[Array, Array]:
        m, data = self._pin, self._data
        J = pin.getFrameJacobian(m, data, frame, pin.LOCAL_WORLD_ALIGNED)[:rows]
        a = pin.getFrameClassicalAcceleration(m, data, frame, pin.LOCAL_WORLD_ALIGNED)
        drift = a.linear if rows == 3 else np.concatenate([a.linear, a.angular])
        return J if self._plain else J @ self.S, drift

    def tool(self, effector: str) -> tuple[Array, Array, Array]:
        """An arm's TCP: ``T_world_ee`` ``(4, 4)``, Jacobian ``(6, 6 + n)``, drift ``(6,)``."""
        frame = self._model.tcp_id(effector)
        return self._data.oMf[frame].homogeneous, *self._frame(frame, 6)
