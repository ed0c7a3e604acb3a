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
from .likeness import Compared, surprise

_EVERY = 6  # frames between two that are compared
_RADIUS = 0.03  # [m] as in :func:`.likeness.moment_costs`
_FEW = 0.3  # of the demonstrations that must have a thing, for hands to tell which it is
_TOLD = 2.0  # [nats] of agreement that weigh as much as the greatest difference of looks


def settled(
    contexts: Sequence[DemoContext], index: NDArray[np.int64], features: Array
) -> NDArray[np.int64]:
    """The same correspondence, corrected by what hands do about things that look alike.

    Args:
        contexts: ``K`` demonstrations.
        index: ``(K, M)`` their token for each thing, by looks; -1 for none.
        features: ``(M, F)`` of the things.

    Returns:
        ``(K, M)``.
    """
    asked = np.flatnonzero((index >= 0).mean(axis=0) >= _FEW)
    apart = [np.linalg.norm(features[asked, None] - c.features, axis=-1) / SAME for c in contexts]
    if len(contexts) < 2 or not any((a < 1).sum(axis=-1).max(initial=0) > 1 for a in apart):
        return index  # looks leave no choice
    out = index.copy()
    for k, agreed in enumerate(_agreement(contexts, index[:, asked])):
        told = np.minimum((len(contexts) - 1) * agreed / _TOLD, 1.0)
        possible = apart[k] < 1
        rows, columns = linear_sum_assignment(np.where(possible, apart[k] - told, 10.0))
        others = np.setdiff1d(np.arange(index.shape[1]), asked)
        out[k, asked] = -1
        for m, j in zip(rows, columns, strict=True):
            if possible[m, j]:
                out[k, others[out[k, others] == j]] = -1
                out[k, asked[m]] = j
    return out


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
