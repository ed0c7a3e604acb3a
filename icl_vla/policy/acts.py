"""What a demonstration does, and when: fingers move, a hand stands low, a thing is moved."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.signal import find_peaks

from icl_vla_embodiments.types import Array

from .context import DemoContext

_CHANGE = 0.3  # of an opening, between two frames' commands
_AROUND = 2  # frames before and after,
_MOVES = 0.01  # [m] between which a thing is on its way
_HOLDS = 0.03  # [m] from where fingers have closed: what moves there is held
_DEEP = 0.03  # [m] that a hand comes down to do something
_LEVEL = 0.005  # [m] that it stays as low
_STILL = 0.002  # [m] in a frame of a hand that stands


class Act(NamedTuple):
    """Something that is done.

    Attributes:
        frame: When.
        push: Whether a thing that is not held begins or ceases to move.
    """

    frame: int
    push: bool = False


def acts_of(context: DemoContext) -> list[Act]:
    """What a demonstration does, in order; at least that it ends."""
    places, opening = context.tcp[:, :3, 3], context.gripper
    fingers = np.flatnonzero(np.abs(np.diff(opening)) > _CHANGE) + 1
    acts = [Act(f) for f in fingers.tolist()]
    for begin, end in _motions(context):
        before = fingers[fingers <= begin + _AROUND].tolist()[-1:]
        closed = [f for f in before if opening[f] < opening[f - 1]]
        held = any(np.linalg.norm(places[begin] - places[f]) < _HOLDS for f in closed)
        acts += [Act(begin, not held), Act(end, not held)]
    known = np.array([act.frame for act in acts])
    still = np.linalg.norm(np.gradient(places, axis=0), axis=-1) < _STILL
    for first, last in _low(places[:, 2]):
        if not np.any((known >= first) & (known <= last)):
            stands = first + np.flatnonzero(still[first : last + 1])
            acts += [Act(frame) for frame in sorted({first, last, *stands.tolist()})]
    return sorted(acts) or [Act(len(context) - 1)]


def _low(heights: Array) -> list[tuple[int, int]]:
    """First and last frames of stretches in which a hand is lower than before and after."""
    above = np.concatenate([heights, [np.inf]])
    lows = find_peaks(-above, prominence=_DEEP)[0]
    stretches = []
    for low in lows.tolist():
        higher = np.flatnonzero(above > above[low] + _LEVEL)
        before, after = higher[higher < low], higher[higher > low]
        stretches.append((int(before.max(initial=-1)) + 1, int(after.min()) - 1))
    return stretches


def _motions(context: DemoContext) -> list[tuple[int, int]]:
    """First and last frames of stretches in which some thing is on its way."""
    T = len(context)
    if not context.tokens.shape[1]:
        return []
    before = np.maximum(np.arange(T) - _AROUND, 0)
    after = np.minimum(np.arange(T) + _AROUND, T - 1)
    way = np.linalg.norm(context.tokens[after] - context.tokens[before], axis=-1)  # (T, M)
    moves = np.concatenate([[False], (way > _MOVES).any(axis=1), [False]])
    edges = np.flatnonzero(np.diff(moves.astype(int)))
    begins, ends = (edges[::2] + _AROUND).clip(max=T - 1), edges[1::2] - 1
    return list(zip(begins.tolist(), ends.tolist(), strict=True))
