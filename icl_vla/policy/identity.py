"""Which thing of a demonstration is which: looks say what it may be, hands say what it is.

Of two things that look alike, one is what the task is about. Where the hand is when it comes to it,
and when it leaves, is the same in all demonstrations; as seen from the other thing it is anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from icl_vla_embodiments.types import Array

from ..perception.memory import SAME
from ..perception.registration import misfit
from .alignment import CHANCE, NEAR, paired, same_order, thinned
from .context import DemoContext, once
from .likeness import Compared, matched_tokens, surprise

_EVERY = 6  # frames between two that are compared
_RADIUS = 0.03  # [m] as in :func:`.likeness.moment_costs`
_FEW = 0.3  # of the demonstrations that must have a thing, for hands to tell which it is
_FORMS = 3  # demonstrations whose views of a thing tell its form,
_POINTS = 2  # by every other point
_LOOKS = 0.5  # weight of a thing that hands tell nothing of
_FEWEST = 3  # demonstrations that can outvote one
_ROUNDS = 2
_LEAST = 0.03  # [nats a moment and other demonstration] of agreement that tells one thing
_TOLD = 2.0  # [nats] of agreement that weigh as much as the greatest difference of looks


def settled(
    contexts: Sequence[DemoContext], index: NDArray[np.int64], features: Array, clouds: Array
) -> NDArray[np.int64]:
    """The same correspondence, corrected by what hands do about things that look alike.

    First the demonstrations agree which of their tokens are one thing, then it is told which token
    of now all of them together look like.

    Args:
        contexts: ``K`` demonstrations.
        index: ``(K, M)`` their token for each thing, by looks; -1 for none.
        features: ``(M, F)`` of the things.
        clouds: ``(M, P, 3)`` their surfaces [m].

    Returns:
        ``(K, M)``.
    """
    if len(contexts) < _FEWEST:
        return index
    apart = [_apart(features, c.features) for c in contexts]
    if not any((a < 1).sum(axis=axis).max(initial=0) > 1 for a in apart for axis in (0, 1)):
        return index  # looks leave no choice
    one, told = one_thing(contexts)
    like = np.zeros((one.shape[1], len(features)))
    for i, column in enumerate(one.T):
        some = np.flatnonzero(column >= 0)
        unlike = np.array([apart[k][:, column[k]] for k in some])
        may_be = np.flatnonzero((unlike < 1).any(axis=0))
        if len(may_be) > 1 and told[i] > 0:
            few = some[:: -(-len(some) // _FORMS)]
            known = [contexts[k].clouds[column[k], ::_POINTS] for k in few]
            unlike[:, may_be] += _otherwise(known, clouds[may_be, ::_POINTS])
        like[i] = np.maximum(1 - unlike, 0).sum(axis=0) / len(contexts)
    out = np.full(index.shape, -1)
    # where there is one and were two, it is the one that matters
    for i, m in zip(*linear_sum_assignment(-like * (told[:, None] + _LOOKS)), strict=True):
        if like[i, m] > 0:
            out[:, m] = one[:, i]
    for m in np.flatnonzero((out < 0).all(axis=0)):  # passers-by
        free = [j not in row for j, row in zip(index[:, m], out, strict=True)]
        out[:, m] = np.where(free, index[:, m], -1)
    return out


def _otherwise(known: Sequence[Array], clouds: Array) -> Array:
    """How otherwise than some views of one thing surfaces ``(m, P, 3)`` are formed: ``(m,)``.

    Pictures show poorly how large a thing is.
    """
    return np.array([np.mean([misfit(then, now) for then in known]) for now in clouds])


def one_thing(contexts: Sequence[DemoContext]) -> tuple[NDArray[np.int64], Array]:
    """Tokens of the demonstrations that are one thing: by what hands do about them, then by looks.

    Returns:
        ``(K, C)``, -1 for none; and ``(C,)`` how much hands tell of each, 0 to 1.
    """
    return once(contexts, "one thing", lambda: _one_thing(contexts))


def _one_thing(contexts: Sequence[DemoContext]) -> tuple[NDArray[np.int64], Array]:
    every = [matched_tokens(c.features, contexts) for c in contexts]
    best = max(range(len(every)), key=lambda k: int((every[k] >= 0).sum()))
    alike = every[best][:, (every[best] >= 0).mean(axis=0) >= _FEW]
    index, told = alike, np.zeros(alike.shape[1])
    for _ in range(_ROUNDS):
        beside = _Beside.of(contexts, index)
        free = beside.has.copy()
        by_hands, sure = [], []
        while (found := beside.one_of(free)) is not None:
            by_hands.append(found[0])
            sure.append(found[1])
            known = found[0] >= 0
            free[known, found[0][known]] = False
        by_looks = _rest(contexts, best, alike[best], free)
        index = np.stack([*by_hands, *by_looks.T], axis=1)
        told = np.append(sure, np.zeros(by_looks.shape[1]))
    have = (index >= 0).any(axis=0)
    return index[:, have], told[have]


def _rest(
    contexts: Sequence[DemoContext],
    best: int,
    tokens: NDArray[np.int64],
    free: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """What is left of one demonstration's tokens, in the others by looks: ``(K, C)``."""
    left = [j for j in tokens if j >= 0 and free[best, j]]
    index = np.full((len(contexts), len(left)), -1)
    for row, context, mine in zip(index, contexts, free, strict=True):
        some = np.flatnonzero(mine)
        apart = _apart(contexts[best].features[left], context.features[some])
        rows, columns = linear_sum_assignment(np.minimum(apart, 1.0))
        near = apart[rows, columns] < 1
        row[rows[near]] = some[columns[near]]
    return index


@dataclass(frozen=True)
class _Beside:
    """How ``K`` demonstrations have ``M`` tokens at the most, at ``T`` moments that go together.

    Attributes:
        has: ``(K, M)`` whether there is such a token.
        near: ``(K, T, M, K, M)`` how near a demonstration has a token, as seen from the hand, to
            where another has one of its own: 0 to 1; 0 past the end of the first.
        lengths: ``(K,)`` moments.
        weight: ``(K, K)`` of the others, for each: those that do the same in the same order.
        apart: ``(K, M, K, M)`` how unlike they look; from 1 on, they are not the same.
    """

    has: NDArray[np.bool_]
    near: Array
    lengths: NDArray[np.int64]
    weight: Array
    apart: Array

    @classmethod
    def of(cls, contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> _Beside:
        """Lay them beside each other by things ``(K, C)`` that are taken for one at first."""
        few = [thinned(c, _EVERY) for c in contexts]
        moments = Compared.shown(few, index)
        lengths = np.array([len(c) for c in few])
        beside, unlike = paired(moments, lengths, np.ones(moments.seen.shape[:2]), _RADIUS)
        counts = [len(c.features) for c in few]
        has = np.arange(max(counts)) < np.array(counts)[:, None]
        places = np.full((len(few), lengths.max(), has.shape[1], 2), np.inf)
        looks = np.full((*has.shape, few[0].features.shape[1]), np.inf)
        for k, (c, n, m) in enumerate(zip(few, lengths, counts, strict=True)):
            places[k, :n, :m], looks[k, :m] = c.seen_from_hand[:, :m], c.features
        own = np.arange(len(few))
        there = places[own, beside].transpose(1, 0, 2, 3, 4)  # (K, T, K, M, 2)
        here = np.where(np.isfinite(places), places, -1e3)[:, :, :, None, None]
        off = np.linalg.norm(there[:, :, None] - here, axis=-1)
        apart = np.full((*has.shape, *has.shape), np.inf)
        rows, columns = np.nonzero(has)
        apart[rows[:, None], columns[:, None], rows, columns] = _apart(looks[has], looks[has])
        weight = same_order(unlike) * (1 - np.eye(len(few)))
        weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
        return cls(has, np.exp(-((off / NEAR) ** 2) / 2), lengths, weight, apart)

    def one_of(self, free: NDArray[np.bool_]) -> tuple[NDArray[np.int64], float] | None:
        """Tokens ``(K,)`` of those free ``(K, M)`` that hands tell are one thing, and how surely.

        None where hands tell of no other one.
        """
        can = free[:, :, None, None] & free & (self.apart < 1)
        likeness = np.where(can, self.near.sum(axis=1) / self.lengths[:, None, None, None], -1.0)
        others = np.where(likeness.max(axis=-1) < 0, -1, likeness.argmax(axis=-1))  # (K, M, K)
        told = np.where(free, self._told(others), 0.0)
        k, j = np.unravel_index(int(np.argmax(told)), told.shape)
        if told[k, j] < _LEAST:
            return None
        tokens, sure = others[k, j].copy(), np.zeros(len(free))
        tokens[k] = j
        for _ in range(_ROUNDS):
            agreed = self._told(np.broadcast_to(tokens, others.shape))
            agreed = np.minimum(agreed * (len(free) - 1) / _TOLD, 1.0)
            unlike = self._unlike(tokens)
            possible = free & ((unlike < 1) | (agreed > 0.5))
            score = np.where(possible, agreed - np.minimum(unlike, 1.0), -np.inf)
            tokens = np.where(possible.any(axis=1), score.argmax(axis=1), -1)
            sure = np.where(tokens >= 0, agreed[np.arange(len(free)), tokens], 0.0)
        return tokens, float(sure.mean())

    def _told(self, others: NDArray[np.int64]) -> Array:
        """How much more often than by chance others ``(K, M, K)`` are where each token is.

        Returns:
            ``(K, M)`` [nats a moment and other demonstration].
        """
        picked = np.maximum(others, 0)[:, None, ..., None]
        alike = np.take_along_axis(self.near, picked, axis=-1)[..., 0]  # (K, T, M, K)
        share = np.einsum("ktmj,kj,kmj->ktm", alike, self.weight, others >= 0)
        return np.asarray(surprise(share, CHANCE).sum(axis=1) / self.lengths[:, None])

    def _unlike(self, tokens: NDArray[np.int64]) -> Array:
        """How unlike each token looks those ``(K,)`` of the other demonstrations: ``(K, M)``."""
        known = np.flatnonzero(tokens >= 0)
        apart = self.apart[:, :, known, tokens[known]]
        others = np.arange(len(tokens))[:, None] != known
        counted = np.where(others[:, None], apart, 0.0).sum(axis=-1)
        return np.asarray(counted / np.maximum(others.sum(axis=1), 1)[:, None])


def _apart(a: Array, b: Array) -> Array:
    """How unlike features ``(n, F)`` and ``(m, F)`` are, ``(n, m)``; from 1 on, not the same."""
    return np.linalg.norm(a[:, None] - b, axis=-1) / SAME
