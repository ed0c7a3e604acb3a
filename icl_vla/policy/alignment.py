"""Demonstrations laid beside each other: which moments are the same, and which things tell them.

On the way to a button the other buttons stand anywhere, and where they are says nothing of how far
the motion has got. Dynamic time warping (Sakoe & Chiba 1978) finds the moments that go together; a
thing that is then in one place, as seen from the hand, counts for much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .context import DemoContext, once
from .likeness import Compared, moment_costs, surprise

NEAR = 0.015  # [m] within which places are alike
CHANCE = 0.1  # of being alike without mattering
_TOLD = 0.5  # of the weight that goes by agreement; the rest is everything's alike
_ORDER = 0.4  # mean cost by which demonstrations differ that do things in another order
_STRIDES = (6, 3)  # frames; the second pass lays them beside each other by what the first found


@dataclass(frozen=True)
class Alignment:
    """``K`` demonstrations beside each other, with ``M`` things and ``h`` other hands.

    Attributes:
        moments: Their frames, one after another.
        relevance: For each ``(T_k, M + h)``: share of each thing in what tells the moment.
        beside: For each ``(T_k, K)``: frames of all that go with its own.
        unlike: ``(K, K)`` mean cost of that.
    """

    moments: Compared
    relevance: list[Array]
    beside: list[NDArray[np.int64]]
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
        # which thing comes first is a matter of now, and of no weight here
        names = [column.tobytes() for column in index.T]
        order = sorted(range(len(names)), key=lambda m: names[m])
        key = ("alignment", radius, *(names[m] for m in order))
        found = once(contexts, key, lambda: cls._of(contexts, index[:, order], radius))
        return found._in_order(np.argsort(order))

    def _in_order(self, things: NDArray[np.int64]) -> Alignment:
        """With the things ``(M,)`` in this order; other hands stay behind them."""
        hands = np.arange(len(things), self.moments.seen.shape[1])
        columns = np.append(things, hands).astype(int)
        relevance = [r[:, columns] for r in self.relevance]
        return replace(self, moments=self.moments.in_order(things, columns), relevance=relevance)

    @classmethod
    def _of(
        cls, contexts: Sequence[DemoContext], index: NDArray[np.int64], radius: float
    ) -> Alignment:
        moments = Compared.shown(contexts, index)
        lengths = np.array([len(c) for c in contexts])
        frames = [np.arange(n) for n in lengths]
        relevance = [np.ones((n, moments.seen.shape[1])) for n in lengths]
        for every in _STRIDES:
            few = Compared.shown([thinned(c, every) for c in contexts], index)
            rows = -(-lengths // every)
            weight = np.concatenate([r[::every] for r in relevance])
            beside, unlike = paired(few, rows, weight, radius)
            shares = _shares(few.seen, rows, beside)
            relevance = [shares[t // every, k] for k, t in enumerate(frames)]
        full = [
            np.minimum(every * beside[t // every, k] + (t % every)[:, None], lengths - 1)
            for k, t in enumerate(frames)
        ]
        return cls(moments, relevance, full, unlike)

    @cached_property
    def alike(self) -> Array:
        """Which demonstrations do the same things in the same order: ``(K, K)``, 0 to 1."""
        return same_order(self.unlike)

    def costs(self, now: Compared, radius: float) -> list[Array]:
        """How unlike each of ``T`` moments the frames of each demonstration are: ``(2, T, T_k)``.

        First by what matters at each frame, which tells the moment; then by everything alike, which
        tells how familiar it is. Half-way along a way that is longer than those demonstrated
        nothing is where it was: the end has to look nearer then than it does farther off.
        """
        relevance = np.concatenate(self.relevance)
        weights = np.stack([relevance, np.ones_like(relevance)])
        ends = np.cumsum([len(r) for r in self.relevance])
        costs = moment_costs(now, self.moments, radius, weights, far=True)
        return np.split(costs, ends[:-1], axis=-1)


def paired(
    moments: Compared, lengths: NDArray[np.int64], weight: Array, radius: float
) -> tuple[NDArray[np.int64], Array]:
    """Which frames of ``K`` demonstrations go together, and how badly the demonstrations do.

    Args:
        moments: Their ``N`` frames, one after another.
        lengths: ``(K,)`` frames of each.
        weight: ``(N, M)`` of the things.
        radius: As in :func:`.likeness.moment_costs`.

    Returns:
        ``(T, K, K)``: frame of the last that goes with a frame of the first; and the mean cost
        ``(K, K)`` of that.
    """
    costs = _all_costs(moments, lengths, weight, radius)
    beside = warped(costs, lengths[:, None], lengths)
    own = np.arange(len(lengths))
    beside[:, own, own] = np.minimum(np.arange(len(beside))[:, None], lengths - 1)
    unlike = np.take_along_axis(costs, beside[..., None], -1)[..., 0].sum(0) / lengths[:, None]
    return beside, unlike


def same_order(unlike: Array) -> Array:
    """Which of ``K`` demonstrations do the same things in the same order: ``(K, K)``, 0 to 1.

    Where parts of a task come in any order, demonstrations of another order are far more unlike
    than those that are most alike.

    Args:
        unlike: ``(K, K)`` mean cost of what goes together.
    """
    off = unlike + 1e3 * np.eye(len(unlike))
    off = off - off.min(axis=0)
    alike = np.exp(-0.5 * (np.minimum(off, off.T) / _ORDER) ** 2)
    np.fill_diagonal(alike, 1.0)
    return np.asarray(alike)


def thinned(context: DemoContext, every: int) -> DemoContext:
    """Every so-manyth frame."""
    rows = ("times", "tcp", "opening", "commands", "gripper", "tokens")
    hands = None if context.hands is None else context.hands[::every]
    some = {f: getattr(context, f)[::every] for f in rows}
    return replace(context, **some, hands=hands, middles=context.shapes[::every])


def _all_costs(
    moments: Compared, lengths: NDArray[np.int64], weight: Array, radius: float
) -> Array:
    """Costs ``(T, K, K, T)`` of each demonstration's frames at each other one's; 0 past the end."""
    longest, count = lengths.max(), len(lengths)
    there = np.arange(longest) < lengths[:, None]
    costs = np.zeros((longest, count, count, longest))
    for k, (n, end) in enumerate(zip(lengths, np.cumsum(lengths), strict=True)):
        own = moments.at(slice(end - n, end))
        costs[:n, k, there] = moment_costs(own, moments, radius, weight)
    return costs


def _shares(seen: Array, lengths: NDArray[np.int64], beside: NDArray[np.int64]) -> Array:
    """How much more of the others have each thing where one has it than would by chance.

    Args:
        seen: ``(N, M, 2)`` of the frames of ``K`` demonstrations, one after another.
        lengths: ``(K,)`` frames of each.
        beside: ``(T, K, K)`` frames that go with theirs.

    Returns:
        ``(T, K, M)`` shares.
    """
    count = len(lengths)
    own = np.arange(count)
    there = seen[beside + np.cumsum(lengths) - lengths]  # (T, K, K, M, 2), NaN where unknown
    squared = ((there - there[:, own, own][:, :, None]) ** 2).sum(-1)
    alike = np.nan_to_num(np.exp(-squared / (2 * NEAR**2)))  # (T, K, K, M)
    others = (1 - np.eye(count)) / max(count - 1, 1)
    share = surprise(np.einsum("tkjm,kj->tkm", alike, others), CHANCE) + 1e-9
    share /= share.sum(axis=-1, keepdims=True)
    return np.asarray(_TOLD * share + (1 - _TOLD) / max(share.shape[-1], 1))


def warped(costs: Array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Column beside each row of many ``(T, S)``, first to last, at the least total cost.

    The middle one, where a row goes with several.

    Args:
        costs: ``(T, ..., S)``.
        rows: ``(...)`` how many of the rows there are.
        columns: ``(...)`` how many of the columns.

    Returns:
        ``(T, ...)``; 0 past the last row.
    """
    along = np.cumsum(costs, axis=-1)
    before = along - costs
    total = np.full((*costs.shape[:-1], costs.shape[-1] + 1), np.inf)  # a column of none, before
    total[0, ..., 1:] = along[0]
    for t in range(1, len(costs)):
        down = np.minimum(total[t - 1, ..., 1:], total[t - 1, ..., :-1])
        # staying in the row: the best place to have come down, plus what lies between
        total[t, ..., 1:] = along[t] + np.minimum.accumulate(down - before[t], axis=-1)
    each = np.indices(costs.shape[1:-1])
    row, column = np.broadcast_arrays(rows - 1, columns - 1)
    first, last = np.zeros((2, *costs.shape[:-1]), dtype=int)
    first[row, *each] = last[row, *each] = column
    while row.any():
        across, down = total[row - 1, *each, column], total[row - 1, *each, column + 1]
        step = np.argmin([across, down, total[row, *each, column]], axis=0)
        going = row > 0
        row, column = row - (going & (step < 2)), column - (going & (step != 1))
        first[row, *each] = column
        last[row, *each] = np.maximum(last[row, *each], column)
    first[0] = 0
    return (first + last) // 2
