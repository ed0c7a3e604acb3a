"""Hold the hand above a thing."""

from __future__ import annotations

import numpy as np

from ..driver import PyBulletDriver
from ..operator import Stage
from ..workspace import Workspace
from .family import GRASPABLE, Step, TableTask, draw_looks
from .motions import Hand


class Reach(TableTask):
    """The tool comes to rest above a named thing, without touching it."""

    family = "reach"

    def draw(self, rng: np.random.Generator) -> None:
        (look,) = draw_looks(rng, (GRASPABLE,))
        self.height = float(rng.uniform(1.0, 2.0))  # above its top, in openings of the gripper
        (self.thing,) = self.names("thing")
        self.roles, self.named = {self.thing: look}, frozenset({self.thing})
        self.say(
            rng,
            f"hold the hand over the {look.words}",
            f"hover above the {look.words}",
            f"bring your hand to a stop right above the {look.words}",
            f"point down at the {look.words} from above",
        )
        self.steps = (Step("reach", look.shape, (0.0, 0.0, self.height), dwell=True),)

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The tool is within 1 cm of the vertical through the thing, and the thing stands."""
        (arm,) = {g.effector for g in driver.model.embodiment.of_kind("gripper")} or {""}
        tool = driver.tool(arm)[:3, 3]
        T = driver.world.pose(self.thing)
        off = float(np.linalg.norm(tool[:2] - T[:2, 3]))
        return off <= 0.01 and tool[2] < 0.25 and T[2, 2] > 0.98

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        hand = Hand(workspace)
        height = (0.5 + self.height) * workspace.aperture
        return [Stage(hand.over(self.thing, height), 1.0, tolerance=0.004, dwell=8)]
