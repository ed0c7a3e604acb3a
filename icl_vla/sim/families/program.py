"""Two or three tasks in one: all their goals hold in the end, in whatever order they were met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..driver import PyBulletDriver
from ..looks import Look
from ..operator import Stage
from ..scene import ObjectSpec
from ..workspace import Workspace
from . import draw
from .family import TableTask, Zone

_PARTS = ("place_in", "push_to", "press", "align", "lid")
_LAST = ("pick", "reach")  # what cannot be left while something else is done
_THINGS, _COLORS = 5, 6  # of all parts together: room on the table, colours left for distractors
_SEEDS = 900_000  # a program of the test is made of the test's tasks


class Program(TableTask):
    """Several tasks of trained families, of different families and with different colours."""

    family = "program"

    def draw(self, rng: np.random.Generator) -> None:
        while True:
            self.parts = self._drawn(rng)
            colors = [look.color for part in self.parts for look in part.roles.values()]
            if len(colors) == len(set(colors)) <= _THINGS:
                break
        self.roles = {name: look for part in self.parts for name, look in part.roles.items()}
        self.named = frozenset().union(*(part.named for part in self.parts))
        self.steps = tuple(step for part in self.parts for step in part.steps)
        sentences = zip(*(part.sentences for part in self.parts), strict=False)
        self.say(rng, *(_joined(said) for said in sentences))

    def _drawn(self, rng: np.random.Generator) -> list[TableTask]:
        count = int(rng.integers(2, 4))
        families = [str(f) for f in rng.choice(_PARTS, size=count, replace=False)]
        if rng.random() < 0.25:
            families[-1] = str(rng.choice(_LAST))
        first = _SEEDS * (self.seed // _SEEDS)
        return [
            draw(family, first + int(rng.integers(_SEEDS)), f"{self.tag}_{i}")
            for i, family in enumerate(families)
        ]

    def _of(self, role: str) -> TableTask | None:
        return next((part for part in self.parts if role in part.roles), None)

    def zones(self) -> Mapping[str, Zone]:
        return {name: zone for part in self.parts for name, zone in part.zones().items()}

    def turns(self) -> Mapping[str, tuple[float, float]]:
        return {name: turn for part in self.parts for name, turn in part.turns().items()}

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        part = self._of(role)
        sized = super().size if part is None else part.size
        return sized(role, look, workspace)

    def _thing(
        self, name: str, look: Look, workspace: Workspace, rng: np.random.Generator
    ) -> ObjectSpec:
        part = self._of(name)
        made = super()._thing if part is None else part._thing
        return made(name, look, workspace, rng)

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        """Each part can be done, before and after the others."""
        for part in self.parts:
            # another part's mark may have a thing on it by then
            seen = [
                o if o.name in part.roles or o.shape != "mark" else replace(o, shape="cylinder")
                for o in objects
            ]
            if not part.clear(seen):
                return False
        return True

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """Every part's goal holds."""
        return all(part.succeeded(driver) for part in self.parts)

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        """The parts in any order, but open lids are in the way: shut first, opened last."""
        order = sorted(rng.permutation(len(self.parts)), key=lambda i: _when(self.parts[i]))
        return [stage for i in order for stage in self.parts[i].stages(workspace, rng)]


def _when(part: TableTask) -> int:
    """Ranks what has to be done before or after the rest."""
    if part.family in _LAST:
        return 3
    if part.family == "lid":
        return 2 if getattr(part, "opens", False) else 0
    return 1


def _joined(sentences: Sequence[str]) -> str:
    """One sentence of several; it says no order, as none is judged."""
    return ", ".join(sentences[:-1]) + ", and " + sentences[-1]
