"""Press buttons with the closed hand."""

from __future__ import annotations

import numpy as np

from ..driver import PyBulletDriver
from ..fixtures import TRAVEL
from ..operator import Stage
from ..workspace import Workspace
from .family import EVERYWHERE, Step, TableTask, Zone, apart, draw_looks, spec_of
from .motions import Hand, press


class Press(TableTask):
    """Named buttons are down, the other buttons are not; they stay where they are pressed to."""

    family = "press"

    def draw(self, rng: np.random.Generator) -> None:
        count = 1 if self.tag else int(rng.integers(1, 3))
        others = 0 if self.tag else int(rng.integers(0, 4 - count))
        looks = draw_looks(rng, (("button",),) * (count + others))
        names = self.names(*(f"button{i}" for i in range(count + others)))
        self.wanted, self.spared = names[:count], names[count:]
        self.roles = dict(zip(names, looks, strict=True))
        self.named = frozenset(self.wanted)
        words = " and the ".join(self.roles[name].words for name in self.wanted)
        self.say(
            rng,
            f"press the {words}",
            f"push down the {words}",
            f"hit the {words}",
            f"use your hand to push the {words} in",
        )
        self.steps = tuple(Step("press", "button", closed=True) for _ in self.wanted)

    def zones(self) -> dict[str, Zone]:
        x0, x1, y0, y1 = EVERYWHERE
        return {name: (0.9 * x0, 0.9 * x1, 0.9 * y0, 0.9 * y1) for name in self.roles}

    def down(self, driver: PyBulletDriver, name: str) -> bool:
        """Whether a button is pressed: nine tenths of the way or more."""
        way = TRAVEL * spec_of(driver, name).size[2]
        return bool(driver.world.joint(name) >= 0.9 * way)

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The named buttons are down, no other is, and the hand has left them."""
        return all(self.down(driver, n) and apart(driver, n) for n in self.wanted) and not any(
            self.down(driver, n) for n in self.spared
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        hand = Hand(workspace, yaw=float(rng.uniform(-0.4, 0.4)))
        stages: list[Stage] = []
        for name in self.wanted:
            height = self.size(name, self.roles[name], workspace)[2]
            stages += press(hand, name, (1.0 - TRAVEL) * height, 1.6 * height)
        return stages
