"""Scripted operators: stages, each a goal pose that follows the truth, for one hand or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.types import Array

from .driver import PyBulletDriver
from .task import Expert

RATE = 10.0  # [Hz] of commands
_TURNED = 0.03  # [rad] of the set-point to the goal at which a stage is reached
_PATIENCE = 10  # steps in which what was let go comes to rest


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
        effector: The hand that moves; empty for the one that the workspace is about.
        name: What other hands may wait for.
        after: Name of a stage that has to be over before this one begins.
    """

    goal: Callable[[PyBulletDriver], Array]
    gripper: float
    tolerance: float = 0.012
    dwell: int = 0
    speed: float = 1.0
    timeout: int = 60
    straight: bool = False
    unless: Callable[[PyBulletDriver], bool] | None = None
    effector: str = ""
    name: str = ""
    after: str = ""


class StagedOperator:
    """Moves a set-point along straight lines to each stage's goal, slowing down before it.

    Attributes:
        over: Names of the stages that are over; hands that work together share it.
    """

    def __init__(self, effector: str, stages: list[Stage], rng: np.random.Generator) -> None:
        self.effector = effector
        self.stages = list(stages)
        self.stage = 0
        self.over: set[str] = set()
        self._gripper = stages[0].gripper if stages else 1.0
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
            self._finish()
        if self.stage == len(self.stages):
            return None
        stage = self.stages[self.stage]
        if stage.after and stage.after not in self.over:
            return self._target()
        self._gripper = stage.gripper
        goal = stage.goal(driver)
        self._setpoint = self._towards(self._setpoint, goal, self._speed * stage.speed)
        self._elapsed += 1
        near = np.linalg.norm(here[:3, 3] - goal[:3, 3]) < stage.tolerance
        # the set-point's turn: an arm of few joints may never get there itself
        turned = np.linalg.norm(se3.log3(goal[:3, :3] @ self._setpoint[:3, :3].T)) < _TURNED
        if (near and turned) or self._elapsed > stage.timeout or self._waited:
            self._waited += 1
        if self._waited > stage.dwell:
            self._finish()
        return self._target()

    def _target(self) -> TaskTarget:
        assert self._setpoint is not None
        return TaskTarget(
            poses={self.effector: self._setpoint}, grippers={self.effector: self._gripper}
        )

    def _can_skip(self, driver: PyBulletDriver) -> bool:
        unless = self.stages[self.stage].unless
        return unless is not None and self._elapsed == 0 and unless(driver)

    def _finish(self) -> None:
        self.over.add(self.stages[self.stage].name)
        self.stage, self._waited, self._elapsed = self.stage + 1, 0, 0

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


class Hands:
    """Operators of several hands at once, which wait for one another's stages.

    Args:
        hands: Effector -> its operator.
    """

    def __init__(self, hands: Mapping[str, StagedOperator]) -> None:
        self.hands = dict(hands)
        self._asked: dict[str, TaskTarget] = {}
        over: set[str] = set()
        for hand in self.hands.values():
            hand.over = over

    def act(self, driver: PyBulletDriver, observation: Observation) -> TaskTarget | None:
        """Set-points of all hands for the next step; None when all stages of all are done."""
        new = {e: hand.act(driver, observation) for e, hand in self.hands.items()}
        if all(target is None for target in new.values()):
            return None
        self._asked |= {e: target for e, target in new.items() if target is not None}
        return TaskTarget(
            poses={e: T for target in self._asked.values() for e, T in target.poses.items()},
            grippers={e: x for target in self._asked.values() for e, x in target.grippers.items()},
        )


def operate(
    style: type[StagedOperator], effector: str, stages: list[Stage], rng: np.random.Generator
) -> StagedOperator | Hands:
    """A plan in a style, by as many hands as it speaks of.

    Args:
        style: How each hand moves.
        effector: The hand of the stages that name none.
        stages: Those of each hand in order.
        rng: The operator's dice.
    """
    own: dict[str, list[Stage]] = {}
    for stage in stages:
        own.setdefault(stage.effector or effector, []).append(stage)
    if set(own) <= {effector}:
        return style(effector, stages, rng)
    return Hands({e: style(e, plan, rng) for e, plan in own.items()})


class Persistent:
    """Carries a plan out, looks whether the goal holds, and starts over where it does not.

    Args:
        plan: A new operator of the whole task, from wherever things are.
        done: Whether the goal holds.
        tries: Plans at most.
    """

    def __init__(
        self,
        plan: Callable[[], Expert],
        done: Callable[[PyBulletDriver], bool],
        tries: int = 3,
    ) -> None:
        self._plan, self._done = plan, done
        self._acting = plan()
        self._tries = tries - 1  # left
        self._last: TaskTarget | None = None
        self._waited = 0

    def act(self, driver: PyBulletDriver, observation: Observation) -> TaskTarget | None:
        """The plan's target; None when the goal holds or no try is left."""
        target = self._acting.act(driver, observation)
        if target is None and not self._done(driver):
            if self._last is not None and self._waited < _PATIENCE:
                self._waited += 1  # what was let go may still move
                return self._last
            if self._tries:
                self._tries, self._waited = self._tries - 1, 0
                self._acting = self._plan()
                target = self._acting.act(driver, observation)
        self._last = target
        return target


def upright_yaw(R: Array) -> float:
    """Yaw [rad] of a body that stands on the table."""
    return float(np.arctan2(R[1, 0], R[0, 0]))


def nearest_quarter(angle: float) -> float:
    """The same angle modulo 90 degrees, nearest to 0: a square looks the same."""
    return (angle + np.pi / 4) % (np.pi / 2) - np.pi / 4
