"""What families of tasks for bases share: a floor, a start from which there is a way, a goal."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.types import Array
from icl_vla_wbc.mobile.path import wrap
from icl_vla_wbc.mobile.request import planar

from ...runtime.mobile import BASE
from ..driver import PyBulletDriver
from ..driving import BaseOperator, find_manner, way_is_free
from ..floor import Floor, Mover
from ..operator import Stage
from ..scene import ObjectSpec, Scene
from ..workspace import Workspace
from .family import TableTask

NEAR, TURNED = 0.05, np.deg2rad(10)  # [m], [rad] of the base's own place
_MARGIN = 0.05  # [m] between the body and things on a way
_STARTS, _LAYOUTS = 60, 30
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
        assert isinstance(workspace, Floor)
        return BaseOperator(workspace, self.stages(workspace, rng), rng, find_manner(style))

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        assert isinstance(workspace, Floor)

        def goal(index: int) -> Callable[[PyBulletDriver], Array]:
            return lambda driver: pose(self.route(on_floor(driver), workspace)[index])

        count = len(self.route(lambda name: np.zeros(2), workspace))
        return [Stage(goal(i), 1.0, tolerance=0.02) for i in range(count)]

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        """A scene in which the base stands where there is a free way to where it has to go.

        Raises:
            ReportedError: None was found.
        """
        assert isinstance(workspace, Floor)
        for _ in range(_LAYOUTS):
            objects = self._objects(workspace, rng)
            start = self._start(objects, workspace, rng)
            if start is not None:
                shade = rng.uniform(0.45, 0.85)
                return Scene(
                    tuple(objects),
                    {"front": workspace.camera()},
                    start={BASE: (start[0], start[1], 0.0, 0.0, 0.0, start[2])},
                    table_color=(shade, 0.98 * shade, 0.94 * shade),
                    light=(rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), 1.0),
                    seed=int(rng.integers(2**31)),
                    half=max(workspace.half) + 4 * workspace.radius,
                )
        raise ReportedError("there is no free way on the floor", where=self.name)

    def _start(
        self, objects: Sequence[ObjectSpec], floor: Floor, rng: np.random.Generator
    ) -> tuple[float, float, float] | None:
        places = {o.name: np.array(o.position[:2]) for o in objects}
        route = self.route(lambda name: places[name], floor)
        solid = [o for o in objects if o.name not in self.pushed()]
        for a, b in pairwise(route):
            if not way_is_free(floor, a, b, solid, _MARGIN):
                return None
        for _ in range(_STARTS):
            p = floor.point(*rng.uniform(-0.8, 0.8, 2))
            start = np.array([*p, rng.uniform(-np.pi, np.pi)])
            if np.linalg.norm(start[:2] - route[0][:2]) < _AWAY:
                continue
            if way_is_free(floor, start, route[0], objects, _MARGIN):
                return float(start[0]), float(start[1]), float(start[2])
        return None


def pose(place: Array) -> Array:
    """``(4, 4)`` of x, y and heading."""
    return se3.pose(se3.yaw(place[2]), [place[0], place[1], 0.0])


def on_floor(driver: PyBulletDriver) -> Where:
    """Where things are now."""
    return lambda name: np.asarray(driver.world.pose(name)[:2, 3])


def base_place(driver: PyBulletDriver) -> Array:
    """``(3,)`` x, y and heading of the base now."""
    q = driver.observe(cameras=False).q
    assert q is not None
    return planar(driver.model.poses(q)[BASE])


def is_at(driver: PyBulletDriver, place: Array) -> bool:
    """Whether the base stands at a place ``(3,)``, to 5 cm and 10 degrees."""
    here = base_place(driver)
    off = float(np.linalg.norm(here[:2] - place[:2]))
    return off <= NEAR and abs(float(wrap(here[2] - place[2]))) <= TURNED


def heading(a: Array, b: Array) -> float:
    """Direction [rad] from one place ``(2,)`` to another."""
    return float(np.arctan2(b[1] - a[1], b[0] - a[0]))
