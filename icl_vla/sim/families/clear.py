"""Push several small things off a mark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..operator import Stage
from ..scene import ObjectSpec
from ..workspace import Workspace
from .family import Zone, spec_of
from .group import GroupTask
from .motions import Goal, Hand, half_turn

_CLEAR = 0.012  # [m] between the mark's edge and a thing that an operator has pushed off
_SETS_IN = 0.4  # of the mark's radius: how far out things stand at first


class Clear(GroupTask):
    """None of a named group of things is on a named mark any more; all stood on it."""

    family = "clear"
    between = (2, 5)

    def asked(self, what: str, where: str) -> tuple[str, ...]:
        return (
            f"push the {what} off the {where}",
            f"clear the {where} of the {what}",
            f"push all of the {what} out of the {where}",
        )

    def zones(self) -> Mapping[str, Zone]:
        return {"zone": (-0.4, 0.4, -0.5, 0.5)}

    def _objects(self, workspace: Workspace, rng: np.random.Generator) -> list[ObjectSpec]:
        """The group stands round the mark's middle; what stands in its way is left out."""
        objects = super()._objects(workspace, rng)
        zone = next(o for o in objects if o.name == "zone")
        middle, radius = np.array(zone.position[:2]), 0.5 * zone.size[0]
        begin = rng.uniform(-np.pi, np.pi)
        group = []
        for i, o in enumerate(o for o in objects if o.name in self.group):
            angle = begin + 2 * np.pi * (i + rng.uniform(-0.15, 0.15)) / self.count
            out = radius * (_SETS_IN + rng.uniform(0.0, 0.15))
            p = middle + out * np.array([np.cos(angle), np.sin(angle)])
            group.append(replace(o, position=(float(p[0]), float(p[1]), o.position[2])))
        room = radius + 3.0 * group[0].size[0]
        others = [
            o
            for o in objects
            if o.name not in self.roles
            and np.linalg.norm(np.array(o.position[:2]) - middle) > room + 0.5 * max(o.size[:2])
        ]
        return [zone, *group, *others]

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """All lie beside the mark, upright or not, and the robot touches none."""
        return all(_left(driver, name, 0.0) <= 0.0 for name in self.group) and not any(
            driver.world.touching(name, driver.body) for name in self.group
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        edge = self.size("small0", self.roles["small0"], workspace)[0]
        hand = Hand(workspace)
        return [s for _ in range(self.count + 2) for s in _Push(self, hand, edge).stages()]


class _Push:
    """One push: of the thing that is nearest to the hand, outwards from the mark's middle."""

    def __init__(self, task: Clear, hand: Hand, edge: float) -> None:
        self.task, self.hand, self.edge = task, hand, edge
        self.name: str | None = None
        self.way = np.array([1.0, 0.0])

    def stages(self) -> list[Stage]:
        """Closed fingers before it, down, outwards and up."""
        hover, low = 2.5 * self.edge + 0.015, 0.5 * self.edge

        def done(driver: PyBulletDriver) -> bool:
            return not self.chosen(driver)

        return [
            Stage(self.before(hover), 0.0, tolerance=0.015, unless=done),
            Stage(self.before(low), 0.0, tolerance=0.008, speed=0.8, unless=done),
            Stage(
                self.outwards(low),
                0.0,
                tolerance=0.006,
                speed=0.6,
                timeout=50,
                straight=True,
                unless=done,
            ),
            Stage(self.hand.still(f"push {id(self)}", hover), 0.0, tolerance=0.03, unless=done),
        ]

    def chosen(self, driver: PyBulletDriver) -> str:
        """The thing that this push is for; empty for none."""
        if self.name is None:
            here = self.here(driver)
            on = [n for n in self.task.group if _left(driver, n, 0.5 * _CLEAR) > 0.0]
            away = {n: float(np.linalg.norm(driver.world.pose(n)[:2, 3] - here)) for n in on}
            self.name = min(away, key=lambda n: away[n]) if on else ""
        return self.name

    def here(self, driver: PyBulletDriver) -> Array:
        """``(2,)`` the hand [m]."""
        return np.asarray(driver.tool(self.hand.workspace.effector)[:2, 3])

    def before(self, height: float) -> Goal:
        def goal(driver: PyBulletDriver) -> Array:
            thing = driver.world.pose(self.chosen(driver))[:2, 3]
            way = thing - driver.world.pose("zone")[:2, 3]
            self.way = way / max(float(np.linalg.norm(way)), 1e-6)
            self.hand.yaw = half_turn(np.arctan2(self.way[1], self.way[0]))
            self.hand.stay_clear(driver, height)
            return self.hand.at(thing - (self.edge + 0.012) * self.way, height)

        return goal

    def outwards(self, height: float) -> Goal:
        line: list[Array] = []

        def goal(driver: PyBulletDriver) -> Array:
            here = self.here(driver)
            if not line:
                line.append(here.copy())
            left = max(_left(driver, self.chosen(driver), _CLEAR), 0.0)
            gone = float((here - line[0]) @ self.way)
            return self.hand.at(line[0] + (gone + left) * self.way, height)

        return goal


def _left(driver: PyBulletDriver, name: str, beside: float) -> float:
    """How far a thing has to go until it lies beside the mark [m], by its middle and half edge."""
    off = (driver.world.pose(name) - driver.world.pose("zone"))[:2, 3]
    needed = 0.5 * (spec_of(driver, "zone").size[0] + spec_of(driver, name).size[0]) + beside
    return needed - float(np.linalg.norm(off))
