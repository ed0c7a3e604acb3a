"""Where in each demonstration the present moment lies: one pointer a demonstration.

A global nearest neighbour confuses phases that look alike (the hand above the table before the
grasp and after it). A pointer that only searches a window ahead of and behind itself does not, but
must find its way again when the robot is set back. Both look at the cost of the path that led to a
frame, not at the frame's alone: online time warping (Sakoe & Chiba 1978) that forgets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

TEMPERATURE = 0.15  # difference of costs by which trust falls to 1/e


class PhaseTracker:
    """Online alignment of the present with several demonstrations.

    With ``c(t)`` the cost of frame t now, and ``a`` frames expected to have passed,
    ``D(t) = (1 - w) c(t) + w min_s (D(t - s) + penalty(s))``, ``w = memory^a``: the fading mean of
    the costs along the best way to t. A pointer goes to the least ``D`` of its window, or about the
    frame where it is expected; where another frame's ``D`` is less by ``relock``, it goes there.

    Args:
        lengths: Frames in each demonstration.
        memory: What a frame's time leaves of earlier costs, 0 to 1.
        fastest: Pace, in demonstrated paces, beyond which a step costs extra; standing still
            is free.
        slack: Frames that a step may go back, or forward beyond the fastest.
        drift: Extra cost for each such frame, and for each frame that a pointer departs from the
            expected one.
        relock: Gain for which a pointer leaves its window. The cost's scale: with cost
            ``1 - exp(-d^2 / 2 r^2)``, the gain that removes an error of 0.93 r.

    Attributes:
        pointers: ``(K,)`` frames.
        begins: ``(K,)`` first frames that pointers may be at,
        ends: ``(K,)`` and those before which they have to be.
        costs: ``(K,)`` of these frames, now.
        strayed: ``(K,)`` extra cost of being elsewhere than expected.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        memory: float = 0.3,
        fastest: float = 2.0,
        slack: int = 2,
        drift: float = 0.02,
        relock: float = 0.35,
    ) -> None:
        self.lengths = np.asarray(lengths, dtype=int)
        self.begins, self.ends = np.zeros_like(self.lengths), self.lengths
        self.pointers = self.begins.copy()
        self.costs = np.zeros(len(self.lengths))
        self.strayed = np.zeros(len(self.lengths))
        self._memory, self._fastest, self._slack = memory, fastest, slack
        self._drift, self._relock = drift, relock
        self._frames = np.arange(self.lengths.max(initial=0))
        self._paths: Array | None = None
        self._beside: Sequence[NDArray[np.int64]] | None = None
        self._trust = np.eye(len(self.lengths))

    def restart(self, part: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None) -> None:
        """Begin from the beginning, wherever the present looks like.

        The end, where the hand may still be, is then reached by going through what comes before.

        Args:
            part: First frames ``(K,)`` and ends ``(K,)`` of what is to be gone through; None for
                all of it.
        """
        self.begins, self.ends = part or (np.zeros_like(self.lengths), self.lengths)
        self.pointers = self.begins.copy()
        self._paths = np.where(self._frames == self.begins[:, None], 0.0, np.inf)

    def lay_beside(self, beside: Sequence[NDArray[np.int64]], unlike: Array) -> None:
        """Tell which moments go together: where most pointers are, the others are expected.

        Args:
            beside: For each demonstration ``(T_k, K)``: frames of all that go with its own.
            unlike: ``(K, K)`` how badly they do; a demonstration follows those that are like it.
        """
        self._beside = beside
        off = unlike + 1e3 * np.eye(len(unlike))
        self._trust = np.exp(-(off - off.min(axis=0)) / TEMPERATURE)
        np.fill_diagonal(self._trust, 1.0)

    def _expected(self, advance: int) -> NDArray[np.int64]:
        """Frames at which the pointers should be by now, ``(K,)``: the middle of what all say."""
        ahead = np.minimum(self.pointers + advance, self.lengths - 1)
        if self._beside is None:
            return ahead
        said = np.stack([frames[t] for frames, t in zip(self._beside, ahead, strict=True)])
        order = np.argsort(said, axis=0, kind="stable")
        mass = np.cumsum(np.take_along_axis(self._trust, order, axis=0), axis=0)
        middle = np.argmax(mass >= 0.5 * mass[-1], axis=0)
        columns = np.arange(len(ahead))
        return said[order[middle, columns], columns]

    def update(
        self, costs: Sequence[Array], advance: int, *, onward: bool = False
    ) -> NDArray[np.int64]:
        """Move every pointer to where the present most likely is.

        Args:
            costs: For each demonstration ``(T_k,)``: how unlike the present each frame is.
            advance: Frames expected to have passed since the last update.
            onward: Whether pointers have to go on by as much, like or unlike the present: where
                they wait for each other, nothing else would end it.

        Returns:
            ``(K,)`` pointers.
        """
        now = np.full((len(self.lengths), len(self._frames)), np.inf)
        for k, cost in enumerate(costs):
            part = slice(self.begins[k], self.ends[k])
            now[k, part] = cost[part]
        furthest = int(np.ceil(self._fastest * advance)) + self._slack
        if self._paths is None:
            self._paths = now
        else:
            weight = self._memory ** max(advance, 1)
            self._paths = (1 - weight) * now + weight * self._arrive(self._paths, furthest, advance)

        expected = self._expected(advance)[:, None]
        step = self._frames - self.pointers[:, None]
        near = self._paths + self._drift * np.abs(self._frames - expected)
        window = (step >= -self._slack) & (step <= furthest)
        window |= np.abs(self._frames - expected) <= self._slack
        if onward:
            ahead = np.minimum(self.pointers + max(advance, 1), self.ends - 1)
            window = (step >= (ahead - self.pointers)[:, None]) & (step <= furthest)
        local = np.where(window, near, np.inf).argmin(axis=1)
        anywhere = self._paths.argmin(axis=1)
        rows = np.arange(len(local))
        lost = self._paths[rows, local] > self._paths[rows, anywhere] + self._relock
        lost &= not onward
        self.pointers = np.where(lost, anywhere, local)
        self.costs = now[rows, self.pointers]
        self.strayed = self._drift * np.abs(self.pointers - expected[:, 0])
        return self.pointers.copy()

    def _arrive(self, paths: Array, furthest: int, advance: int) -> Array:
        """``min_s (D(t - s) + penalty(s))`` for steps s of the window."""
        best = np.full_like(paths, np.inf)
        frames = paths.shape[1]
        for s in range(-min(self._slack, frames - 1), min(furthest, frames - 1) + 1):
            penalty = self._drift * max(0.0, -s, s - self._fastest * advance)
            arrived = best[:, max(s, 0) : frames + min(s, 0)]
            left = paths[:, max(-s, 0) : frames - max(s, 0)]
            np.minimum(arrived, left + penalty, out=arrived)
        return best

    @property
    def phases(self) -> Array:
        """``(K,)`` pointers as a share of each demonstration, 0 to 1."""
        return self.pointers / np.maximum(self.lengths - 1, 1)
