"""Open or close a box with a hinged lid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..fixtures import LEANS, fin
from ..looks import Look
from ..operator import Stage, upright_yaw
from ..scene import ObjectSpec
from ..workspace import Workspace
from .family import Step, TableTask, Zone, apart, draw_looks, spec_of
from .motions import Goal, Hand, half_turn

_OPEN = LEANS - np.deg2rad(10)  # [rad]
_SHUT = np.deg2rad(5)
_LET_GO = 1.75  # [rad] past the vertical: from here it falls open


class Lid(TableTask):
    """The lid of a named box rests open, leaning back, or is shut."""

    family = "lid"

    def draw(self, rng: np.random.Generator) -> None:
        look, decoy = draw_looks(rng, (("lid",), ("lid",)))
        self.box, other = self.names("box", "decoy")
        self.roles, self.named = {self.box: look}, frozenset({self.box})
        if rng.random() < 0.4 and not self.tag:
            self.roles[other] = decoy
        self.opens = bool(rng.random() < 0.5)
        box = look.called("box")
        if self.opens:
            self.say(
                rng,
                f"open the {box}",
                f"lift the lid of the {box}",
                f"flip the {box} open",
                f"raise the {box}'s lid until it stays open",
            )
            self.steps = (
                Step("grasp", "lid", closed=True),
                Step("swing", "lid", (-1.0, 0.0, 2.0), turn=0.0, closed=True),
            )
        else:
            self.say(
                rng,
                f"close the {box}",
                f"shut the lid of the {box}",
                f"flip the {box} shut",
                f"put the {box}'s lid down",
            )
            self.steps = (Step("push", "lid", (1.0, 0.0, 1.5), closed=True),)

    def zones(self) -> dict[str, Zone]:
        return {name: (-0.6, 0.6, -0.7, 0.7) for name in self.roles}

    def _thing(
        self, name: str, look: Look, workspace: Workspace, rng: np.random.Generator
    ) -> ObjectSpec:
        made = super()._thing(name, look, workspace, rng)
        return replace(made, joint=LEANS) if name == self.box and not self.opens else made

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The lid rests at its stop to 10 degrees, or is shut to 5, and the hand has left it."""
        angle = driver.world.joint(self.box)
        there = angle >= _OPEN if self.opens else angle <= _SHUT
        return bool(there and apart(driver, self.box))

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        return self._opening(workspace) if self.opens else self._closing(workspace)

    def _opening(self, workspace: Workspace) -> list[Stage]:
        """Pinch the fin from its sides, so that it can turn between the fingers; swing it over."""
        hand = Hand(workspace)
        size = self.size(self.box, self.roles[self.box], workspace)
        high = size[2] + 1.4 * size[0]

        def fin_at(angle: float | None, above: float = 0.0) -> Goal:
            def goal(driver: PyBulletDriver) -> Array:
                T, now = driver.world.part(self.box), driver.world.joint(self.box)
                hand.yaw = half_turn(upright_yaw(driver.world.pose(self.box)[:3, :3]))
                # the hinge turns about the part's -y; a little ahead of where the lid is now
                ahead = 0.0 if angle is None else min(now + 0.3, angle) - now
                p = se3.act(
                    T @ se3.pose(se3.exp3([0.0, -ahead, 0.0])), np.array([self._fin(driver)])
                )
                return hand.at(p[0], p[0][2] + above)

            return goal

        return [
            Stage(fin_at(None, 0.5 * size[0]), 1.0),
            Stage(fin_at(None), 1.0, tolerance=0.006, dwell=1, speed=0.6),
            Stage(fin_at(None), 0.0, tolerance=0.02, dwell=5),
            Stage(fin_at(_LET_GO), 0.0, tolerance=0.01, speed=0.6, timeout=90, straight=True),
            Stage(fin_at(_LET_GO), 1.0, tolerance=0.03, dwell=5, straight=True),
            Stage(
                hand.still(f"swung {self.box}", high), 1.0, tolerance=0.02, dwell=1, straight=True
            ),
        ]

    def _fin(self, driver: PyBulletDriver) -> Array:
        return np.array(fin(spec_of(driver, self.box))[0], dtype=float)

    def _closing(self, workspace: Workspace) -> list[Stage]:
        """Push the lid from behind until it falls."""
        hand = Hand(workspace)
        size = self.size(self.box, self.roles[self.box], workspace)
        height, high = size[2] + 0.75 * size[0], size[2] + 1.3 * size[0]

        def behind(x: float, z: float) -> Goal:
            """At ``x`` [m] from the hinge towards the box's front."""

            def goal(driver: PyBulletDriver) -> Array:
                T = driver.world.pose(self.box)
                hand.yaw = half_turn(upright_yaw(T[:3, :3]))
                return hand.at(T[:2, 3] + (x - 0.5 * size[0]) * T[:2, 0], z)

            return goal

        far, near = -0.75 * size[0] - 0.03, 0.25 * size[0]
        fork = 0.9  # the fin goes between the fingers
        return [
            Stage(behind(far, high), fork),
            Stage(behind(far, height), fork, tolerance=0.01),
            Stage(behind(near, height), fork, tolerance=0.01, speed=0.6, timeout=25, straight=True),
            Stage(behind(near, high), fork, tolerance=0.02, dwell=3, straight=True),
        ]
