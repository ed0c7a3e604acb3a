"""Pull a drawer open, or push it shut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..fixtures import FIN, SLIDES
from ..looks import Look
from ..operator import Stage, upright_yaw
from ..scene import ObjectSpec
from ..workspace import Workspace
from .family import Step, TableTask, Zone, apart, draw_looks, spec_of
from .motions import Goal, Hand

_GRASP = 0.8  # where along the fin it is grasped


class Drawer(TableTask):
    """A named drawer is out as far as it goes, or all the way in."""

    family = "drawer"
    mechanism = "slide"

    def draw(self, rng: np.random.Generator) -> None:
        (look,) = draw_looks(rng, (("drawer",),))
        self.opens = bool(rng.random() < 0.5)
        self.ajar = float(rng.uniform(0.6, 1.0))  # of the way, where it is to be shut
        self.roles, self.named = {"drawer": look}, frozenset({"drawer"})
        if self.opens:
            self.say(
                rng,
                f"open the {look.words}",
                f"pull the {look.words} all the way out",
                f"slide the {look.words} open",
            )
        else:
            self.say(
                rng,
                f"close the {look.words}",
                f"push the {look.words} all the way in",
                f"slide the {look.words} shut",
            )
        way = 2.8 * 0.5 * SLIDES * (-1.0 if self.opens else 1.0)
        self.steps = (
            Step("grasp", "drawer", (-2.8 * 0.5 * (0.5 + _GRASP * FIN), 0.0, 0.0), closed=True),
            Step("slide", "drawer", (way, 0.0, 0.0), closed=True),
        )

    def zones(self) -> Mapping[str, Zone]:
        return {"drawer": (0.2, 1.0, -0.75, 0.75)}

    def turns(self) -> Mapping[str, tuple[float, float]]:
        return {"drawer": (-0.7, 0.7), "other0": (-0.7, 0.7)}

    def _thing(
        self, name: str, look: Look, workspace: Workspace, rng: np.random.Generator
    ) -> ObjectSpec:
        o = super()._thing(name, look, workspace, rng)
        shut = look.shape != "drawer" or self.opens
        return o if shut else replace(o, joint=self.ajar * SLIDES * o.size[0])

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        """Nothing stands where the drawer comes out, or the hand works."""
        chest = next(o for o in objects if o.name == "drawer")
        x, y, _ = chest.size
        out = np.array([-np.cos(chest.yaw), -np.sin(chest.yaw)])
        for o in objects:
            off = np.array(o.position[:2]) - chest.position[:2]
            along, across = float(off @ out), float(abs(off @ [out[1], -out[0]]))
            room = 0.8 * max(o.size[:2]) + 0.03
            ahead = 0.0 < along < x * (0.5 + FIN + SLIDES) + room
            if o is not chest and ahead and across < 0.5 * y + room:
                return False
        return True

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """It is within 1 cm of its stop, or of the seventh part of its way, and let go."""
        way = SLIDES * spec_of(driver, "drawer").size[0]
        left = way - driver.world.joint("drawer") if self.opens else driver.world.joint("drawer")
        return abs(left) <= min(0.01, way / 7) and apart(driver, "drawer")

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        x, _, z = self.size("drawer", self.roles["drawer"], workspace)
        hand = Hand(workspace)
        grasp = 0.6 * z
        hover = z + 0.5 * workspace.aperture
        end = SLIDES * x + 0.003 if self.opens else -0.003  # presses against the stop

        def fin(out: float | None, height: float) -> Goal:
            """Above the fin where it is now, or would be with the drawer ``out`` so far [m]."""

            def goal(driver: PyBulletDriver) -> Array:
                T = driver.world.pose("drawer")
                hand.yaw = upright_yaw(T[:3, :3])
                if out is None and height == grasp and not hand.extra:
                    hand.stay_clear(driver, grasp)
                far = driver.world.joint("drawer") if out is None else out
                point = se3.act(T, np.array([[-x * (0.5 + _GRASP * FIN) - far, 0.0, 0.0]]))[0]
                return hand.at(point[:2], height)

            return goal

        return [
            Stage(fin(None, hover), 1.0),
            Stage(fin(None, grasp), 1.0, tolerance=0.006, dwell=1, speed=0.7),
            Stage(fin(None, grasp), 0.0, tolerance=0.02, dwell=5),
            Stage(fin(end, grasp), 0.0, tolerance=0.005, dwell=2, speed=0.5, straight=True),
            Stage(fin(None, grasp), 1.0, tolerance=0.02, dwell=5),
            Stage(fin(None, hover), 1.0, tolerance=0.02, dwell=1, straight=True),
        ]
