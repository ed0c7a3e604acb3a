"""How far apart features have to be until they show two things: measured on drawn pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..perception.learned import SAME
from ..perception.patches import spread
from .views import Views, views

PICTURES = 8  # of a batch


def batches(seed: int, count: int) -> Iterator[Views]:
    """Pictures to measure on; every model of a seed sees the same."""
    for i in range(count):
        yield views(np.random.default_rng([seed, i]), PICTURES)


def pairs_between(feature: Tensor, thing: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of regions in two pictures: how far apart ``(P,)``, and whether they show one thing."""
    i, j = torch.nonzero(picture[:, None] < picture[None], as_tuple=True)
    return (feature[i] - feature[j]).norm(dim=1), thing[i] == thing[j]


def scale_of(distance: Tensor, same: Tensor) -> float:
    """Factor that puts ``SAME`` of :mod:`..perception.learned` where it errs least.

    There as many as can be of the pairs of regions of one thing lie below it, less the share of
    the pairs of two things that do (Youden 1950).
    """
    distance, order = distance.sort()
    is_same = same[order].double()
    gain = is_same.cumsum(0) / is_same.sum() - (1 - is_same).cumsum(0) / (1 - is_same).sum()
    return SAME / float(distance[gain.argmax()])


def of_patches(
    patches: Callable[[NDArray[np.uint8]], NDArray[np.float32]], seed: int = 0, count: int = 12
) -> tuple[NDArray[np.float32], float]:
    """Mean ``(d,)`` of what a model says of things, and the scale of what remains.

    Without the mean, which all pictures share, a vision model's states are too much alike.

    Args:
        patches: Picture ``(H, W, 3)`` to states ``(h, w, d)``.
        seed: Of the pictures.
        count: Batches.
    """
    rows: list[tuple[Tensor, int, int, int]] = []  # feature, batch, picture, thing
    for b, batch in enumerate(batches(seed, count)):
        for p, (rgb, thing) in enumerate(zip(batch.rgb, batch.thing, strict=True)):
            half = thing[::2, ::2]
            states = spread(patches(rgb), half.shape[0], half.shape[1])
            for k in np.unique(half[half >= 0]):
                rows.append((torch.from_numpy(states[half == k].mean(axis=0)), b, p, int(k)))
    feature = torch.stack([r[0] for r in rows])
    mean = feature.mean(dim=0)
    feature = F.normalize(feature - mean, dim=1)
    number = torch.tensor([r[1:] for r in rows])  # (R, 3)
    parts = []
    for b in range(count):  # things of two collections may be the same, and nobody knows
        rows_ = number[:, 0] == b
        parts.append(pairs_between(feature[rows_], number[rows_, 2], number[rows_, 1]))
    distance, same = (torch.cat(part) for part in zip(*parts, strict=True))
    return mean.numpy(), scale_of(distance, same)
