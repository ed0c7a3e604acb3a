"""Push a group of small things into a zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..operator import Stage
from ..scene import ObjectSpec
from ..task import NoRoom
from ..workspace import Workspace
from .family import Zone, spec_of
from .group import GroupTask
from .motions import Goal, Hand

_ATTEMPTS = 100  # places tried for the group
_AIM, _INSIDE = 0.55, 0.85  # shares of the zone's radius: where pushes end, what is well inside


class Sweep(GroupTask):
    """All things of a named group lie in a marked zone, and nothing else does."""

    family = "sweep"
    between = (3, 6)

    def asked(self, what: str, where: str) -> tuple[str, ...]:
        return (
            f"sweep the {what} into the {where}",
            f"push all of the {what} together inside the {where}",
            f"gather the {what} in the {where}",
        )

    def zones(self) -> Mapping[str, Zone]:
        return {"zone": (-0.5, 0.6, -0.6, 0.6)}

    def _objects(self, workspace: Workspace, rng: np.random.Generator) -> list[ObjectSpec]:
        """The group lies close together, away from the zone; others are out of the way."""
        for _ in range(_ATTEMPTS):
            objects = super()._objects(workspace, rng)
            zone = next(o for o in objects if o.name == "zone")
            heap = self._heap(objects, zone, workspace, rng)
            if heap is not None:
                others = [o for o in objects if o.name not in self.roles]
                return [zone, *heap, *(o for o in others if not _in_the_way(o, heap, zone))]
        raise NoRoom(
            "the robot's table-top patch has no room for a group beside its zone",
            where=self.name,
            value=f"{2 * workspace.half[0]:.2f} m by {2 * workspace.half[1]:.2f} m",
        )

    def _heap(
        self,
        objects: Sequence[ObjectSpec],
        zone: ObjectSpec,
        workspace: Workspace,
        rng: np.random.Generator,
    ) -> list[ObjectSpec] | None:
        """The group on a jittered grid about a place in the patch, or None where it has no room."""
        small = [o for o in objects if o.name in self.group]
        pitch = 1.7 * small[0].size[0]
        middle = workspace.point(*rng.uniform(-0.8, 0.8, 2))
        turn = rng.uniform(-np.pi, np.pi)
        cells = [(i % 2 - 0.5, i // 2 - 0.5 * ((len(small) - 1) // 2)) for i in range(len(small))]
        along = np.array([np.cos(turn), np.sin(turn)])
        heap = []
        for o, (u, v) in zip(small, cells, strict=True):
            p = middle + pitch * (u * along + v * np.array([-along[1], along[0]]))
            p = p + rng.uniform(-0.15, 0.15, 2) * o.size[0]
            if np.any(np.abs(p - workspace.center) > 0.85 * np.array(workspace.half)):
                return None
            if np.linalg.norm(p - zone.position[:2]) < 0.5 * zone.size[0] + 1.2 * o.size[0]:
                return None
            heap.append(replace(o, position=(float(p[0]), float(p[1]), o.position[2])))
        return heap

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """Their middles are in the zone, no other thing's is, and the robot touches none."""
        others = [n for n in driver.world.bodies if n.startswith("other")]
        return (
            all(_outside(driver, name) <= 0.0 for name in self.group)
            and all(_outside(driver, name) > 0.0 for name in others)
            and not any(driver.world.touching(name, driver.body) for name in self.group)
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        edge = self.size("small0", self.roles["small0"], workspace)[0]
        sweeps = [_Sweep(self, Hand(workspace), edge) for _ in range(self.count + 2)]
        return [stage for sweep in sweeps for stage in sweep.stages()]


class _Sweep:
    """One push: of the thing that is farthest out, straight towards the zone's middle."""

    def __init__(self, task: Sweep, hand: Hand, edge: float) -> None:
        self.task, self.hand, self.edge = task, hand, edge
        self.name = ""
        self.way = np.array([1.0, 0.0])

    def stages(self) -> list[Stage]:
        """Closed fist behind it, down, forward, back and up; nothing moves when all are in."""
        hover = 2.5 * self.edge + 0.015
        low = 0.5 * self.edge
        return [
            Stage(self.unless_done(self.behind(hover)), 0.0, tolerance=0.02),
            Stage(self.unless_done(self.behind(low)), 0.0, tolerance=0.01),
            Stage(
                self.unless_done(self.forward(low)),
                0.0,
                tolerance=0.006,
                speed=0.7,
                timeout=50,
                straight=True,
            ),
            Stage(self.unless_done(self.back(low)), 0.0, tolerance=0.015),
            Stage(self.unless_done(self.back(hover)), 0.0, tolerance=0.03),
        ]

    def unless_done(self, goal: Goal) -> Goal:
        """The goal, or where the hand is when this push has nothing to do."""

        def checked(driver: PyBulletDriver) -> Array:
            if not self.name:
                out = {n: _outside(driver, n, _INSIDE) for n in self.task.group}
                farthest = max(out, key=lambda n: out[n])
                self.name = farthest if out[farthest] > 0.0 else "none"
            if self.name == "none":
                return driver.tool(self.hand.workspace.effector)
            return goal(driver)

        return checked

    def behind(self, height: float) -> Goal:
        def goal(driver: PyBulletDriver) -> Array:
            thing = driver.world.pose(self.name)[:2, 3]
            way = driver.world.pose("zone")[:2, 3] - thing
            self.way = way / np.linalg.norm(way)
            angle = np.arctan2(self.way[1], self.way[0])
            # two fingers push either way, so half a turn less does as well
            self.hand.yaw = float((angle + np.pi / 2) % np.pi - np.pi / 2)
            self.hand.stay_clear(driver, height)
            return self.hand.at(thing - (1.2 * self.edge + 0.02) * self.way, height)

        return goal

    def forward(self, height: float) -> Goal:
        def goal(driver: PyBulletDriver) -> Array:
            # just inside: those ahead of it have gone farther in by then
            thing, zone = (driver.world.pose(n)[:2, 3] for n in (self.name, "zone"))
            radius = spec_of(driver, "zone").size[0] / 2
            left = float((zone - thing) @ self.way) - _AIM * radius
            return self.hand.at(thing + (left - 0.5 * self.edge) * self.way, height)

        return goal

    def back(self, height: float) -> Goal:
        held: list[Array] = []

        def goal(driver: PyBulletDriver) -> Array:
            if not held:
                here = driver.tool(self.hand.workspace.effector)[:2, 3]
                held.append(here - 0.02 * self.way)
            return self.hand.at(held[0], height)

        return goal


def _outside(driver: PyBulletDriver, name: str, share: float = 1.0) -> float:
    """How far a thing's middle is beyond a share of the zone's radius [m]."""
    off = (driver.world.pose(name) - driver.world.pose("zone"))[:2, 3]
    return float(np.linalg.norm(off)) - share * spec_of(driver, "zone").size[0] / 2


def _in_the_way(o: ObjectSpec, heap: list[ObjectSpec], zone: ObjectSpec) -> bool:
    """Whether a thing stands where the group passes, or where the hand sets in behind it."""
    middle = np.mean([s.position[:2] for s in heap], axis=0)
    radius = max(float(np.linalg.norm(np.array(s.position[:2]) - middle)) for s in heap)
    way = np.array(zone.position[:2]) - middle
    along = way / np.linalg.norm(way)
    near = middle - (radius + 3 * heap[0].size[0]) * along
    reach = float(np.linalg.norm(np.array(zone.position[:2]) - near))
    p = np.array(o.position[:2])
    t = np.clip((p - near) @ along, 0.0, reach)
    room = max(radius, 0.5 * zone.size[0]) + 1.5 * heap[0].size[0]
    return bool(np.linalg.norm(p - near - t * along) < room)
