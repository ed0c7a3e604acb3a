"""Follow a thing that goes ahead, and stop behind it where it stops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..driving import way_is_free
from ..floor import Floor
from ..operator import Stage
from ..scene import Scene, Walk
from ..workspace import Workspace
from .driven import (
    LAYOUTS,
    MARGIN,
    DrivenTask,
    Where,
    floor_of,
    heading,
    is_at,
    laid,
    on_floor,
    pose,
    standing,
)
from .family import GRASPABLE, Step, draw_looks

_BEHIND, _NEAR = 0.5, 0.75  # [m] of the base behind the leader, and while it goes on
_SPEED = 0.2  # [m/s]
_ARRIVED = 0.005  # [m]
_CHASES = 10


class BaseFollow(DrivenTask):
    """The base stands half a metre behind a named thing that has come to rest, and faces it."""

    family = "base_follow"

    def draw(self, rng: np.random.Generator) -> None:
        (look,) = draw_looks(rng, (GRASPABLE,))
        (self.leader,) = self.names("leader")
        self.roles, self.named = {self.leader: look}, frozenset({self.leader})
        self.lengths = tuple(float(x) for x in rng.uniform(0.35, 0.6, 2))
        self.bend = float(rng.choice([-1, 1]) * rng.uniform(0.3, 0.9))  # [rad]
        self.say(
            rng,
            f"follow the {look.words} and stop behind it",
            f"drive behind the {look.words} wherever it goes",
            f"keep after the {look.words} until it stops",
        )
        self.steps = (Step("drive", look.shape), Step("follow", look.shape, turn=self.bend))

    def route(self, where: Where, floor: Floor) -> list[Array]:
        return []

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        """A scene with a free way for the leader and for the base behind it.

        Raises:
            ReportedError: There is none, or the robot is at a table.
        """
        floor = floor_of(workspace)
        for _ in range(10 * LAYOUTS):
            objects = self._objects(floor, rng)
            first = next(o for o in objects if o.name == self.leader)
            rest = [o for o in objects if o.name != self.leader]
            turn = float(rng.uniform(-np.pi, np.pi))
            places = [np.array(first.position[:2])]
            for length, angle in zip(self.lengths, (turn, turn + self.bend), strict=True):
                places.append(places[-1] + length * np.array([np.cos(angle), np.sin(angle)]))
            if np.abs(places).max() > max(floor.half):
                continue
            stops = [behind(places[0], places[1], 0), *(behind(a, b) for a, b in pairwise(places))]
            ways = [*pairwise(stops), (stops[-1], np.array([*places[-1], stops[-1][2]]))]
            if not all(way_is_free(floor, a, b, rest, MARGIN) for a, b in ways):
                continue
            start = standing(objects, floor, stops[0], rng)
            if start is not None:
                route = tuple((float(p[0]), float(p[1])) for p in places)
                walk = Walk(self.leader, route, _SPEED, _NEAR)
                return laid(objects, floor, start, rng).with_(walk=walk)
        raise ReportedError("there is no free way on the floor", where=self.name)

    def behind(self, driver: PyBulletDriver) -> Array:
        """Where the base belongs now ``(3,)``: on the leader's way, half a metre behind."""
        walk = driver.world.scene.walk
        assert walk is not None
        here, places = on_floor(driver)(self.leader), np.array(walk.places)
        # on its last leg where it is nearer to the end than the last corner is
        last = np.linalg.norm(here - places[-1]) < np.linalg.norm(places[-2] - places[-1]) - 1e-3
        a, b = (places[-2], places[-1]) if last else (places[0], places[1])
        return behind(here - (b - a), here)

    def arrived(self, driver: PyBulletDriver) -> bool:
        """Whether the leader is at its end."""
        walk = driver.world.scene.walk
        assert walk is not None
        left = on_floor(driver)(self.leader) - np.array(walk.places[-1])
        return float(np.linalg.norm(left)) < _ARRIVED

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The leader has been followed to its end; the base is there to 5 cm and 10 degrees."""
        return self.arrived(driver) and is_at(driver, self.behind(driver))

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        def goal(driver: PyBulletDriver) -> Array:
            return pose(self.behind(driver))

        def done(driver: PyBulletDriver) -> bool:
            return self.succeeded(driver)

        return [Stage(goal, 1.0, tolerance=0.03, unless=done)] * _CHASES


def behind(a: Array, b: Array, share: float = 1.0) -> Array:
    """``(3,)`` behind a thing that has gone a share of the way between two places."""
    turn = heading(a, b)
    back = _BEHIND * np.array([np.cos(turn), np.sin(turn)])
    return np.array([*(a + share * (b - a) - back), turn])
