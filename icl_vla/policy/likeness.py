"""How unlike two moments are, and how familiar that makes the present."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erfc

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Familiarity

from ..perception.memory import match
from .context import DemoContext
from .doing import Doing, cylindrical

EVERY = 3  # frames between two at which demonstrations are compared
_FAR = 3.0  # times the radius, for places that look different
_TINY = 1e-6
# of the farthest moments of left-out demonstrations, over 79 sets of ten, the logarithm:
_STRAYED, _STRAYED_SPREAD = 0.67, 0.29  # median and standard deviation
_KNOWN = 30  # demonstrations as which that counts


@dataclass(frozen=True)
class Compared:
    """``T`` moments as they are compared with others.

    Attributes:
        seen: ``(T, M, 2)`` things, then the robot's other hands, as seen from the hand, by
            horizontal distance and height, which do not change when the whole scene is turned; NaN
            for none.
        hand: ``(T, 3)`` its place.
        way: ``(T, 2)`` as in :class:`.doing.Doing`, and so the rest.
        told: ``(T,)``.
        moved: ``(T,)``.
        holds: ``(T,)``.
        past: ``(T, M, 2)`` as of :func:`.doing.dealt_with`; NaN for things that are not known.
        moves: ``(M,)`` whether most demonstrations end up moving the thing; of others it tells
            whether they were met. Empty for what was not demonstrated.
    """

    seen: Array
    hand: Array
    way: Array
    told: Array
    moved: Array
    holds: Array
    past: Array
    moves: NDArray[np.bool_]

    @classmethod
    def now(cls, places: Array, tcp: Array, doing: Doing, past: Array) -> Compared:
        """Things and other hands at ``(T, M + h, 3)``, the hand at ``(T, 4, 4)``.

        Args:
            places: Of the things, then of the robot's other hands.
            tcp: Of the hand.
            doing: What it does.
            past: ``(T, M, 2)`` what has been done to the things.
        """
        hand = tcp[:, :3, 3]
        seen = cylindrical(places - hand[:, None])
        return cls(seen, hand, **vars(doing), past=past, moves=np.zeros(0, dtype=bool))

    @classmethod
    def shown(cls, contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> Compared:
        """The frames of ``K`` demonstrations, one after another.

        Args:
            contexts: Demonstrations.
            index: ``(K, M)`` their token for each thing; -1 for none.
        """
        each = []
        for context, row in zip(contexts, index, strict=True):
            seen, tokens = context.seen_from_hand, context.tokens.shape[1]
            columns = np.append(row, np.arange(tokens, seen.shape[1]))
            nowhere = np.full((len(context), 1, 2), np.nan)
            seen = np.concatenate([seen, nowhere], axis=1)[:, columns]  # -1 is the last
            past = np.concatenate([context.past, nowhere], axis=1)[:, row]
            each.append((seen, context.tcp[:, :3, 3], *vars(context.doing).values(), past))
        ended = np.stack([past[-1, :, 0] for *_, past in each])
        known = np.isfinite(ended).sum(axis=0)
        moves = np.nansum(ended, axis=0) > 0.5 * known
        joined = (np.concatenate(every) for every in zip(*each, strict=True))
        return cls(*[*joined, moves])

    def at(self, frames: slice) -> Compared:
        """Some of the moments."""
        each = {name: x[frames] for name, x in vars(self).items() if name != "moves"}
        return Compared(**each, moves=self.moves)

    def in_order(self, things: NDArray[np.int64], seen: NDArray[np.int64]) -> Compared:
        """With the things ``(M,)``, and what is seen ``(M + h,)``, in this order."""
        return replace(
            self, seen=self.seen[:, seen], past=self.past[:, things], moves=self.moves[things]
        )


def moment_costs(
    now: Compared,
    then: Compared,
    radius: float,
    weight: Array | None = None,
    *,
    far: bool = False,
) -> Array:
    """How unlike each of ``T`` moments each of ``S`` others is: ``(..., T, S)``.

    By the places that both have, the hand's place, what it is doing, and what it has done.

    Args:
        now: ``T`` moments.
        then: ``S`` moments.
        radius: Distance at which a place starts to look different [m].
        weight: ``(..., S, M)`` of each thing and other hand (:mod:`.alignment`), for as many costs;
            None for equal.
        far: Whether of two places that look different the nearer one is less so.
    """
    here, there = np.nan_to_num(now.seen, nan=np.inf), np.nan_to_num(then.seen)
    weight = np.ones(there.shape[:2]) if weight is None else weight + _TINY
    weight = np.swapaxes(np.where(np.isnan(then.seen[..., 0]), 0.0, weight), -1, -2)
    most = np.isfinite(here[..., 0]) @ weight  # (..., T, S)
    close = _near(here, there, radius)
    if far:
        close = 0.5 * (close + _near(here, there, _FAR * radius))
    alike = np.einsum("mts,...ms->...ts", close, weight)
    cost = (most - alike) / np.maximum(most, _TINY)
    cost += 0.3 * (1 - _near(now.hand, then.hand, radius))
    cost += 0.3 * (1 - _near(now.way, then.way, radius))
    cost += 0.5 * np.abs(then.told - now.told[:, None])
    cost += 0.5 * np.abs(then.moved - now.moved[:, None])
    cost += 0.5 * np.abs(then.holds - now.holds[:, None])
    pairs = zip(_counted(now, then.moves), _counted(then, then.moves), strict=True)
    return cost + 0.8 * sum(np.nan_to_num(np.abs(b - a[:, None])) for a, b in pairs)


def _counted(moments: Compared, moves: NDArray[np.bool_]) -> Array:
    """Of what has been done to things that are moved or not ``(M,)`` what counts: ``(M, T)``."""
    return np.where(moves, moments.past[..., 0], moments.past[..., 1]).T


def _near(a: Array, b: Array, radius: float) -> Array:
    """How near ``(T, ..., d)`` are to ``(S, ..., d)``, 0 to 1: ``(..., T, S)``."""
    # short axes first: a loop along them would take most of the time
    pairs = zip(np.ascontiguousarray(a.T), np.ascontiguousarray(b.T), strict=True)
    squared = sum((y[..., None, :] - x[..., None]) ** 2 for x, y in pairs)
    return np.asarray(np.exp(-squared / (2 * radius**2)))


@dataclass(frozen=True)
class DistanceToDemonstrations:
    """How far a moment lies from all demonstrations, and how far that is among themselves.

    Attributes:
        things: How many tokens a demonstration usually shares with the others.
        familiarity: Of moments, calibrated by leaving each demonstration out.
        straying: The same of whole attempts, by their farthest moments.
    """

    things: int
    familiarity: Familiarity
    straying: Familiarity

    @classmethod
    def between(
        cls,
        contexts: Sequence[DemoContext],
        radius: float,
        others: Sequence[Sequence[DemoContext]] = (),
    ) -> DistanceToDemonstrations:
        """From each demonstration's every :data:`EVERY` th frame and the others.

        Args:
            contexts: The demonstrations as one hand saw them.
            radius: As in :func:`moment_costs`.
            others: The same as other hands saw them; their costs add up.
        """
        if len(contexts) < 2:
            # one alone says nothing of how far apart demonstrations lie: all reads as one half
            alone = Familiarity.from_left_out([np.zeros(1)])
            return cls(0, alone, alone)
        found, costs = [], []
        for k, context in enumerate(contexts):
            rest = [i for i in range(len(contexts)) if i != k]
            index = matched_tokens(context.features, [contexts[i] for i in rest])
            shared = np.array(shared_tokens(index), dtype=int)
            cost = np.zeros(())
            for hand in (contexts, *others):
                some = Compared.shown([hand[k]], shared[None]).at(slice(None, None, EVERY))
                every = Compared.shown([hand[i] for i in rest], index[:, shared])
                cost = cost + moment_costs(some, every, radius, far=True)
            found.append(len(shared))
            costs.append(cost.min(axis=1))
        usual = int(np.median(found))
        distances = [_with_missing(cost, n, usual) for cost, n in zip(costs, found, strict=True)]
        farthest = [distance.max() for distance in distances]
        return cls(usual, *(Familiarity.from_left_out(each) for each in (distances, farthest)))

    def __call__(self, cost: ArrayLike, shared: int) -> Array:
        """Least cost among the demonstrations, plus the share of the usual things that is missing.

        Costs compare what is there with where it was, and say nothing of what is not there.
        """
        return _with_missing(cost, shared, self.things)

    def confidence(self, cost: float, shared: int) -> float:
        """From nearly 0 (never seen) to 1 (like the demonstrations)."""
        return self.familiarity.probability(float(self(cost, shared)))

    def of_attempt(self, farthest: float) -> float:
        """How likely a demonstration strays as far [cost] at its farthest moment as an attempt did.

        By those left out, who are too few to say, and by what is known of others beforehand.
        """
        own = self.straying.distances
        off = np.log(max(farthest, _TINY) / _STRAYED) / _STRAYED_SPREAD
        usual = 0.5 * erfc(off / np.sqrt(2))
        return float((1 + (own >= farthest).sum() + _KNOWN * usual) / (1 + len(own) + _KNOWN))


def _with_missing(cost: ArrayLike, shared: int, things: int) -> Array:
    """Costs, plus the share of the usual ``things`` that is missing."""
    return np.asarray(cost) + max(0.0, 1 - shared / max(things, 1))


def surprise(share: Array, chance: ArrayLike) -> Array:
    """Divergence of a share from the one by chance [nats a vote]; 0 where it is no greater."""
    p, q = np.clip(share, 1e-9, 1 - 1e-9), np.asarray(chance)
    return np.where(p > q, p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)), 0.0)


def matched_tokens(features: Array, contexts: Sequence[DemoContext]) -> NDArray[np.int64]:
    """Each demonstration's token that looks like each of these: ``(K, M)``, -1 for none."""
    index = np.full((len(contexts), len(features)), -1)
    for row, context in zip(index, contexts, strict=True):
        mine, theirs = match(features, context.features)
        row[mine] = theirs
    return index


def shared_tokens(index: NDArray[np.int64]) -> list[int]:
    """Tokens that most demonstrations have a match for, from ``(K, M)`` matches; -1 is none."""
    return [int(m) for m in np.flatnonzero((index >= 0).mean(axis=0) >= 0.6)] if index.size else []
