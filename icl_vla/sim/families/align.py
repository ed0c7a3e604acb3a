"""Turn a bar in place until it points as a line does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..operator import Stage, upright_yaw
from ..scene import ObjectSpec
from ..workspace import Workspace
from .family import Step, TableTask, apart, draw_looks, spec_of
from .motions import Goal, Hand, half_turn, let_go

_TOLERANCE = np.deg2rad(10)
_LEAST = np.deg2rad(25)  # that a bar is turned


class Align(TableTask):
    """A named bar lies where it lay, parallel or at right angles to a named line or bar."""

    family = "align"

    def draw(self, rng: np.random.Generator) -> None:
        bar, guide = draw_looks(rng, (("bar",), ("line", "bar")))
        self.bar, self.guide = self.names("bar", "guide")
        self.roles = {self.bar: bar, self.guide: guide}
        self.named = frozenset(self.roles)
        self.across = bool(rng.random() < 0.4)
        if self.across:
            self.say(
                rng,
                f"turn the {bar.words} at right angles to the {guide.words}",
                f"rotate the {bar.words} in place until it is square to the {guide.words}",
                f"twist the {bar.words} so that it is perpendicular to the {guide.words}",
            )
        else:
            self.say(
                rng,
                f"turn the {bar.words} parallel to the {guide.words}",
                f"rotate the {bar.words} in place to point along the {guide.words}",
                f"twist the {bar.words} so that it lines up with the {guide.words}",
            )
        turn = 0.5 * np.pi if self.across else 0.0
        self.steps = (
            Step("grasp", "bar", closed=True),
            Step("turn", guide.shape, turn=turn, closed=True),
        )

    def wrong(self, bar: float, guide: float) -> float:
        """Angle [rad] that the bar is off, given both yaws; a bar looks the same turned by half."""
        return abs(half_turn(bar - guide - (0.5 * np.pi if self.across else 0.0)))

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        yaw = {o.name: o.yaw for o in objects}
        return self.wrong(yaw[self.bar], yaw[self.guide]) > _LEAST

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The bar points as asked to 10 degrees, within 1 cm of where it lay, and is let go."""
        T, guide = driver.world.pose(self.bar), driver.world.pose(self.guide)
        moved = np.linalg.norm(T[:2, 3] - spec_of(driver, self.bar).position[:2])
        off = self.wrong(upright_yaw(T[:3, :3]), upright_yaw(guide[:3, :3]))
        return bool(
            off <= _TOLERANCE and moved <= 0.01 and T[2, 2] > 0.98 and apart(driver, self.bar)
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        hand = Hand(workspace)
        height = 0.5 * self.size(self.bar, self.roles[self.bar], workspace)[2]
        lift, hover = height + float(rng.uniform(0.01, 0.025)), 0.5 * workspace.start_height
        place = np.zeros(2)

        def over(z: float, *, turned: bool) -> Goal:
            def goal(driver: PyBulletDriver) -> Array:
                T = driver.world.pose(self.guide if turned else self.bar)
                right = 0.5 * np.pi if turned and self.across else 0.0
                hand.yaw = half_turn(upright_yaw(T[:3, :3]) + right)
                if not turned:
                    place[:] = T[:2, 3]
                return hand.at(place, z)

            return goal

        return [
            Stage(over(hover, turned=False), 1.0),
            Stage(over(height, turned=False), 1.0, tolerance=0.005, dwell=1, speed=0.7),
            Stage(hand.still(f"grasp {self.bar}", height), 0.0, tolerance=0.02, dwell=5),
            Stage(hand.still(f"grasp {self.bar}", lift), 0.0, tolerance=0.01),
            Stage(over(lift, turned=True), 0.0, tolerance=0.01, dwell=3),
            *let_go(hand, over(height, turned=True), over(hover, turned=True)),
        ]
