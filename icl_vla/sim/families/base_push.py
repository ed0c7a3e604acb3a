"""Push a thing to a mark with the front of the base."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..floor import Floor
from ..operator import Stage
from ..scene import ObjectSpec
from ..workspace import Workspace
from .driven import DrivenTask, Where, base_place, floor_of, heading, on_floor, pose
from .family import Step, apart, draw_looks, offset
from .motions import corridor_is_free

_GAP = 0.12  # [m] between the base's front and the thing before a push
_WAY = (0.35, 0.9)  # [m] that a thing is pushed
_CLOSE, _AIM = 0.01, 0.006  # [m] of the thing to its place in the end, and what is aimed at
_SHORT = 0.04  # [m] before the mark: the rest is pushed slowly, by where the thing then is
_TRIES = 3


class BasePush(DrivenTask):
    """A named thing stands on a named mark, and the base has left it."""

    family = "base_push"

    def draw(self, rng: np.random.Generator) -> None:
        thing, mark = draw_looks(rng, (("cylinder",), ("mark",)))  # a cube would turn
        self.thing, self.mark = self.names("thing", "mark")
        self.roles = {self.thing: thing, self.mark: mark}
        self.named = frozenset(self.roles)
        self.say(
            rng,
            f"push the {thing.words} onto the {mark.words}",
            f"shove the {thing.words} over to the {mark.words} with your front",
            f"drive the {thing.words} to the {mark.words}",
        )
        self.steps = (Step("drive", thing.shape), Step("push", "mark"))

    def pushed(self) -> frozenset[str]:
        return frozenset({self.thing})

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        placed = {o.name: o for o in objects}
        thing, mark = placed[self.thing], placed[self.mark]
        a, b = np.array(thing.position[:2]), np.array(mark.position[:2])
        rest = [o for o in objects if o.name not in self.roles]
        length = float(np.linalg.norm(b - a))
        return _WAY[0] <= length <= _WAY[1] and corridor_is_free(rest, a, b, thing)

    def route(self, where: Where, floor: Floor) -> list[Array]:
        """Behind the thing, and where the base's front has brought it to the mark."""
        thing, mark = where(self.thing), where(self.mark)
        turn = heading(thing, mark)
        along = np.array([np.cos(turn), np.sin(turn)])
        ahead = floor.outline[1, 0] + 0.5 * self._wide(floor)
        return [
            np.array([*(thing - (ahead + _GAP) * along), turn]),
            np.array([*(mark - ahead * along), turn]),
        ]

    def _wide(self, workspace: Workspace) -> float:
        return self.size(self.thing, self.roles[self.thing], workspace)[0]

    def there(self, driver: PyBulletDriver, close: float = _CLOSE) -> bool:
        """Whether the thing stands on the mark, to 1 cm or closer."""
        off = float(np.linalg.norm(offset(driver, self.thing, self.mark)[:2]))
        return off <= close and driver.world.pose(self.thing)[2, 2] > 0.98

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The thing is there to 1 cm, upright, and the base has left it."""
        return self.there(driver) and apart(driver, self.thing)

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        floor = floor_of(workspace)

        def done(driver: PyBulletDriver) -> bool:
            return self.there(driver, _AIM)

        def behind(driver: PyBulletDriver) -> Array:
            return pose(self.route(on_floor(driver), floor)[0])

        def almost(driver: PyBulletDriver) -> Array:
            T = pose(self.route(on_floor(driver), floor)[1])
            T[:3, 3] -= _SHORT * T[:3, 0]
            return T

        def on(driver: PyBulletDriver) -> Array:
            """As far ahead as the thing still has to go."""
            where = on_floor(driver)
            T = pose(base_place(driver))
            T[:2, 3] += T[:2, 0] * float((where(self.mark) - where(self.thing)) @ T[:2, 0])
            return T

        def back(driver: PyBulletDriver) -> Array:
            T = pose(base_place(driver))
            T[:3, 3] -= 0.15 * T[:3, 0]
            return T

        begin = Stage(behind, 1.0, tolerance=0.006, unless=done)
        push = Stage(almost, 1.0, straight=True, speed=0.7, unless=done)
        rest = Stage(on, 1.0, straight=True, speed=0.3, unless=done)
        away = Stage(back, 1.0, tolerance=0.02, straight=True)
        return [stage for _ in range(_TRIES) for stage in (begin, push, rest, rest, away)]
