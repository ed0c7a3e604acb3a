"""Reads a distance as a probability: like the demonstrations, or never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from icl_vla_embodiments.types import Array

NEVER_SEEN = 0.05
"""Probability below which a moment counts as never seen: so many demonstrated ones fall below."""


@dataclass(frozen=True)
class Familiarity:
    """Conformal calibration of distances (Vovk et al. 2005; Angelopoulos and Bates 2021).

    A demonstration that is left out shows how far a moment that *is* like the demonstrations lies
    from them. With ``n`` such distances ``d_i``, a moment at distance ``d`` has

        p(d) = (1 + #{i: d_i >= d}) / (n + 1),

    the share of demonstrated moments that lie as far out. For a new demonstration of the same kind
    p is uniform: ``p < 0.05`` happens to one moment in twenty, whatever the keys and the task. What
    is exchangeable are demonstrations, whose moments err alike, so that rate holds on average over
    demonstrations and banks, not within each (Dunn, Wasserman and Ramdas 2022).

    Attributes:
        distances: ``(n,)`` of left-out demonstrations, ascending.
    """

    distances: Array

    @classmethod
    def from_left_out(cls, distances: Sequence[ArrayLike]) -> Familiarity:
        """From the distances of each left-out demonstration."""
        return cls(np.sort(np.concatenate([np.atleast_1d(d) for d in distances])))

    def probability(self, distance: float) -> float:
        """``p(d)``, from nearly 0 (never seen) to 1 (nearer than any left-out moment)."""
        farther = len(self.distances) - np.searchsorted(self.distances, distance, side="left")
        return float((1 + farther) / (len(self.distances) + 1))

    def seen(self, distance: float) -> bool:
        """Whether a moment at this distance is like the demonstrations."""
        return self.probability(distance) >= NEVER_SEEN
