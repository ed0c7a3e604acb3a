"""How unlike two moments are, and how familiar that makes the present."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Familiarity

from .context import DemoContext
from .doing import Doing, cylindrical
from .frames import matched_tokens, shared_tokens

EVERY = 3  # frames between two at which demonstrations are compared
_TINY = 1e-6


def moment_costs(
    places: Array,
    tcp: Array,
    doing: Doing,
    context: DemoContext,
    index: NDArray[np.int64],
    radius: float,
    hands: Array | None = None,
    weight: Array | None = None,
) -> Array:
    """How unlike each of ``T`` moments each frame of a demonstration is: ``(T, T_k)``.

    Places of the shared tokens and of the other hands as seen from the hand, by horizontal distance
    and height, which do not change when the whole scene is turned; then the hand's place, and what
    it is doing.

    Args:
        places: ``(T, M, 3)`` of the shared tokens.
        tcp: ``(T, 4, 4)``.
        doing: At these moments.
        context: The demonstration.
        index: ``(M,)`` its token for each shared one; -1 for none.
        radius: Distance at which a place starts to look different [m].
        hands: ``(T, h, 3)`` of the other hands, where the demonstration has them.
        weight: ``(T_k, M + h)`` of each thing and other hand (:mod:`.alignment`); None for equal.
    """
    known = index >= 0
    hand = tcp[:, None, :3, 3]
    now, columns = places[:, known], index[known]
    if hands is not None and context.hands is not None:
        now = np.concatenate([now, hands], axis=1)
        columns = np.append(columns, context.tokens.shape[1] + np.arange(hands.shape[1]))
        known = np.append(known, np.ones(hands.shape[1], dtype=bool))
    here, then = cylindrical(now - hand), context.seen_from_hand[:, columns]
    cost = np.zeros((len(tcp), len(context)))
    if now.shape[1]:
        share = np.ones(then.shape[:2]) if weight is None else weight[:, known] + _TINY
        share = share / share.sum(axis=1, keepdims=True)
        near = np.exp(-_squared(here, then) / (2 * radius**2))
        cost += 1 - np.einsum("tsm,sm->ts", near, share)
    moved = _squared(tcp[:, :3, 3], context.tcp[:, :3, 3])
    cost += 0.3 * (1 - np.exp(-moved / (2 * radius**2)))
    way = _squared(doing.way, context.doing.way)
    cost += 0.3 * (1 - np.exp(-way / (2 * radius**2)))
    cost += 0.5 * np.abs(context.doing.told - doing.told[:, None])
    return cost + 0.5 * np.abs(context.doing.moved - doing.moved[:, None])


def _squared(a: Array, b: Array) -> Array:
    """Squared distances ``(T, S, ...)`` of ``(T, ..., d)`` and ``(S, ..., d)``."""
    # a sum over a short last axis would take most of the time
    return np.asarray(sum((b[..., i] - a[:, None, ..., i]) ** 2 for i in range(a.shape[-1])))


@dataclass(frozen=True)
class DistanceToDemonstrations:
    """How far a moment lies from all demonstrations, and how far that is among themselves.

    Attributes:
        things: How many tokens a demonstration usually shares with the others.
        familiarity: Calibrated by leaving each demonstration out.
    """

    things: int
    familiarity: Familiarity

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
        hands = [contexts, *others]
        found, costs = [], []
        for k, context in enumerate(contexts):
            index = matched_tokens(context.features, [c for i, c in enumerate(contexts) if i != k])
            shared = shared_tokens(index)
            each = [_costs_among(hand, k, index, shared, radius) for hand in hands]
            nearest = [np.sum(costs_of, axis=0).min(axis=1) for costs_of in zip(*each, strict=True)]
            if nearest:
                found.append(len(shared))
                costs.append(np.min(nearest, axis=0))
        if not costs:
            # one alone says nothing of how far apart demonstrations lie: all reads as one half
            return cls(0, Familiarity.from_left_out([np.zeros(1)]))
        usual = cls(int(np.median(found)), Familiarity(np.zeros(0)))
        distances = [usual(cost, n) for cost, n in zip(costs, found, strict=True)]
        return cls(usual.things, Familiarity.from_left_out(distances))

    def __call__(self, cost: ArrayLike, shared: int) -> Array:
        """Least cost among the demonstrations, plus the share of the usual things that is missing.

        Costs compare what is there with where it was, and say nothing of what is not there.
        """
        return np.asarray(cost) + max(0.0, 1 - shared / max(self.things, 1))

    def confidence(self, cost: float, shared: int) -> float:
        """From nearly 0 (never seen) to 1 (like the demonstrations)."""
        return self.familiarity.probability(float(self(cost, shared)))


def _costs_among(
    contexts: Sequence[DemoContext],
    k: int,
    index: NDArray[np.int64],
    shared: list[int],
    radius: float,
) -> list[Array]:
    """Costs ``(T / EVERY, T_j)`` of a demonstration's frames at each other one's."""
    frames, context = slice(None, None, EVERY), contexts[k]
    places, tcp = context.tokens[frames, shared], context.tcp[frames]
    seen = None if context.hands is None else context.hands[frames]
    return [
        moment_costs(places, tcp, context.doing.at(frames), other, row[shared], radius, seen)
        for row, other in zip(index, [*contexts[:k], *contexts[k + 1 :]], strict=True)
    ]


def surprise(share: Array, chance: ArrayLike) -> Array:
    """Divergence of a share from the one by chance [nats a vote]; 0 where it is no greater."""
    p, q = np.clip(share, 1e-9, 1 - 1e-9), np.asarray(chance)
    return np.where(p > q, p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)), 0.0)
