"""What a hand is about to act on: a guess where demonstrations are too few to agree.

One demonstration agrees with itself in every frame. But hands act on what is near: where fingers
close, open, or where a thing begins or ceases to move, the nearest thing is likely to be the one
that the motion hangs on until then. What is carried hangs on nothing but the hand. Where a thing is
pushed, the hand's place follows from the way that the thing has to go; otherwise from how the thing
is turned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .agreement import ENOUGH
from .context import DemoContext
from .frames import ALONG, SEEN, FrameVotes, thing_of

_NEAR = 0.02  # [m] from what is acted on
_FAR = 0.15  # [m] that everything is from a frame that hangs on nothing
_UNLIKELY = 0.03  # of what there is no reason for
_UNTURNED = 0.5  # of no turn, where a thing is seen to be turned
_CHANGE = 0.3  # of an opening, between two frames' commands
_AROUND = 2  # frames before and after,
_MOVES = 0.01  # [m] between which a thing is on its way
_SOON = 5  # frames between fingers that close and a thing that begins to move


def aimed(
    frames: Iterable[FrameVotes],
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    index: NDArray[np.int64],
) -> Iterator[FrameVotes]:
    """Frames with the weight that is left to guess where ``K`` demonstrations are too few.

    Args:
        frames: Of all that a motion may hang on.
        contexts: ``K`` demonstrations.
        pointers: ``(K,)`` present frames.
        index: ``(K, M)`` their tokens for things now, -1 for none.
    """
    guess = few(len(contexts))
    if not guess:
        yield from frames
        return
    aim = Aim.of(contexts, pointers)
    for frame in frames:
        likely = near(frame.then, aim.places, frame.valid) * aim.turn(frame.turn)
        m = thing_of(frame.name)
        goes = m is not None and frame.name.split()[2] == "now"
        if goes and aim.moves(contexts, pointers, index[:, m]):
            likely *= _UNLIKELY
        yield replace(frame, weight=frame.weight * likely**guess)


def few(count: int) -> float:
    """1 for one demonstration, 0 for so many that their agreement tells all."""
    return max(0.0, (ENOUGH - count) / (ENOUGH - 1))


def near(then: Array | None, places: Array, known: NDArray[np.bool_]) -> float:
    """How likely it is that what is done at places ``(K, 3)`` hangs on what was at ``then``.

    Args:
        then: ``(K, 3)`` of a frame's origin [m]; None where it hangs on nothing in sight.
        places: [m].
        known: ``(K,)`` demonstrations that have the frame.
    """
    away = _FAR
    if then is not None and known.any():
        away = float(np.linalg.norm((then - places)[known, :2], axis=-1).mean())
    return float((1 + (away / _NEAR) ** 2) ** -2)


def turned_by(name: str) -> float:
    """How likely it is that places turn so with what they are near."""
    return {SEEN: 1.0, "": _UNTURNED}.get(name, _UNLIKELY)


@dataclass(frozen=True)
class Aim:
    """What demonstrations do next, from their present frames on.

    Attributes:
        places: ``(K, 3)`` of the hand then [m].
        then: ``(K,)`` when.
        pushes: Whether most of them are on the way to a push, or to the end of one.
    """

    places: Array
    then: NDArray[np.int64]
    pushes: bool

    @classmethod
    def of(cls, contexts: Sequence[DemoContext], pointers: NDArray[np.int64]) -> Aim:
        """The next time that fingers move, or a thing begins or ceases to."""
        told = [_next(c, int(t)) for c, t in zip(contexts, pointers, strict=True)]
        then = np.array([t for t, _ in told])
        places = np.stack([c.tcp[t, :3, 3] for c, t in zip(contexts, then, strict=True)])
        return cls(places, then, bool(np.mean([pushed for _, pushed in told]) > 0.5))

    def turn(self, name: str) -> float:
        """How likely a turn of that name is."""
        if self.pushes:
            return 1.0 if name == ALONG else _UNLIKELY
        return turned_by(name)

    def moves(
        self,
        contexts: Sequence[DemoContext],
        pointers: NDArray[np.int64],
        tokens: NDArray[np.int64],
    ) -> bool:
        """Whether a thing, tokens ``(K,)``, is moved until then in most demonstrations."""
        rows = zip(contexts, pointers, self.then, tokens, strict=True)
        ways = [np.linalg.norm(c.tokens[e, j] - c.tokens[t, j]) for c, t, e, j in rows if j >= 0]
        return bool(ways) and bool(np.mean(np.array(ways) > _MOVES) > 0.5)


def _next(context: DemoContext, t: int) -> tuple[int, bool]:
    """When something happens next, and whether it is a push that begins or ends."""
    fingers = np.flatnonzero(np.abs(np.diff(context.gripper)) > _CHANGE) + 1
    begins, ends = _motions(context)
    pushed = [not np.any(np.abs(fingers - begin) <= _SOON) for begin in begins]
    events = [(int(f), False) for f in fingers]
    events += [(begin, push) for begin, push in zip(begins, pushed, strict=True)]
    events += [(end, push) for end, push in zip(ends, pushed, strict=True)]
    last = len(context) - 1
    return min((e for e in events if e[0] >= t), default=(last, False))


def _motions(context: DemoContext) -> tuple[list[int], list[int]]:
    """First and last frames of stretches in which some thing is on its way."""
    T = len(context)
    before = np.maximum(np.arange(T) - _AROUND, 0)
    after = np.minimum(np.arange(T) + _AROUND, T - 1)
    if not context.tokens.shape[1]:
        return [], []
    way = np.linalg.norm(context.tokens[after] - context.tokens[before], axis=-1)  # (T, M)
    moves = np.concatenate([[False], (way > _MOVES).any(axis=1), [False]])
    edges = np.flatnonzero(np.diff(moves.astype(int)))
    return (edges[::2] + _AROUND).clip(max=T - 1).tolist(), (edges[1::2] - 1).tolist()
