"""How many steps each demonstration has to go on until it is where the hand is.

Pointers are some steps off, each on its own account. The mean of motions that turn a corner at
different steps has a round one, and a motion that begins ahead of the hand leaves out what lies
between. So each demonstration is moved by a few steps to where its hand, carried over, was nearest
to this one, and its motion most like those of the others; never past where the hand turned back, as
it passes the same places twice there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .context import DemoContext

STEPS = np.arange(-3, 4)
"""By which a demonstration can be moved."""
_WORTH = 1e-6  # [m^2] that each step has to win
_ROUNDS = 2


def hands_around(contexts: Sequence[DemoContext], pointers: NDArray[np.int64]) -> Array:
    """Where the hand was, so many :data:`STEPS` from each pointer: ``(K, S, 3)``."""
    rows = zip(contexts, pointers, strict=True)
    return np.stack([c.tcp[np.clip(t + STEPS, 0, len(c) - 1), :3, 3] for c, t in rows])


def steps_behind(motions: Array, weights: Array, hands: Array, here: Array) -> NDArray[np.int64]:
    """Which of the :data:`STEPS` each demonstration has to go: ``(K,)``.

    Args:
        motions: ``(K, H, 3)`` from the pointers on, carried over [m].
        weights: ``(K,)`` of the demonstrations.
        hands: ``(K, S, 3)`` as of :func:`hands_around`, carried over.
        here: ``(3,)`` the hand.
    """
    count = motions.shape[1]
    share = weights / np.maximum(weights.sum(), 1e-9)
    away = ((hands - here) ** 2).sum(axis=-1) + _WORTH * np.abs(STEPS)  # (K, S)
    away = np.where(_onwards(hands), away, np.inf)
    behind = STEPS[np.argmin(away, axis=1)]
    for _ in range(_ROUNDS):
        at = np.clip(np.arange(count) + behind[:, None], 0, count - 1)
        mean = np.einsum("k,khi->hi", share, np.take_along_axis(motions, at[..., None], axis=1))
        unlike = [
            motions[:, max(0, s) : count + min(0, s)] - mean[max(0, -s) : count - max(0, s)]
            for s in STEPS
        ]
        cost = away + np.stack([(u**2).sum(axis=-1).mean(axis=-1) for u in unlike], axis=1)
        behind = STEPS[np.argmin(cost, axis=1)]
    return behind


def _onwards(hands: Array) -> NDArray[np.bool_]:
    """Which :data:`STEPS` ``(K, S)`` do not lead past where a hand ``(K, S, 3)`` turns back."""
    here = int(np.flatnonzero(STEPS == 0)[0])
    steps = np.diff(hands, axis=1)  # (K, S - 1, 3)
    back = np.einsum("ksi,ki->ks", steps, hands[:, here + 1] - hands[:, here - 1]) < 0
    after = np.logical_or.accumulate(back[:, here:], axis=1)
    before = np.logical_or.accumulate(back[:, :here][:, ::-1], axis=1)[:, ::-1]
    return ~np.concatenate([before, np.zeros((len(hands), 1), dtype=bool), after], axis=1)
