"""Ways to write a robot's actions, made from its own action space, and wrong words for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from icl_vla_embodiments import ActionSpace, Dimension, Kind, Rotation
from icl_vla_embodiments.action_space import UNITS

Change = Callable[[ActionSpace], ActionSpace]
SMALLER = {"m": "mm", "rad": "deg"}


@dataclass(frozen=True)
class Convention:
    """A way to write actions.

    Attributes:
        summary: One line for people.
        true: What the numbers mean, from the robot's own space.
        told: What they are said to mean; None for the truth.
    """

    summary: str
    true: Change
    told: Change | None = None


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
    angular = d.kind in (Kind.EE_ROTATION, Kind.BASE_ROTATION)
    if d.kind is Kind.GRIPPER or (angular and d.rotation not in (Rotation.ROTVEC,)):
        return d
    return replace(d, sign=-d.sign, lower=-d.upper, upper=-d.lower)


def _backwards(space: ActionSpace) -> ActionSpace:
    """The last dimension first."""
    return replace(space, dimensions=space.dimensions[::-1])


def _same(space: ActionSpace) -> ActionSpace:
    return space


CONVENTIONS: dict[str, Convention] = {
    "plain": Convention("the robot's own action space", _same),
    "units": Convention("millimetres and degrees", _each(_small_units)),
    "mirrored": Convention("all signs turned round", _each(_mirrored)),
    "reversed": Convention("the last dimension first", _backwards),
    "units mirrored": Convention(
        "millimetres and degrees, all signs turned round",
        lambda space: _each(_mirrored)(_each(_small_units)(space)),
    ),
    "hidden": Convention(
        "all signs turned round, which only the demonstrations show", _each(_mirrored), _same
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
