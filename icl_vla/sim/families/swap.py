"""Let two things change places."""

from __future__ import annotations

import numpy as np

from ..driver import PyBulletDriver
from ..operator import Stage
from ..scene import ObjectSpec, Scene
from ..workspace import Workspace
from .family import GRASPABLE, Step, TableTask, apart, draw_looks, offset
from .motions import Goal, Hand, let_go, pick

_PAPER = (0.95, 0.94, 0.90)


class Swap(TableTask):
    """Each of two named things stands where the other did."""

    family = "swap"
    seconds = 60.0

    def draw(self, rng: np.random.Generator) -> None:
        one, two = draw_looks(rng, (GRASPABLE, GRASPABLE))
        self.roles = {"one": one, "two": two}
        self.named = frozenset(self.roles)
        self.say(
            rng,
            f"swap the {one.words} and the {two.words}",
            f"let the {two.words} and the {one.words} trade places",
            f"exchange the positions of the {one.words} and the {two.words}",
        )
        self.steps = (
            Step("grasp", one.shape, closed=True),
            Step("place", closed=True),
            Step("grasp", two.shape, closed=True),
            Step("place", "mark", closed=True),
            Step("grasp", one.shape, closed=True),
            Step("place", "mark", closed=True),
        )

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        """The usual scene, a mark under each of the two, and room for one thing aside."""
        scene = super().sample(workspace, rng)
        width = 1.1 * workspace.aperture
        marks = [
            ObjectSpec(
                f"under {o.name}",
                "mark",
                (width, width, 0.001),
                _PAPER,
                (o.position[0], o.position[1], 0.0005),
            )
            for o in scene.objects
            if o.name in self.roles
        ]
        return scene.with_(objects=(*scene.objects, *marks))

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """Both stand on the other's mark, to 1 cm of its middle, let go."""
        pairs = (("one", "under two"), ("two", "under one"))
        return all(
            float(np.linalg.norm(offset(driver, thing, mark)[:2])) <= 0.01
            and driver.world.pose(thing)[2, 2] > 0.98
            and apart(driver, thing)
            for thing, mark in pairs
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        lift = max(0.5 * workspace.start_height, 1.3 * workspace.aperture)
        aside = _free_place(workspace)

        def move(name: str, mark: str) -> list[Stage]:
            hand = Hand(workspace)  # one a move: a thing is grasped twice in different places
            edge = self.size(name, self.roles[name], workspace)[2]

            def onto(height: float) -> Goal:
                if mark:
                    return hand.over(mark, height)
                return lambda driver: hand.at(aside(driver), height)

            picked = pick(hand, name, edge, 0.5 * edge, lift)
            return [*picked, *let_go(hand, onto(0.5 * edge + 0.002), onto(lift))]

        return [*move("one", ""), *move("two", "under one"), *move("one", "under two")]


def _free_place(workspace: Workspace) -> Goal:
    """Of the patch's places the one farthest from all things, chosen once."""
    chosen: list[np.ndarray] = []

    def place_of(driver: PyBulletDriver) -> np.ndarray:
        if not chosen:
            things = [driver.world.pose(n)[:2, 3] for n in driver.world.bodies]
            grid = [
                workspace.point(x, y)
                for x in np.linspace(-0.9, 0.9, 7)
                for y in np.linspace(-0.9, 0.9, 9)
            ]
            room = [min(float(np.linalg.norm(p - t)) for t in things) for p in grid]
            chosen.append(grid[int(np.argmax(room))])
        return chosen[0]

    return place_of
