"""What a hand is about to act on: a guess where demonstrations are too few to agree.

One demonstration agrees with itself in every frame. But hands act on what is near: where fingers
move, where a hand has come down and stands still, where a thing begins or ceases to move, the
nearest thing is likely to be the one that the motion hangs on. Between two such places a motion
leaves the one and goes to the other. What is carried hangs on nothing but the hand. Where a thing
is pushed, the hand's place follows from the way that the thing has to go; otherwise from how the
thing is turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .acts import acts_of
from .agreement import ENOUGH
from .context import DemoContext
from .frames import ALONG, SEEN, FrameVotes, thing_of

UNLIKELY = 0.03  # what there is no reason for
_NEAR = 0.02  # [m] from what is acted on
_FAR = 0.15  # [m] that everything is from a frame that hangs on nothing
_UNTURNED = 0.5  # of no turn, where a thing is seen to be turned
_LEAD = 5  # frames at most that commands are ahead of a hand
_MOVES = 0.01  # [m] at least of a way, and of a thing that is moved


def aimed(
    frames: Sequence[FrameVotes],
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    index: NDArray[np.int64],
    horizon: int,
) -> list[FrameVotes]:
    """Frames with the weight that is left to guess where ``K`` demonstrations are too few.

    Args:
        frames: ``F`` of all that a motion may hang on.
        contexts: ``K`` demonstrations.
        pointers: ``(K,)`` present frames.
        index: ``(K, M)`` their tokens for things now, -1 for none.
        horizon: ``H`` steps that weights ``(K, H)`` are for.
    """
    guess = few(len(contexts))
    if not guess:
        return list(frames)
    rows = zip(contexts, pointers.tolist(), strict=True)
    ways = [_Way.of(c, np.arange(t, t + horizon)) for c, t in rows]
    close = np.stack([_close(frames, ways, which) for which in (0, 1)])  # (2, F, H)
    nearest = np.array([-1 if (m := thing_of(f.name)) is None else m for f in frames])[
        close.argmax(axis=1)
    ]
    between = nearest[0] != nearest[1]  # (H,)
    gone = np.stack([w.gone for w in ways])  # (K, H)
    likely = np.zeros((len(frames), *gone.shape))
    for which, near_by in enumerate(close):
        row = near_by * _turned(frames, ways, which, between)
        row *= _left(frames, contexts, ways, index, which)
        likely += (gone if which else 1 - gone) * (row / row.sum(axis=0))[:, None]
    return [replace(f, weight=f.weight * row**guess) for f, row in zip(frames, likely, strict=True)]


def few(count: int) -> float:
    """1 for one demonstration, 0 for so many that their agreement tells all."""
    return (max(0.0, ENOUGH - count) / (ENOUGH - 1)) ** 2


def near(then: Array | None, places: Array, known: NDArray[np.bool_]) -> Array:
    """How likely it is that what is done at places ``(K, ..., 3)`` hangs on what was at ``then``.

    Args:
        then: ``(K, 3)`` of a frame's origin [m]; None where it hangs on nothing in sight.
        places: [m].
        known: ``(K,)`` demonstrations that have the frame.
    """
    away = np.full(places.shape[1:-1], _FAR)
    if then is not None and known.any():
        between = np.moveaxis(places, 0, -2) - then
        away = np.linalg.norm(between[..., known, :2], axis=-1).mean(axis=-1)
    return _kernel(away)


def _kernel(away: Array) -> Array:
    return np.asarray((1 + (away / _NEAR) ** 2) ** -2)


@dataclass(frozen=True)
class _Way:
    """Between what a demonstration does before and after each of ``H`` commands.

    Attributes:
        times: ``(H,)`` frames in which the hand is where it was told to be.
        when: ``(2, H)`` frames of what is done before and after; the same at first and at last.
        places: ``(2, H, 3)`` of the hand then [m].
        pushed: ``(2, H)`` whether a thing is pushed then.
        close: ``(2, H)`` how near the hand is then to those places, 0 to 1.
        gone: ``(H,)`` share of the way over the table, 0 to 1.
    """

    times: NDArray[np.int64]
    when: NDArray[np.int64]
    places: Array
    pushed: NDArray[np.bool_]
    close: Array
    gone: Array

    @classmethod
    def of(cls, context: DemoContext, commands: NDArray[np.int64]) -> _Way:
        """From all that the demonstration does, for commands of those frames."""
        times = np.minimum(commands + _lead(context), len(context) - 1)
        acts = acts_of(context)
        when = np.array([act.frame for act in acts])
        pushed = np.array([act.push for act in acts])
        after = np.searchsorted(when, times)
        pair = np.stack([after - 1, after]).clip(0, len(when) - 1)
        places = context.tcp[:, :3, 3]
        steps = np.linalg.norm(np.diff(places[:, :2], axis=0), axis=-1)
        length = np.concatenate([[0.0], np.cumsum(steps)])
        begin, end = length[when[pair]]
        gone = np.where(end - begin > _MOVES, (length[times] - begin) / (end - begin + 1e-9), 1.0)
        done = places[when[pair]]
        close = _kernel(2 * np.linalg.norm((done - places[times])[..., :2], axis=-1))
        return cls(times, when[pair], done, pushed[pair], close, gone.clip(0, 1))

    def moves(self, context: DemoContext, token: int, which: int) -> NDArray[np.bool_]:
        """Whether a thing is moved between each frame and what is done before or after ``(H,)``."""
        track = context.tokens[:, token]
        way = track[self.when[which]] - track[self.times]
        return np.asarray(np.linalg.norm(way, axis=-1) > _MOVES)


def _lead(context: DemoContext) -> int:
    """Frames that a hand is behind its commands, as it mostly is."""
    told, places = context.commands[:, :3, 3], context.tcp[:, :3, 3]
    behind = range(min(_LEAD, len(context) - 1) + 1)
    off = [np.linalg.norm(told[: len(told) - n] - places[n:], axis=-1).mean() for n in behind]
    return int(np.argmin(off))


def _close(frames: Sequence[FrameVotes], ways: Sequence[_Way], which: int) -> Array:
    """How near each frame is to what is done before (0) or after (1) each step ``(F, H)``."""
    places = np.stack([w.places[which] for w in ways])  # (K, H, 3)
    return np.stack([near(f.then, places, f.valid) for f in frames])


def _turned(
    frames: Sequence[FrameVotes], ways: Sequence[_Way], which: int, between: NDArray[np.bool_]
) -> Array:
    """How likely the turns of frames are ``(F, H)``.

    Between two things nothing is turned but the ends of the way.
    """
    pushes = np.mean([w.pushed[which] for w in ways], axis=0) > 0.5  # (H,)
    ended = np.mean([w.close[which] for w in ways], axis=0)
    seen = np.where(between, np.maximum(ended, UNLIKELY), 1.0)
    turns = {SEEN: seen, "": np.full_like(seen, _UNTURNED)}
    unlikely = np.full_like(seen, UNLIKELY)
    rows = []
    for frame in frames:
        pushing = 1.0 if frame.turn == ALONG else UNLIKELY
        rows.append(np.where(pushes, pushing, turns.get(frame.turn, unlikely)))
    return np.stack(rows)


def _left(
    frames: Sequence[FrameVotes],
    contexts: Sequence[DemoContext],
    ways: Sequence[_Way],
    index: NDArray[np.int64],
    which: int,
) -> Array:
    """How likely frames are ``(F, H)`` as things are left where they are, or are moved."""
    rows = np.ones((len(frames), len(ways[0].times)))
    for row, frame in zip(rows, frames, strict=True):
        m = thing_of(frame.name)
        if m is not None and frame.name.split()[2] == "now":
            seen = zip(contexts, ways, index[:, m].tolist(), strict=True)
            moves = [w.moves(c, j, which) for c, w, j in seen if j >= 0]
            if moves:
                row[np.mean(moves, axis=0) > 0.5] = UNLIKELY
    return rows
