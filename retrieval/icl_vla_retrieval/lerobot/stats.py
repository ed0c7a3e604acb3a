"""Statistics that LeRobot keeps for every episode and for the whole dataset.

Quantiles of vectors are taken over all frames. (LeRobot averages those of the episodes, which gives
none; images, whose earlier pixels are not at hand any more, follow LeRobot here.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Stats = dict[str, NDArray]
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def vector_stats(values: NDArray) -> Stats:
    """Of ``(T,)`` or ``(T, n)``: each entry ``(n,)``, count ``(1,)``; min and max keep the type."""
    values = values.reshape(len(values), -1)
    exact = values.astype(float)
    quantiles = np.quantile(exact, list(QUANTILES.values()), axis=0)
    return {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": exact.mean(axis=0),
        "std": exact.std(axis=0),
        "count": np.array([len(values)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def image_stats(rgb: NDArray[np.uint8]) -> Stats:
    """Of ``(T, H, W, 3)`` scaled to [0, 1]: each entry ``(3, 1, 1)``; count is T."""
    histogram = np.stack([np.bincount(rgb[..., c].ravel(), minlength=256) for c in range(3)])
    share = histogram / histogram.sum(axis=1, keepdims=True)  # (3, 256)
    level = np.arange(256) / 255.0
    mean = share @ level
    cumulative = np.cumsum(share, axis=1)
    out = {
        "min": level[(histogram > 0).argmax(axis=1)],
        "max": level[255 - (histogram[:, ::-1] > 0).argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(share @ level**2 - mean**2, 0.0)),
        "count": np.array([len(rgb)]),
        **{name: level[(cumulative >= q - 1e-12).argmax(axis=1)] for name, q in QUANTILES.items()},
    }
    return {name: x if name == "count" else x.reshape(3, 1, 1) for name, x in out.items()}


def pool(stats: Sequence[Stats]) -> Stats:
    """One of many: exact but for the quantiles, which are the weighted mean."""
    count = np.array([s["count"][0] for s in stats], dtype=float)
    weights = count / count.sum()

    def average(name: str, power: int = 1) -> NDArray:
        stacked = np.stack([np.asarray(s[name], dtype=float) ** power for s in stats])
        return np.tensordot(weights, stacked, axes=1)

    mean = average("mean")
    variance = average("std", 2) + average("mean", 2) - mean**2
    return {
        "min": np.min([s["min"] for s in stats], axis=0),
        "max": np.max([s["max"] for s in stats], axis=0),
        "mean": mean,
        "std": np.sqrt(np.maximum(variance, 0.0)),
        "count": np.array([int(count.sum())]),
        **{name: average(name) for name in QUANTILES},
    }


def arrow_array(value: NDArray) -> pa.Array:
    """One cell of an episode table: nested lists of int64 or double, as LeRobot writes them."""
    kind = pa.int64() if np.issubdtype(value.dtype, np.integer) else pa.float64()
    for _ in range(value.ndim):
        kind = pa.list_(kind)
    return pa.array([value.tolist()], kind)
