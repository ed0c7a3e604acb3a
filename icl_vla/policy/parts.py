"""Which part of a task a thing is dealt with in, where it is to be done again."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from icl_vla_embodiments.types import Array

from .context import DemoContext

_NEAR = 0.1  # [m] from a hand within which a thing is dealt with


def part_about(
    contexts: Sequence[DemoContext], index: NDArray[np.int64], things: Collection[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Frames in which demonstrations deal with some things.

    From where the hand has left what it dealt with before, to half-way to what it deals with next.
    What it comes to without having been away from everything between is of the same part: of what
    is swept together nothing is swept alone.

    Args:
        contexts: ``K`` demonstrations.
        index: ``(K, M)`` their tokens for things, -1 for none.
        things: Columns of those in question.

    Returns:
        First frames ``(K,)``, and ends ``(K,)``, themselves not in it; None where no demonstration
        does anything else.
    """
    begin, end = np.zeros(len(contexts), dtype=int), np.array([len(c) for c in contexts])
    for k, (c, row) in enumerate(zip(contexts, index, strict=True)):
        mine = _dealt_with(c, [row[m] for m in things])
        if not mine.any():
            continue
        busy, _ = ndimage.label(_dealt_with(c, row))
        first, last = np.flatnonzero(np.isin(busy, busy[mine]))[[0, -1]]
        before, after = np.flatnonzero(busy[:first]), np.flatnonzero(busy[last + 1 :])
        if len(before):
            begin[k] = before[-1] + 1
        if len(after):
            end[k] = last + 1 + after[0] // 2
    if (begin == 0).all() and (end == [len(c) for c in contexts]).all():
        return None
    return begin, end


def _dealt_with(context: DemoContext, tokens: Sequence[int]) -> NDArray[np.bool_]:
    """Frames ``(T,)`` in which the hand is near one of some tokens; -1 is none."""
    known = [j for j in tokens if j >= 0]
    away: Array = np.linalg.norm(context.shapes[:, known] - context.tcp[:, None, :3, 3], axis=-1)
    return np.asarray((away < _NEAR).any(axis=1))
