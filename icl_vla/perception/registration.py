"""How far a thing is turned between a demonstration and now."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments.types import Array

_STEPS = 36
_ANGLES = np.linspace(-np.pi, np.pi, _STEPS, endpoint=False)  # [rad]
_AMBIGUOUS = 1.3  # a residual this many times the best one explains the view as well


def relative_yaw(then: Array, now: Array) -> tuple[float, bool]:
    """Rotation about the vertical that turns one surface cloud into another.

    Chamfer distance of the clouds' footprints (horizontal projections, centred) over 10 degree
    steps, refined by a parabola. A square, or anything with symmetry, fits at several angles: the
    smallest turn is taken, since equal fits mean equal grasps. A disc fits at all: then the turn
    is ambiguous and 0.

    Args:
        then: ``(P, 3)`` cloud in the demonstration [m].
        now: ``(P, 3)`` cloud in the present scene [m].

    Returns:
        The yaw [rad] and whether the views resolve it.
    """
    a, b = _centred(then), _centred(now)
    cos, sin = np.cos(_ANGLES), np.sin(_ANGLES)
    x = cos[:, None] * a[:, 0] - sin[:, None] * a[:, 1]  # (S, P)
    y = sin[:, None] * a[:, 0] + cos[:, None] * a[:, 1]
    squared = (x[..., None] - b[:, 0]) ** 2 + (y[..., None] - b[:, 1]) ** 2  # (S, P, P)
    residual = np.sqrt(squared.min(2)).mean(1) + np.sqrt(squared.min(1)).mean(1)
    best = residual.min()
    if residual.max() < 1.25 * best + 1e-6:
        return 0.0, False
    local = (residual <= np.roll(residual, 1)) & (residual <= np.roll(residual, -1))
    fits = np.flatnonzero(local & (residual <= _AMBIGUOUS * best))
    index = int(fits[np.argmin(np.abs(_ANGLES[fits]))])
    left, mid, right = residual[index - 1], residual[index], residual[(index + 1) % _STEPS]
    curvature = left - 2 * mid + right
    shift = 0.5 * (left - right) / curvature if curvature > 1e-9 else 0.0
    return float(_ANGLES[index] + shift * (_ANGLES[1] - _ANGLES[0])), True


def _centred(cloud: Array) -> Array:
    low, high = cloud[:, :2].min(0), cloud[:, :2].max(0)
    return cloud[:, :2] - 0.5 * (low + high)
