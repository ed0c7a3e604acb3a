"""A scripted operator: a list of stages, each a goal pose that follows the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.types import Array

from .driver import PyBulletDriver

RATE = 10.0  # [Hz] of commands
_TURNED = 0.03  # [rad] of the set-point to the goal at which a stage is reached


@dataclass(frozen=True)
class Stage:
    """Go somewhere, set the gripper, wait.

    Attributes:
        goal: World's truth -> ``T_base_ee`` ``(4, 4)``; asked again at every step.
        gripper: Opening on the way and there.
        tolerance: Of the measured position to the goal [m].
        dwell: Steps to wait there.
        speed: Of the set-point, relative to the operator's.
        timeout: Steps after which the stage counts as reached.
        straight: Whether the way there matters, as when something is pushed along it.
        unless: Asked when the stage begins: whether it can be left out, as when a second try is
            not needed.
    """

    goal: Callable[[PyBulletDriver], Array]
    gripper: float
    tolerance: float = 0.012
    dwell: int = 0
    speed: float = 1.0
    timeout: int = 60
    straight: bool = False
    unless: Callable[[PyBulletDriver], bool] | None = None


class StagedOperator:
    """Moves a set-point along straight lines to each stage's goal, slowing down before it."""

    def __init__(self, effector: str, stages: list[Stage], rng: np.random.Generator) -> None:
        self.effector = effector
        self.stages = list(stages)
        self.stage = 0
        self._waited = 0
        self._elapsed = 0
        self._setpoint: Array | None = None
        self._speed = rng.uniform(0.18, 0.26)  # [m/s]
        self._gain = rng.uniform(0.35, 0.5)  # share of the remaining way in one step

    def act(self, driver: PyBulletDriver, observation: Observation) -> TaskTarget | None:
        """Set-point for the next step; None when all stages are done."""
        assert observation.q is not None
        here = driver.model.poses(observation.q)[self.effector]
        if self._setpoint is None:
            self._setpoint = here
        while self.stage < len(self.stages) and self._can_skip(driver):
            self.stage += 1
        if self.stage == len(self.stages):
            return None
        stage = self.stages[self.stage]
        goal = stage.goal(driver)
        self._setpoint = self._towards(self._setpoint, goal, self._speed * stage.speed)
        self._elapsed += 1
        near = np.linalg.norm(here[:3, 3] - goal[:3, 3]) < stage.tolerance
        # the set-point's turn: an arm of few joints may never get there itself
        turned = np.linalg.norm(se3.log3(goal[:3, :3] @ self._setpoint[:3, :3].T)) < _TURNED
        if (near and turned) or self._elapsed > stage.timeout or self._waited:
            self._waited += 1
        if self._waited > stage.dwell:
            self.stage, self._waited, self._elapsed = self.stage + 1, 0, 0
        return TaskTarget(
            poses={self.effector: self._setpoint}, grippers={self.effector: stage.gripper}
        )

    def _can_skip(self, driver: PyBulletDriver) -> bool:
        unless = self.stages[self.stage].unless
        return unless is not None and self._elapsed == 0 and unless(driver)

    def _towards(self, T: Array, goal: Array, speed: float) -> Array:
        way = goal[:3, 3] - T[:3, 3]
        distance = float(np.linalg.norm(way))
        step = min(speed / RATE, max(self._gain * distance, 0.004), distance)
        turn = se3.log3(goal[:3, :3] @ T[:3, :3].T)
        angle = float(np.linalg.norm(turn))
        part = min(1.0, 0.12 / max(angle, 1e-9))
        return se3.pose(
            se3.exp3(part * turn) @ T[:3, :3],
            T[:3, 3] + (way * step / distance if distance > 1e-9 else 0.0),
        )


def upright_yaw(R: Array) -> float:
    """Yaw [rad] of a body that stands on the table."""
    return float(np.arctan2(R[1, 0], R[0, 0]))


def nearest_quarter(angle: float) -> float:
    """The same angle modulo 90 degrees, nearest to 0: a square looks the same."""
    return (angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
