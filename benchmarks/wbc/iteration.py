"""One real-time iteration of an arm's program, as the controller makes it, and nothing else."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import MpcConfig
from icl_vla_wbc.dynamics import FrameKinematics
from icl_vla_wbc.horizon import Horizon
from icl_vla_wbc.limits import EffortLimits, ViableLimits
from icl_vla_wbc.program import Program
from icl_vla_wbc.tasks import FramePose, Posture


class Iteration:
    """A hand's pose and a preferred posture, within limits.

    Args:
        model: The robot; its first arm is moved.
        joints: ``(n,)`` indices of the controlled joints.
        home: ``(n_all,)`` preferred positions; joints that are not controlled stay there.
        config: Horizon and weights.
        period: Between iterations [s].
        effort: ``(n_all,)`` largest torques, at the torque level; None without.
        wait: Seconds to wait for machine code.

    Attributes:
        U: ``(K, n)`` the plan.
        compiled: Whether machine code runs.
    """

    def __init__(
        self,
        model: RobotModel,
        joints: Array,
        home: Array,
        config: MpcConfig,
        period: float,
        *,
        effort: Array | None = None,
        wait: float = 120.0,
    ) -> None:
        self._joints, self._config, self._q = joints, config, home.copy()
        self.horizon = Horizon(config.stages, config.knots, config.dt, period)
        self.limits = ViableLimits.of(model.embodiment, period).subset(joints)
        frame = model.tcp_id(model.embodiment.arms[0].name)
        kinematics = FrameKinematics.of(model, frame)
        self._hand = FramePose(kinematics, config.position_weight, config.rotation_weight)
        self._tasks = [self._hand, Posture(home.copy(), config.preference_weight)]
        for task in self._tasks:
            task.bind(joints, config.stages)
        self._program = Program(joints, self.limits, self.horizon, config)
        functions, self._rows = [self._hand.compiled], []
        if effort is not None:
            limit = np.where(effort > 0, np.nan_to_num(effort, nan=np.inf), np.inf)
            self._rows = [EffortLimits(model, joints, self.horizon, limit)]
            functions.append(self._rows[0].compiled)
        for function in functions:
            function.compilation.wait(wait)
        self._functions = functions
        self.U = np.zeros((config.knots, len(joints)))

    @property
    def compiled(self) -> bool:
        return all(function.compiled for function in self._functions)

    def solve(self, q: Array, v: Array, targets: Array) -> bool:
        """Improve the plan; whether that succeeded.

        Args:
            q: ``(n,)`` positions of the controlled joints.
            v: ``(n,)`` their velocities.
            targets: ``(N, 7)`` positions and orientations ``(x, y, z, w)``.
        """
        self.U = self.horizon.shift @ self.U
        self._q[self._joints], self._hand.parameter = q, targets
        plan = self._program.plan(self._q, v, self.U)
        solved = self._program.track(plan, self._tasks, self._rows).solve(self._config.iterations)
        if solved is not None:
            self.U = self.U + solved[0].reshape(self.U.shape)
        return solved is not None
