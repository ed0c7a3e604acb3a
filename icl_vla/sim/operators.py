"""Styles in which a plan is carried out: who demonstrates, as far as a motion shows it.

Policies learn from the ``TRAINED`` styles; the demonstrations that measure them come from others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from icl_vla_embodiments import UnknownName, se3
from icl_vla_embodiments.types import Array

from .driver import PyBulletDriver
from .operator import RATE, Stage, StagedOperator

Goal = Callable[[PyBulletDriver], Array]


class CurvedOperator(StagedOperator):
    """Swings to each goal on a bow, easing in and out, as an arm led by hand does."""

    def __init__(self, effector: str, stages: list[Stage], rng: np.random.Generator) -> None:
        super().__init__(effector, stages, rng)
        self._bow = rng.uniform(-0.25, 0.25, 3) * [1.0, 1.0, 0.5]  # share of the way, sideways
        self._moving = 0.0  # [m/s]

    def _towards(self, T: Array, goal: Array, speed: float) -> Array:
        way = goal[:3, 3] - T[:3, 3]
        distance = float(np.linalg.norm(way))
        # the bow bends the direction by what is left of the way, and ends straight
        bent = way + self._bow * max(distance - 0.06, 0.0)
        self._moving = min(self._moving + 0.8 / RATE, speed, 2.5 * distance + 0.02)
        step = min(self._moving / RATE, distance)
        length = max(float(np.linalg.norm(bent)), 1e-9)
        return se3.pose(_turned(T, goal, 0.15), T[:3, 3] + bent * step / length)


class PlannedOperator(StagedOperator):
    """A motion planner: turns first, then up, across at one height, and down, at even speed."""

    def __init__(self, effector: str, stages: list[Stage], rng: np.random.Generator) -> None:
        super().__init__(effector, stages, rng)
        self._clearance = float(rng.uniform(0.05, 0.09))  # [m] over the higher of two places
        self._peak = 0.0
        self._leg = -1

    def _towards(self, T: Array, goal: Array, speed: float) -> Array:
        if self._leg != self.stage:  # a new stage: plan its corner heights
            self._leg = self.stage
            across = float(np.linalg.norm((goal - T)[:2, 3]))
            free = across > 0.08 and not self.stages[self.stage].straight
            self._peak = max(T[2, 3], goal[2, 3]) + (self._clearance if free else 0.0)
            self._high = not free
        here, there = T[:3, 3], goal[:3, 3]
        if not self._high:
            self._high = here[2] >= self._peak - 1e-3
            place = np.array([here[0], here[1], self._peak])
        elif np.linalg.norm((there - here)[:2]) > 2e-3 and self._peak > there[2] + 1e-3:
            place = np.array([there[0], there[1], here[2]])
        else:
            place = there
        way = place - here
        distance = float(np.linalg.norm(way))
        step = min(0.9 * speed / RATE, distance)
        moved = here + way * step / max(distance, 1e-9)
        return se3.pose(_turned(T, goal, 0.25), moved)


class KeyboardOperator(StagedOperator):
    """Keys: one axis at a time, in bursts of equal steps with pauses, finer near the goal."""

    def __init__(self, effector: str, stages: list[Stage], rng: np.random.Generator) -> None:
        super().__init__(effector, stages, rng)
        self._dice = np.random.default_rng(rng.integers(2**31))
        self._axis, self._burst, self._pause = 0, 0, 0

    def _towards(self, T: Array, goal: Array, speed: float) -> Array:
        if self._pause > 0:  # looking for the next key
            self._pause -= 1
            return T
        way = goal[:3, 3] - T[:3, 3]
        straight = self.stages[self.stage].straight
        turn = se3.log3(goal[:3, :3] @ T[:3, :3].T)
        if self._burst <= 0 or abs(way[self._axis]) < 0.0015:
            self._axis = int(np.argmax(np.abs(way)))
            self._burst = int(self._dice.integers(3, 12))
            if not straight and self._dice.random() < 0.5:
                self._pause = int(self._dice.integers(1, 4))
        self._burst -= 1
        if np.abs(way).max() < 0.004 and np.linalg.norm(turn) > 0.02:
            angle = min(float(np.linalg.norm(turn)), 0.1)  # a turning key
            R = se3.exp3(angle * turn / np.linalg.norm(turn)) @ T[:3, :3]
            return se3.pose(R, T[:3, 3])
        near = float(np.abs(way).max())
        key = 0.020 if near > 0.06 and not straight else 0.006 if near > 0.015 else 0.002
        p = T[:3, 3].copy()
        p[self._axis] += np.clip(way[self._axis], -key, key)
        return se3.pose(_turned(T, goal, 0.04), p)


class WanderingOperator(StagedOperator):
    """Goes detours, hesitates, and tries again: not every motion leads on."""

    def __init__(self, effector: str, stages: list[Stage], rng: np.random.Generator) -> None:
        super().__init__(effector, _wandering(stages, rng), rng)


def _wandering(stages: list[Stage], rng: np.random.Generator) -> list[Stage]:
    """A plan with more in it than is needed."""
    made: list[Stage] = []
    for i, stage in enumerate(stages):
        before = stages[i - 1] if i else None
        free = not stage.straight and (before is None or before.gripper == stage.gripper)
        if free and rng.random() < 0.35:  # past the goal on one side first
            aside = rng.uniform(-0.06, 0.06, 3) * [1.0, 1.0, 0.0] + [0.0, 0.0, 0.05]
            made.append(
                Stage(
                    _shifted(stage.goal, aside),
                    stage.gripper,
                    tolerance=0.03,
                    speed=stage.speed,
                    after=stage.after,
                )
            )
        pause = int(rng.integers(4, 13)) if free and rng.random() < 0.3 else 0
        fine = free and stage.tolerance <= 0.008 and rng.random() < 0.5
        if fine:  # not sure of it: down, up again, and once more
            again = replace(stage, name="")
            made += [again, replace(again, goal=_shifted(stage.goal, np.array([0, 0, 0.05])))]
        made.append(replace(stage, dwell=stage.dwell + pause))
    return made


def _shifted(goal: Goal, by: Array) -> Goal:
    def shifted(driver: PyBulletDriver) -> Array:
        T = goal(driver).copy()
        T[:3, 3] += by
        return T

    return shifted


def _turned(T: Array, goal: Array, most: float) -> Array:
    """Rotation a step nearer to the goal's, by at most ``most`` [rad]."""
    turn = se3.log3(goal[:3, :3] @ T[:3, :3].T)
    part = min(1.0, most / max(float(np.linalg.norm(turn)), 1e-9))
    return np.asarray(se3.exp3(part * turn) @ T[:3, :3])


TRAINED: dict[str, type[StagedOperator]] = {"straight": StagedOperator, "curved": CurvedOperator}
HELD_OUT: dict[str, type[StagedOperator]] = {
    "planned": PlannedOperator,
    "keyboard": KeyboardOperator,
    "wandering": WanderingOperator,
}
OPERATORS: dict[str, type[StagedOperator]] = {**TRAINED, **HELD_OUT}


def find_operator(name: str) -> type[StagedOperator]:
    """A style by name.

    Raises:
        UnknownName: There is none; the message lists the known ones.
    """
    if name not in OPERATORS:
        raise UnknownName("operator", name, OPERATORS)
    return OPERATORS[name]
