"""Differential inverse kinematics: the joint velocities of one period, towards a pose."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from . import quaternion
from .dynamics import FrameKinematics, InPlace
from .errors import WbcError
from .gauss_newton import local_model, pose_error
from .limits import ViableLimits
from .qp import QuadraticProgram

ITERATIONS = 200  # of the solver; ample for a program with one unknown a joint and bounds only


@dataclass(frozen=True)
class IkConfig:
    """Weights; a weight multiplies its residual, so its square stands in the cost.

    Attributes:
        position_weight: [1/m].
        rotation_weight: [1/rad].
        posture_weight: Of the neutral posture [1/rad].
    """

    position_weight: float = 30.0
    rotation_weight: float = 10.0
    posture_weight: float = 0.01

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise WbcError("the weights must be positive", where=name, value=value)


class DifferentialIk:
    r"""One quadratic program a period, for callers that plan ahead themselves.

    .. math:: \min_{\delta} \|W (r(q) + J \delta)\|^2 + \|w_q (q + \delta - q^0)\|^2
              \quad \text{s.t.}\quad q + \delta \in [\underline q, \overline q],\;
              |\delta| \le h\, \overline v

    with :math:`\delta = h \dot q` and the residual of :func:`pose_error` (Nakamura and
    Hanafusa, *Inverse kinematic solutions with singularity robustness*, 1986; as a program with
    limits: Kanoun, Lamiraux and Wieber, *Kinematic control of redundant manipulators*, 2011). It
    looks no further than one period: it knows no acceleration limits and cannot slow down in
    time, which is what :class:`ArmMpc` is for.

    Args:
        model: The robot.
        effector: Arm to move; None for the first.
        period: ``h``, time between calls [s].
        config: Weights.

    Raises:
        WbcError: The robot has no arm or no usable limits, or the period is not positive.
    """

    def __init__(
        self,
        model: RobotModel,
        effector: str | None = None,
        *,
        period: float = 1 / 60,
        config: IkConfig = IkConfig(),
    ) -> None:
        embodiment = model.embodiment
        if not embodiment.arms:
            raise WbcError("the robot has no arm to move", where=embodiment.name)
        if not (np.isfinite(period) and period > 0):
            raise WbcError("the period must be positive", where="period", value=period)
        self.model, self.period = model, period
        self.effector = effector or embodiment.arms[0].name
        arm = embodiment.group(self.effector)
        self._arm = np.array([embodiment.joints.index(name) for name in arm.joints])
        self._limits = ViableLimits.of(embodiment, period).subset(self._arm)
        self._stride = period * self._limits.velocity
        kinematics = FrameKinematics.of(model, model.tcp_id(self.effector))
        self._step = InPlace(_step(kinematics, self._arm, model.neutral[self._arm], config))
        self._rows = np.zeros((0, len(self._arm)))

    def velocity(self, q: Array, target: Array) -> Array | None:
        """Velocities of all actuated joints, to be held for one period.

        Args:
            q: ``(n,)`` positions of the actuated joints now. An arm outside its range is brought
                back at no more than its velocity limits.
            target: ``(4, 4)`` pose in the base frame to be reached at the period's end.

        Returns:
            ``(n,)``, zero for other joints than the arm's; None where something is not finite.
        """
        positions, transposed = self._step.inputs
        positions[0], transposed[:] = q, target.T
        H, g = self._step()
        here = positions[0][self._arm]
        stride = self._stride
        low = np.minimum(np.maximum(self._limits.lower - here, -stride), stride)
        high = np.minimum(np.maximum(self._limits.upper - here, -stride), stride)
        if not np.isfinite(g.sum()):
            return None
        solved = QuadraticProgram(H, g[0], self._rows, low, high).solve(ITERATIONS)
        if solved is None:
            return None
        velocity = np.zeros(self.model.n)
        velocity[self._arm] = solved[0] / self.period
        return velocity


def _step(
    kinematics: FrameKinematics, joints: Array, posture: Array, config: IkConfig
) -> ca.Function:
    """``q (m,), T (4, 4) -> H (n, n), g (n,)`` of the program."""
    T, weight = ca.SX.sym("T", 4, 4), config.posture_weight**2
    reference = ca.vertcat(T[:3, 3], quaternion.from_matrix(T[:3, :3]))
    r, J = pose_error(kinematics, reference)
    W = ca.diag(ca.DM([config.position_weight] * 3 + [config.rotation_weight] * 3))
    square, gradient, _ = local_model(W @ r, W @ J[:, joints.tolist()])
    H = square + weight * ca.SX.eye(len(joints))
    g = gradient + weight * (kinematics.q[joints.tolist()] - posture)
    return ca.Function("step", [kinematics.q, T], [H, g], {"cse": True})
