"""Drive to a mark and stand there in the direction asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..floor import Floor
from ..scene import ObjectSpec
from .driven import DrivenTask, Where, heading, is_at, on_floor
from .family import GRASPABLE, Step, draw_looks

_APART = 0.45  # [m] at least between mark and thing


class GoTo(DrivenTask):
    """The base stands on a named mark and faces, or turns its back to, a named thing."""

    family = "go_to"

    def draw(self, rng: np.random.Generator) -> None:
        mark, thing = draw_looks(rng, (("mark",), GRASPABLE))
        self.mark, self.thing = self.names("mark", "thing")
        self.roles = {self.mark: mark, self.thing: thing}
        self.named = frozenset(self.roles)
        self.turn = 0.0 if rng.random() < 0.5 else np.pi
        if self.turn:
            self.say(
                rng,
                f"drive onto the {mark.words} and turn your back to the {thing.words}",
                f"park on the {mark.words}, facing away from the {thing.words}",
                f"go to the {mark.words} and look away from the {thing.words}",
            )
        else:
            self.say(
                rng,
                f"drive onto the {mark.words} and face the {thing.words}",
                f"park on the {mark.words}, facing the {thing.words}",
                f"go to the {mark.words} and look at the {thing.words}",
            )
        self.steps = (Step("drive", "mark"), Step("face", thing.shape, turn=self.turn, dwell=True))

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        placed = {o.name: np.array(o.position[:2]) for o in objects}
        return bool(np.linalg.norm(placed[self.mark] - placed[self.thing]) > _APART)

    def route(self, where: Where, floor: Floor) -> list[Array]:
        mark = where(self.mark)
        return [np.array([*mark, heading(mark, where(self.thing)) + self.turn])]

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The base is there to 5 cm and 10 degrees, and the thing stands."""
        where = on_floor(driver)
        mark = where(self.mark)
        there = np.array([*mark, heading(mark, where(self.thing)) + self.turn])
        return bool(is_at(driver, there) and driver.world.pose(self.thing)[2, 2] > 0.98)
