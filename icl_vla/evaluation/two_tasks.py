"""Two tasks' things in one scene, so that what was shown decides what is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from icl_vla_embodiments import ReportedError

from ..sim.driver import PyBulletDriver
from ..sim.families import draw
from ..sim.families.family import EVERYWHERE, TableTask, Zone
from ..sim.looks import PALETTE
from ..sim.operator import Stage
from ..sim.scene import ObjectSpec, Scene
from ..sim.task import NoRoom, footprint
from ..sim.workspace import Workspace
from .context import NEUTRAL

_TAG = " of the other"
_GAP = 0.035  # [m] between things
_ATTEMPTS = 60


class TwoTasks(TableTask):
    """A task beside another one; the judge and the operator are those of the one that counts.

    Args:
        own: Family and number of the first.
        other: The same of the second.
        counts: Which of the two, 0 or 1.
    """

    family = "two"

    def __init__(self, own: tuple[str, int], other: tuple[str, int], counts: int = 0) -> None:
        self.parts = (draw(*own), draw(*other, tag=_TAG))
        self.counts = counts
        super().__init__(own[1])
        self.name = f"{self.parts[0].name}+{self.parts[1].name}"

    def draw(self, rng: np.random.Generator) -> None:
        first, second = self.parts
        shared = set(first.roles) & set(second.roles)
        if shared:
            raise ReportedError(
                "two tasks cannot stand in one scene: their things have the same names",
                where=f"{first.name} and {second.name}",
                value=sorted(shared),
                remedy="take another family for the other task",
            )
        self.roles = {**first.roles, **second.roles}
        self.named = first.named | second.named
        self.steps = self.parts[self.counts].steps
        self.instruction = NEUTRAL

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        """The first task's scene, with the other one's things in it.

        Raises:
            NoRoom: There is none for both.
        """
        own, other = self.parts
        taken = {PALETTE[look.color] for look in other.roles.values()}
        for attempt in range(_ATTEMPTS):
            scene = own.sample(workspace, rng)
            # a distractor of the other task's colour might be meant; later, any may be in the way
            objects = [
                o
                for o in scene.objects
                if not o.name.startswith("other")
                or (o.color not in taken and attempt < _ATTEMPTS // 2)
            ]
            for role, look in other.roles.items():
                thing = other._thing(role, look, workspace, rng)
                zone = other.zones().get(role, EVERYWHERE)
                objects += _placed(thing, zone, objects, workspace, rng)
            whole = len({*self.roles} & {o.name for o in objects}) == len(self.roles)
            if whole and own.clear(objects) and other.clear(objects):
                return scene.with_(objects=tuple(objects))
        raise NoRoom("the table has no room for two tasks", where=self.name)

    def succeeded(self, driver: PyBulletDriver) -> bool:
        return self.parts[self.counts].succeeded(driver)

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        return self.parts[self.counts].stages(workspace, rng)

    def swapped(self) -> TableTask:
        """The part that does not count, for a judge who asks whether it was done instead."""
        return self.parts[1 - self.counts]


def unlike(own: tuple[str, int], family: str, number: int) -> int:
    """The first task of another family, from ``number`` on, whose things have other colours."""
    colors = {look.color for look in draw(*own).roles.values()}
    while colors & {look.color for look in draw(family, number).roles.values()}:
        number += 1
    return number


def _placed(
    thing: ObjectSpec,
    zone: Zone,
    others: Sequence[ObjectSpec],
    workspace: Workspace,
    rng: np.random.Generator,
) -> list[ObjectSpec]:
    """A thing where there is room beside the others; nothing where there is none."""
    x0, x1, y0, y1 = zone
    for _ in range(60):
        p = workspace.point(rng.uniform(x0, x1), rng.uniform(y0, y1))
        free = (
            np.linalg.norm(p - o.position[:2]) - footprint(o) - footprint(thing) for o in others
        )
        if all(gap > _GAP for gap in free):
            return [replace(thing, position=(float(p[0]), float(p[1]), thing.position[2]))]
    return []
