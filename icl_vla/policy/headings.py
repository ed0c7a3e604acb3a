"""Where a thing is and which way it points, told from what hands do about it.

A view of a box shows sides that look alike; a hand that opens it always comes to the same one. How
a thing lies in two demonstrations follows from laying the hands' ways about it over each other,
which are alike to a millimetre where views are not. Carried back by that, the views of all
demonstrations make one whole shape, which is then laid on a view of the present scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from icl_vla_embodiments import se2, se3
from icl_vla_embodiments.types import Array

from ..perception.registration import (
    centred,
    laid_on,
    least_motion,
    mean_least,
    misses,
    normals_of,
    refined,
    turned_apart,
)
from .context import DemoContext, once

_LEAST = 2  # places that are no way
_FEWEST = 3  # demonstrations whose ways tell
_ABOUT = 0.15  # [m] across the table within which a hand is about a thing
_OVER = 0.25  # [m] above it
_DECIDED = 0.6  # of the worst fit that the best one is at most, where ways tell the turn
_SAME = 1 / 3  # of the pairs turned alike at most: else no view could be wrong
_POINTS = 300  # of a whole shape that is turned all round
_EVERY = 2  # points of a view that is looked for among the others
_RIGHT = np.deg2rad(20)  # error of a view's turn that counts as found
_SHOWN = 2 / 3  # of the demonstrations in which ways have to be decided
_COMMON = 0.5  # of a way that goes as the other does; they come from and go to anywhere
_ROUNDS = 3
_TRIED = 12  # turns, from each of which a shape finds to where it fits about there
_SURE = 1.15  # times the best fit that another one is at least, where a view tells the turn
_LEVEL = np.array([1.0, 1.0, 0.0])
_FOUND = 0.75  # of the views that have to be found among the others, else shape says nothing


def carried_by_motion(
    contexts: Sequence[DemoContext], index: NDArray[np.int64], cloud: Array, fine: Array
) -> tuple[Array, NDArray[np.bool_]] | None:
    """How a thing lies now, as seen from each demonstration.

    Args:
        contexts: ``K`` demonstrations.
        index: ``(K,)`` its token in each; -1 for none.
        cloud: ``(P, 3)`` its surface now,
        fine: ``(Q, 3)`` and more points of it.

    Returns:
        Motions ``(K, 4, 4)`` from each demonstration to now, a shift and a turn about the vertical,
        and which are known; None where ways or views do not tell.
    """
    shape = whole_shape(contexts, index)
    if shape is None:
        return None
    middle = (cloud - centred(cloud)).mean(axis=0)
    some = _fewer(fine)
    tried = [
        laid_on(some, shape.surface, shape.normals, se3.pose(se3.yaw(turn), middle))
        for turn in np.linspace(-np.pi, np.pi, _TRIED, endpoint=False)
    ]
    off = np.array([misses(fine, shape.surface, T) for T in tried])
    best = tried[int(np.argmin(off))]
    turned = np.array([np.trace(T[:3, :3] @ best[:3, :3].T) for T in tried])
    elsewhere = turned < 1 + 2 * np.cos(_RIGHT)
    if off[elsewhere].min(initial=np.inf) < _SURE * off.min():
        return None  # it looks as well from another side
    here = laid_on(fine, shape.surface, shape.normals, best)
    return here @ se3.inverse(shape.places), shape.known


@dataclass(frozen=True)
class Shape:
    """A thing as ``K`` demonstrations have seen it together.

    Attributes:
        surface: Of ``(P, 3)`` points about the vertical through its middle, as in one of them [m].
        normals: ``(P, 3)`` across its surface there.
        places: ``(K, 4, 4)`` from there to where each saw it first; the unit where not known.
        known: ``(K,)``.
    """

    surface: KDTree
    normals: Array
    places: Array
    known: NDArray[np.bool_]


def whole_shape(contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> Shape | None:
    """A thing, tokens ``(K,)``, turned back by what ways tell; None where ways or views do not."""
    return once(contexts, ("shape", index.tobytes()), lambda: _whole_shape(contexts, index))


def _whole_shape(contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> Shape | None:
    matched = np.flatnonzero(index >= 0).tolist()
    ways = {k: way for k in matched if len(way := _way(contexts[k], int(index[k]))) > _LEAST}
    leader, decided = -1, dict[int, float]()
    for some in ways:  # one whose way goes on elsewhere would tell little of the others
        turns = {k: turn for k, way in ways.items() if (turn := _turn(ways[some], way)) is not None}
        if len(turns) > len(decided):
            leader, decided = some, turns
        if len(decided) == len(ways):
            break
    if len(decided) < max(_FEWEST, _SHOWN * len(ways)) or _alike(list(decided.values())) > _SAME:
        return None
    laid = {k: _laid(ways[leader], ways[k], turn) for k, turn in decided.items()}
    views = {k: centred(contexts[k].clouds[index[k]]) @ T[:3, :3] for k, T in laid.items()}
    others = {k: _fewer(np.concatenate([v for o, v in views.items() if o != k])) for k in laid}
    errors = [_turned(whole, views[k][::_EVERY]) for k, whole in others.items()]
    if np.mean(np.abs(errors) < _RIGHT) < _FOUND:
        return None
    places, known = np.tile(np.eye(4), (len(contexts), 1, 1)), np.zeros(len(contexts), dtype=bool)
    for k, T in laid.items():
        places[k] = se3.pose(p=contexts[k].first[index[k]] * _LEVEL) @ T
        known[k] = True
    clouds = [se3.act(se3.inverse(places[k]), contexts[k].clouds[index[k]]) for k in laid]
    whole = np.concatenate(clouds)
    points = centred(whole)
    places[known] = places[known] @ se3.pose(p=(whole - points).mean(axis=0))
    return Shape(KDTree(points), normals_of(points), places, known)


def _alike(turns: Sequence[float]) -> float:
    """Share of pairs of turns that differ by less than what counts as right."""
    apart = np.subtract.outer(turns, turns)[np.triu_indices(len(turns), 1)]
    return float(np.mean(np.abs(se2.wrap(apart)) < _RIGHT))


def _way(context: DemoContext, token: int) -> Array:
    """Where the hand was about a thing: ``(n, 3)``, across from its first place, and how high.

    About that and nothing else that stood apart from it.
    """
    first = context.first[token]
    hands = context.tcp[::2, :3, 3]
    off = hands - first * _LEVEL
    about = (np.linalg.norm(off[:, :2], axis=1) < _ABOUT) & (off[:, 2] < first[2] + _OVER)
    others = np.linalg.norm((context.first - first)[:, :2], axis=1) > _ABOUT
    away = np.linalg.norm(context.tokens[::2, :, :2] - hands[:, None, :2], axis=-1)
    about &= away[:, token] < away[:, others].min(axis=1, initial=np.inf)
    return np.asarray(off[about])


def _laid(a: Array, b: Array, turn: float) -> Array:
    """How a way ``(n, 3)`` is laid over another ``(m, 3)``, where they are alike: ``(4, 4)``.

    Args:
        a: As seen from a thing [m].
        b: As seen from it elsewhere.
        turn: From one to the other, roughly [rad].
    """
    motion = se3.pose(se3.yaw(turn))
    for _ in range(_ROUNDS):
        off = KDTree(se3.act(motion, a)).query(b)[0]
        motion = least_motion(a, b[off <= np.quantile(off, _COMMON)], motion)
    return motion


def _fewer(points: Array) -> Array:
    """No more than it takes to tell a turn to some degrees."""
    return np.asarray(points[:: max(1, len(points) // _POINTS)])


def _turn(a: Array, b: Array) -> float | None:
    """The turn that lays a way ``(n, 3)`` over another ``(m, 3)``; None where that is undecided."""
    squared = turned_apart(a, b)
    off = mean_least(squared, 1) + mean_least(squared, 2)
    i = int(np.argmin(off))
    return refined(off, i) if off[i] < _DECIDED * off.max() else None


def _turned(whole: Array, part: Array) -> float:
    """The turn about the vertical that lays points ``(n, 3)`` on ``(m, 3)`` of them."""
    off = mean_least(turned_apart(whole, part), 1)
    return refined(off, int(np.argmin(off)))
