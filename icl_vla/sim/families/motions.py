"""Stages that plans are made of: over a thing, down to it, grasped, carried, let go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..operator import Stage, nearest_quarter, upright_yaw
from ..scene import ObjectSpec
from ..task import footprint
from ..workspace import Workspace

_CLEAR = 0.003  # [m] between fingers and table
_SPAN = 0.25  # [m] from the tool centre point, within which fingers are this hand's
Goal = Callable[[PyBulletDriver], Array]


@dataclass
class Hand:
    """The plan's memory of how the hand is turned and where it stood; one for each episode.

    Attributes:
        workspace: Where the robot works.
        yaw: Of the hand about the vertical [rad].
        extra: By how much it is higher than it is asked to be [m]; see :meth:`stay_clear`.
    """

    workspace: Workspace
    yaw: float = 0.0
    extra: float = 0.0
    _held: dict[str, Array] = field(default_factory=dict)

    def at(self, point: Array, height: float) -> Array:
        """``T_base_ee`` above a point of the table, tool down."""
        R = se3.yaw(self.yaw) @ self.workspace.grasp
        return se3.pose(R, [float(point[0]), float(point[1]), height + self.extra])

    def stay_clear(self, driver: PyBulletDriver, height: float) -> None:
        """Hold things higher from now on, where the fingers would touch the table at a height."""
        needed = below(driver, self.workspace.effector) + _CLEAR
        self.extra = max(0.0, needed - height)

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
                self._held[key] = driver.tool(self.workspace.effector)[:2, 3].copy()
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
    # also over things as tall as twice the height at which they are grasped
    hover = max(0.5 * hand.workspace.start_height, 2.0 * height + 0.25 * hand.workspace.aperture)

    def down(driver: PyBulletDriver) -> Array:
        hand.stay_clear(driver, height)
        return hand.over(name, height, align=True)(driver)

    return [
        Stage(hand.over(name, hover, align=True), 1.0),
        Stage(down, 1.0, tolerance=0.006, dwell=1, speed=0.7),
        Stage(hand.still(f"grasp {name}", height), 0.0, tolerance=0.02, dwell=5),
        Stage(hand.still(f"grasp {name}", lift), 0.0, tolerance=0.02),
    ]


def press(hand: Hand, name: str, height: float, above: float) -> list[Stage]:
    """Push down with the closed fingers until they are at a height, and leave upwards.

    Args:
        hand: The plan's memory.
        name: Thing that is pressed.
        height: Of the fingertips in the end [m].
        above: Of the fingertips before and after [m].
    """

    def tip_at(z: float) -> Goal:
        def goal(driver: PyBulletDriver) -> Array:
            return hand.over(name, z + below(driver, hand.workspace.effector))(driver)

        return goal

    hover = hand.over(name, 0.7 * hand.workspace.start_height)
    return [
        Stage(hover, 0.0, tolerance=0.01),
        Stage(tip_at(above), 0.0, tolerance=0.005, dwell=1),
        Stage(tip_at(height - 0.002), 0.0, tolerance=0.003, dwell=2, speed=0.3, straight=True),
        Stage(tip_at(above), 0.0, tolerance=0.01, straight=True),
        Stage(hover, 0.0, tolerance=0.02),
    ]


def below(driver: PyBulletDriver, effector: str) -> float:
    """How far the fingers reach below the tool centre point now [m]; the tool points down."""
    client, table = driver.world.client, driver.world.table
    tool = driver.tool(effector)[:3, 3]
    gaps = [
        contact[8]
        for finger in driver.fingers
        for contact in client.getClosestPoints(driver.body, table, 1.0, linkIndexA=finger)
        if np.linalg.norm(contact[5] - tool) < _SPAN
    ]
    return float(tool[2] - min(gaps, default=tool[2]))  # fingers may have no shape of contact


def push_along(
    hand: Hand,
    name: str,
    left: Callable[[PyBulletDriver], Array],
    edge: float,
    back: float,
    done: Callable[[PyBulletDriver], bool],
    tries: int = 3,
) -> list[Stage]:
    """Slide a thing with two fingertips apart, which hold it in line; one would slip.

    Args:
        hand: The plan's memory.
        name: The thing.
        left: Way ``(2,)`` [m] that the thing still has to go.
        edge: Of the thing [m].
        back: Distance of the hand behind the thing before [m].
        done: Whether the thing is there; it is not pushed again then.
        tries: How often at most.
    """
    space = hand.workspace
    fork = float(np.clip(0.6 * edge / space.aperture, 0.0, 1.0))
    low, hover = 0.4 * edge, edge + 0.3 * space.start_height
    heading, end = np.array([1.0, 0.0]), np.zeros(2)  # of the line of this try

    def down(driver: PyBulletDriver) -> float:  # fingers may reach far below the tool's centre
        return max(low, below(driver, space.effector) + 0.004)

    def behind(height: float | None) -> Goal:
        def goal(driver: PyBulletDriver) -> Array:
            way, thing = left(driver), driver.world.pose(name)[:2, 3]
            length = float(np.linalg.norm(way))
            if length > 1e-3:
                heading[:] = way / length
            end[:] = thing + way
            hand.yaw = half_turn(np.arctan2(heading[1], heading[0]))
            return hand.at(
                thing - (0.7 * edge + back) * heading, down(driver) if height is None else height
            )

        return goal

    def push(driver: PyBulletDriver) -> Array:
        # along a fixed line: a hand that follows the thing sideways would drag it sideways
        here = driver.tool(space.effector)[:2, 3]
        further = max(float(left(driver) @ heading), 0.0)
        return hand.at(end + ((here - end) @ heading + further) * heading, down(driver))

    def away(driver: PyBulletDriver) -> Array:
        thing = driver.world.pose(name)[:2, 3]
        return hand.at(thing - (0.7 * edge + back) * heading, down(driver))

    stages: list[Stage] = []
    for again in range(tries):
        finished: list[bool] = []

        def is_done(driver: PyBulletDriver, finished: list[bool] = finished) -> bool:
            if (
                not finished
            ):  # asked once a try: the hand has to leave even where it is done by then
                finished.append(done(driver))
            return finished[0]

        stages += [
            Stage(behind(hover), fork, unless=is_done),
            Stage(behind(None), fork, tolerance=0.008, speed=0.8, unless=is_done),
            Stage(
                push, fork, tolerance=0.005, speed=0.45, timeout=90, straight=True, unless=is_done
            ),
            Stage(away, fork, tolerance=0.01, speed=0.6, straight=True, unless=is_done),
            Stage(
                hand.still(f"{name} {again}", hover), fork, tolerance=0.02, dwell=1, unless=is_done
            ),
        ]
    return stages


def corridor_is_free(
    objects: Iterable[ObjectSpec], start: Array, goal: Array, thing: ObjectSpec
) -> bool:
    """Whether a hand can push a thing from a place ``(2,)`` to another past all others."""
    way = goal - start
    length = float(np.linalg.norm(way))
    along = way / max(length, 1e-9)
    begin = start - (footprint(thing) + 0.06) * along
    needed = footprint(thing) + 0.02
    for other in objects:
        if other.shape in ("mark", "line"):
            continue
        # a hand is wide above its fingers
        palm = 1.5 * thing.size[0] if other.size[2] > thing.size[2] + 0.005 else 0.0
        off = np.array(other.position[:2]) - begin
        t = np.clip(off @ along, 0.0, np.linalg.norm(goal - begin) + footprint(thing))
        if np.linalg.norm(off - t * along) < 0.5 * np.hypot(*other.size[:2]) + needed + palm:
            return False
    return True


def half_turn(angle: float) -> float:
    """The same angle modulo 180 degrees, nearest to 0: a bar, or two fingers, look the same."""
    return float((angle + np.pi / 2) % np.pi - np.pi / 2)


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
