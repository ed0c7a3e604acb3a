"""How sure a success rate is."""

from __future__ import annotations

import math


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a binomial share, 95% by default (Wilson 1927).

    Returns:
        Lower and upper bound, 0 to 1; (0, 1) without trials.
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    spread = 1 + z**2 / trials
    middle = (share + z**2 / (2 * trials)) / spread
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / spread
    return max(0.0, middle - half), min(1.0, middle + half)
