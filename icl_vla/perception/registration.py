"""How far a thing is turned between a demonstration and now."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

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
    turned = np.stack(
        [
            a[:, 0, None] * cos - a[:, 1, None] * sin,
            a[:, 0, None] * sin + a[:, 1, None] * cos,
        ],
        axis=-1,
    )  # (P, S, 2)
    residual = _to_nearest(turned, b)
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


def _to_nearest(turned: ArrayLike, other: ArrayLike) -> Array:
    """Chamfer distance ``(S,)`` of each turn of a footprint ``(P, S, 2)`` to another ``(Q, 2)``.

    ``|u - v|^2 = |u|^2 + |v|^2 - 2 u v``; least values are taken over first axes, which is quick,
    and single precision is good for 10 micrometres here.
    """
    u, v = np.asarray(turned, dtype=np.float32), np.asarray(other, dtype=np.float32)
    P, S, _ = u.shape
    u2, v2 = (u**2).sum(-1), (v**2).sum(-1)
    of_other = (u.reshape(-1, 2) @ (-2 * v.T)).reshape(P, S, -1)
    of_other += u2[..., None]
    of_turned = v @ (-2 * u.reshape(-1, 2).T)
    of_turned += v2[:, None]
    back = np.maximum(of_other.min(0) + v2, 0.0)  # (S, Q)
    forth = np.maximum(of_turned.min(0).reshape(P, S) + u2, 0.0)
    return np.asarray(np.sqrt(forth).mean(0) + np.sqrt(back).mean(1))


def _centred(cloud: Array) -> Array:
    low, high = cloud[:, :2].min(0), cloud[:, :2].max(0)
    return cloud[:, :2] - 0.5 * (low + high)
