"""Stages that plans are made of: over a thing, down to it, grasped, carried, let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..operator import Stage, nearest_quarter, upright_yaw
from ..workspace import Workspace

Goal = Callable[[PyBulletDriver], Array]


@dataclass
class Hand:
    """The plan's memory of how the hand is turned and where it stood; one for each episode.

    Attributes:
        workspace: Where the robot works.
        yaw: Of the hand about the vertical [rad].
    """

    workspace: Workspace
    yaw: float = 0.0
    _held: dict[str, Array] = field(default_factory=dict)

    def at(self, point: Array, height: float) -> Array:
        """``T_base_ee`` above a point of the table, tool down."""
        return se3.pose(
            se3.yaw(self.yaw) @ self.workspace.grasp, [float(point[0]), float(point[1]), height]
        )

    def over(self, name: str, height: float, *, align: bool = False) -> Goal:
        """Above a thing; ``align`` turns the hand square to it."""

        def goal(driver: PyBulletDriver) -> Array:
            T = driver.world.pose(name)
            if align:
                self.yaw = nearest_quarter(upright_yaw(T[:3, :3]))
            return self.at(T[:2, 3], height)

        return goal

    def beside(self, name: str, shift: Array, height: float) -> Goal:
        """Above a place ``shift`` ``(2,)`` [m, world axes] from a thing."""
        return lambda driver: self.at(driver.world.pose(name)[:2, 3] + shift, height)

    def still(self, key: str, height: float) -> Goal:
        """Straight above where the hand was when this was first asked for."""

        def goal(driver: PyBulletDriver) -> Array:
            if key not in self._held:
                q = driver.observe(cameras=False).q
                assert q is not None
                self._held[key] = driver.model.poses(q)[self.workspace.effector][:2, 3].copy()
            return self.at(self._held[key], height)

        return goal


def pick(hand: Hand, name: str, width: float, height: float, lift: float) -> list[Stage]:
    """Grasp a thing that stands on the table and raise it.

    Args:
        hand: The plan's memory.
        name: The thing.
        width: Between its sides [m].
        height: At which it is grasped [m].
        lift: Height of the hand afterwards [m].
    """
    hover = 0.5 * hand.workspace.start_height
    return [
        Stage(hand.over(name, hover, align=True), 1.0),
        Stage(hand.over(name, height, align=True), 1.0, tolerance=0.006, dwell=1, speed=0.7),
        Stage(hand.still(f"grasp {name}", height), 0.0, tolerance=0.02, dwell=5),
        Stage(hand.still(f"grasp {name}", lift), 0.0, tolerance=0.02),
    ]


def let_go(hand: Hand, goal: Goal, above: Goal) -> list[Stage]:
    """Come down, open, and leave upwards."""
    return [
        Stage(above, 0.0, tolerance=0.01),
        Stage(goal, 0.0, tolerance=0.005, dwell=2, speed=0.6),
        Stage(goal, 1.0, tolerance=0.02, dwell=5),
        Stage(above, 1.0, tolerance=0.02, dwell=1, speed=0.7),
    ]


def side(direction: str) -> Array:
    """Unit vector ``(2,)`` of a word as the robot sees it: in front is away from its base."""
    return np.array(SIDES[direction], dtype=float)


SIDES = {
    "left of": (0.0, 1.0),
    "right of": (0.0, -1.0),
    "in front of": (-1.0, 0.0),
    "behind": (1.0, 0.0),
}
"""As someone sees it who looks along the robot's x axis: what is nearer is in front."""
