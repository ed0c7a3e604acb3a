"""Object permanence: tokens followed through an episode, and as they were when it began."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from icl_vla_embodiments import Observation, se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Demonstration

from .motion import ON
from .registration import box_of, share_on
from .together import SEEN, motions_since
from .tokens import CLOUD, Encoder, SceneTokens, some_of
from .touch import RESTS, Body, Passage, Touch

STRIDE = 2  # frames between two encoded pictures of a demonstration
SAME = 0.6  # feature distance below which two tokens may be one thing
_FAR = 0.25  # [m] of movement that costs as much as a difference of SAME
_THERE = 0.02  # [m] from where it is expected: what looks like it there is hardly another one
_PART = 0.02  # [m] from a thing within which half of what looks like it lies, if it is a part of it
_BESIDE = 0.01  # [m] from where it was first: there a thing has moved
_ABOUT = 0.1  # [m] of a thing in which a part of it may have come up that looks like nothing known
_WHOLE = 0.65  # share of the usual pixels from which it counts as seen whole
_UNCHANGED = 0.8  # of what is seen that lies on its known surface, or a part of it has moved
VERSION = 9
"""Of how tokens are followed."""


@dataclass(frozen=True)
class TrackedTokens:
    """Tokens now and as they were first seen; row ``i`` is the same thing in both.

    Attributes:
        now: Last known state of each thing.
        first: Anchors: its state when first seen.
        seen: ``(M,)`` whether this observation showed it.
        shown: ``(M, CLOUD, 3)`` what was last seen of it [m], with what has come up about it
            since: a lid that has been opened, while the surface is followed as it was.
            Empty for the surfaces.
    """

    now: SceneTokens
    first: SceneTokens
    seen: Array
    shown: Array = field(default_factory=lambda: np.zeros((0, CLOUD, 3)))

    def __post_init__(self) -> None:
        if not len(self.shown):
            object.__setattr__(self, "shown", self.now.clouds)

    def __len__(self) -> int:
        return len(self.now)


class SceneMemory:
    """Follows tokens from frame to frame.

    What is hidden stays where it was last seen, unless the robot has moved it since.
    """

    def __init__(self) -> None:
        self._tracked: TrackedTokens | None = None
        self._newcomers: SceneTokens | None = None
        self._body: Body | None = None
        self._begun = 0  # how many were there at the first look

    def look(self, encoder: Encoder, observation: Observation) -> TrackedTokens:
        """Take in an observation and return what is known now."""
        return self.update(encoder.encode(observation), encoder.body(observation))

    def update(self, tokens: SceneTokens, body: Body | None = None) -> TrackedTokens:
        """The same with the tokens of an observation, and what the robot filled there."""
        before, self._body = self._body, body
        if self._tracked is None:
            self._tracked = TrackedTokens(tokens, tokens, np.ones(len(tokens), dtype=bool))
            self._begun = len(tokens)
            return self._tracked
        old, anchors = self._tracked.now, self._tracked.first
        passage = Passage(before, body) if body is not None and before is not None else None
        touches: list[Touch | None] = [None] * len(old)
        expected = old.positions.copy()
        if passage is not None:
            for i, touch in enumerate(passage.touches(old.clouds)):
                touches[i], expected[i] = touch, se3.act(touch.motion, expected[i : i + 1])[0]
        parts = _parts(expected, old.clouds, anchors.features, tokens)
        taken = {i: tokens.clouds[rows].reshape(-1, 3) for i, rows in parts.items()}
        matched = [j for rows in parts.values() for j in rows]
        unmatched = np.setdiff1d(np.arange(len(tokens)), matched)
        stood = np.linalg.norm(old.positions - anchors.positions, axis=1) < _BESIDE
        spare = tokens.clouds[unmatched].reshape(-1, 3)
        motions, own = motions_since(old.clouds, taken, spare, touches, passage, stood)
        now = {f.name: getattr(old, f.name).copy() for f in fields(old)}
        for i, motion in enumerate(motions):
            if (motion != RESTS).any():
                for name in ("positions", "clouds", "middles", "fine"):
                    now[name][i] = se3.act(motion, getattr(old, name)[i])
            whole = i in own and tokens.pixels[parts[i][0]] >= _WHOLE * anchors.pixels[i]
            if whole and share_on(own[i], now["clouds"][i], ON) < _UNCHANGED:
                now["middles"][i] = box_of(own[i]).mean(axis=0)
        seen = np.array([i in own for i in range(len(old))], dtype=bool)
        shown = self._shown(tokens, parts, now["clouds"])
        newcomers = _rows(tokens, unmatched)
        self._tracked = TrackedTokens(SceneTokens(**now), anchors, seen, shown)
        self._admit(newcomers)
        return self._tracked

    def _shown(
        self, tokens: SceneTokens, parts: Mapping[int, Sequence[int]], surfaces: Array
    ) -> Array:
        """See :class:`TrackedTokens`; ``(M, P, 3)`` for tokens that are parts of known things.

        What has come up is what nothing that was there at first is seen by.
        """
        assert self._tracked is not None
        shown = self._tracked.shown.copy()
        known = {j for i in range(self._begun) for j in parts.get(i, [])}
        fresh = [j for j in range(len(tokens)) if j not in known]
        for i in range(self._begun):
            points = tokens.clouds[[*parts.get(i, []), *fresh]].reshape(-1, 3)
            about = points[KDTree(surfaces[i]).query(points)[0] < _ABOUT] if len(points) else points
            if len(about) >= SEEN:
                shown[i] = some_of(about, shown.shape[1])
        return shown

    def anchor(self, things: Collection[int] | None = None) -> TrackedTokens:
        """From now on, some things, or all, were first seen where they are now."""
        assert self._tracked is not None
        old = self._tracked
        again = np.arange(len(old)) if things is None else np.array(sorted(things), dtype=int)
        places = {}
        for name in ("positions", "extents", "clouds", "middles", "fine"):
            places[name] = getattr(old.first, name).copy()
            places[name][again] = getattr(old.now, name)[again]
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
            np.concatenate([self._tracked.shown, fresh.clouds]),
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
        "ended": last.shown,
    }


def match(features_a: Array, features_b: Array) -> tuple[Array, Array]:
    """Pairs of rows that are most likely the same thing by their looks (Hungarian method).

    Returns:
        Indices into a and into b, of equal length; pairs too different are left out.
    """
    cost = _unlike(features_a, features_b)
    return _pairs(cost, np.full(cost.shape, 10.0))


def match_in_place(
    features_a: Array, features_b: Array, positions_a: Array, positions_b: Array
) -> tuple[Array, Array]:
    """The same by looks and by where things are ``(M, 3)`` [m].

    What looks alike where one is expected is that one, and two that look alike have no reason to
    have changed places.
    """
    cost = _unlike(features_a, features_b)
    way = np.linalg.norm(positions_a[:, None] - positions_b[None], axis=-1)
    there = np.exp(-0.5 * (way / _THERE) ** 2)
    return _pairs(cost + way / _FAR - there, 1 + way / _FAR)


def _unlike(features_a: Array, features_b: Array) -> Array:
    """``(A, B)``: from 1 on, they are different things; infinite then."""
    cost = np.linalg.norm(features_a[:, None] - features_b[None], axis=-1) / SAME
    return np.where(cost < 1, cost, np.inf)


def _pairs(cost: Array, another: Array) -> tuple[Array, Array]:
    """Pairs at least cost in all, where ``another`` is paid for each that would be infinite."""
    possible = np.isfinite(cost)
    rows, columns = linear_sum_assignment(np.where(possible, cost, another))
    keep = possible[rows, columns]
    return rows[keep], columns[keep]


def _parts(
    expected: Array, surfaces: Array, features: Array, tokens: SceneTokens
) -> dict[int, list[int]]:
    """Tokens that show each known thing, the best match first; a hand may show it in two parts.

    Args:
        expected: ``(M, 3)`` where things are expected [m].
        surfaces: ``(M, P, 3)`` as they lay [m].
        features: ``(M, F)`` what they looked like first.
        tokens: Of what is seen.
    """
    matched = match_in_place(features, tokens.features, expected, tokens.positions)
    parts = {i: [j] for i, j in zip(*(x.tolist() for x in matched), strict=True)}
    for j in np.setdiff1d(np.arange(len(tokens)), matched[1]).tolist():
        alike = np.linalg.norm(features - tokens.features[j], axis=-1) < SAME
        on = {
            i: share_on(tokens.clouds[j], surfaces[i], _PART)
            for i in np.flatnonzero(alike).tolist()
        }
        most = max(on, key=lambda i: on[i], default=None)
        if most is not None and on[most] > 0.5:
            parts.setdefault(most, []).append(j)
    return parts


def _rows(tokens: SceneTokens, index: NDArray[np.int64]) -> SceneTokens:
    return replace(tokens, **{f: getattr(tokens, f)[index] for f in tokens.__dataclass_fields__})


def _stack(a: SceneTokens, b: SceneTokens) -> SceneTokens:
    return SceneTokens(
        *(np.concatenate([getattr(a, f), getattr(b, f)]) for f in a.__dataclass_fields__)
    )
