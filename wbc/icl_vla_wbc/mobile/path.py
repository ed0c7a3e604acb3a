"""Paths of a base in the plane: curve, straight, curve; forwards or backwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import se2
from icl_vla_embodiments.types import Array

from .drive import Drive

TIGHT = 1.1  # radius of planned curves, over the smallest; the rest is for corrections
SHARE = 0.8  # of the speed limits that a planned path uses
SHORT = 1e-9  # of a piece that is left out [m or rad]


@dataclass(frozen=True)
class BasePath:
    """Pieces of constant twist, each driven from rest to rest.

    Attributes:
        starts: ``(S + 1, 3)`` poses at which the pieces begin, and the end.
        twists: ``(S, 3)`` motion of each piece in its own start.
        rates: ``(S, 2)`` largest speed and acceleration along a piece of length 1 [1/s, 1/s^2].
        ends: ``(S,)`` seconds from the start at which the pieces end.
    """

    starts: Array
    twists: Array
    rates: Array
    ends: Array

    @property
    def duration(self) -> float:
        """[s]."""
        return float(self.ends[-1]) if len(self.ends) else 0.0

    @property
    def goal(self) -> Array:
        """``(3,)``."""
        return np.asarray(self.starts[-1])

    def at(self, times: Array) -> Array:
        """Poses ``(M, 3)``, the last held after the end."""
        if not len(self.ends):
            return np.broadcast_to(self.starts[0], (len(times), 3)).copy()
        piece = np.minimum(np.searchsorted(self.ends, times, side="right"), len(self.ends) - 1)
        begun = np.concatenate([[0.0], self.ends[:-1]])[piece]
        total = (self.ends[piece] - begun) / 2
        speed, pull = self.rates[piece].T
        # a trapezoid of velocity, mirrored at half time
        spent = np.clip(times - begun, 0.0, 2 * total)
        t = np.minimum(spent, 2 * total - spent)
        rise = np.minimum(speed / pull, total)
        half = np.where(t < rise, 0.5 * pull * t**2, pull * rise * (t - 0.5 * rise))
        share = np.where(spent <= total, half, 1.0 - half)
        return se2.compose(self.starts[piece], se2.exp(share[:, None] * self.twists[piece]))

    @classmethod
    def plan(cls, drive: Drive, start: Array, goal: Array) -> BasePath:
        """The quickest of a few ways from ``start`` to ``goal`` ``(3,)``."""
        if drive.kind == "planar_holo":
            ways = [se2.log(se2.between(start, goal))[None]]
        else:
            ways = curve_straight_curve(start, goal, TIGHT * drive.radius)
        paths = [cls._timed(drive, start, way) for way in ways]
        return min(paths, key=lambda path: path.duration)

    @classmethod
    def _timed(cls, drive: Drive, start: Array, way: Array) -> BasePath:
        twists = way[np.abs(way).max(axis=1) > SHORT]
        starts = [np.asarray(start, dtype=float)]
        for step in se2.exp(twists):
            starts.append(se2.compose(starts[-1], step))
        still = np.abs(twists) <= SHORT
        size = np.where(still, 1.0, np.abs(twists))
        limits = (drive.twist_limit, drive.twist_rate)
        speed, pull = (SHARE * np.where(still, np.inf, x / size).min(axis=1) for x in limits)
        rise = np.minimum(speed / pull, np.sqrt(1 / pull))
        times = rise + 1 / (pull * rise)
        return cls(np.array(starts), twists, np.stack([speed, pull], 1), np.cumsum(times))


def curve_straight_curve(start: Array, goal: Array, radius: float) -> list[Array]:
    r"""Ways of at most three pieces ``(3, 3)``, each forwards or backwards.

    A car at heading :math:`h` turns about :math:`p + d r (-\sin h, \cos h)`, left with ``d = 1``.
    Between the centres ``D`` apart, a straight of signed length ``s`` along :math:`h` solves

    .. math:: D = s (\cos h, \sin h) + r (d_1 - d_2) (\sin h, -\cos h).

    Two turns to the same side always have a solution, so every pose is reached (a subset of Reeds
    and Shepp, *Optimal paths for a car that goes both forwards and backwards*, 1990).
    """
    ways = []
    for first in (1.0, -1.0):
        for last in (1.0, -1.0):
            one = start[:2] + first * radius * np.array([-np.sin(start[2]), np.cos(start[2])])
            two = goal[:2] + last * radius * np.array([-np.sin(goal[2]), np.cos(goal[2])])
            apart = two - one
            aside = radius * (first - last)
            square = float(apart @ apart) - aside**2
            if square < 0:
                continue
            for s in (np.sqrt(square), -np.sqrt(square)):
                h = np.arctan2(apart[1], apart[0]) - np.arctan2(-aside, s)
                if np.hypot(*apart) < SHORT:
                    h = start[2]
                turns = [float(se2.wrap(h - start[2])), float(se2.wrap(goal[2] - h))]
                ways.append(
                    np.array(
                        [
                            [first * radius * turns[0], 0.0, turns[0]],
                            [s, 0.0, 0.0],
                            [last * radius * turns[1], 0.0, turns[1]],
                        ]
                    )
                )
    return ways
