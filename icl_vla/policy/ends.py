"""Where things will have been brought, before they are.

A push is aimed at the place where the thing will be in the end, which nothing marks: it may be a
hand's breadth left of another thing. All demonstrations show where theirs ended; carried over into
this scene, those ends vote for a place as motions do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..perception.memory import TrackedTokens
from .agreement import ENOUGH
from .aim import UNLIKELY, few, near
from .context import DemoContext
from .frames import SEEN, Correspondence, End, frames_at_first, thing_of

_MOVED = 0.03  # [m] from its first place in half of the demonstrations, or it has no end
_NOISE = 0.006  # [m] of ends that agree
_LIKELY = {"": 1.0, SEEN: 0.5}  # turns: what is left of a thing need not be left of it as it turns
_SHARPNESS = 6.0  # exponent on the inverse variance
_ASTRAY = (0.02, 4.0)  # [m], or times the median, from where most ends are
_MEDIAN = 1.18  # of distances in a plane, where their standard deviation along an axis is 1


def foreseen(
    contexts: Sequence[DemoContext], tokens: TrackedTokens, correspondence: Correspondence
) -> list[End]:
    """Where shared things will have been brought, of those that demonstrations moved.

    Too few demonstrations of a thing agree on an end by chance; then what is near it counts.

    Args:
        contexts: ``K`` demonstrations.
        tokens: Of this scene; asked is where they were first.
        correspondence: Of these with the demonstrations'.
    """
    frames = list(frames_at_first(contexts, tokens, correspondence))
    X = np.stack([f.X for f in frames])
    guess = few(len(contexts))
    ends = []
    for m in correspondence.shared():
        rows = list(zip(contexts, correspondence.index[:, m], strict=True))
        known = np.array([j >= 0 for _, j in rows])
        if known.sum() < min(ENOUGH, len(contexts)):
            continue
        then = np.stack([c.tokens[-1, j] if j >= 0 else np.zeros(3) for c, j in rows])
        first = np.stack([c.first[j] if j >= 0 else np.zeros(3) for c, j in rows])
        if np.median(np.linalg.norm((then - first)[known, :2], axis=-1)) < _MOVED:
            continue
        have = np.stack([f.valid & known for f in frames])  # (F, K)
        count = have.sum(axis=1)
        votes = np.where(have[..., None], se3.act(X, then[:, None])[:, :, 0], np.nan)
        have_any = count > 0
        votes, have, count = votes[have_any], have[have_any], count[have_any]
        # some have failed, of some the end was hidden or its marks were moved: medians
        places = np.nanmedian(votes, axis=1)  # (F, 3)
        off = np.linalg.norm((votes - places[:, None])[..., :2], axis=-1)
        variance = (np.nanmedian(off, axis=1) / _MEDIAN) ** 2
        share = count * (variance + _NOISE**2) ** -_SHARPNESS
        if guess:
            likely = [
                near(f.then, then, f.valid)
                * _LIKELY.get(f.turn, UNLIKELY)
                * (thing_of(f.name) != m)
                for f in frames
            ]
            share *= np.array(likely)[have_any] ** guess
        share = share / share.sum()
        blur = float(np.sqrt(share @ (variance / count)))
        here = share @ places
        astray = known & _elsewhere(votes, have * share[:, None], here)
        ends.append(End(m, then, known & ~astray, astray, here, blur))
    return ends


def _elsewhere(votes: Array, share: Array, here: Array) -> NDArray[np.bool_]:
    """Which demonstrations' ends lie elsewhere: ``(K,)``.

    Args:
        votes: ``(F, K, 3)`` for the end [m], NaN for none.
        share: ``(F, K)`` of the frames.
        here: ``(3,)`` what they come to [m].
    """
    told = np.maximum(share.sum(axis=0), 1e-9)[:, None]
    said = np.einsum("fk,fki->ki", share, np.nan_to_num(votes)) / told
    off = np.linalg.norm((said - here)[:, :2], axis=-1)
    known = share.any(axis=0)
    return np.asarray(known & (off > max(_ASTRAY[0], _ASTRAY[1] * float(np.median(off[known])))))
