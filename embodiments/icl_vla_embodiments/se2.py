"""Rigid motions on the floor as x, y and heading, in numpy alone; like :mod:`se3`, for wheels.

``a`` composed with ``b``: ``b`` is given in ``a``'s frame (x forward, y left) [m, m, rad].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from . import se3
from .types import Array


def wrap(angle: Array | float) -> Array:
    """Into (-pi, pi]."""
    return np.asarray(np.pi - (np.pi - np.asarray(angle)) % (2 * np.pi))


def exp(twist: Array) -> Array:
    """Pose ``(..., 3)`` after moving for one second with constant velocities ``(..., 3)``."""
    half = 0.5 * twist[..., 2]
    chord = np.sinc(half / np.pi)  # sin(h) / h
    c, s = chord * np.cos(half), chord * np.sin(half)
    x, y = twist[..., 0], twist[..., 1]
    return np.stack([c * x - s * y, s * x + c * y, twist[..., 2]], axis=-1)


def log(pose: Array) -> Array:
    """Inverse of :func:`exp` for one pose ``(3,)`` with its heading in (-pi, pi]."""
    half = 0.5 * pose[2]
    along = np.sinc(half / np.pi)
    c, s = np.cos(half) / along, np.sin(half) / along
    return np.array([c * pose[0] + s * pose[1], c * pose[1] - s * pose[0], pose[2]])


def compose(a: Array, b: Array) -> Array:
    """Planar poses ``(..., 3)``: ``b`` seen from ``a``'s parent."""
    c, s = np.cos(a[..., 2]), np.sin(a[..., 2])
    x, y = b[..., 0], b[..., 1]
    return np.stack(
        [a[..., 0] + c * x - s * y, a[..., 1] + s * x + c * y, a[..., 2] + b[..., 2]], axis=-1
    )


def between(a: Array, b: Array) -> Array:
    """Pose ``(3,)`` of ``b`` in ``a``, the heading in (-pi, pi]."""
    c, s = math.cos(a[2]), math.sin(a[2])
    x, y = b[0] - a[0], b[1] - a[1]
    return np.array([c * x + s * y, c * y - s * x, math.remainder(b[2] - a[2], 2 * math.pi)])


def planar(T: Array) -> Array:
    """``(..., 3)`` x, y and heading of poses ``(..., 4, 4)``."""
    heading = np.arctan2(T[..., 1, 0], T[..., 0, 0])
    return np.stack([T[..., 0, 3], T[..., 1, 3], heading], axis=-1)


def lifted(pose: ArrayLike) -> Array:
    """``(..., 4, 4)`` of ``(..., 3)``: level, at height zero."""
    pose = np.asarray(pose, dtype=float)
    level = np.concatenate([pose[..., :2], np.zeros((*pose.shape[:-1], 1))], axis=-1)
    return se3.pose(se3.yaw(pose[..., 2]), level)
