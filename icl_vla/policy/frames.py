"""Frames that a demonstrated motion can be carried over in, from a demonstration to now.

A frame carries a motion by ``T_now <- X @ T_then`` with ``X = [R | p_now - R p_then]``: origins
coincide and axes are turned by ``R``. Origins are scene tokens (where they are, where they were
first seen and where they will be brought), the base, the end effector and the robot's other hands.
Rotations are none, the token's registered turn, the turn of the direction from one token to
another, which makes a pair of round things into a frame with a heading, and that of a thing's way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se2, se3
from icl_vla_embodiments.types import Array

from ..perception.memory import TrackedTokens
from ..perception.registration import relative_yaw
from ..perception.tokens import SceneTokens
from .agreement import ENOUGH
from .context import DemoContext
from .headings import carried_by_motion
from .identity import settled
from .likeness import matched_tokens, shared_tokens

_EVERY = 3  # points of what is seen now that are looked for in what was seen
_HEADING = 0.04  # [m] two tokens nearer than this have no direction between them
SEEN, ALONG = "turned", "along its way"
"""Names of turns: as a thing itself is seen to be turned, and as the way that it goes."""
_ASIDE = 0.015  # [m] at most that a hand goes beside the line that things have to go along
_WAY = 0.01  # [m] left to go that still has a direction
_HELD = 0.05  # weight of what goes with the hand: relative to that, motions agree however wrong
_AROUND = 2  # frames before and after,
_MOVES = 0.01  # [m] between which a thing is on its way


@dataclass(frozen=True)
class FrameVotes:
    """One frame's view of all demonstrations.

    Attributes:
        name: What the frame hangs on, for explanations.
        X: ``(K, 4, 4)`` carries each demonstration's motion to now.
        valid: ``(K,)`` demonstrations that have the frame.
        weight: Prior weight, ``(K, H)`` where demonstrations and steps differ: motions relative to
            the end effector agree however wrong they are.
        outside: Whether it hangs on something else than the hand itself and what that moves. Only
            there does agreement say where the hand has to be.
        blur: How unsure it is where the frame is now [m].
        turns: Whether it turns with what it hangs on, as that itself is seen to be turned.
        exact: Whether it is known as well where it is as how high things are.
        then: ``(K, 3)`` where its origin was in the demonstrations [m]; None where it hangs on
            nothing that can be near.
        turn: What it is turned by; empty for nothing.
    """

    name: str
    X: Array
    valid: NDArray[np.bool_]
    weight: float | Array = 1.0
    outside: bool = True
    blur: float = 0.0
    turns: bool = False
    exact: bool = False
    then: Array | None = None
    turn: str = ""


@dataclass(frozen=True)
class End:
    """Where one thing will have been brought (:mod:`.ends`).

    Attributes:
        thing: Row of its token.
        then: ``(K, 3)`` where the demonstrations ended with it [m].
        known: ``(K,)`` those that have it, and ended with it where most did.
        astray: ``(K,)`` those that have it, and seem to have ended with it elsewhere.
        here: ``(3,)`` where it is expected to end now [m].
        blur: How unsure that is [m].
    """

    thing: int
    then: Array
    known: NDArray[np.bool_]
    astray: NDArray[np.bool_]
    here: Array
    blur: float


class Correspondence:
    """Which token of each demonstration is which token now, and how much it is turned.

    Attributes:
        index: ``(K, M)`` token of demonstration k that matches token m now; -1 for none.
        yaw: ``(K, M)`` registered turn of shared things from then to now [rad]; 0 for others.
        begun: How many tokens were seen at the first look; others have joined them.
        then: ``(K, M, 3)`` from where each demonstration first had its token to what is here now at
            the token's place [m]; NaN where only the tokens tell.
    """

    def __init__(self, contexts: Sequence[DemoContext], tokens: TrackedTokens) -> None:
        self._contexts = contexts
        self.begun = len(tokens)
        self.index = np.full((len(contexts), 0), -1)
        self.yaw = np.zeros((len(contexts), 0))
        self.then = np.zeros((len(contexts), 0, 3))
        self.extend(tokens)

    def extend(self, tokens: TrackedTokens) -> None:
        """Match tokens that have joined the scene since."""
        known, count = self.index.shape[1], len(tokens)
        if count == known:
            return
        features = tokens.first.features[known:]
        fresh = matched_tokens(features, self._contexts)
        if not known:
            fresh = settled(self._contexts, fresh, features, tokens.first.clouds)
        for row, before in zip(fresh, self.index, strict=True):
            row[np.isin(row, before)] = -1
        turns, then = self._laid(fresh, tokens.first, known)
        self.index = np.concatenate([self.index, fresh], axis=1)
        self.yaw = np.concatenate([self.yaw, turns], axis=1)
        self.then = np.concatenate([self.then, then], axis=1)

    def turn(self, tokens: TrackedTokens) -> None:
        """Register all turns again, as things now are first seen otherwise."""
        self.yaw, self.then = self._laid(self.index, tokens.first)

    def _laid(
        self, index: NDArray[np.int64], first: SceneTokens, begin: int = 0
    ) -> tuple[Array, Array]:
        """Turns ``(K, m)`` and shifts ``(K, m, 3)`` to tokens from ``begin`` on."""
        turns, then = np.zeros(index.shape), np.full((*index.shape, 3), np.nan)
        for m in shared_tokens(index):  # nothing hangs on the others
            known = np.zeros(len(index), dtype=bool)
            cloud, here = first.clouds[begin + m], first.positions[begin + m]
            told = carried_by_motion(self._contexts, index[:, m], cloud, first.fine[begin + m])
            if told is not None:
                X, known = told
                there = se3.act(se3.inverse(X), here[None])[:, 0]
                for k in np.flatnonzero(known).tolist():
                    turns[k, m] = np.arctan2(X[k, 1, 0], X[k, 0, 0])
                    then[k, m] = there[k] - self._contexts[k].first[index[k, m]]
            now = cloud[::_EVERY]
            for k in np.flatnonzero((index[:, m] >= 0) & ~known).tolist():
                turns[k, m], _ = relative_yaw(self._contexts[k].clouds[index[k, m]], now)
        return turns, then

    def carried(self, tokens: TrackedTokens, m: int) -> tuple[Array, NDArray[np.bool_]]:
        """How a thing lay first now, from each demonstration ``(K, 4, 4)``, and which tell it.

        Known exactly, that is: as the whole of it was laid on what is seen.
        """
        known = np.isfinite(self.then[:, m, 0])
        first = [_place(c.first, j) for c, j in zip(self._contexts, self.index[:, m], strict=True)]
        then = np.stack(first) + np.nan_to_num(self.then[:, m])
        R = se3.yaw(self.yaw[:, m])
        shift = tokens.first.positions[m] - np.einsum("kij,kj->ki", R, then)
        return se3.pose(R, shift), known

    def shared(self) -> list[int]:
        """Tokens found in most demonstrations: the things that the task may be about."""
        return shared_tokens(self.index)


def thing_of(name: str) -> int | None:
    """Row of the token that a frame of this name hangs on; None for the base or a hand."""
    kind, *rest = name.split(": ")[-1].split()
    return int(rest[0]) if kind == "token" else None


def frames_now(
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    tcp: Array,
    tokens: TrackedTokens,
    correspondence: Correspondence,
    ends: Sequence[End] = (),
) -> Iterator[FrameVotes]:
    """All candidate frames at the demonstrations' present frames."""
    count = len(contexts)
    everyone = np.ones(count, dtype=bool)
    tcp_then = np.stack([c.tcp[t] for c, t in zip(contexts, pointers, strict=True)])
    shift = se3.pose(p=tcp[:3, 3] - tcp_then[:, :3, 3])
    frames = [
        FrameVotes("base", np.tile(np.eye(4), (count, 1, 1)), everyone),
        FrameVotes("end effector", shift, everyone, weight=_HELD, outside=False),
    ]
    shared = correspondence.shared()
    moving = {m for m in shared if _moving(contexts, pointers, correspondence.index[:, m])}
    for m in shared:
        rows = list(zip(contexts, pointers, correspondence.index[:, m], strict=True))
        now_then = np.stack([_place(c.tokens[t], j) for c, t, j in rows])
        first_then = np.stack([_place(c.first, j) for c, _, j in rows])
        turns = list(_turns(contexts, pointers, tokens, correspondence, m, ("now", "first")))
        for turn in turns:
            frame = _about(f"token {m} now", tokens.now.positions[m], now_then, turn)
            if m in moving and not turn.name.endswith("now"):
                frame = replace(frame, weight=_HELD, outside=False)
            frames.append(frame)
        for turn in turns:
            frames.append(_about(f"token {m} first", tokens.first.positions[m], first_then, turn))
    for end in ends:
        frames += _towards(end, contexts, pointers, tokens, correspondence)
    slips = [
        slip
        for end in ends
        if end.thing in moving
        and (slip := _slip(end, contexts, pointers, tcp, tokens, correspondence)) is not None
    ]
    for frame in frames:
        yield replace(frame, X=_beside(frame.X, slips)) if slips and frame.outside else frame


def frames_at_first(
    contexts: Sequence[DemoContext], tokens: TrackedTokens, correspondence: Correspondence
) -> Iterator[FrameVotes]:
    """Those of them that do not change: the base, and things as they were first."""
    beginning = np.zeros(len(contexts), dtype=int)
    everyone = np.ones(len(contexts), dtype=bool)
    yield FrameVotes("base", np.tile(np.eye(4), (len(contexts), 1, 1)), everyone)
    for m in correspondence.shared():
        rows = zip(contexts, correspondence.index[:, m], strict=True)
        then = np.stack([_place(c.first, j) for c, j in rows])
        for turn in _turns(contexts, beginning, tokens, correspondence, m, ("first",)):
            yield _about(f"token {m} first", tokens.first.positions[m], then, turn)


class _Turn(NamedTuple):
    """Turns ``(K,)`` from each demonstration to now [rad], and the demonstrations that have it.

    Of some it is known what lay then where the token is now: so far ``(K, 3)`` from theirs [m].
    """

    name: str
    yaw: Array
    known: NDArray[np.bool_]
    then: Array | None = None


def _turns(
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    tokens: TrackedTokens,
    correspondence: Correspondence,
    m: int,
    whens: Sequence[str],
) -> Iterator[_Turn]:
    """None, as the thing is seen to be turned, and those of the directions from it to others."""
    known = correspondence.index[:, m] >= 0
    yield _Turn("", np.zeros(len(contexts)), known)
    then = correspondence.then[:, m]
    told = np.isfinite(then[:, 0])
    if told.any():  # others are turned by how they look, which says less
        yield _Turn(SEEN, correspondence.yaw[:, m], told, np.nan_to_num(then))
    else:
        yield _Turn(SEEN, correspondence.yaw[:, m], known)
    for other in correspondence.shared():
        if other != m:
            for when in whens:
                yield _heading(contexts, pointers, tokens, correspondence, m, other, when)


def _about(name: str, here: Array, then: Array, turn: _Turn) -> FrameVotes:
    """A frame with its origin ``(3,)`` here, ``(K, 3)`` in the demonstrations."""
    R = se3.yaw(turn.yaw)
    exact = turn.then is not None
    there = then if turn.then is None else then + turn.then
    X = se3.pose(R, here - np.einsum("kij,kj->ki", R, there))
    turns = turn.name == SEEN and not exact
    return FrameVotes(
        f"{name} {turn.name}".strip(),
        X,
        turn.known,
        turns=turns,
        exact=exact,
        then=there,
        turn=turn.name,
    )


def _towards(
    end: End,
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    tokens: TrackedTokens,
    correspondence: Correspondence,
) -> Iterator[FrameVotes]:
    """Frames of a way that a thing will go: where it ends, and along it from first to last."""
    m = end.thing
    rows = list(zip(contexts, pointers, correspondence.index[:, m], strict=True))
    first = np.stack([_place(c.first, j) for c, _, j in rows])
    now = np.stack([_place(c.tokens[t], j) for c, t, j in rows])
    still = _Turn("", np.zeros(len(contexts)), end.known)
    along = _along(end, tokens.first.positions[m], first, _WAY)
    left = _along(end, tokens.now.positions[m], now, _HEADING)
    for frame, blur in (
        (_about(f"token {m} end", end.here, end.then, still), end.blur),
        (_about(f"token {m} end", end.here, end.then, along), end.blur),
        # at its beginning a hand is nearer than the end, which turns it
        (_about(f"token {m} first", tokens.first.positions[m], first, along), end.blur / 3),
        # one that has gone astray is pushed from behind as seen from the end, not further astray
        (_about(f"token {m} now", tokens.now.positions[m], now, left), end.blur / 3),
    ):
        yield replace(frame, blur=blur)


class _Slip(NamedTuple):
    """How a hand moves a thing along.

    Attributes:
        here: ``(3,)`` from the thing to the hand now [m],
        then: ``(K, 3)`` and in the demonstrations;
        known: ``(K,)`` those that have the thing.
        across: ``(2,)`` direction across the way that the thing still has to go.
    """

    here: Array
    then: Array
    known: NDArray[np.bool_]
    across: Array


def _slip(
    end: End,
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    tcp: Array,
    tokens: TrackedTokens,
    correspondence: Correspondence,
) -> _Slip | None:
    """How a thing is moved along that is just being moved; None if it has not gone far yet."""
    m, index = end.thing, correspondence.index[:, end.thing]
    here = tokens.now.positions[m]
    way, gone = (end.here - here)[:2], (here - tokens.first.positions[m])[:2]
    if np.linalg.norm(gone) < _MOVES or not way.any():
        return None
    rows = list(zip(contexts, pointers, index, strict=True))
    then = np.stack([c.tcp[t, :3, 3] - _place(c.tokens[t], j) for c, t, j in rows])
    across = np.array([-way[1], way[0]]) / np.linalg.norm(way)
    return _Slip(tcp[:3, 3] - here, then, index >= 0, across)


def _beside(X: Array, slips: Sequence[_Slip]) -> Array:
    """Frames ``(K, 4, 4)`` for a hand that moves things otherwise off its middle than was shown.

    Things go as the hand goes, so it is the hand that has to go beside the line where they have
    slipped: one that went back behind their middle would drag them along.

    Args:
        X: Frames for the hand as it was, and so for the things as they have to go.
        slips: How it moves them.
    """
    shift = np.zeros((len(X), 2))
    for slip in slips:
        off = slip.here - np.einsum("kij,kj->ki", X[:, :3, :3], slip.then)
        aside = np.clip(off[:, :2] @ slip.across, -_ASIDE, _ASIDE) * slip.known
        shift += aside[:, None] * slip.across / len(slips)
    shifted = X.copy()
    shifted[:, :2, 3] += shift
    return shifted


def _along(end: End, here: Array, then: Array, least: float) -> _Turn:
    """Turn of the way that is left from here ``(3,)``, ``(K, 3)`` in the demonstrations, to an end.

    Args:
        end: Where it leads.
        here: Of the thing.
        then: In the demonstrations.
        least: Of the way here that has a direction [m].
    """
    way, ways = (end.here - here)[:2], (end.then - then)[:, :2]
    known = end.known & (np.linalg.norm(ways, axis=1) > _HEADING)
    known &= bool(np.linalg.norm(way) > least)
    yaw = np.arctan2(way[1], way[0]) - np.arctan2(ways[:, 1], ways[:, 0])
    return _Turn(ALONG, se2.wrap(yaw), known)


def _moving(
    contexts: Sequence[DemoContext], pointers: NDArray[np.int64], tokens: NDArray[np.int64]
) -> bool:
    """Whether a thing, tokens ``(K,)``, is just being moved in most of the demonstrations.

    Of fewer than :data:`.agreement.ENOUGH` all other frames say little, and this one is needed.
    """
    told = []
    for c, t, j in zip(contexts, pointers, tokens, strict=True):
        if j >= 0:
            before, after = max(t - _AROUND, 0), min(t + _AROUND, len(c) - 1)
            told.append(np.linalg.norm(c.tokens[after, j] - c.tokens[before, j]) > _MOVES)
    return len(told) >= ENOUGH and bool(np.mean(told) > 0.5)


def hand_frames(
    name: str, contexts: Sequence[DemoContext], pointers: NDArray[np.int64], tcp: Array
) -> Iterator[FrameVotes]:
    """Frames that hang on another hand: its place, with and without its turn about the vertical.

    Args:
        name: Of that hand.
        contexts: The demonstrations as that hand saw them.
        pointers: ``(K,)`` present frames.
        tcp: ``(4, 4)`` of that hand now.
    """
    then = np.stack([c.tcp[t] for c, t in zip(contexts, pointers, strict=True)])
    everyone = np.ones(len(contexts), dtype=bool)
    turned = se3.log3(tcp[:3, :3] @ np.swapaxes(then[:, :3, :3], -1, -2))[:, 2]
    for how, yaw in (("", np.zeros(len(contexts))), (" turned", turned)):
        R = se3.yaw(yaw)
        X = se3.pose(R, tcp[:3, 3] - np.einsum("kij,kj->ki", R, then[:, :3, 3]))
        yield FrameVotes(f"{name}{how}", X, everyone, then=then[:, :3, 3], turn=how.strip())


def _heading(
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    tokens: TrackedTokens,
    correspondence: Correspondence,
    m: int,
    other: int,
    when: str,
) -> _Turn:
    """Turn of the direction from one token to another, as it is or as it was at first."""
    here = tokens.now.positions if when == "now" else tokens.first.positions
    now = (here[other] - here[m])[:2]
    pairs = correspondence.index[:, [m, other]]
    places = [
        c.tokens[t] if when == "now" else c.first for c, t in zip(contexts, pointers, strict=True)
    ]
    ways = [_place(x, j) - _place(x, i) for x, (i, j) in zip(places, pairs, strict=True)]
    then = np.stack(ways)[:, :2]
    known = (pairs >= 0).all(axis=1)
    known &= np.linalg.norm(then, axis=1) > _HEADING
    known &= bool(np.linalg.norm(now) > _HEADING)
    yaw = np.arctan2(now[1], now[0]) - np.arctan2(then[:, 1], then[:, 0])
    return _Turn(f"towards {other} {when}", se2.wrap(yaw), known)


def _place(places: Array, j: int) -> Array:
    """Row ``j`` of ``(M, 3)``; the origin where j is -1, for a demonstration may show nothing."""
    return np.asarray(places[j]) if j >= 0 else np.zeros(3)
