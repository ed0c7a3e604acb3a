"""Where in each demonstration the present moment lies: one pointer a demonstration.

A global nearest neighbour confuses phases that look alike (the hand above the table before the
grasp and after it). A pointer that only searches a window ahead of and behind itself does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array


class PhaseTracker:
    """Online alignment of the present with several demonstrations.

    Args:
        lengths: Frames in each demonstration.
        back: Frames that a pointer may step back in one update.
        ahead: Frames beyond the expected one that it may step forward.
        drift: Cost of each frame that it departs from the expected one.
        relock: A frame outside the window takes the pointer if it has been cheaper than the
            window's best by this much ...
        patience: ... for so many updates in a row.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        back: int = 3,
        ahead: int = 5,
        drift: float = 0.01,
        relock: float = 0.5,
        patience: int = 3,
    ) -> None:
        self.lengths = np.asarray(lengths, dtype=int)
        self.pointers = np.zeros(len(self.lengths), dtype=int)
        self.costs = np.zeros(len(self.lengths))
        self._back, self._ahead, self._drift = back, ahead, drift
        self._relock, self._patience = relock, patience
        self._waited = np.zeros(len(self.lengths), dtype=int)

    def update(self, costs: Sequence[Array], advance: int) -> NDArray[np.int64]:
        """Move every pointer to the cheapest frame of its window.

        Args:
            costs: For each demonstration ``(T_k,)``: how unlike the present each frame is.
            advance: Frames expected to have passed since the last update.

        Returns:
            ``(K,)`` pointers.
        """
        for k, cost in enumerate(costs):
            last = self.lengths[k] - 1
            expected = min(self.pointers[k] + advance, last)
            low = max(0, expected - advance - self._back)
            high = min(last, expected + self._ahead)
            window = np.arange(low, high + 1)
            local = cost[window] + self._drift * np.abs(window - expected)
            best = int(window[local.argmin()])
            anywhere = int(np.argmin(cost))
            lost = cost[best] - cost[anywhere] > self._relock
            self._waited[k] = self._waited[k] + 1 if lost else 0
            if self._waited[k] >= self._patience:
                best, self._waited[k] = anywhere, 0
            self.pointers[k], self.costs[k] = best, cost[best]
        return self.pointers.copy()

    @property
    def phases(self) -> Array:
        """``(K,)`` pointers as a share of each demonstration, 0 to 1."""
        return self.pointers / np.maximum(self.lengths - 1, 1)
