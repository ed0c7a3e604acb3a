"""A motion at another pace: the same places, at other times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

_LEVER = 0.1  # [m] that a turn of 1 rad counts as
_LEAST = 1e-4  # [m] of a step
_LAG = 3.0  # steps that a hand follows behind, at most


def at_pace(tcp: Array, poses: Array, pace: float) -> tuple[Array, NDArray[np.int64]]:
    """Poses of steps that each take a share of what a step took.

    What is commanded leads by what a hand follows behind, L steps. At another pace it leads by so
    much less or more, or the hand would go as fast as ever: after k new steps the command is at
    step ``pace k - (1 - pace) L``, where the hand is at ``-L``.

    Args:
        tcp: ``(4, 4)`` where the hand is.
        poses: ``(H, 4, 4)`` a step apart.
        pace: Steps that one of the new ones is; below 1 it is slower.

    Returns:
        ``(H', 4, 4)``, at most H and at least one; and ``(H',)`` the step of ``poses`` that each is
        on the way to: an opening is never on the way.
    """
    H = len(poses)
    if pace == 1.0 or H < 2:
        return poses, np.arange(H)
    step = max(_way(poses[0], poses[1]), _LEAST)
    lag = float(np.clip(_way(tcp, poses[0]) / step - 1, 0.0, _LAG))
    count = max(1, min(H, int((H + (1 - pace) * lag) / pace + 1e-9)))
    at = np.clip(pace * np.arange(1, count + 1) - (1 - pace) * lag, -lag, H)
    first = at < 1  # on the way from the hand to the first step
    low = np.where(first, 0, np.minimum(np.floor(at + 1e-9), H - 1)).astype(int)
    share = np.where(first, (at + lag) / (1 + lag), at - low)
    way = np.concatenate([tcp[None], poses])
    towards = np.maximum(np.ceil(at - 1e-9).astype(int) - 1, 0)
    return se3.between(way[low], way[low + 1], share), towards


def _way(A: Array, B: Array) -> float:
    """Between two poses [m]."""
    turn = se3.log3(A[:3, :3].T @ B[:3, :3])
    return float(np.linalg.norm(A[:3, 3] - B[:3, 3]) + _LEVER * np.linalg.norm(turn))
