"""Put one thing on top of another."""

from __future__ import annotations

import numpy as np

from ..driver import PyBulletDriver
from ..looks import Look
from ..operator import Stage
from ..workspace import Workspace
from .family import GRASPABLE, Step, TableTask, apart, draw_looks, offset, spec_of
from .motions import Hand, let_go, pick


class Stack(TableTask):
    """A named cube rests on a named larger one."""

    family = "stack"

    def draw(self, rng: np.random.Generator) -> None:
        upper, lower = draw_looks(rng, (("box",), GRASPABLE), patterned=0.2)
        self.roles = {"upper": upper, "lower": lower}
        self.named = frozenset(self.roles)
        self.say(
            rng,
            f"stack the {upper.words} on the {lower.words}",
            f"put the {upper.words} on top of the {lower.words}",
            f"build a tower of the {lower.words} with the {upper.words} above",
        )
        self.steps = (
            Step("grasp", upper.shape, closed=True),
            Step("place", lower.shape, (0.0, 0.0, 1.0), closed=True),
        )

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        edge, _, _ = super().size(role, look, workspace)
        return (1.3 * edge, 1.3 * edge, edge) if role == "lower" else (edge, edge, edge)

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The upper one stands on the lower one, to 1 cm, let go."""
        off = offset(driver, "upper", "lower")
        heights = [spec_of(driver, name).size[2] for name in ("upper", "lower")]
        return bool(
            np.hypot(off[0], off[1]) <= 0.01
            and abs(off[2] - 0.5 * sum(heights)) < 0.004
            and driver.world.pose("upper")[2, 2] > 0.98
            and apart(driver, "upper")
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        hand = Hand(workspace)
        edges = {role: self.size(role, look, workspace)[2] for role, look in self.roles.items()}
        half, below = 0.5 * edges["upper"], edges["lower"]
        lift = 0.65 * workspace.start_height + below
        return [
            *pick(hand, "upper", edges["upper"], half, lift),
            *let_go(hand, hand.over("lower", below + half + 0.002), hand.over("lower", lift)),
        ]
