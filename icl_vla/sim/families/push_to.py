"""Push a thing to a mark, or against another thing's side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..operator import Stage
from ..scene import ObjectSpec
from ..task import footprint
from ..workspace import Workspace
from .family import GRASPABLE, Step, TableTask, Zone, apart, draw_looks, offset
from .motions import SIDES, Hand, corridor_is_free, push_along, side

_GAP = 0.01  # [m] at most between things that stand side by side
_SLANT = 0.7  # [rad] at most between the way of a push and the side that it ends at
_SHORTEST = 0.05  # [m] that a thing is pushed


class PushTo(TableTask):
    """A named thing is slid onto a mark, or up against one side of a named thing."""

    family = "push_to"
    gap = 0.03

    def draw(self, rng: np.random.Generator) -> None:
        self.side = "" if rng.random() < 0.5 else str(rng.choice(list(SIDES)))
        thing, other = draw_looks(rng, (GRASPABLE, GRASPABLE if self.side else ("mark",)))
        self.thing, self.other = self.names("thing", "goal")
        self.roles = {self.thing: thing, self.other: other}
        self.named = frozenset(self.roles)
        if self.side:
            self.say(
                rng,
                f"push the {thing.words} {self.side} the {other.words}, close beside it",
                f"slide the {thing.words} up to the {other.words}, so that it is {self.side} it",
                f"shove the {thing.words} next to the {other.words}, {self.side} it",
            )
            along = 1.0 * side(self.side)
            step = Step("push", other.shape, (along[0], along[1], 0.0), closed=True)
        else:
            self.say(
                rng,
                f"push the {thing.words} to the {other.words}",
                f"slide the {thing.words} onto the {other.words}",
                f"shove the {thing.words} over to the {other.words}",
                f"move the {thing.words} across the table to the {other.words}",
            )
            step = Step("push", other.shape, closed=True)
        self.steps = (Step("reach", thing.shape), step)

    def zones(self) -> dict[str, Zone]:
        if not self.side:
            return {self.thing: (-0.55, 0.55, -0.6, 0.6), self.other: (-0.85, 0.85, -0.85, 0.85)}
        x, y = side(self.side)
        if x:
            near, far = sorted((0.05 * x, 0.5 * x)), sorted((-0.95 * x, -0.35 * x))
            return {self.thing: (*near, -0.7, 0.7), self.other: (*far, -0.7, 0.7)}
        near, far = sorted((0.0 * y, 0.65 * y)), sorted((-0.9 * y, -0.3 * y))
        return {self.thing: (-0.55, 0.55, *near), self.other: (-0.6, 0.6, *far)}

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        """The way is free, long enough, and does not come at the side too slantingly."""
        placed = {o.name: o for o in objects}
        thing, other = placed[self.thing], placed[self.other]
        start, goal = np.array(thing.position[:2]), np.array(other.position[:2])
        if self.side:
            goal = goal + side(self.side) * (footprint(thing) + footprint(other))
        way = goal - start
        length = float(np.linalg.norm(way))
        if length < _SHORTEST:
            return False
        if self.side and -way @ side(self.side) < length * np.cos(_SLANT):
            return False
        rest = [o for o in objects if o.name not in (self.thing, self.other)]
        return corridor_is_free(rest, start, goal, thing)

    def left(self, driver: PyBulletDriver) -> Array:
        """``(2,)`` [m] that the thing still has to go."""
        off = offset(driver, self.thing, self.other)[:2]  # from the other to the thing
        if not self.side:
            return -off
        along = side(self.side)
        across = off - (off @ along) * along
        return -across - (self.clearance(driver) - 0.003) * along

    def clearance(self, driver: PyBulletDriver) -> float:
        """Distance between the surfaces of the two things [m]."""
        world = driver.world
        bodies = world.bodies[self.thing], world.bodies[self.other]
        return min((float(c[8]) for c in world.client.getClosestPoints(*bodies, 1.0)), default=1.0)

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The thing is there to 1 cm, upright, and the hand has left it."""
        return self.there(driver) and apart(driver, self.thing)

    def there(self, driver: PyBulletDriver) -> bool:
        """Whether nothing is left to push."""
        off = offset(driver, self.thing, self.other)[:2]
        if self.side:
            along = side(self.side)
            across = float(np.linalg.norm(off - (off @ along) * along))
            beside = off @ along > 0 and across <= 0.01
            there = bool(beside and self.clearance(driver) <= _GAP)
        else:
            there = bool(np.linalg.norm(off) <= 0.01)
        return bool(there and driver.world.pose(self.thing)[2, 2] > 0.98)

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        edge = self.size(self.thing, self.roles[self.thing], workspace)[0]
        hand = Hand(workspace)
        back = float(rng.uniform(0.03, 0.04))
        return push_along(hand, self.thing, self.left, edge, back, self.there)
