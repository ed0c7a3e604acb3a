"""How all things of a scene have moved between two looks, those that touch each other at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .motion import AROUND, EXPLAINED, ON, motion_of_hidden, motion_of_seen
from .registration import one_step, share_on, stiffness
from .tokens import some_of
from .touch import NOTHING, RESTS, Passage, Touch, is_tall

SEEN = 10
"""Points of a thing by which it is seen."""
_FEWEST = 5  # points of one of several things that tell where it is
_BESIDE = 0.02  # [m] from each other: things that may touch
_WIDE = 0.04  # [m] from where things are expected, in which points are theirs; then less and less
_FALLS = 0.8
_ROUGH, _FINE = 12, 14  # steps from each beginning, and from the best
_SETTLED = 2e-4  # [m]; less is no step
_FAR = 0.02  # [m]: what is farther apart is not the same
_ALIKE = 1e-3  # between beginnings that are one
_MANY = 400  # points that are laid at once
_ENOUGH = 0.3  # of a surface that has to be seen, or nothing tells where the thing is
_MORE = 0.1  # of it that has to be seen more if it stood: or it still stands


def motions_since(
    surfaces: Array,
    taken: Mapping[int, Array],
    spare: Array,
    touches: Sequence[Touch | None],
    passage: Passage | None,
    stood: NDArray[np.bool_],
) -> tuple[Array, dict[int, Array]]:
    """How things have moved.

    Args:
        surfaces: ``(M, P, 3)`` as they lay [m].
        taken: Of those that are seen points ``(Q, 3)`` that were taken for each [m].
        spare: ``(N, 3)`` what was taken for none.
        touches: What the robot is expected to have done to each; None where nobody knows.
        passage: How it went; None where nobody knows.
        stood: ``(M,)`` which have not moved so far.

    Returns:
        ``(M, 4, 4)`` in the base frame; and of each points that are seen of it and not of others,
        those left out that have too few.
    """
    sight = np.concatenate([spare, *taken.values()])
    here = surfaces.copy()
    told: dict[int, Array] = {}
    own: dict[int, Array] = {}
    settled = stood.copy()  # whose surfaces are known as they lie now: first of all what stands
    for i in np.argsort(stood, kind="stable").tolist():
        settled[i] = False
        points = _own(taken.get(i, sight[:0]), surfaces[i], here[settled])
        settled[i] = True
        if len(points) >= SEEN:
            own[i] = points
            told[i] = motion_of_seen(surfaces[i], points, touches[i], bool(stood[i]))
            here[i] = se3.act(told[i], surfaces[i])
    if passage is not None:
        sure = {i for i, points in own.items() if share_on(points, here[i], ON) >= EXPLAINED}
        expected = [touch or NOTHING for touch in touches]
        for some in _doubtful(surfaces, here, expected, told, sure, stood):
            points = np.concatenate([spare, *(taken[i] for i in some if i in taken)])
            points = _apart(points, here[[i for i in told if i not in some]])
            if len(points) < _FEWEST:
                continue
            pushed = [expected[i].motion for i in some]
            seen = [told.get(i, motion) for i, motion in zip(some, pushed, strict=True)]
            begins = np.stack([pushed, [RESTS] * len(some), seen])
            found = together(surfaces[some], points, begins, stood[some])
            for i, motion in zip(some, found, strict=True):
                told.pop(i, None)
                if motion is not None:
                    told[i], here[i] = motion, se3.act(motion, surfaces[i])
        if len(told) < len(surfaces):  # what is seen may have pushed the rest
            touches = passage.touches(surfaces, told)
    motions = [
        told[i] if i in told else motion_of_hidden(surface, sight, touches[i])
        for i, surface in enumerate(surfaces)
    ]
    return np.reshape(motions, (-1, 4, 4)), own


def together(
    known: Array, points: Array, begins: Array, stood: NDArray[np.bool_]
) -> list[Array | None]:
    """How things that may touch have moved, by points of which nobody knows of which they are.

    Iterated closest points of all at once: a point is that of the surface that is nearest to it.

    Args:
        known: ``(K, P, 3)`` their surfaces as they lay [m].
        points: ``(Q, 3)`` [m].
        begins: ``(B, K, 4, 4)`` motions to begin with.
        stood: ``(K,)`` which have not moved so far.

    Returns:
        ``(4, 4)`` of each in the base frame; None if too little of it is seen there.
    """
    points = some_of(points, min(len(points), _MANY))
    trees = [KDTree(k) for k in known]
    tried: list[Array] = []
    for n, begin in enumerate(begins):
        if not any(np.allclose(begin, other, atol=_ALIKE) for other in begins[:n]):
            tried.append(_laid(known, trees, points, begin, range(_ROUGH)))
    best = min(tried, key=lambda motions: _off(known, trees, points, motions))
    found: list[Array | None] = []
    motions = _laid(known, trees, points, best, range(_ROUGH, _ROUGH + _FINE))
    for surface, motion, still in zip(known, motions, stood, strict=True):
        goes, rests = (share_on(se3.act(m, surface), points, ON) for m in (motion, RESTS))
        if still and rests > max(goes - _MORE, _MORE):
            found.append(RESTS)
        else:
            found.append(motion if goes >= _ENOUGH else None)
    return found


def _laid(
    known: Array, trees: Sequence[KDTree], points: Array, begin: Array, steps: Iterable[int]
) -> Array:
    """Motions ``(K, 4, 4)`` by which points lie on surfaces, near to where they begin.

    Args:
        known: ``(K, P, 3)`` surfaces [m].
        trees: Of them.
        points: ``(Q, 3)`` [m].
        begin: ``(K, 4, 4)``.
        steps: Numbers of the steps; the later, the nearer points have to be.
    """
    motions, stiff = begin.copy(), [stiffness(k) for k in known]
    for n in steps:
        gate = max(_WIDE * _FALLS**n, AROUND)
        there = se3.act(se3.inverse(motions), points)  # (K, Q, 3)
        off, nearest = zip(*(t.query(p) for t, p in zip(trees, there, strict=True)), strict=True)
        mine = (np.stack(off) == np.min(off, axis=0)) & (np.stack(off) < gate)
        gone = 0.0
        for i in np.flatnonzero(mine.sum(axis=1) >= _FEWEST):
            step = one_step(known[i][nearest[i][mine[i]]], there[i][mine[i]], stiff[i])
            motions[i] = motions[i] @ step
            far = np.linalg.norm(se3.act(step, known[i]) - known[i], axis=1)
            gone = max(gone, float(far.mean()))
        if gone < _SETTLED and gate <= AROUND:
            break
    return motions


def _off(known: Array, trees: Sequence[KDTree], points: Array, motions: Array) -> float:
    """How far moved surfaces and points are from each other [m]."""
    there = se3.act(se3.inverse(motions), points)
    pairs = zip(trees, there, strict=True)
    off = np.min([t.query(p, distance_upper_bound=_FAR)[0] for t, p in pairs], axis=0)
    moved = se3.act(motions, known).reshape(-1, 3)
    back = KDTree(points).query(moved, distance_upper_bound=_FAR)[0]
    return float(np.minimum(off, _FAR).mean() + np.minimum(back, _FAR).mean())


def _doubtful(
    surfaces: Array,
    here: Array,
    touches: Sequence[Touch],
    told: Mapping[int, Array],
    sure: set[int],
    stood: NDArray[np.bool_],
) -> list[list[int]]:
    """Things that touch where they are expected, at least one of which is not sure to be there."""
    there: dict[int, Array] = {}
    touched = set()
    for i, (surface, touch) in enumerate(zip(surfaces, touches, strict=True)):
        if (touch.motion != RESTS).any():
            touched.add(i)
        settled = touch.held or (i in sure and stood[i] and (told[i] == RESTS).all())
        if not settled and is_tall(surface):
            there[i] = here[i] if i in sure else se3.act(touch.motion, surface)
    left, found = list(there), []
    while left:
        some = [left.pop()]
        for a in some:  # grows
            tree = KDTree(there[a])
            beside = [b for b in left if tree.query(there[b])[0].min() < _BESIDE]
            some += beside
            left = [b for b in left if b not in beside]
        alone = len(some) == 1 and (stood[some[0]] or some[0] in told)
        going = any(not stood[i] or i in touched for i in some)
        if going and not alone and not sure.issuperset(some):
            found.append(sorted(some))
    return found


def _apart(points: Array, others: Array) -> Array:
    """Those of points ``(Q, 3)`` that do not lie on surfaces ``(N, P, 3)``."""
    if not len(others) or not len(points):
        return points
    return np.asarray(points[KDTree(others.reshape(-1, 3)).query(points)[0] > ON])


def _own(points: Array, surface: Array, others: Array) -> Array:
    """Of points ``(Q, 3)`` taken for one thing those that do not lie on another one beside it.

    Args:
        points: [m].
        surface: ``(P, 3)`` of the thing as it lay.
        others: ``(N, P, 3)`` of other things as they lie now.
    """
    low, high = points.min(axis=0, initial=np.inf) - ON, points.max(axis=0, initial=-np.inf) + ON
    near = [o for o in others if ((o >= low) & (o <= high)).all(axis=1).any()]
    if not near:
        return points
    theirs, own = (KDTree(s).query(points)[0] for s in (np.concatenate(near), surface))
    return np.asarray(points[(theirs > ON) | (own < theirs)])
