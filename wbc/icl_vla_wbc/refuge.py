"""Places to flee to, and the way there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments.types import Array

from .limits import ViableLimits


@dataclass(frozen=True)
class Refuges:
    """``S`` postures to come to rest at, each joint as fast as it can.

    A joint speeds up, moves at its largest speed and slows down, whatever the others do. So the
    rest of the way, begun anew from anywhere on it, is the same way.

    Attributes:
        goals: ``(S, n)`` [rad or m].
        speeds: ``(S, n)`` largest ones [rad/s or m/s].
    """

    goals: Array
    speeds: Array

    def __len__(self) -> int:
        return len(self.goals)

    def __getitem__(self, which: int) -> Refuges:
        """One of them."""
        return Refuges(self.goals[which : which + 1], self.speeds[which : which + 1])

    def joined(self, more: Refuges) -> Refuges:
        """These and others."""
        return Refuges(
            np.concatenate([self.goals, more.goals]), np.concatenate([self.speeds, more.speeds])
        )

    def ways(self, q: Array, v: Array, acceleration: Array, times: Array) -> Array:
        """Positions ``(S, C, n)`` on the ways there.

        Args:
            q: ``(n,)`` positions now.
            v: ``(n,)`` velocities now.
            acceleration: ``(n,)`` largest ones.
            times: ``(C,)`` from now [s].
        """
        a = acceleration
        e = self.goals - q
        sign = np.where(e >= 0.5 * v * np.abs(v) / a, 1.0, -1.0)
        x, u = sign * e, sign * v
        peak = np.minimum(self.speeds, np.sqrt(np.maximum(a * x + 0.5 * u * u, 0.0)))
        change = peak - u  # negative where it is too fast already
        first = np.abs(change) / a  # [s]
        last = peak / a
        way = x - 0.5 * (u + peak) * first - 0.5 * peak * last
        cruise = np.maximum(way, 0.0) / np.maximum(peak, 1e-9)
        t = times[:, None]
        first, cruise, last, peak = (s[:, None] for s in (first, cruise, last, peak))
        t1 = np.minimum(t, first)
        t2 = np.clip(t - first, 0.0, cruise)
        t3 = np.clip(t - first - cruise, 0.0, last)
        up = np.copysign(a, change)[:, None]
        moved = (u[:, None] + 0.5 * up * t1) * t1 + peak * t2 + (peak - 0.5 * a * t3) * t3
        positions: Array = q + sign[:, None] * moved
        return positions

    def velocity(self, q: Array, v: Array, limits: ViableLimits) -> Array:
        """``(n,)`` velocities a period on, on the way to the first of them."""
        fastest = limits.approach(q, v, self.goals[0])
        return np.clip(fastest, -self.speeds[0], self.speeds[0])
