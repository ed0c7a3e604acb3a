"""Demonstrations laid beside each other: which moments are the same, and which things tell them.

On the way to a button the other buttons stand anywhere, and where they are says nothing of how far
the motion has got. Dynamic time warping (Sakoe & Chiba 1978) finds the moments that go together; a
thing that is then in one place, as seen from the hand, counts for much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .context import DemoContext
from .likeness import moment_costs, surprise

_NEAR = 0.015  # [m] within which places are alike
_CHANCE = 0.1  # of being alike without mattering
_TOLD = 0.5  # of the weight that goes by agreement; the rest is everything's alike
_STRIDES = (6, 3)  # frames; the second pass lays them beside each other by what the first found


@dataclass(frozen=True)
class Alignment:
    """``K`` demonstrations beside each other, with ``M`` things and ``h`` other hands.

    Attributes:
        relevance: For each ``(T_k, M + h)``: share of each thing in what tells the moment.
        beside: ``beside[k][j]`` ``(T_k,)``: frames of j that go with those of k.
        unlike: ``(K, K)`` mean cost of that.
    """

    relevance: list[Array]
    beside: list[list[NDArray[np.int64]]]
    unlike: Array

    @classmethod
    def of(
        cls, contexts: Sequence[DemoContext], index: NDArray[np.int64], radius: float
    ) -> Alignment:
        """Lay them beside each other, twice: the second time by what mattered in the first.

        Half of a thing's weight goes by how much more of the others have it where this one has it,
        as seen from the hand, than would by chance [nats]. The other half is everything's alike:
        what need not be in one place may still be where it never was.

        Args:
            contexts: ``K`` demonstrations.
            index: ``(K, M)`` their token for each thing; -1 for none.
            radius: As in :func:`.likeness.moment_costs`.
        """
        hands = 0 if contexts[0].hands is None else contexts[0].hands.shape[1]
        frames = [np.arange(len(c)) for c in contexts]
        relevance = [np.ones((len(c), index.shape[1] + hands)) for c in contexts]
        for every in _STRIDES:
            few = [_thinned(c, every) for c in contexts]
            seen = [_seen(c, row) for c, row in zip(few, index, strict=True)]
            weights = [r[::every] for r in relevance]
            each = [_beside(k, few, index, weights, radius) for k in range(len(few))]
            shares = [_shares(k, seen, beside) for k, (beside, _) in enumerate(each)]
            relevance = [s[t // every] for s, t in zip(shares, frames, strict=True)]
        beside = [
            [
                np.minimum(every * b[t // every] + t % every, len(other) - 1)
                for b, other in zip(row, contexts, strict=True)
            ]
            for t, (row, _) in zip(frames, each, strict=True)
        ]
        return cls(relevance, beside, np.stack([unlike for _, unlike in each]))


def _thinned(context: DemoContext, every: int) -> DemoContext:
    """Every so-manyth frame."""
    rows = ("times", "tcp", "opening", "commands", "gripper", "tokens")
    hands = None if context.hands is None else context.hands[::every]
    return replace(context, **{f: getattr(context, f)[::every] for f in rows}, hands=hands)


def _seen(context: DemoContext, row: NDArray[np.int64]) -> Array:
    """Things and other hands as seen from the hand ``(T, M + h, 2)``; NaN for none."""
    places = context.seen_from_hand
    count = context.tokens.shape[1]
    columns = np.append(row, count + np.arange(places.shape[1] - count))
    return np.where(columns[:, None] >= 0, places[:, columns], np.nan)


def _beside(
    k: int,
    contexts: Sequence[DemoContext],
    index: NDArray[np.int64],
    relevance: Sequence[Array],
    radius: float,
) -> tuple[list[NDArray[np.int64]], Array]:
    """Frames of each that go with those of one ``(T_k,)``, and at what mean cost ``(K,)``."""
    context, known = contexts[k], index[k] >= 0
    places = context.tokens[:, index[k, known]]
    out, unlike = [], np.zeros(len(contexts))
    for j, (other, row, share) in enumerate(zip(contexts, index, relevance, strict=True)):
        if j == k:
            out.append(np.arange(len(context)))
            continue
        kept = np.append(known, np.ones(share.shape[1] - len(known), dtype=bool))
        costs = moment_costs(
            places, context.tcp, context.doing, other, row[known], radius, context.hands,
            share[:, kept],
        )  # fmt: skip
        out.append(warped(costs))
        unlike[j] = costs[np.arange(len(costs)), out[-1]].mean()
    return out, unlike


def _shares(k: int, seen: Sequence[Array], beside: Sequence[NDArray[np.int64]]) -> Array:
    """How much more of the others have each thing where this one has it than would by chance."""
    others = [s[b] for j, (s, b) in enumerate(zip(seen, beside, strict=True)) if j != k]
    if not others or not seen[k].shape[1]:
        return np.ones(seen[k].shape[:2])
    squared = ((np.stack(others) - seen[k]) ** 2).sum(-1)  # (K - 1, T, M + h), NaN where unknown
    alike = np.nan_to_num(np.exp(-squared / (2 * _NEAR**2))).mean(axis=0)
    share = surprise(alike, _CHANCE) + 1e-9
    share /= share.sum(axis=1, keepdims=True)
    return np.asarray(_TOLD * share + (1 - _TOLD) / share.shape[1])


def warped(costs: Array) -> NDArray[np.int64]:
    """Column ``(T,)`` beside each row of ``(T, S)``, first to last, at the least total cost.

    The middle one, where a row goes with several.
    """
    along = np.cumsum(costs, axis=1)
    before = along - costs
    total = np.empty_like(costs)
    total[0] = along[0]
    for t in range(1, len(costs)):
        down = total[t - 1].copy()
        np.minimum(down[1:], total[t - 1, :-1], out=down[1:])
        # staying in the row: the best place to have come down, plus what lies between
        total[t] = along[t] + np.minimum.accumulate(down - before[t])
    first, last = np.zeros((2, len(costs)), dtype=int)
    t, s = len(costs) - 1, costs.shape[1] - 1
    first[t] = last[t] = s
    rows = total.tolist()  # faster to step through
    while t:
        steps = ((t - 1, s - 1), (t - 1, s), (t, s - 1)) if s else ((t - 1, s),)
        row, s = min(steps, key=lambda x: rows[x[0]][x[1]])
        if row < t:
            t, last[row] = row, s
        first[t] = s
    first[0] = 0
    return (first + last) // 2
