"""What demonstrations bring about, and whether that has come about now.

Where one thing is as seen from another, or how high it is: what all demonstrations end with and did
not begin with is what they were for. A motion that has come to its end without it has failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .context import DemoContext
from .doing import cylindrical

BASE = -1  # in place of a thing: of what is seen from there, the height counts
_MOST = 0.8  # of the demonstrations that have to agree
_FEWEST = 3  # demonstrations that can
# of a place around a thing, and of one that lies in a certain direction from it:
_BLUR = np.array([0.02, 0.01])  # [m] by which it may be off
_SPREAD = np.array([2.0, 1.0])  # and by so many times what the demonstrations differ by,
_LEFT = np.array([0.0, 0.3])  # or by this share of what they changed: less is not done over
_LOOSE = 0.03  # [m] from which on places that most of ten end within are not one place


@dataclass(frozen=True)
class Goal:
    """Places of ``P`` things as seen from others.

    Attributes:
        pairs: ``(P, 2)`` rows of the things; the second may be :data:`BASE`.
        place: ``(P, 2, 3)`` of the first as seen from the second [m]: horizontal distance, height
            and 0, wherever it lies around that; and as it lies, along the base's axes.
        within: ``(P, 2)`` how far from there is near enough [m]; infinite where that is no goal.
        rises: ``(P,)`` how much higher it was in the end, seen from the base [m]; else 0. Higher
            still is no miss: demonstrations end as soon as it is high enough.
    """

    pairs: NDArray[np.int64]
    place: Array
    within: Array
    rises: Array

    @classmethod
    def of(cls, contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> Goal:
        """What ``K`` demonstrations end with, and most of them are far from when they begin.

        Args:
            contexts: Demonstrations.
            index: ``(K, M)`` their token for each thing; -1 for none.
        """
        count = index.shape[1]
        pairs = np.array([(i, j) for i in range(count) for j in (BASE, *range(i))], dtype=int)
        pairs = pairs.reshape(-1, 2)
        begun, ended = np.full((2, len(contexts), len(pairs), 2, 3), np.nan)
        for k, (context, row) in enumerate(zip(contexts, index, strict=True)):
            if len(context):
                nowhere = np.full((len(context), 1, 3), np.nan)
                places = np.concatenate([context.shapes, nowhere], axis=1)[:, row]
                begun[k], ended[k] = _seen(places[0], pairs), _seen(places[-1], pairs)
        known = np.isfinite(ended[..., 0, 0]).sum(axis=0)
        enough = known >= max(_FEWEST, _MOST * len(contexts))
        pairs, begun, ended = pairs[enough], begun[:, enough], ended[:, enough]
        if not len(pairs):
            return cls(pairs, np.zeros((0, 2, 3)), np.zeros((0, 2)), np.zeros(0))
        place = np.nanmedian(ended, axis=0)
        off = np.linalg.norm(ended - place, axis=-1)  # (K, P, 2)
        loose = np.nanquantile(off, _MOST, axis=0)
        change = np.nanmedian(np.linalg.norm(ended - begun, axis=-1), axis=0)
        within = np.maximum(_BLUR + _SPREAD * loose, _LEFT * change)
        most = _LOOSE * (known[enough] - 1) / 9  # a few are near each other by chance
        told = (loose < np.minimum(most, _LOOSE)[:, None]) & (change > within)
        some = told.any(axis=1)
        rises = np.nanmedian((ended - begun)[..., 1, 2], axis=0) * (pairs[:, 1] == BASE)
        return cls(pairs[some], place[some], np.where(told, within, np.inf)[some], rises[some])

    def about(self, pair: int) -> list[int]:
        """Rows of the things of a pair."""
        return [int(i) for i in self.pairs[pair] if i != BASE]

    def missed(self, things: Array) -> Array:
        """How much too far from there things at ``(M, 3)`` are: ``(P,)`` [m], 0 for not at all."""
        apart = _seen(things, self.pairs) - self.place
        beyond = apart[:, 1, 2] * self.rises > 0
        off = np.linalg.norm(np.where(beyond[:, None, None], 0.0, apart), axis=-1)
        return np.asarray(np.maximum(off - self.within, 0.0).max(axis=-1, initial=0.0))


def _seen(things: Array, pairs: NDArray[np.int64]) -> Array:
    """``(P, 2, 3)`` places of things at ``(M, 3)`` as seen from each other; see :class:`Goal`."""
    first, second = things[pairs[:, 0]], things[pairs[:, 1]]
    below = first * np.array([1.0, 1.0, 0.0])
    off = first - np.where(pairs[:, 1:] == BASE, below, second)
    around = np.concatenate([cylindrical(off), np.zeros((len(off), 1))], axis=-1)
    return np.stack([around, off], axis=1)
