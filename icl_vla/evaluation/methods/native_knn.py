"""Nearest moment by joint positions and small pictures; its numbers are played as they are.

It reads no description and needs no kinematics: what it can do follows from demonstrations alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionChunk, Neighbour, Observation
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank, Demonstration, choose_instruction

from ...runtime.station import Station
from .method import Method

_SIDE = 12  # [px] of a picture in a key
_PICTURE = 0.5  # of a picture's root mean square difference of 0.1, against a joint's scale
_JOINT = 0.15  # share of a joint's range in the demonstrations that counts as much
_HORIZON = 8
_AHEAD = 8  # frames of the demonstration last followed that are looked at first
_LEAD = 0.3  # squared key distance by which another demonstration must be nearer


class NativeKnn(Method):
    """Nearest moment, native numbers."""

    name = "native_knn"
    summary = "1-NN on joint positions and pictures; plays the numbers, reads no description"
    kinematics = False

    def start(
        self, station: Station, bank: DemoBank, instruction: str, seed: int
    ) -> NativeKnnEpisode:
        """See :meth:`Method.start`."""
        known = choose_instruction(instruction, bank.instructions)
        chosen = bank.select(known)
        return NativeKnnEpisode([bank[i] for i in chosen], chosen)


@dataclass(frozen=True)
class _Keys:
    """How observations are compared: joints by their range, openings, thumbnails by camera."""

    low: Array
    span: Array
    cameras: tuple[str, ...]

    def of(self, q: Array, openings: Sequence[Array], pictures: Sequence[NDArray]) -> Array:
        """``(T, K)``; squared distances of its rows are those of moments."""
        parts = [(q - self.low) / self.span / _JOINT / np.sqrt(q.shape[1])]
        parts += [2 * np.asarray(x)[:, None] for x in openings]
        for rgb in pictures:
            small = _thumbnails(rgb)
            parts.append(_PICTURE * small / 0.1 / np.sqrt(small.shape[1]))
        return np.concatenate(parts, axis=1)


class NativeKnnEpisode:
    """Plays what followed the nearest frame, and stays with a demonstration while it fits."""

    def __init__(self, shown: Sequence[Demonstration], episodes: Sequence[int]) -> None:
        every = np.concatenate([d.q for d in shown])
        low, high = every.min(axis=0), every.max(axis=0)
        self._effectors = sorted(shown[0].grippers)
        self._keys = _Keys(low, np.maximum(high - low, 0.05), tuple(sorted(shown[0].cameras)))
        self._rows = [
            self._keys.of(
                d.q,
                [d.grippers[e] for e in self._effectors],
                [d.cameras[c].rgb for c in self._keys.cameras],
            )
            for d in shown
        ]
        self._shown, self._episodes = shown, episodes
        self._at: tuple[int, int] | None = None

    def act(self, observation: Observation) -> ActionChunk:
        """The numbers that followed the nearest moment."""
        assert observation.q is not None
        pictures = []
        for name in self._keys.cameras:
            rgb = observation.cameras[name].rgb
            assert rgb is not None
            pictures.append(rgb[None])
        openings = [np.array([observation.effectors[e].gripper or 0.0]) for e in self._effectors]
        key = self._keys.of(observation.q[None], openings, pictures)[0]
        costs = [((rows - key) ** 2).sum(axis=1) for rows in self._rows]
        k, t = self._nearest(costs)
        self._at = k, t
        d = self._shown[k]
        rows = np.minimum(np.arange(t, t + _HORIZON), len(d) - 1)
        phase = t / max(len(d) - 1, 1)
        return ActionChunk(
            observation.time,
            1 / d.action_space.rate,
            {},
            {},
            native=d.actions[rows],
            neighbours=(Neighbour(self._episodes[k], t, float(np.sqrt(costs[k][t])), 1.0, phase),),
            done=t >= len(d) - 2,
        )

    def _nearest(self, costs: Sequence[Array]) -> tuple[int, int]:
        """Demonstration and frame; a little later in the last one, unless another is nearer."""
        best = int(np.argmin([c.min() for c in costs]))
        found = best, int(np.argmin(costs[best]))
        if self._at is None:
            return found
        k, t = self._at
        window = costs[k][t + 1 : t + 1 + _AHEAD]
        if not len(window):
            return k, t
        ahead = t + 1 + int(np.argmin(window))
        return found if costs[best].min() + _LEAD < window.min() else (k, ahead)


def _thumbnails(rgb: NDArray[np.uint8]) -> Array:
    """Pictures ``(T, H, W, 3)`` as means over ``_SIDE`` by ``_SIDE`` fields, 0 to 1: ``(T, K)``."""
    rows, columns = (np.linspace(0, n, _SIDE + 1).astype(int)[:-1] for n in rgb.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(rgb.astype(float), rows, axis=1), columns, axis=2)
    ones = np.ones((1, *rgb.shape[1:3], 1))
    counts = np.add.reduceat(np.add.reduceat(ones, rows, axis=1), columns, axis=2)
    return (sums / counts / 255).reshape(len(rgb), -1)
