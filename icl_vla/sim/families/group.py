"""What tasks about a group of small things that look alike share."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from ..looks import Look
from ..workspace import Workspace
from .family import GRASPABLE, Step, TableTask, draw_looks

_SMALL = 0.6  # edge of what is pushed, relative to usual things
_PLURAL = {"box": "cubes", "cylinder": "cylinders"}


class GroupTask(TableTask):
    """Small things of one look are pushed with the closed hand, one after another, and a zone.

    Attributes:
        count: Of the things.
        group: Their names.
    """

    between: ClassVar[tuple[int, int]]  # least, and one more than most

    def draw(self, rng: np.random.Generator) -> None:
        small, zone = draw_looks(rng, (GRASPABLE, ("mark",)))
        self.count = int(rng.integers(*self.between))
        self.group = tuple(f"small{i}" for i in range(self.count))
        self.roles = {"zone": zone, **dict.fromkeys(self.group, small)}
        self.named = frozenset(self.roles)
        self.say(rng, *self.asked(small.called(_PLURAL[small.shape]), zone.called("circle")))
        push = Step("push", small.shape, (1.0, 0.0, 0.0), closed=True)
        self.steps = (Step("reach", small.shape, (-1.0, 0.0, 0.0)), push) * self.count

    @abstractmethod
    def asked(self, what: str, where: str) -> tuple[str, ...]:
        """Sentences that ask for it."""

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        if role == "zone":
            return (2.2 * workspace.aperture, 2.2 * workspace.aperture, 0.001)
        x, y, z = super().size(role, look, workspace)
        return (_SMALL * x, _SMALL * y, _SMALL * z)
