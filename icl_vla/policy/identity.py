"""Which thing of a demonstration is which: looks say what it may be, hands say what it is.

Of two things that look alike, one is what the task is about. Where the hand is when it comes to it,
and when it leaves, is the same in all demonstrations; as seen from the other thing it is anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from icl_vla_embodiments.types import Array

from ..perception.memory import SAME
from .alignment import CHANCE, NEAR, paired, thinned
from .context import DemoContext
from .likeness import Compared, matched_tokens, surprise

_EVERY = 6  # frames between two that are compared
_RADIUS = 0.03  # [m] as in :func:`.likeness.moment_costs`
_FEW = 0.3  # of the demonstrations that must have a thing, for hands to tell which it is
_LOOKS = 0.5  # weight of a thing that hands tell nothing of
_FEWEST = 3  # demonstrations that can outvote one
_ROUNDS = 2
_TOLD = 2.0  # [nats] of agreement that weigh as much as the greatest difference of looks


def settled(
    contexts: Sequence[DemoContext], index: NDArray[np.int64], features: Array
) -> NDArray[np.int64]:
    """The same correspondence, corrected by what hands do about things that look alike.

    First the demonstrations agree which of their tokens are one thing, then it is told which token
    of now all of them together look like.

    Args:
        contexts: ``K`` demonstrations.
        index: ``(K, M)`` their token for each thing, by looks; -1 for none.
        features: ``(M, F)`` of the things.

    Returns:
        ``(K, M)``.
    """
    if len(contexts) < _FEWEST:
        return index
    apart = [_apart(features, c.features) for c in contexts]
    if not any((a < 1).sum(axis=axis).max(initial=0) > 1 for a in apart for axis in (0, 1)):
        return index  # looks leave no choice
    one, told = _one_thing(contexts)
    like = np.zeros((one.shape[1], len(features)))
    for i, column in enumerate(one.T):
        for k in np.flatnonzero(column >= 0):
            like[i] += np.maximum(1 - apart[k][:, column[k]], 0) / len(contexts)
    out = np.full(index.shape, -1)
    # where there is one and were two, it is the one that matters
    for i, m in zip(*linear_sum_assignment(-like * (told[:, None] + _LOOKS)), strict=True):
        if like[i, m] > 0:
            out[:, m] = one[:, i]
    for m in np.flatnonzero((out < 0).all(axis=0)):  # passers-by
        free = [j not in row for j, row in zip(index[:, m], out, strict=True)]
        out[:, m] = np.where(free, index[:, m], -1)
    return out


def _one_thing(contexts: Sequence[DemoContext]) -> tuple[NDArray[np.int64], Array]:
    """Tokens of the demonstrations that are one thing, by looks, then by hands.

    They are the things of the demonstration that shares most with the others.

    Returns:
        ``(K, C)``, -1 for none; and ``(C,)`` how much hands tell of each, 0 to 1.
    """
    every = [matched_tokens(c.features, contexts) for c in contexts]
    best = max(range(len(every)), key=lambda k: int((every[k] >= 0).sum()))
    asked = (every[best] >= 0).mean(axis=0) >= _FEW
    index, looks = every[best][:, asked], contexts[best].features[asked]
    told = np.zeros(index.shape)
    for _ in range(_ROUNDS):
        agreed = _agreement(contexts, index)
        index = np.full(index.shape, -1)
        for k, context in enumerate(contexts):
            sure = np.minimum((len(contexts) - 1) * agreed[k] / _TOLD, 1.0)
            apart = _apart(looks, context.features)
            possible = (apart < 1) | (sure > 0.5)
            cost = np.where(possible, np.minimum(apart, 1.0) - sure, 1.0)
            rows, columns = linear_sum_assignment(cost)
            kept = possible[rows, columns]
            index[k, rows[kept]] = columns[kept]
            told[k, rows] = np.where(kept, sure[rows, columns], 0.0)
    have = (index >= 0).any(axis=0)
    return index[:, have], told[:, have].mean(axis=0)


def _apart(a: Array, b: Array) -> Array:
    """How unlike features ``(n, F)`` and ``(m, F)`` are, ``(n, m)``; from 1 on, not the same."""
    return np.linalg.norm(a[:, None] - b, axis=-1) / SAME


def _agreement(contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> list[Array]:
    """How much more often than by chance the others have a thing where one has each of its tokens.

    Returns:
        For each demonstration ``(M, M_k)`` [nats a moment and other demonstration].
    """
    few = [thinned(c, _EVERY) for c in contexts]
    seen = Compared.shown(few, index)
    rows = np.array([len(c) for c in few])
    beside, _ = paired(seen, rows, np.ones(seen.seen.shape[:2]), _RADIUS)
    first = np.cumsum(rows) - rows
    told = []
    for k, context in enumerate(few):
        others = np.delete(np.arange(len(few)), k)
        frames = beside[: rows[k], k][:, others] + first[others]
        there = seen.seen[frames, : index.shape[1]]  # (t, K - 1, M, 2)
        own = context.seen_from_hand[:, : len(context.features)]  # (t, M_k, 2)
        squared = ((there[:, :, :, None] - own[:, None, None]) ** 2).sum(-1)
        alike = np.nan_to_num(np.exp(-squared / (2 * NEAR**2))).mean(axis=1)
        told.append(surprise(alike, CHANCE).mean(axis=0))
    return told
