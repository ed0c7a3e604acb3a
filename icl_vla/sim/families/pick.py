"""Lift a thing and hold it up."""

from __future__ import annotations

import numpy as np

from ..driver import PyBulletDriver
from ..operator import Stage
from ..workspace import Workspace
from .family import GRASPABLE, Step, TableTask, draw_looks, spec_of
from .motions import Hand, pick

CLEAR = 0.03  # [m] that a thing that is held up is over the table at least


class Pick(TableTask):
    """A named thing hangs in the hand, well above the table."""

    family = "pick"

    def draw(self, rng: np.random.Generator) -> None:
        (look,) = draw_looks(rng, (GRASPABLE,))
        (self.thing,) = self.names("thing")
        self.height = float(rng.uniform(1.2, 2.2))  # of the hand, in openings of the gripper
        self.roles, self.named = {self.thing: look}, frozenset({self.thing})
        self.say(
            rng,
            f"pick up the {look.words}",
            f"lift the {look.words} and hold it up",
            f"take the {look.words} in your hand and raise it",
            f"grab the {look.words} off the table",
        )
        self.steps = (
            Step("grasp", look.shape, closed=True),
            Step("lift", look.shape, (0.0, 0.0, self.height), closed=True, dwell=True),
        )

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The thing is in the hand, 3 cm over the table, and stands as it stood."""
        T = driver.world.pose(self.thing)
        return bool(
            T[2, 3] - 0.5 * spec_of(driver, self.thing).size[2] >= CLEAR
            and T[2, 2] > 0.98
            and driver.world.touching(self.thing, driver.body)
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        edge = self.size(self.thing, self.roles[self.thing], workspace)[2]
        lift = 0.5 * edge + max(self.height * workspace.aperture, CLEAR + 0.02)
        return pick(Hand(workspace), self.thing, edge, 0.5 * edge, lift)
