"""Which way a thing points, told from what hands do about it.

A view of a box shows sides that look alike; a hand that opens it always comes to the same one. How
a thing is turned between two demonstrations follows from laying the hands' ways about it over each
other. Turned back by that, the views of all demonstrations make one whole shape, which a view of
the present scene is then registered to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se2, se3
from icl_vla_embodiments.types import Array

from ..perception.registration import centred, mean_least, refined, turned_apart, turned_finely
from .context import DemoContext, once

_FEWEST = 3  # demonstrations whose ways tell
_ABOUT = 0.15  # [m] across the table within which a hand is about a thing
_OVER = 0.25  # [m] above it
_DECIDED = 0.6  # of the worst fit that the best one is at most, where ways tell the turn
_SAME = 1 / 3  # of the pairs turned alike at most: else no view could be wrong
_POINTS = 300  # of a whole shape that is turned all round
_EVERY = 2  # points of a view that is looked for among the others
_RIGHT = np.deg2rad(20)  # error of a view's turn that counts as found
_SHOWN = 2 / 3  # of the demonstrations in which ways have to be decided
_FOUND = 0.75  # of the views that have to be found among the others, else shape says nothing


def turns_from_motion(
    contexts: Sequence[DemoContext], index: NDArray[np.int64], cloud: Array
) -> tuple[Array, NDArray[np.bool_]] | None:
    """How much a thing is turned about the vertical, from each demonstration to now.

    Args:
        contexts: ``K`` demonstrations.
        index: ``(K,)`` its token in each; -1 for none.
        cloud: ``(P, 3)`` its surface now.

    Returns:
        Turns ``(K,)`` [rad] and which are known; None where ways or views do not tell.
    """
    shape = whole_shape(contexts, index)
    if shape is None:
        return None
    seen = centred(cloud)
    roughly, _ = _fit(_fewer(shape.points), seen)
    now = turned_finely(shape.points, seen, roughly)
    return np.where(shape.known, se2.wrap(now - shape.turns), 0.0), shape.known


@dataclass(frozen=True)
class Shape:
    """A thing as ``K`` demonstrations have seen it together.

    Attributes:
        points: ``(P, 3)`` about its middle, turned as in one of them.
        turns: ``(K,)`` from there to each [rad]; 0 where it is not known.
        known: ``(K,)``.
    """

    points: Array
    turns: Array
    known: NDArray[np.bool_]


def whole_shape(contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> Shape | None:
    """A thing, tokens ``(K,)``, turned back by what ways tell; None where ways or views do not."""
    return once(contexts, ("shape", index.tobytes()), lambda: _whole_shape(contexts, index))


def _whole_shape(contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> Shape | None:
    matched = [int(k) for k in np.flatnonzero(index >= 0)]
    rows = [k for k in matched if len(_way(contexts[k], int(index[k]))) > 2]
    if len(rows) < _FEWEST:
        return None
    ways = [_way(contexts[k], int(index[k])) for k in rows]
    fits = [_fit(ways[0], way, both=True) for way in ways]
    decided = [i for i, (_, sharp) in enumerate(fits) if sharp]
    if len(decided) < max(_FEWEST, _SHOWN * len(rows)):
        return None
    turn = {rows[i]: fits[i][0] for i in decided}  # from the first demonstration
    if _alike(list(turn.values())) > _SAME:
        return None
    views = {k: centred(contexts[k].clouds[index[k]]) @ se3.yaw(a) for k, a in turn.items()}
    others = {k: _fewer(np.concatenate([v for o, v in views.items() if o != k])) for k in turn}
    errors = [_fit(whole, views[k][::_EVERY])[0] for k, whole in others.items()]
    if np.mean(np.abs(errors) < _RIGHT) < _FOUND:
        return None
    turns, known = np.zeros(len(contexts)), np.zeros(len(contexts), dtype=bool)
    for k, a in turn.items():
        turns[k], known[k] = a, True
    return Shape(np.concatenate(list(views.values())), turns, known)


def _alike(turns: Sequence[float]) -> float:
    """Share of pairs of turns that differ by less than what counts as right."""
    apart = np.subtract.outer(turns, turns)[np.triu_indices(len(turns), 1)]
    return float(np.mean(np.abs(se2.wrap(apart)) < _RIGHT))


def _way(context: DemoContext, token: int) -> Array:
    """Where the hand was about a thing, as seen from the thing's first place: ``(n, 3)``."""
    off = context.tcp[::2, :3, 3] - context.first[token]
    about = (np.linalg.norm(off[:, :2], axis=1) < _ABOUT) & (off[:, 2] < _OVER)
    return np.asarray(off[about])


def _fewer(points: Array) -> Array:
    """No more than it takes to tell a turn to some degrees."""
    return np.asarray(points[:: max(1, len(points) // _POINTS)])


def _fit(a: Array, b: Array, both: bool = False) -> tuple[float, bool]:
    """The turn about the vertical that lays points ``a`` on ``b``, and whether it is decided.

    Args:
        a: ``(n, 3)`` whole.
        b: ``(m, 3)`` what may be a part of it.
        both: ``a`` is not more than ``b``, either.
    """
    squared = turned_apart(a, b)
    off = mean_least(squared, 1) + (mean_least(squared, 2) if both else 0.0)
    i = int(np.argmin(off))
    return refined(off, i), bool(off[i] < _DECIDED * off.max())
