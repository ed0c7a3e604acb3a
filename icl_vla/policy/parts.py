"""Which part of a task a thing is dealt with in, where it is to be done again."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .context import DemoContext

_NEAR = 0.1  # [m] from a hand within which a thing is dealt with


def part_about(
    contexts: Sequence[DemoContext], index: NDArray[np.int64], things: Collection[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Frames in which demonstrations deal with some things.

    From where the hand has left what it dealt with before, to half-way to what it deals with next.

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
        others = _dealt_with(c, [j for m, j in enumerate(row) if m not in things]) & ~mine
        if not mine.any():
            continue
        first, last = np.flatnonzero(mine)[[0, -1]]
        before, after = np.flatnonzero(others[:first]), np.flatnonzero(others[last:])
        if len(before):
            begin[k] = before[-1] + 1
        if len(after):
            end[k] = last + after[0] // 2 + 1
    if (begin == 0).all() and (end == [len(c) for c in contexts]).all():
        return None
    return begin, end


def _dealt_with(context: DemoContext, tokens: Sequence[int]) -> NDArray[np.bool_]:
    """Frames ``(T,)`` in which the hand is near one of some tokens; -1 is none."""
    known = [j for j in tokens if j >= 0]
    away: Array = np.linalg.norm(context.shapes[:, known] - context.tcp[:, None, :3, 3], axis=-1)
    return np.asarray((away < _NEAR).any(axis=1))
