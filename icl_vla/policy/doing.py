"""What a hand is doing at a moment, which one look at where things are does not tell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

LATELY = 0.3  # [s]
_THIN = 0.03  # opening at which fingers that are told to close hold something
_MOVED = 0.02  # [m] from where it was first at which a thing counts as moved
_MET = 0.04  # [m] from a hand at which a thing counts as met
_MOVES, _TURNS, _OPENS = 0.005, 0.05, 0.05  # [m], [rad] and of the opening: then it has stirred


@dataclass(frozen=True)
class Doing:
    """Of ``T`` moments.

    How far fingers are apart that hold something tells its size; that they have stopped although
    they were told to close tells that they hold it. A hand above a button may go down or up.

    Attributes:
        way: ``(T, 2)`` [m] that the hand has gone in the last :data:`LATELY`, across and up.
        told: ``(T,)`` opening that was last commanded.
        moved: ``(T,)`` change of the measured opening in the last :data:`LATELY`.
        holds: ``(T,)`` 0 to 1, whether something keeps fingers apart that were told to close.
    """

    way: Array
    told: Array
    moved: Array
    holds: Array

    @classmethod
    def along(cls, times: Array, places: Array, opening: Array, commanded: Array) -> Doing:
        """Of ``T`` frames in a row.

        Args:
            times: ``(T,)`` [s].
            places: ``(T, 3)`` of the hand.
            opening: ``(T,)`` measured.
            commanded: ``(T,)`` openings, due one frame later.
        """
        told = np.concatenate([opening[:1], commanded[:-1]])
        now = np.column_stack([places, opening])
        before = [np.interp(times - LATELY, times, column) for column in now.T]
        change = now - np.stack(before, axis=-1)
        stopped = np.maximum(np.minimum(opening - told, 1 - opening), 0.0)
        holds = 1 - np.exp(-stopped / _THIN)
        return cls(cylindrical(change[:, :3]), told, change[:, 3], holds)

    def at(self, frames: slice | NDArray[np.int64]) -> Doing:
        """Some of the moments."""
        return Doing(*(x[frames] for x in vars(self).values()))


def cylindrical(offset: Array) -> Array:
    """``(..., 3)`` offsets as horizontal distance and height ``(..., 2)``."""
    return np.stack([np.hypot(offset[..., 0], offset[..., 1]), offset[..., 2]], axis=-1)


class Past:
    """What has been done to things in an attempt so far."""

    def __init__(self) -> None:
        self._met = np.zeros(0)

    def forget(self, things: Collection[int]) -> None:
        """As if no hand had been near some things."""
        self._met[list(things)] = 0.0

    def with_(self, places: Array, first: Array, hand: Array) -> Array:
        """Take in a moment, and return ``(M, 2)`` as of :func:`dealt_with`.

        Args:
            places: ``(M, 3)`` of the things; some may have joined the others.
            first: ``(M, 3)`` where they were first.
            hand: ``(3,)``.
        """
        known = np.append(self._met, np.zeros(len(places) - len(self._met)))
        now = dealt_with(places[None], first, hand[None])[0]
        self._met = now[:, 1] = np.maximum(known, now[:, 1])
        return now


def dealt_with(places: Array, first: Array, hand: Array) -> Array:
    """What has been done to things by each of ``T`` moments in a row: ``(T, M, 2)``, 0 to 1.

    How far they are from where they were first, and how near a hand has been to them. Two parts
    of a task may look alike from the hand, or come in any order: what is left tells them apart.

    Args:
        places: ``(T, M, 3)`` of the things [m].
        first: ``(M, 3)`` where they were first [m].
        hand: ``(T, 3)`` [m].
    """
    away = np.linalg.norm(places - first, axis=-1)
    off = np.linalg.norm(places - hand[:, None], axis=-1)
    moved = 1 - np.exp(-0.5 * (away / _MOVED) ** 2)
    met = np.maximum.accumulate(np.exp(-0.5 * (off / _MET) ** 2), axis=0)
    return np.stack([moved, met], axis=-1)


class Standing:
    """For how long a hand has stood still."""

    def __init__(self) -> None:
        self._since: tuple[float, Array, float] | None = None

    def by(self, time: float, pose: Array, opening: float) -> float:
        """Take in a moment, and return the seconds.

        Args:
            time: [s].
            pose: ``(4, 4)`` measured.
            opening: Measured.
        """
        if self._since is None or self._stirred(pose, opening):
            self._since = (time, pose, opening)
        return time - self._since[0]

    def _stirred(self, pose: Array, opening: float) -> bool:
        assert self._since is not None
        _, then, before = self._since
        way = np.linalg.norm(pose[:3, 3] - then[:3, 3])
        turn = np.linalg.norm(pose[:3, :3] - then[:3, :3]) / np.sqrt(2)  # near enough
        return bool(max(way / _MOVES, turn / _TURNS, abs(opening - before) / _OPENS) > 1)
