"""What families of tasks for bases share: a floor, a start from which there is a way, a goal."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from icl_vla_embodiments import ReportedError, se2, se3
from icl_vla_embodiments.types import Array

from ...runtime.mobile import BASE
from ..driver import PyBulletDriver
from ..driving import BaseOperator, find_manner, way_is_free
from ..floor import Floor, Mover
from ..operator import Stage
from ..scene import ObjectSpec, Scene
from ..workspace import Workspace
from .family import TableTask

NEAR, TURNED = 0.05, np.deg2rad(10)  # [m], [rad] of the base's own place
MARGIN = 0.05  # [m] between the body and things on a way
_STARTS, LAYOUTS = 60, 30
_AWAY = 0.4  # [m] at least from the start to the first place
Where = Callable[[str], Array]  # thing -> its place ``(2,)`` on the floor


class DrivenTask(TableTask):
    """A task that a base does, or a base and what it carries."""

    mover: ClassVar[Mover] = "base"
    gap: ClassVar[float] = 0.12

    @abstractmethod
    def route(self, where: Where, floor: Floor) -> list[Array]:
        """Poses of the base ``(3,)`` that are driven to freely, in this order."""

    def pushed(self) -> frozenset[str]:
        """Things that are no obstacles, as they are meant to be touched."""
        return frozenset()

    def operator(self, style: str, workspace: Workspace, rng: np.random.Generator) -> BaseOperator:
        """Who drives in a style."""
        floor = floor_of(workspace)
        return BaseOperator(floor, self.stages(floor, rng), rng, find_manner(style))

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        floor = floor_of(workspace)

        def goal(index: int) -> Callable[[PyBulletDriver], Array]:
            return lambda driver: pose(self.route(on_floor(driver), floor)[index])

        count = len(self.route(lambda name: np.zeros(2), floor))
        return [Stage(goal(i), 1.0, tolerance=0.02) for i in range(count)]

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        """A scene in which the base stands where there is a free way to where it has to go.

        Raises:
            ReportedError: None was found, or the robot is at a table.
        """
        floor = floor_of(workspace)
        for _ in range(LAYOUTS):
            objects = self._objects(floor, rng)
            start = self._start(objects, floor, rng)
            if start is not None:
                return laid(objects, floor, start, rng)
        raise ReportedError("there is no free way on the floor", where=self.name)

    def _start(
        self, objects: Sequence[ObjectSpec], floor: Floor, rng: np.random.Generator
    ) -> Array | None:
        places = {o.name: np.array(o.position[:2]) for o in objects}
        route = self.route(lambda name: places[name], floor)
        solid = [o for o in objects if o.name not in self.pushed()]
        for a, b in pairwise(route):
            if not way_is_free(floor, a, b, solid, MARGIN):
                return None
        return standing(objects, floor, route[0], rng)


def standing(
    objects: Sequence[ObjectSpec], floor: Floor, goal: Array, rng: np.random.Generator
) -> Array | None:
    """A place ``(3,)`` from which there is a free way to a place; None where none was found."""
    for _ in range(_STARTS):
        p = floor.point(*rng.uniform(-0.8, 0.8, 2))
        start = np.array([*p, rng.uniform(-np.pi, np.pi)])
        away = np.linalg.norm(start[:2] - goal[:2]) > _AWAY
        if away and way_is_free(floor, start, goal, objects, MARGIN):
            return start
    return None


def laid(
    objects: Sequence[ObjectSpec], floor: Floor, start: Array, rng: np.random.Generator
) -> Scene:
    """A floor with things on it, and the base at a place ``(3,)``."""
    shade = rng.uniform(0.45, 0.85)
    return Scene(
        tuple(objects),
        {"front": floor.camera()},
        start={BASE: (float(start[0]), float(start[1]), 0.0, 0.0, 0.0, float(start[2]))},
        table_color=(shade, 0.98 * shade, 0.94 * shade),
        light=(rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), 1.0),
        seed=int(rng.integers(2**31)),
        half=max(floor.half) + 4 * floor.radius,
    )


def floor_of(workspace: Workspace) -> Floor:
    """The floor that a task is done on.

    Raises:
        ReportedError: The robot stands at a table.
    """
    if not isinstance(workspace, Floor):
        raise ReportedError(
            "this task is for robots that drive or walk about, on a floor",
            value=f"{workspace.effector}, at a table",
            remedy="icl-vla benchmark run bases",
        )
    return workspace


def pose(place: Array) -> Array:
    """``(4, 4)`` of x, y and heading."""
    return se3.pose(se3.yaw(place[2]), [place[0], place[1], 0.0])


def on_floor(driver: PyBulletDriver) -> Where:
    """Where things are now."""
    return lambda name: np.asarray(driver.world.pose(name)[:2, 3])


def base_place(driver: PyBulletDriver) -> Array:
    """``(3,)`` x, y and heading of the base now."""
    return se2.planar(driver.tool(BASE))


def is_at(driver: PyBulletDriver, place: Array) -> bool:
    """Whether the base stands at a place ``(3,)``, to 5 cm and 10 degrees."""
    here = base_place(driver)
    off = float(np.linalg.norm(here[:2] - place[:2]))
    return off <= NEAR and abs(float(se2.wrap(here[2] - place[2]))) <= TURNED


def heading(a: Array, b: Array) -> float:
    """Direction [rad] from one place ``(2,)`` to another."""
    return float(np.arctan2(b[1] - a[1], b[0] - a[0]))
