"""What hands are to do, as accelerations for the whole-body program."""

from __future__ import annotations

import numpy as np
import pinocchio as pin

from icl_vla_embodiments import TaskTarget
from icl_vla_embodiments.types import Array

from .config import LegConfig
from .dynamics import FloatingDynamics
from .tasks import Aim
from .whole_body import AccelerationTask

WEIGHT = np.array([2.0] * 3 + [0.5] * 3)
HARDEST = 10.0  # [m/s^2, rad/s^2] that a change of the wanted velocity is taken for


class HandTask:
    r"""Hands follow their poses in the frame of the body where it should be.

    .. math:: \dot V = \dot V^* + k\,e + 2 \sqrt{k}\,(V^* - V)

    The wanted velocity :math:`V^*` is the target's and that of the body's reference; its rate
    :math:`\dot V^*` is its change since the last tick, without which a hand would lag by
    :math:`\dot V^* / k`.
    """

    def __init__(self, config: LegConfig, period: float) -> None:
        self._gain, self._period = config.hand_gain, period
        self._wanted: dict[str, Array] = {}  # (6,) of each hand at the last tick, world axes

    def at(self, d: FloatingDynamics, aim: Aim, target: TaskTarget) -> list[AccelerationTask]:
        """A task for each pose of the target, to be called once a tick."""
        before, self._wanted = self._wanted, {}
        spin = np.array([0.0, 0.0, aim.spin])
        k = self._gain
        tasks = []
        for name, T_body_hand in target.poses.items():
            T_goal = aim.goal(T_body_hand)
            T, J, drift = d.tool(name)
            turn = pin.log3(T_goal[:3, :3] @ T[:3, :3].T)
            error = np.concatenate([T_goal[:3, 3] - T[:3, 3], turn])
            twist = np.asarray(target.twists.get(name, np.zeros(6)))
            wanted = np.concatenate([aim.R @ twist[:3], aim.R @ twist[3:] + spin])
            wanted[:2] += aim.velocity[:2]
            wanted[:3] += np.cross(spin, T_goal[:3, 3] - aim.place)
            self._wanted[name] = wanted
            rate = (wanted - before.get(name, wanted)) / self._period
            b = k * error + 2 * np.sqrt(k) * (wanted - J @ d.u) - drift
            tasks.append(AccelerationTask(J, b + np.clip(rate, -HARDEST, HARDEST), WEIGHT))
        return tasks
