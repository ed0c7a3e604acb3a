"""Draw a thing that is out of reach nearer with a hook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..looks import Look
from ..operator import Stage, upright_yaw
from ..scene import ObjectSpec
from ..workspace import Workspace
from .family import GRASPABLE, Step, TableTask, Zone, apart, draw_looks, spec_of
from .motions import Goal, Hand

_LONG = 1.4  # of the hook, in half depths of the patch
_THICK = 0.3  # of its bars, in openings of the gripper
_GRASP = 0.35  # from the end of its stick to where it is held, in openings
_SLANT = 0.5  # [rad] at most between the base's x axis and the way


class Tool(TableTask):
    """A named thing from beyond the patch lies on a named mark, the hook is let go."""

    family = "tool"
    mechanism = "tool"

    def draw(self, rng: np.random.Generator) -> None:
        thing, mark, hook = draw_looks(rng, (GRASPABLE, ("mark",), ("hook",)))
        self.roles = {"thing": thing, "mark": mark, "hook": hook}
        self.named = frozenset({"thing", "mark"})
        self.say(
            rng,
            f"use the hook to pull the {thing.words} onto the {mark.called('circle')}",
            f"draw the {thing.words} to the {mark.called('circle')} with the hook",
            f"fetch the {thing.words} with the hook and leave it on the {mark.called('circle')}",
        )
        self.steps = (
            Step("grasp", "hook", (-1.0, 0.0, 0.0), closed=True),
            Step("place", thing.shape, (1.0, 0.0, 0.0), closed=True),
            Step("pull", "mark", closed=True),
        )

    def zones(self) -> Mapping[str, Zone]:
        # the thing is farther than the hand goes, and where the camera sees it still
        return {
            "thing": (1.45, 1.7, -0.6, 0.3),
            "mark": (-0.1, 0.5, -0.6, 0.5),
            "hook": (-0.4, 0.2, -0.75, 0.75),
        }

    def turns(self) -> Mapping[str, tuple[float, float]]:
        return {"hook": (-0.6, 0.6)}

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        a = workspace.aperture
        if look.shape == "hook":
            return (_LONG * workspace.half[0], 1.6 * a, _THICK * a)
        if role == "mark":
            return (1.6 * a, 1.6 * a, 0.001)
        return super().size(role, look, workspace)

    def _thing(
        self, name: str, look: Look, workspace: Workspace, rng: np.random.Generator
    ) -> ObjectSpec:
        o = super()._thing(name, look, workspace, rng)
        # light, both: a long hook turns between the fingers under what it draws
        return replace(o, mass=0.03) if name in ("hook", "thing") else o

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        """The way is nearly straight ahead, and nothing stands in it."""
        by = {o.name: o for o in objects}
        thing, mark = (np.array(by[n].position[:2]) for n in ("thing", "mark"))
        way = thing - mark
        length = float(np.linalg.norm(way))
        if abs(np.arctan2(way[1], way[0])) > _SLANT:
            return False
        along = way / length
        hook = by["hook"].size
        for o in objects:
            off = np.array(o.position[:2]) - mark
            t = np.clip(off @ along, -hook[0], length + hook[2])
            near = float(np.linalg.norm(off - t * along)) < hook[1] + 0.8 * max(o.size[:2])
            if o.name.startswith("other") and near:
                return False
        return True

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The thing's middle is over the mark, and the hand has let go of thing and hook."""
        off = (driver.world.pose("thing") - driver.world.pose("mark"))[:2, 3]
        return bool(
            np.linalg.norm(off) <= spec_of(driver, "mark").size[0] / 2
            and driver.world.pose("thing")[2, 2] > 0.98
            and apart(driver, "thing")
            and apart(driver, "hook")
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        return _Plan(self, workspace).stages()


class _Plan:
    """How the hook is taken, set in behind the thing, and drawn back.

    Args:
        task: What is to be done.
        workspace: Where.
    """

    def __init__(self, task: Tool, workspace: Workspace) -> None:
        self.hand = Hand(workspace)
        sizes = {n: task.size(n, look, workspace) for n, look in task.roles.items()}
        self.long, self.wide, self.thick = sizes["hook"]
        self.edge = sizes["thing"][0]
        self.tall = sizes["thing"][2]
        self.grasp = _GRASP * workspace.aperture - 0.5 * self.long  # along the stick
        self.hover = 0.5 * workspace.start_height
        self.way = np.array([1.0, 0.0])

    def stages(self) -> list[Stage]:
        low = 0.5 * self.thick
        high = self.tall + self.thick + 0.02
        gone = 0.75 * self.edge  # of the thing's middle before the bar, with any turn
        return [
            Stage(self.stick(self.hover), 1.0),
            Stage(self.stick(low), 1.0, tolerance=0.006, dwell=1, speed=0.7),
            Stage(self.stick(low), 0.0, tolerance=0.02, dwell=5),
            Stage(self.hand.still("hook", high), 0.0, tolerance=0.01),
            Stage(self.about("thing", gone + 0.012, high), 0.0, tolerance=0.008),
            Stage(self.about("thing", gone + 0.012, low + 0.002), 0.0, tolerance=0.006, speed=0.6),
            Stage(
                self.draw(low + 0.002), 0.0, tolerance=0.006, speed=0.5, timeout=90, straight=True
            ),
            Stage(self.hand.still("done", low), 1.0, tolerance=0.02, dwell=5),
            Stage(self.hand.still("done", self.hover), 1.0, tolerance=0.02, dwell=1),
        ]

    def stick(self, height: float) -> Goal:
        """Above the place where the hook is held."""

        def goal(driver: PyBulletDriver) -> Array:
            T = driver.world.pose("hook")
            self.hand.yaw = upright_yaw(T[:3, :3])
            self.hand.stay_clear(driver, height)
            return self.hand.at(T[:2, 3] + self.grasp * T[:2, 0], height)

        return goal

    def about(self, name: str, ahead: float, height: float) -> Goal:
        """The hook pointing along the way, its bar so far beyond a thing [m]."""

        def goal(driver: PyBulletDriver) -> Array:
            way = (driver.world.pose("thing") - driver.world.pose("mark"))[:2, 3]
            self.way = way / np.linalg.norm(way)
            self.hand.yaw = float(np.arctan2(self.way[1], self.way[0]))
            return self.hand.at(self.behind(driver.world.pose(name)[:2, 3], ahead), height)

        return goal

    def draw(self, height: float) -> Goal:
        """Straight back until the thing is abreast of the mark, wherever before the bar it is."""
        line: list[Array] = []

        def goal(driver: PyBulletDriver) -> Array:
            thing, mark = (driver.world.pose(n)[:2, 3] for n in ("thing", "mark"))
            here = driver.tool(self.hand.workspace.effector)[:2, 3]
            if not line:
                line.append(here.copy())
            back = float((here - line[0]) @ self.way) - float((thing - mark) @ self.way)
            return self.hand.at(line[0] + back * self.way, height)

        return goal

    def behind(self, place: Array, ahead: float) -> Array:
        """``(2,)`` of the hand for the bar to be ``ahead`` of a place, which the bar is wide of."""
        across = np.array([-self.way[1], self.way[0]])
        bar = 0.5 * self.long - 0.5 * self.thick  # along the stick, from its middle
        aside = 0.5 * self.thick + 0.75 * self.edge + 0.006
        reach = bar - 0.5 * self.thick - self.grasp
        return np.asarray(place + (ahead - reach) * self.way - aside * across)
