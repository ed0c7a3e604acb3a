"""Which way numbers run, as demonstrations show it: a robot goes where it is told to.

A description may have the sign of a number wrong, or leave it open: a joint that counts the other
way, an axis that points the other way. For every frame it is asked what the numbers would have
been, had the robot been told what it did next. A number that is much nearer to that with the other
sign runs the other way. Of a gripper it could as well be the measured opening (see lint).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, groupby
from typing import TYPE_CHECKING

import numpy as np

from icl_vla_embodiments import ActionSpace, TaskTarget, se3
from icl_vla_embodiments.types import Array

from .demonstration import Demonstration, decode_commands, measured_state

if TYPE_CHECKING:
    from icl_vla_embodiments.kinematics import Kinematics

_FRAMES = 60  # of a demonstration that are looked at, at most
_LAGS = (1, 2, 4)  # frames by which a robot may follow what it is told
_CLEAR = 0.5  # share of the distance that turning a number must leave at most
_ALIKE = 1.2  # times the least distance: no worse, if fewer numbers are turned
_LEAST = 1e-3  # [m] or [rad] on average: what is not nearer anyway is not looked at


def turned_numbers(space: ActionSpace, demonstrations: Sequence[Demonstration]) -> tuple[str, ...]:
    """Names of the dimensions that run the other way in the median demonstration.

    Args:
        space: As described. Demonstrations in other spaces tell nothing of it.
        demonstrations: What was recorded.
    """
    telling = [d for d in demonstrations if d.action_space.dimensions == space.dimensions]
    some = [
        i
        for i, dim in enumerate(space.dimensions)
        if dim.has_sign and (dim.joint or all(dim.effector in d.poses for d in telling))
    ]
    asked = replace(space, dimensions=tuple(space.dimensions[i] for i in some))
    long = [d for d in telling if len(d) > max(_LAGS) + 1]
    if not long or not some:
        return ()
    each = [_told(asked, d, d.actions[:, some]) for d in long]
    found: list[str] = []
    for indices in _units(asked):
        names = [asked.dimensions[i].name for i in indices]
        choices = [c for n in range(len(names) + 1) for c in combinations(range(len(names)), n)]
        off = np.array([[_off(asked, indices, c, *told) for c in choices] for told in each])
        share = np.median(np.log((off + 1e-9) / (off[:, :1] + 1e-9)), axis=0)
        best = int(np.argmax(share < share.min() + np.log(_ALIKE)))
        if share[best] < np.log(_CLEAR) and np.median(off[:, 0]) > _LEAST:
            found += [names[k] for k in choices[best]]
    return tuple(found)


def read_as(space: ActionSpace, d: Demonstration, model: Kinematics | None) -> Demonstration:
    """A demonstration whose numbers are taken to mean what a space says."""
    d = replace(d, action_space=space)
    commands, openings = decode_commands(d, model)
    return replace(
        d,
        commands={**d.commands, **commands},
        gripper_commands={**d.gripper_commands, **openings},
    )


def _told(space: ActionSpace, d: Demonstration, native: Array) -> tuple[Array, Array]:
    """What was told ``(N, D)``, and what would have told what was done then ``(L, N, D)``, SI."""
    last = len(d) - max(_LAGS)
    frames = np.unique(np.linspace(0, last - 1, _FRAMES).astype(int))
    done = np.array([[_telling(space, d, t, t + k) for t in frames] for k in _LAGS])
    return _si(space, native[frames]), _si(space, done)


def _telling(space: ActionSpace, d: Demonstration, t: int, then: int) -> Array:
    """Numbers ``(D,)`` that would have brought the robot from frame ``t`` to where it was then."""
    target = TaskTarget(
        poses={e: T[then] for e, T in d.poses.items()},
        posture=d.q[then],
        grippers={e: float(x[then]) for e, x in d.grippers.items()},
    )
    return space.encode([target], measured_state(d, t))[0]


def _si(space: ActionSpace, native: Array) -> Array:
    """``(..., D)`` in SI units."""
    each = [d.to_si(native[..., i]) for i, d in enumerate(space.dimensions)]
    return np.stack(each, axis=-1)


def _units(space: ActionSpace) -> Iterator[list[int]]:
    """Dimensions that can be turned on their own; coordinates of one rotation go together."""
    dimensions = list(enumerate(space.dimensions))
    yield from ([i] for i, d in dimensions if not d.turns)
    turning = sorted((d.effector, d.component, i) for i, d in dimensions if d.turns)
    for _, group in groupby(turning, key=lambda one: one[0]):
        yield [i for _, _, i in group]


def _off(
    space: ActionSpace, indices: list[int], choice: tuple[int, ...], told: Array, done: Array
) -> float:
    """How far off numbers are on average if some of them are turned, at the best lag."""
    said = told[:, indices].copy()
    dimensions = [space.dimensions[i] for i in indices]
    said[:, list(choice)] *= -1
    meant = done[..., indices]
    if dimensions[0].turns:
        R = dimensions[0].rotation.matrix(said)
        apart = np.linalg.norm(
            se3.log3(R.swapaxes(-1, -2) @ dimensions[0].rotation.matrix(meant)), axis=-1
        )
    else:
        apart = np.abs(said - meant)[..., 0]
    return float(apart.mean(axis=-1).min())
