"""Whether a thing that opens or shuts looks as it did when demonstrations ended.

Such a thing stays where it is, so that places (:mod:`.goal`) tell little of it: a lid that stands
upright is as high as one that leans back. Where its whole shape is known, what was seen of it in
the end by all demonstrations is laid beside what is seen of it now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..perception.registration import misses
from .context import DemoContext, once
from .headings import Shape, whole_shape

_MOST = 0.8  # of the demonstrations that have to agree
_LOOSE = 1.1  # times what most of them differ by
_STAYS = 0.02  # [m]
_ABOUT = 0.1  # [m] from a thing within which what is taken for it may be a part of it
_FEWEST = 20  # points that tell


@dataclass(frozen=True)
class Form:
    """How a thing looks in the end, where that differs from how it looked first.

    Attributes:
        shape: Of it.
        ended: What all demonstrations saw of it in the end, as the shape lies [m].
        within: How far from that what is seen of it may be [m].
    """

    shape: Shape
    ended: KDTree
    within: float

    @classmethod
    def of(cls, contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> Form | None:
        """Of a thing, tokens ``(K,)``; None where it moves, or looks in the end as it did first."""
        return once(contexts, ("form", index.tobytes()), lambda: cls._of(contexts, index))

    @classmethod
    def _of(cls, contexts: Sequence[DemoContext], index: NDArray[np.int64]) -> Form | None:
        shape = whole_shape(contexts, index)
        if shape is None:
            return None
        ended, begun, moved = [], [], []
        for k in np.flatnonzero(shape.known).tolist():
            c, j, T = contexts[k], index[k], se3.inverse(shape.places[k])
            last = None if c.ended is None else _about(se3.act(T, c.ended[j]), shape.surface)
            if last is not None and len(last) >= _FEWEST:
                ended.append(last)
                begun.append(se3.act(T, c.clouds[j]))
                moved.append(np.linalg.norm(c.tokens[-1, j] - c.first[j]))
        if len(ended) < max(2, _MOST * shape.known.sum()) or np.median(moved) > _STAYS:
            return None
        whole = KDTree(np.concatenate(ended))
        others = [KDTree(np.concatenate(ended[:i] + ended[i + 1 :])) for i in range(len(ended))]
        unit = np.eye(4)
        apart = [misses(e, o, unit) for e, o in zip(ended, others, strict=True)]
        within = _LOOSE * float(np.quantile(apart, _MOST))
        first = [misses(b, whole, unit) for b in begun]
        if np.quantile(first, 1 - _MOST) <= within:
            return None
        return cls(shape, whole, within)

    def missed(self, seen: Array, X: Array, known: NDArray[np.bool_]) -> float:
        """How much farther what is seen of it is from how it should look than it may be [m].

        Args:
            seen: ``(P, 3)`` now [m].
            X: ``(K, 4, 4)`` how it lies now, from each demonstration,
            known: ``(K,)`` where that is known.
        """
        here = (X @ self.shape.places)[np.argmax(known)]
        seen = _about(se3.act(se3.inverse(here), seen), self.shape.surface)
        if len(seen) < _FEWEST:
            return 0.0
        return max(misses(seen, self.ended, np.eye(4)) - self.within, 0.0)


def _about(points: Array, surface: KDTree) -> Array:
    """Those of points ``(Q, 3)`` that are not far from a surface."""
    return points[surface.query(points)[0] < _ABOUT]
