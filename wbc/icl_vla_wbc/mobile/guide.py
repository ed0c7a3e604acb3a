"""Where gradients do not lead: driving a base along a planned path, and noticing a standstill."""

from __future__ import annotations

import math

import numpy as np

from icl_vla_embodiments import se2
from icl_vla_embodiments.types import Array

from .drive import Drive
from .path import BasePath

LEAD = np.array([0.3, 0.5])  # [m, rad]; the reference waits where the base is so far behind
ARM = 0.3  # [m]; a radian counts as much as this in an error
PATIENCE = 0.8  # [s] without progress that make a standstill
PROGRESS = 0.01  # share of the error that counts as progress, and ...
LEAST = 5e-4  # ... [m] the least that does


class Guide:
    """Follows planned paths with a clock that waits for the base.

    Attributes:
        path: What is driven now; None: nothing is.
    """

    def __init__(self, drive: Drive, period: float, stage_times: Array) -> None:
        self._drive, self._period = drive, period
        self._times = np.concatenate([[0.0], stage_times])
        self.path: BasePath | None = None
        self._clock = 0.0

    def start(self, centre: Array, goal: Array) -> None:
        """Plan from the base's ``centre`` to ``goal`` ``(3,)``."""
        self.path, self._clock = BasePath.plan(self._drive, centre, goal), 0.0

    def stop(self) -> None:
        """Forget the path."""
        self.path = None

    def leads_to(self, goal: Array) -> bool:
        """Whether the path being driven ends there (within 1 cm and 1 degree)."""
        if self.path is None:
            return False
        gap = se2.between(self.path.goal, goal)
        return bool(np.hypot(gap[0], gap[1]) < 0.01 and abs(gap[2]) < 0.0175)

    def advance(self, centre: Array) -> Array:
        """References ``(N, 3)`` at the stages; the clock moves on as far as the base keeps up."""
        assert self.path is not None
        references = self.path.at(self._clock + self._times)
        gap = se2.between(references[0], centre)
        lag = np.array([np.hypot(gap[0], gap[1]), abs(gap[2])]) / LEAD
        if lag.max() > 2:  # pushed off
            self.start(centre, self.path.goal)
            references = self.path.at(self._times)
            lag = np.zeros(2)
        self._clock += self._period * float(np.clip(2 - 2 * lag.max(), 0.0, 1.0))
        return references[1:]

    @property
    def over(self) -> bool:
        """Whether the path's end has been due for a while."""
        return self.path is not None and self._clock > self.path.duration + 0.5


class Standstill:
    """Notices that an error to a target that rests does not shrink any more.

    Attributes:
        tries: Ways around that were tried for the present target.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self.tries = 0
        self._target: Array | None = None
        self._best, self._since = np.inf, 0.0

    def reset(self) -> None:
        """Forget the target."""
        self.tries, self._target = 0, None
        self.restart()

    def restart(self) -> None:
        """Wait anew with the same target."""
        self._best, self._since = np.inf, 0.0

    def update(self, target: Array, error: float, tolerance: float) -> bool:
        """Whether the robot is stuck.

        Args:
            target: Numbers that tell one target from another [m or rad].
            error: Distance to it [m].
            tolerance: Error at which all is well [m].
        """
        if self._target is None or np.abs(target - self._target).max() > 1e-3:
            moved = self._target is None or np.abs(target - self._target).max() > 0.05
            self.tries = 0 if moved else self.tries
            self._target = target.copy()
            self.restart()
        if error < self._best - max(LEAST, PROGRESS * self._best if self._best < np.inf else 0.0):
            self._best, self._since = error, 0.0
        else:
            self._since += self._period
        return error > tolerance and self._since > PATIENCE


def placement(T_world_hand: Array, T_centre_hand: Array, heading: float, turned: float) -> Array:
    """Pose ``(3,)`` of the centre that brings a hand to its target, but for height and tilt.

    Args:
        T_world_hand: Target.
        T_centre_hand: Where the hand is in the posture to have there.
        heading: Of the base now, for targets that say nothing about it [rad].
        turned: Heading to add, about the target [rad].
    """
    # the turn about the vertical nearest to the rotation that is needed
    R, M = T_world_hand, T_centre_hand
    across = float(R[1, :3] @ M[0, :3] - R[0, :3] @ M[1, :3])
    along = float(R[0, :3] @ M[0, :3] + R[1, :3] @ M[1, :3])
    clear = math.hypot(across, along) > 0.2
    angle = heading + turned
    if clear:
        angle += math.remainder(math.atan2(across, along) - heading, 2 * math.pi)
    c, s, x, y = math.cos(angle), math.sin(angle), M[0, 3], M[1, 3]
    return np.array([R[0, 3] - c * x + s * y, R[1, 3] - s * x - c * y, angle])


def distance(gap: Array) -> float:
    """Length [m] of a planar pose ``(3,)``, its heading counted at :data:`ARM`."""
    return float(math.hypot(gap[0], gap[1]) + ARM * abs(gap[2]))
