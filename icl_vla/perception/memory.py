"""Object permanence: tokens followed through an episode, and as they were when it began."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from icl_vla_embodiments import Observation, se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Demonstration

from .registration import least_motion, share_on
from .tokens import Encoder, SceneTokens
from .touch import Body

STRIDE = 2  # frames between two encoded pictures of a demonstration
SAME = 0.6  # feature distance below which two tokens may be one thing
_FAR = 0.25  # [m] of movement that costs as much as a difference of SAME
_ON = 0.007  # [m] from a surface within which a point lies on it
_STAYS = 0.95  # of what is seen of a thing that lies where it was: it has not moved,
_COVERED = 0.8  # nor has it if so much of where it was is still seen
_EXPLAINED = 0.75  # of what is seen that a motion has to explain
_PART = 0.02  # [m] from a thing within which half of what looks like it lies, if it is a part of it
_BESIDE = 0.01  # [m] beyond where it was: there it has moved, however little is seen of it,
_LEFT = 0.2  # if nothing is seen any more where most of it was
_WHOLE = 0.65  # share of the usual pixels from which it counts as seen whole
VERSION = 3
"""Of how tokens are followed."""


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
    """Follows tokens from frame to frame.

    What is hidden stays where it was last seen, unless the robot has pushed it since.
    """

    def __init__(self) -> None:
        self._tracked: TrackedTokens | None = None
        self._newcomers: SceneTokens | None = None
        self._body: Body | None = None

    def look(self, encoder: Encoder, observation: Observation) -> TrackedTokens:
        """Take in an observation and return what is known now."""
        return self.update(encoder.encode(observation), encoder.body(observation))

    def update(self, tokens: SceneTokens, body: Body | None = None) -> TrackedTokens:
        """The same with the tokens of an observation, and what the robot filled there."""
        before, self._body = self._body, body
        if self._tracked is None:
            self._tracked = TrackedTokens(tokens, tokens, np.ones(len(tokens), dtype=bool))
            return self._tracked
        old, anchors = self._tracked.now, self._tracked.first
        now = {f.name: getattr(old, f.name).copy() for f in fields(old)}
        seen = np.zeros(len(old), dtype=bool)
        parts, sight = _parts(old, anchors, tokens), tokens.clouds.reshape(-1, 3)
        for i, rows in parts.items():
            seen[i] = True
            j, size = rows[0], 0.5 * anchors.extents[i] + _BESIDE
            still = bool(np.linalg.norm(old.positions[i] - anchors.positions[i]) < _BESIDE)
            shift = tokens.positions[j] - old.positions[i]
            points = np.concatenate(tokens.clouds[rows])
            moved = _moved(old.clouds[i], points, shift, still)
            if moved is not None:
                now["positions"][i] = se3.act(moved, old.positions[i])
                now["clouds"][i] = se3.act(moved, old.clouds[i])
                now["middles"][i] = se3.act(moved, old.middles[i])
            elif (np.abs(shift) > size).any() and share_on(old.clouds[i], sight, _ON) < _LEFT:
                for name in ("positions", "clouds", "extents"):
                    now[name][i] = getattr(tokens, name)[j]
            whole = tokens.pixels[j] >= _WHOLE * anchors.pixels[i]
            if whole or (np.abs(tokens.positions[j] - old.middles[i]) > size).any():
                now["middles"][i] = tokens.positions[j]
        if body is not None and before is not None:
            for i in np.flatnonzero(~seen).tolist():
                pushed = body.pushes(old.clouds[i], before)
                for name in ("positions", "clouds", "middles"):
                    now[name][i] += pushed
        known = [j for rows in parts.values() for j in rows]
        unmatched = np.setdiff1d(np.arange(len(tokens)), known)
        newcomers = _rows(tokens, unmatched)
        self._tracked = TrackedTokens(SceneTokens(**now), anchors, seen)
        self._admit(newcomers)
        return self._tracked

    def anchor(self) -> TrackedTokens:
        """From now on, things were first seen where they are now."""
        assert self._tracked is not None
        old = self._tracked
        places = {f: getattr(old.now, f) for f in ("positions", "extents", "clouds", "middles")}
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
    states = [memory.look(encoder, demonstration.observation(t)) for t in frames]
    last = states[-1]
    # between two looks things are half-way: one that moves would else lag behind its hand
    between = np.arange(len(demonstration)) / STRIDE
    before = between.astype(int)
    after, share = np.minimum(before + 1, len(states) - 1), (between - before)[:, None, None]

    def along(name: str) -> Array:
        """``(T, M, 3)``; things that joined later have been where they were first."""
        first = getattr(last.first, name)
        known = [getattr(state.now, name) for state in states]
        seen = np.stack([np.concatenate([some, first[len(some) :]]) for some in known])
        return np.asarray((1 - share) * seen[before] + share * seen[after])

    return {
        "tokens": along("positions"),
        "middles": along("middles"),
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


def _parts(old: SceneTokens, anchors: SceneTokens, tokens: SceneTokens) -> dict[int, list[int]]:
    """Tokens that show each known thing, the best match first; a hand may show it in two parts."""
    matched = match(anchors.features, tokens.features, old.positions, tokens.positions)
    parts = {i: [j] for i, j in zip(*(x.tolist() for x in matched), strict=True)}
    for j in np.setdiff1d(np.arange(len(tokens)), matched[1]).tolist():
        alike = np.linalg.norm(anchors.features - tokens.features[j], axis=-1) < SAME
        on = {
            i: share_on(tokens.clouds[j], old.clouds[i], _PART)
            for i in np.flatnonzero(alike).tolist()
        }
        most = max(on, key=lambda i: on[i], default=None)
        if most is not None and on[most] > 0.5:
            parts.setdefault(most, []).append(j)
    return parts


def _moved(known: Array, seen: Array, shift: Array, still: bool) -> Array | None:
    """How a surface ``(P, 3)`` has moved, by points ``(Q, 3)`` of it; None where nothing tells.

    A hand that covers half of a thing, or ink beside a mark, moves the middle of what is seen.

    Args:
        known: The surface as it was.
        seen: Points of it now.
        shift: ``(3,)`` of the middle of what is seen of it.
        still: Whether it has not moved so far: then it takes more to tell that it has.
    """
    if still and share_on(seen, known, _ON) >= _STAYS:
        return np.eye(4)
    if still and share_on(known, seen, _ON) >= _COVERED:
        return np.eye(4)
    for begin in (np.zeros(3), shift):
        motion = least_motion(known, seen, begin)
        if share_on(seen, se3.act(motion, known), _ON) >= _EXPLAINED:
            return motion
    return None


def _rows(tokens: SceneTokens, index: NDArray[np.int64]) -> SceneTokens:
    return replace(tokens, **{f: getattr(tokens, f)[index] for f in tokens.__dataclass_fields__})


def _stack(a: SceneTokens, b: SceneTokens) -> SceneTokens:
    return SceneTokens(
        *(np.concatenate([getattr(a, f), getattr(b, f)]) for f in a.__dataclass_fields__)
    )
