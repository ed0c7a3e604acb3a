"""Put a thing into a bowl."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments import se3

from ..driver import PyBulletDriver
from ..operator import Stage
from ..workspace import Workspace
from .family import GRASPABLE, Step, TableTask, apart, draw_looks, spec_of
from .motions import Hand, let_go, pick


class PlaceIn(TableTask):
    """A named thing lies in a named bowl; now and then there is a second bowl."""

    family = "place_in"

    def draw(self, rng: np.random.Generator) -> None:
        thing, bowl, decoy = draw_looks(rng, (GRASPABLE, ("bowl",), ("bowl",)))
        self.thing, self.bowl, other = self.names("thing", "bowl", "decoy")
        self.roles = {self.thing: thing, self.bowl: bowl}
        self.named = frozenset(self.roles)
        if rng.random() < 0.3 and not self.tag:
            self.roles[other] = decoy
        self.say(
            rng,
            f"put the {thing.words} in the {bowl.words}",
            f"place the {thing.words} into the {bowl.words}",
            f"drop the {thing.words} in the {bowl.words}",
            f"the {bowl.words} is where the {thing.words} belongs",
        )
        self.steps = (
            Step("grasp", thing.shape, closed=True),
            Step("place", bowl.shape, (0.0, 0.0, 1.0), closed=True),
        )

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The thing's middle is inside the upright bowl, and the hand touches neither."""
        T = driver.world.pose(self.bowl)
        size = spec_of(driver, self.bowl).size
        thing = driver.world.pose(self.thing)[:3, 3]
        inside = se3.act(se3.inverse(T), thing[None])[0]
        return bool(
            np.hypot(inside[0], inside[1]) < 0.5 * size[0]
            and abs(inside[2]) < 0.5 * size[2]
            and T[2, 2] > 0.95
            and apart(driver, self.thing)
            and apart(driver, self.bowl)
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        hand = Hand(workspace)
        edge = self.size(self.thing, self.roles[self.thing], workspace)[2]
        rim = self.size(self.bowl, self.roles[self.bowl], workspace)[2]
        lift = rim + edge + float(rng.uniform(0.3, 0.6)) * workspace.start_height
        release = rim + 0.5 * edge + float(rng.uniform(0.005, 0.015))
        return [
            *pick(hand, self.thing, edge, 0.5 * edge, lift),
            *let_go(hand, hand.over(self.bowl, release), hand.over(self.bowl, lift)),
        ]
