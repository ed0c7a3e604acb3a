"""Object permanence: tokens followed through an episode, and as they were when it began."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Demonstration

from .tokens import Encoder, SceneTokens

STRIDE = 2  # frames between two encoded pictures of a demonstration
SAME = 0.6  # feature distance below which two tokens may be one thing
_FAR = 0.25  # [m] of movement that costs as much as a difference of SAME
_WHOLE = 0.65  # share of the usual pixels from which a view counts as unobstructed


@dataclass(frozen=True)
class TrackedTokens:
    """Tokens now and as they were first seen; row ``i`` is the same thing in both.

    Attributes:
        now: Last known state of each thing.
        first: Anchors: its state when first seen.
        seen: ``(M,)`` whether this observation showed it.
    """

    now: SceneTokens
    first: SceneTokens
    seen: Array

    def __len__(self) -> int:
        return len(self.now)


class SceneMemory:
    """Follows tokens from frame to frame; what is hidden stays where it was last seen."""

    def __init__(self) -> None:
        self._tracked: TrackedTokens | None = None
        self._newcomers: SceneTokens | None = None

    def update(self, tokens: SceneTokens) -> TrackedTokens:
        """Take in a new view and return what is known now."""
        if self._tracked is None:
            self._tracked = TrackedTokens(tokens, tokens, np.ones(len(tokens), dtype=bool))
            return self._tracked
        old, anchors = self._tracked.now, self._tracked.first
        rows, columns = match(anchors.features, tokens.features, old.positions, tokens.positions)
        now = {
            f: getattr(old, f).copy()
            for f in ("positions", "features", "extents", "clouds", "pixels")
        }
        seen = np.zeros(len(old), dtype=bool)
        for i, j in zip(rows, columns, strict=True):
            seen[i] = True
            whole = tokens.pixels[j] >= _WHOLE * anchors.pixels[i]
            inside = (
                np.abs(tokens.positions[j] - old.positions[i]) < 0.5 * anchors.extents[i] + 0.01
            )
            if whole or not inside.all():
                for f in ("positions", "clouds", "extents"):
                    now[f][i] = getattr(tokens, f)[j]
        unmatched = np.setdiff1d(np.arange(len(tokens)), columns)
        newcomers = _rows(tokens, unmatched)
        self._tracked = TrackedTokens(SceneTokens(**now), anchors, seen)
        self._admit(newcomers)
        return self._tracked

    def anchor(self) -> TrackedTokens:
        """From now on, things were first seen where they are now."""
        assert self._tracked is not None
        old = self._tracked
        places = {f: getattr(old.now, f) for f in ("positions", "extents", "clouds")}
        self._tracked = replace(old, first=replace(old.first, **places))
        return self._tracked

    def _admit(self, newcomers: SceneTokens) -> None:
        """A thing seen twice at one place that nothing known explains joins the scene."""
        before, self._newcomers = self._newcomers, newcomers
        if before is None or not len(before) or not len(newcomers):
            return
        assert self._tracked is not None
        gap = np.linalg.norm(newcomers.positions[:, None] - before.positions[None], axis=-1)
        known = self._tracked.now.positions
        clear = np.linalg.norm(newcomers.positions[:, None] - known[None], axis=-1) > 0.05
        stays = (gap < 0.01).any(axis=1) & clear.all(axis=1) & (newcomers.pixels > 30)
        if not stays.any():
            return
        fresh = _rows(newcomers, np.flatnonzero(stays))
        self._tracked = TrackedTokens(
            _stack(self._tracked.now, fresh),
            _stack(self._tracked.first, fresh),
            np.concatenate([self._tracked.seen, np.ones(len(fresh), dtype=bool)]),
        )


def tracked_tokens(demonstration: Demonstration, encoder: Encoder) -> dict[str, Array]:
    """Encode every :data:`STRIDE`-th frame and follow the tokens through the episode."""
    memory = SceneMemory()
    frames = range(0, len(demonstration), STRIDE)
    states = [memory.update(encoder.encode(demonstration.observation(t))) for t in frames]
    last = states[-1]
    count = len(last)
    tokens = np.zeros((len(demonstration), count, 3))
    for state, t in zip(states, frames, strict=True):
        tokens[t : t + STRIDE, : len(state)] = state.now.positions
        tokens[t : t + STRIDE, len(state) :] = last.first.positions[len(state) :]
    return {
        "tokens": tokens,
        "first": last.first.positions,
        "features": last.first.features,
        "clouds": last.first.clouds,
    }


def match(
    features_a: Array, features_b: Array, positions_a: Array | None, positions_b: Array | None
) -> tuple[Array, Array]:
    """Pairs of rows that are most likely the same thing (Hungarian method).

    Returns:
        Indices into a and into b, of equal length; pairs too different are left out.
    """
    if not len(features_a) or not len(features_b):
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    cost = np.linalg.norm(features_a[:, None] - features_b[None], axis=-1) / SAME
    possible = cost < 1
    if positions_a is not None and positions_b is not None:
        way = np.linalg.norm(positions_a[:, None] - positions_b[None], axis=-1)
        cost = cost + way / _FAR
    rows, columns = linear_sum_assignment(np.where(possible, cost, 10.0))
    keep = possible[rows, columns]
    return rows[keep], columns[keep]


def _rows(tokens: SceneTokens, index: NDArray[np.int64]) -> SceneTokens:
    return replace(tokens, **{f: getattr(tokens, f)[index] for f in tokens.__dataclass_fields__})


def _stack(a: SceneTokens, b: SceneTokens) -> SceneTokens:
    return SceneTokens(
        *(np.concatenate([getattr(a, f), getattr(b, f)]) for f in a.__dataclass_fields__)
    )
