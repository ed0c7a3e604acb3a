"""What hands are to do, as accelerations for the whole-body program."""

from __future__ import annotations

import numpy as np
import pinocchio as pin

from icl_vla_embodiments import TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .config import LegConfig
from .dynamics import FloatingDynamics
from .tasks import Aim
from .whole_body import AccelerationTask

PLACE, TURN = 2.0, 0.5  # weights
HARDEST = 10.0  # [m/s^2, rad/s^2] that a change of the wanted velocity is taken for


class HandTask:
    r"""Hands follow their poses in the frame of the body where it should be.

    .. math:: \dot V = \dot V^* + k\,e + 2 \sqrt{k}\,(V^* - V)

    The wanted velocity :math:`V^*` is the target's and that of the body's reference; its rate
    :math:`\dot V^*` is its change since the last tick, without which a hand would lag by
    :math:`\dot V^* / k`. Arms of fewer than six joints follow the place only: the body would else
    be bent for the rest.
    """

    def __init__(self, model: RobotModel, config: LegConfig, period: float) -> None:
        self._gain, self._period = config.hand_gain, period
        self._weights = {
            arm.name: np.repeat([PLACE, TURN if len(arm.joints) >= 6 else 0.0], 3)
            for arm in model.embodiment.arms
        }
        self._wanted: dict[str, Array] = {}  # (6,) of each hand at the last tick, world axes

    def at(self, d: FloatingDynamics, aim: Aim, target: TaskTarget) -> list[AccelerationTask]:
        """A task for each pose of the target, to be called once a tick."""
        before, self._wanted = self._wanted, {}
        k = self._gain
        tasks = []
        for name, T_body_hand in target.poses.items():
            T_goal = aim.goal(T_body_hand)
            T, J, drift = d.tool(name)
            error = np.empty(6)
            error[:3] = T_goal[:3, 3] - T[:3, 3]
            error[3:] = pin.log3(T_goal[:3, :3] @ T[:3, :3].T)
            wanted = np.zeros(6)
            if name in target.twists:
                wanted[:] = (aim.R @ np.reshape(target.twists[name], (2, 3)).T).T.reshape(6)
            x, y, _ = T_goal[:3, 3] - aim.place
            wanted[:2] += aim.velocity[:2] + aim.spin * np.array([-y, x])
            wanted[5] += aim.spin
            self._wanted[name] = wanted
            rate = (wanted - before.get(name, wanted)) / self._period
            b = k * error + 2 * np.sqrt(k) * (wanted - J @ d.u) - drift
            b += np.minimum(np.maximum(rate, -HARDEST), HARDEST)
            tasks.append(AccelerationTask(J, b, self._weights[name]))
        return tasks
