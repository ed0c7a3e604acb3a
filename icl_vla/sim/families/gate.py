"""Swing a gate open, or shut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..fixtures import SWINGS
from ..looks import Look
from ..operator import Stage, upright_yaw
from ..scene import ObjectSpec
from ..workspace import Workspace
from .family import Step, TableTask, Zone, apart, draw_looks
from .motions import Goal, Hand

_GRASP = 0.85  # where along the gate it is grasped
_LEFT = np.deg2rad(6)  # from its stop at which it counts as there: 1 cm at the end of the panel
_BEYOND = 0.05  # [rad] that the hand goes on against the stop


class Gate(TableTask):
    """A named gate has been swung all the way open, or is shut."""

    family = "gate"

    def draw(self, rng: np.random.Generator) -> None:
        (look,) = draw_looks(rng, (("gate",),))
        self.opens = bool(rng.random() < 0.5)
        self.ajar = float(rng.uniform(0.6, 1.0))  # of the way, where it is to be shut
        self.roles, self.named = {"gate": look}, frozenset({"gate"})
        if self.opens:
            self.say(
                rng,
                f"open the {look.words}",
                f"swing the {look.words} all the way open",
                f"turn the {look.words} back until it stops",
            )
        else:
            self.say(
                rng,
                f"close the {look.words}",
                f"swing the {look.words} shut",
                f"shut the {look.words}",
            )
        way = SWINGS if self.opens else -SWINGS
        self.steps = (
            Step("grasp", "gate", (_GRASP, 0.0, 0.0), closed=True),
            Step("swing", "gate", turn=way, closed=True),
        )

    def zones(self) -> Mapping[str, Zone]:
        return {"gate": (-0.5, 0.6, -0.6, 0.6)}

    def turns(self) -> Mapping[str, tuple[float, float]]:
        # a hand turns with it
        return dict.fromkeys(("gate", "other0"), (-1.1, -0.3))

    def _thing(
        self, name: str, look: Look, workspace: Workspace, rng: np.random.Generator
    ) -> ObjectSpec:
        o = super()._thing(name, look, workspace, rng)
        shut = look.shape != "gate" or self.opens
        return o if shut else replace(o, joint=self.ajar * SWINGS)

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        """Nothing stands where the gate swings, or where the hand does beside it."""
        gate = next(o for o in objects if o.name == "gate")
        x, y, _ = gate.size
        along = np.array([np.cos(gate.yaw), np.sin(gate.yaw)])
        hinge = np.array(gate.position[:2]) - 0.5 * (x - y) * along
        return all(
            np.linalg.norm(np.array(o.position[:2]) - hinge) > x + 0.8 * max(o.size[:2]) + 0.03
            for o in objects
            if o is not gate
        )

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """It is within 1 cm of its stop, or of where it is shut, and let go."""
        angle = driver.world.joint("gate")
        return abs((SWINGS if self.opens else 0.0) - angle) <= _LEFT and apart(driver, "gate")

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        x, y, z = self.size("gate", self.roles["gate"], workspace)
        hand = Hand(workspace)
        grasp = 0.75 * z
        hover = z + 0.5 * workspace.aperture
        end = SWINGS + _BEYOND if self.opens else -_BEYOND

        def panel(to: float | None, height: float) -> Goal:
            """Above the panel where it is now, or a little ahead on its way to an angle [rad]."""

            def goal(driver: PyBulletDriver) -> Array:
                now = driver.world.joint("gate")
                ahead = 0.0 if to is None else float(np.clip(to - now, -0.3, 0.3))
                T = driver.world.part("gate") @ se3.pose(se3.yaw(ahead))
                hand.yaw = upright_yaw(T[:3, :3])
                if to is None and height == grasp and not hand.extra:
                    hand.stay_clear(driver, grasp)
                return hand.at((T[:3, 3] + _GRASP * (x - 0.5 * y) * T[:3, 0])[:2], height)

            return goal

        there = panel(end, grasp)
        return [
            Stage(panel(None, hover), 1.0),
            Stage(panel(None, grasp), 1.0, tolerance=0.006, dwell=1, speed=0.7),
            Stage(panel(None, grasp), 0.0, tolerance=0.02, dwell=5),
            Stage(there, 0.0, tolerance=0.005, dwell=2, speed=0.5, timeout=90, straight=True),
            Stage(panel(None, grasp), 1.0, tolerance=0.02, dwell=5),
            Stage(panel(None, hover), 1.0, tolerance=0.02, dwell=1, straight=True),
        ]
