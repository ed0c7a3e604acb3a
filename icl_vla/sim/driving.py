"""Who demonstrates with a base: drives along planned paths to one place after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from icl_vla_embodiments import Observation, TaskTarget, UnknownName, se2
from icl_vla_embodiments.types import Array
from icl_vla_wbc.mobile.drive import Drive
from icl_vla_wbc.mobile.follow import follow
from icl_vla_wbc.mobile.path import BasePath

from ..runtime.mobile import BASE
from .driver import PyBulletDriver
from .floor import Floor
from .operator import RATE, Stage
from .scene import ObjectSpec
from .task import footprint

_TRIES = 3  # paths planned to a place before it counts as reached
_SETTLE, _STOP = 0.3, 1.0  # [s] beyond a path's end; of one that ends exactly
_TURNED = 0.06  # [rad] of the heading at a place
_PAINTED = ("mark", "line")


@dataclass(frozen=True)
class Manner:
    """A style of driving.

    Attributes:
        pace: Least and largest share of the planned speed.
        bow: Share of the way by which a place on the way lies aside, at most.
        detour: How often there is such a place.
        burst: Steps between two pauses, and of a pause, at most; 0 for no pauses.
        hesitation: Steps of waiting at a place, at most.
    """

    pace: tuple[float, float] = (0.85, 1.0)
    bow: float = 0.0
    detour: float = 0.0
    burst: tuple[int, int] = (0, 0)
    hesitation: int = 0


MANNERS = {
    "straight": Manner(),
    "curved": Manner(bow=0.12, detour=1.0),
    "planned": Manner(pace=(0.7, 0.8)),
    "keyboard": Manner(burst=(14, 4)),
    "wandering": Manner(bow=0.15, detour=0.5, hesitation=8),
}
"""Style, as arms have them (:mod:`.operators`) -> how it drives."""


def find_manner(style: str) -> Manner:
    """How somebody of a style drives.

    Raises:
        UnknownName: There is no such style.
    """
    if style not in MANNERS:
        raise UnknownName("operator", style, MANNERS)
    return MANNERS[style]


class BaseOperator:
    """Drives to each stage's goal, a pose of the base on the floor; tries again where it missed.

    Args:
        floor: How the base moves.
        stages: Where to; grippers play no part.
        rng: Dice.
        manner: Style.
    """

    def __init__(
        self, floor: Floor, stages: Sequence[Stage], rng: np.random.Generator, manner: Manner
    ) -> None:
        self.drive, self.manner = floor.drive, manner
        self._rng = np.random.default_rng(rng.integers(2**31))
        self._pace = float(rng.uniform(*manner.pace))
        self.stages = list(stages)
        self.stage = 0
        self._path: BasePath | None = None
        self._time, self._tries, self._waited = 0.0, 0, 0
        self._burst, self._pause = 0, 0
        self._via: Array | None = None

    def act(self, driver: PyBulletDriver, observation: Observation) -> TaskTarget | None:
        """Velocities for the next step, and where they lead; None when all stages are done."""
        assert observation.q is not None
        T = driver.model.poses(observation.q)[BASE]
        here = se2.planar(T @ self.drive.T_base_centre)
        path = self._path or self._begin(driver, here)
        while path is not None and self._time > path.duration + self._settle:
            path = self._arrived(driver, here)
        if path is None:
            return None
        step = self._step() / RATE
        due = path.at(np.array([self._time, self._time + step]))
        self._time += step or (1 / RATE if self._time > path.duration else 0.0)
        ahead = se2.between(due[0], due[1]) * RATE
        twist = follow(here, due[0], ahead, sideways=self.drive.kind == "planar_holo")
        twist = np.clip(twist, -2 * self.drive.twist_limit, 2 * self.drive.twist_limit)
        asked = self._of_base(twist)
        # a base has nothing to open or close
        return TaskTarget(poses={BASE: moved(T, asked)}, base_twist=asked, grippers={BASE: 1.0})

    @property
    def _settle(self) -> float:
        return _STOP if self.stages[self.stage].straight else _SETTLE

    def _goal(self, driver: PyBulletDriver) -> Array:
        """``(3,)`` of the drive's centre."""
        return se2.planar(self.stages[self.stage].goal(driver) @ self.drive.T_base_centre)

    def _begin(self, driver: PyBulletDriver, here: Array) -> BasePath | None:
        """The path to the present stage's goal, or by a place beside the way to it."""
        while self.stage < len(self.stages):
            unless = self.stages[self.stage].unless
            if unless is None or not unless(driver):
                break
            self.stage += 1
        if self.stage == len(self.stages):
            return None
        goal, stage = self._goal(driver), self.stages[self.stage]
        aside = not stage.straight and self._rng.random() < self.manner.detour
        if aside and self._via is None and self._tries == 0:
            goal = self._via = beside(here, goal, self._rng.uniform(-1, 1) * self.manner.bow)
        else:
            self._via = None
        plan = straight_on if stage.straight else BasePath.plan
        self._path, self._time = slower(plan(self.drive, here, goal), stage.speed), 0.0
        return self._path

    def _arrived(self, driver: PyBulletDriver, here: Array) -> BasePath | None:
        """What follows a path's end: another try, waiting, or the next stage."""
        stage = self.stages[self.stage]
        if self._via is not None:
            self._tries = 1  # no second detour
            path = self._begin(driver, here)
            self._tries = 0
            return path
        off = se2.between(here, self._goal(driver))
        missed = np.hypot(off[0], off[1]) > stage.tolerance or abs(off[2]) > _TURNED
        self._tries += 1
        if missed and not stage.straight and self._tries < _TRIES:
            return self._begin(driver, here)
        dwell = stage.dwell + int(self._rng.integers(0, self.manner.hesitation + 1))
        self._tries, self.stage = 0, self.stage + 1
        path = self._begin(driver, here)
        self._time = -dwell / RATE
        return path

    def _step(self) -> float:
        """Share of the planned speed in this step."""
        longest, rest = self.manner.burst
        if not longest:
            return self._pace
        if self._pause > 0:
            self._pause -= 1
            return 0.0
        if self._burst <= 0:
            self._burst = int(self._rng.integers(longest // 3, longest))
            self._pause = int(self._rng.integers(1, rest + 1))
        self._burst -= 1
        return self._pace

    def _of_base(self, twist: Array) -> Array:
        """``(6,)`` of the base's origin, of the centre's ``(3,)``."""
        R, p = self.drive.T_base_centre[:2, :2], self.drive.T_base_centre[:2, 3]
        linear = R @ twist[:2] - twist[2] * np.array([-p[1], p[0]])
        return np.array([*linear, 0.0, 0.0, 0.0, twist[2]])


def moved(T: Array, twist: Array) -> Array:
    """Pose ``(4, 4)`` after one step with a twist ``(6,)`` in its own frame."""
    return T @ se2.lifted(se2.exp(twist[[0, 1, 5]] / RATE))


def beside(here: Array, goal: Array, share: float) -> Array:
    """A place ``(3,)`` half-way, a share of the way aside, in the way's direction."""
    way = goal[:2] - here[:2]
    middle = 0.5 * (here + goal)[:2] + share * np.array([-way[1], way[0]])
    return np.array([*middle, np.arctan2(way[1], way[0])])


def straight_on(drive: Drive, here: Array, goal: Array) -> BasePath:
    """Along the line through the goal in the goal's direction, from beside the present place."""
    way = np.array([se2.between(goal, here)[0], 0.0, 0.0])
    return BasePath.plan(drive, se2.compose(goal, way), goal)


def slower(path: BasePath, share: float) -> BasePath:
    """The same path at a share of its speed."""
    rates = path.rates * [share, share**2]
    return replace(path, rates=rates, ends=path.ends / share)


def way_is_free(
    floor: Floor, start: Array, goal: Array, things: Iterable[ObjectSpec], margin: float
) -> bool:
    """Whether the body passes between things, on the path between two poses ``(3,)`` of the base.

    Args:
        floor: Body and wheels.
        start: Of the base.
        goal: Of the base.
        things: What is painted on the floor is no obstacle.
        margin: Between body and things [m].
    """
    centre = se2.planar(floor.drive.T_base_centre)
    path = BasePath.plan(floor.drive, se2.compose(start, centre), se2.compose(goal, centre))
    inverse = se2.between(centre, np.zeros(3))
    places = se2.compose(path.at(np.arange(0.0, path.duration + 0.1, 0.1)), inverse)
    if np.abs(places[:, :2]).max() > max(floor.half) + 2 * floor.radius:
        return False
    low, high = floor.outline
    for thing in things:
        if thing.shape in _PAINTED:
            continue
        off = np.array(thing.position[:2]) - places[:, :2]
        c, s = np.cos(places[:, 2]), np.sin(places[:, 2])
        own = np.stack([c * off[:, 0] + s * off[:, 1], c * off[:, 1] - s * off[:, 0]], axis=1)
        gap = np.linalg.norm(np.maximum(np.maximum(low - own, own - high), 0.0), axis=1)
        if gap.min() < footprint(thing) + margin:
            return False
    return True
