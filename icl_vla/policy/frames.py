"""Frames that a demonstrated motion can be carried over in, from a demonstration to now.

A frame carries a motion by ``T_now <- X @ T_then`` with ``X = [R | p_now - R p_then]``: origins
coincide and axes are turned by ``R``. Origins are scene tokens (where they are and where they
were first seen), the base, the end effector and the robot's other hands. Rotations are none, the
token's registered turn, and the turn of the direction from one token to another, which makes a pair
of round things into a frame with a heading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se2, se3
from icl_vla_embodiments.types import Array

from ..perception.memory import TrackedTokens
from ..perception.registration import relative_yaw
from .context import DemoContext
from .headings import turns_from_motion
from .identity import settled
from .likeness import matched_tokens, shared_tokens

_EVERY = 3  # points of what is seen now that are looked for in what was seen
_HEADING = 0.04  # [m] two tokens nearer than this have no direction between them


@dataclass(frozen=True)
class FrameVotes:
    """One frame's view of all demonstrations.

    Attributes:
        name: What the frame hangs on, for explanations.
        X: ``(K, 4, 4)`` carries each demonstration's motion to now.
        valid: ``(K,)`` demonstrations that have the frame.
        weight: Prior weight: motions relative to the end effector agree however wrong they are.
        outside: Whether it hangs on something else than the hand itself. Only there does agreement
            say where the hand has to be.
    """

    name: str
    X: Array
    valid: NDArray[np.bool_]
    weight: float = 1.0
    outside: bool = True


class Correspondence:
    """Which token of each demonstration is which token now, and how much it is turned.

    Attributes:
        index: ``(K, M)`` token of demonstration k that matches token m now; -1 for none.
        yaw: ``(K, M)`` registered turn of shared things from then to now [rad]; 0 for others.
    """

    def __init__(self, contexts: Sequence[DemoContext], tokens: TrackedTokens) -> None:
        self._contexts = contexts
        self.index = np.full((len(contexts), 0), -1)
        self.yaw = np.zeros((len(contexts), 0))
        self.extend(tokens)

    def extend(self, tokens: TrackedTokens) -> None:
        """Match tokens that have joined the scene since."""
        known, count = self.index.shape[1], len(tokens)
        if count == known:
            return
        features = tokens.first.features[known:]
        fresh = matched_tokens(features, self._contexts)
        if not known:
            fresh = settled(self._contexts, fresh, features)
        for row, before in zip(fresh, self.index, strict=True):
            row[np.isin(row, before)] = -1
        turns = self._turns(fresh, tokens.first.clouds[known:])
        self.index = np.concatenate([self.index, fresh], axis=1)
        self.yaw = np.concatenate([self.yaw, turns], axis=1)

    def turn(self, tokens: TrackedTokens) -> None:
        """Register all turns again, as things now are first seen otherwise."""
        self.yaw = self._turns(self.index, tokens.first.clouds)

    def _turns(self, index: NDArray[np.int64], clouds: Array) -> Array:
        """``(K, m)`` turns to things with clouds ``(m, P, 3)``, whose tokens are ``(K, m)``."""
        turns = np.zeros(index.shape)
        for m in shared_tokens(index):  # nothing hangs on the others
            known = np.zeros(len(index), dtype=bool)
            told = turns_from_motion(self._contexts, index[:, m], clouds[m])
            if told is not None:
                turns[:, m], known = told
            now = clouds[m][::_EVERY]
            for k in np.flatnonzero((index[:, m] >= 0) & ~known).tolist():
                turns[k, m], _ = relative_yaw(self._contexts[k].clouds[index[k, m]], now)
        return turns

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
) -> Iterator[FrameVotes]:
    """All candidate frames at the demonstrations' present frames."""
    count = len(contexts)
    everyone = np.ones(count, dtype=bool)
    yield FrameVotes("base", np.tile(np.eye(4), (count, 1, 1)), everyone)
    tcp_then = np.stack([c.tcp[t] for c, t in zip(contexts, pointers, strict=True)])
    shift = se3.pose(p=tcp[:3, 3] - tcp_then[:, :3, 3])
    yield FrameVotes("end effector", shift, everyone, weight=0.05, outside=False)

    shared = correspondence.shared()
    for m in shared:
        index = correspondence.index[:, m]
        valid = index >= 0
        rows = list(zip(contexts, pointers, index, strict=True))
        now_then = np.stack([_place(c.tokens[t], j) for c, t, j in rows])
        first_then = np.stack([_place(c.first, j) for c, _, j in rows])
        origins = (
            ("now", tokens.now.positions[m], now_then),
            ("first", tokens.first.positions[m], first_then),
        )
        turns: list[tuple[str, Array, NDArray[np.bool_]]] = [
            ("", np.zeros(count), valid),
            ("turned", correspondence.yaw[:, m], valid),
        ]
        for other in shared:
            if other != m:
                turns.append(_heading(contexts, pointers, tokens, correspondence, m, other, "now"))
                turns.append(
                    _heading(contexts, pointers, tokens, correspondence, m, other, "first")
                )
        for when, here, then in origins:
            for how, yaw, known in turns:
                R = se3.yaw(yaw)
                X = se3.pose(R, here - np.einsum("kij,kj->ki", R, then))
                yield FrameVotes(f"token {m} {when} {how}".strip(), X, known)


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
        yield FrameVotes(f"{name}{how}", X, everyone)


def _heading(
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    tokens: TrackedTokens,
    correspondence: Correspondence,
    m: int,
    other: int,
    when: str,
) -> tuple[str, Array, NDArray[np.bool_]]:
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
    return f"towards {other} {when}", se2.wrap(yaw), known


def _place(places: Array, j: int) -> Array:
    """Row ``j`` of ``(M, 3)``; the origin where j is -1, for a demonstration may show nothing."""
    return np.asarray(places[j]) if j >= 0 else np.zeros(3)
