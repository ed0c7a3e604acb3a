"""When each foot stands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments.types import Array


@dataclass(frozen=True)
class Gait:
    """A periodic contact schedule.

    Attributes:
        period: [s].
        duty: Share of the period in which a foot stands.
        offsets: ``(F,)`` phase of each foot at time 0; a foot stands while its phase is below
            ``duty``.
    """

    period: float
    duty: float
    offsets: tuple[float, ...]

    def phases(self, time: ArrayLike) -> Array:
        """``(..., F)`` phase of each foot at some times, in ``[0, 1)``."""
        turns = np.asarray(time, dtype=float)[..., None] / self.period
        return (turns + np.array(self.offsets)) % 1.0

    def stands(self, time: ArrayLike) -> NDArray[np.bool_]:
        """``(..., F)`` which feet stand."""
        return np.asarray(self.phases(time) < self.duty)

    @property
    def swing_time(self) -> float:
        """[s]."""
        return (1 - self.duty) * self.period

    @property
    def stance_time(self) -> float:
        """[s]."""
        return self.duty * self.period

    @classmethod
    def stand(cls, feet: int) -> Gait:
        """All feet on the ground."""
        return cls(0.5, 1.0, (0.0,) * feet)

    @classmethod
    def trot(cls, feet: Array) -> Gait:
        """Diagonal pairs in turn. ``feet`` ``(F, 2)``: places below the body, x forward."""
        centre = feet - feet.mean(axis=0)
        return cls(0.5, 0.6, tuple(0.0 if x * y > 0 else 0.5 for x, y in centre))

    @classmethod
    def walk(cls, feet: Array) -> Gait:
        """One foot at a time, each hind foot before the fore foot of its side."""
        centre = feet - feet.mean(axis=0)
        order = {(False, True): 0.0, (True, True): 0.25, (False, False): 0.5, (True, False): 0.75}
        return cls(1.0, 0.8, tuple(-order[x > 0, y > 0] % 1.0 for x, y in centre))
