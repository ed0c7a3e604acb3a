"""Tokens of several cameras as one list, in which each thing stands once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icl_vla_embodiments.types import Array

from .tokens import CLOUD, SceneTokens, some_of

_SLACK = 0.006  # [m] by which depth and calibration may be off
_ALIKE = 0.35  # distance of colour features below which two views may show one thing
_OVERLAP = 0.35  # share of the smaller footprint that must lie in the other one
COLOUR = slice(0, 3)


def size_features(extent: Array) -> Array:
    """Height and width of extents ``(..., 3)`` [m] as features ``(..., 2)``.

    Occlusion changes a size, so it counts less than a colour.
    """
    flat = np.sqrt(np.maximum(extent[..., 0] * extent[..., 1], 0.0))
    return np.stack([extent[..., 2], flat], axis=-1) / 0.2


def merged(views: Sequence[SceneTokens]) -> SceneTokens:
    """Tokens of all views; those of two views that lie in one place and look alike become one.

    Where one view shows one region and another view several in its place, the several are taken:
    from there things stand one behind the other.

    Args:
        views: One a camera, in the same frame; colour and size as features.
    """
    first, *others = [v for v in views if len(v)] or [views[0]]
    rows = _rows(first)
    for view in others:
        rows = _joined(rows, _rows(view))
    if not rows:
        return first
    return SceneTokens(*(np.stack([row[i] for row in rows]) for i in range(5)))


_Row = tuple[Array, Array, Array, Array, Array]  # position, features, extent, cloud, pixels


def _rows(tokens: SceneTokens) -> list[_Row]:
    t = tokens
    columns = (t.positions, t.features, t.extents, t.clouds, t.pixels)
    return list(zip(*columns, strict=True))


def _joined(known: Sequence[_Row], fresh: Sequence[_Row]) -> list[_Row]:
    """Known things with what another view shows."""
    same = np.array([[_one_thing(a, b) for b in fresh] for a in known]).reshape(len(known), -1)
    covering = same.sum(axis=0) > 1
    same[:, covering] = False
    covered = same.sum(axis=1) > 1
    rows = []
    for i, row in enumerate(known):
        if not covered[i]:
            (partners,) = np.nonzero(same[i])
            rows.append(_union(row, fresh[partners[0]]) if len(partners) else row)
    met = same[~covered].any(axis=0) | covering
    return rows + [row for j, row in enumerate(fresh) if not met[j]]


def _one_thing(a: _Row, b: _Row) -> bool:
    """Whether footprints overlap, heights meet and colours agree."""
    if np.linalg.norm(a[1][COLOUR] - b[1][COLOUR]) > _ALIKE:
        return False
    gap = np.abs(a[0] - b[0])
    reach = 0.5 * (a[2] + b[2]) + _SLACK
    if (gap > reach).any():
        return False
    smaller = np.minimum(a[2], b[2])[:2] + _SLACK
    common = np.clip((reach - gap)[:2], 0.0, smaller)
    return bool(np.prod(common / smaller) > _OVERLAP)


def _union(a: _Row, b: _Row) -> _Row:
    """What two views show of one thing; colours count by their pixels."""
    low = np.minimum(a[0] - 0.5 * a[2], b[0] - 0.5 * b[2])
    high = np.maximum(a[0] + 0.5 * a[2], b[0] + 0.5 * b[2])
    share = a[4] / (a[4] + b[4])
    colour = share * a[1][COLOUR] + (1 - share) * b[1][COLOUR]
    features = np.concatenate([colour, size_features(high - low)])
    # surface points, too, but some of either side
    half = round(CLOUD * float(np.clip(share, 0.25, 0.75)))
    cloud = np.concatenate([some_of(a[3], half), some_of(b[3], CLOUD - half)])
    return 0.5 * (low + high), features, high - low, cloud, a[4] + b[4]
