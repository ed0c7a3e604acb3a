"""Conventions by name: what a robot's numbers mean in a cell, and what they are said to mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from icl_vla_embodiments import ActionSpace, Dimension, Embodiment, Kind, Rotation
from icl_vla_embodiments.action_space import UNITS

from ..sim.conventions import Convention, draw_convention, joint_space

Change = Callable[[ActionSpace], ActionSpace]
SMALLER = {"m": "mm", "rad": "deg"}


@dataclass(frozen=True)
class NamedConvention:
    """A way to find a convention for a robot and a task.

    Attributes:
        summary: One line for people.
        of: From robot, arm and the task's number.
        kinematics: Whether methods and demonstrations know where joint positions bring the hand.
    """

    summary: str
    of: Callable[[Embodiment, str, int], Convention]
    kinematics: bool = True


def _each(change: Callable[[Dimension], Dimension]) -> Change:
    return lambda space: replace(space, dimensions=tuple(change(d) for d in space.dimensions))


def _small_units(d: Dimension) -> Dimension:
    """Millimetres and degrees."""
    if d.unit not in SMALLER:
        return d
    unit = SMALLER[d.unit]
    count = UNITS[d.unit] / UNITS[unit]
    return replace(d, unit=unit, lower=d.lower * count, upper=d.upper * count)


def _mirrored(d: Dimension) -> Dimension:
    """The other sign, where a sign of its own makes sense."""
    free = d.has_sign and (not d.turns or d.rotation is Rotation.ROTVEC)
    return d.turned() if free else d


REWRITTEN: Mapping[str, Change] = {
    "plain": lambda space: space,
    "units": _each(_small_units),
    "mirrored": _each(_mirrored),
    "reversed": lambda space: replace(space, dimensions=space.dimensions[::-1]),
    "units mirrored": lambda space: _each(_mirrored)(_each(_small_units)(space)),
}
"""Name -> the same action space, written otherwise."""


def _own(true: str, told: str | None = None) -> Callable[[Embodiment, str, int], Convention]:
    """The robot's own action space, rewritten."""

    def of(robot: Embodiment, effector: str, number: int) -> Convention:
        space = robot.action_space()
        said = true if told is None else told
        return Convention(REWRITTEN[true](space), REWRITTEN[said](space))

    return of


def _drawn(*, hidden: bool) -> Callable[[Embodiment, str, int], Convention]:
    """One of the combinations that are held out, by the task's number."""
    return lambda robot, arm, number: draw_convention(robot, arm, number, "test", hidden=hidden)


def _joints(robot: Embodiment, effector: str, number: int) -> Convention:
    space = joint_space(robot, effector, robot.action_space().rate)
    return Convention(space, space)


CONVENTIONS: Mapping[str, NamedConvention] = {
    "plain": NamedConvention("the robot's own action space", _own("plain")),
    "units": NamedConvention("millimetres and degrees", _own("units")),
    "mirrored": NamedConvention("all signs turned round", _own("mirrored")),
    "reversed": NamedConvention("the last dimension first", _own("reversed")),
    "units mirrored": NamedConvention(
        "millimetres and degrees, all signs turned round", _own("units mirrored")
    ),
    "hidden": NamedConvention(
        "all signs turned round, which only the demonstrations show", _own("mirrored", "plain")
    ),
    "drawn": NamedConvention(
        "another combination of quantity, frame, units, signs, order and rate for each task",
        _drawn(hidden=False),
    ),
    "drawn hidden": NamedConvention(
        "the same with turned signs, which only the demonstrations show", _drawn(hidden=True)
    ),
    "no kinematics": NamedConvention(
        "joint positions of a robot whose shape nobody tells", _joints, kinematics=False
    ),
}


def misdescribed(space: ActionSpace) -> ActionSpace:
    """A description that is wrong: of what moves the arm, every sign and the order of the axes."""
    turned = _each(_mirrored)(space)
    moving = [i for i, d in enumerate(turned.dimensions) if d.kind is not Kind.GRIPPER]
    shifted = dict(zip(moving, moving[1:] + moving[:1], strict=True))
    return replace(
        turned,
        dimensions=tuple(
            turned.dimensions[shifted.get(i, i)] for i in range(len(turned.dimensions))
        ),
    )
