"""What the robot must not touch: spheres and boxes that move at constant velocity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .errors import WbcError
from .vectors import norm


@dataclass(frozen=True)
class Sphere:
    """A ball in the base frame.

    Attributes:
        center: ``(3,)`` now [m].
        radius: [m]; 0 is a point.
        velocity: ``(3,)`` [m/s].
    """

    center: Array
    radius: float
    velocity: Array = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        _check("an obstacle's center and velocity", self.center, self.velocity)
        if not (np.isfinite(self.radius) and self.radius >= 0):
            raise WbcError("an obstacle has no size", where="Sphere.radius", value=self.radius)

    def at(self, times: Array) -> Array:
        """Its middle ``(C, 3)`` at times ``(C,)`` from now [s]."""
        return np.asarray(self.center) + times[:, None] * np.asarray(self.velocity)


@dataclass(frozen=True)
class Box:
    """A box in the base frame; also a keep-out zone.

    Attributes:
        center: ``(3,)`` now [m].
        size: ``(3,)`` edges [m].
        rotation: ``R_base_box`` ``(3, 3)``.
        velocity: ``(3,)`` [m/s].
    """

    center: Array
    size: Array
    rotation: Array = field(default_factory=lambda: np.eye(3))
    velocity: Array = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        _check("a box's center, size and velocity", self.center, self.size, self.velocity)
        R = np.asarray(self.rotation, dtype=float)
        if not (np.asarray(self.size) > 0).all():
            raise WbcError("a box has no size", where="Box.size", value=self.size)
        if R.shape != (3, 3) or not np.allclose(R @ R.T, np.eye(3), atol=1e-3):
            raise WbcError("a box's rotation is none", where="Box.rotation", value=R.tolist())

    def at(self, times: Array) -> Array:
        """Its middle ``(C, 3)`` at times ``(C,)`` from now [s]."""
        return np.asarray(self.center) + times[:, None] * np.asarray(self.velocity)


Obstacle = Sphere | Box


class Obstacles:
    """Obstacles side by side: all are boxes with rounded edges, a sphere one without extent.

    Args:
        obstacles: ``O`` of them, where they are now.

    Attributes:
        reach: ``(O,)`` radii of balls that hold them [m].
        velocity: ``(O, 3)`` [m/s].
    """

    def __init__(self, obstacles: Sequence[Obstacle]) -> None:
        self._centers = np.array([o.center for o in obstacles], dtype=float).reshape(-1, 3)
        self.velocity = np.array([o.velocity for o in obstacles], dtype=float).reshape(-1, 3)
        self._R = np.array([_rotation(o) for o in obstacles], dtype=float).reshape(-1, 3, 3)
        self._half = np.array([_half(o) for o in obstacles], dtype=float).reshape(-1, 3)
        self._radius = np.array([o.radius if isinstance(o, Sphere) else 0.0 for o in obstacles])
        self.reach = self._radius + np.linalg.norm(self._half, axis=1)

    def __len__(self) -> int:
        return len(self.reach)

    def at(self, times: Array) -> Array:
        """Their middles ``(C, O, 3)`` at times ``(C,)`` from now [s]."""
        return self._centers + times[:, None, None] * self.velocity

    def farthest(self, which: NDArray[np.intp], direction: Array) -> Array:
        """Points of obstacles ``(P,)`` farthest in unit directions ``(..., P, 3)``.

        Relative to their middles.
        """
        R, half = self._R[which], self._half[which]
        local = (direction[..., None, :] @ R)[..., 0, :]
        corner = np.where(local >= 0, half, -half)
        point = (R @ corner[..., None])[..., 0]
        return np.asarray(point + self._radius[which, None] * direction)

    def distance(self, which: NDArray[np.intp], points: Array) -> Array:
        """Signed distances ``(..., P, m)`` of obstacles ``(P,)`` and points ``(..., P, m, 3)``.

        The points are relative to the obstacles' middles. Inside a box it is the (negative)
        distance to the nearest face.
        """
        beyond = np.abs(points @ self._R[which]) - self._half[which, None]
        outside = np.maximum(beyond, 0.0)
        inner = np.minimum(beyond.max(axis=-1), 0.0)
        return np.asarray(norm(outside) + inner - self._radius[which, None])

    def normal(self, which: NDArray[np.intp], points: Array) -> Array:
        """Gradients ``(..., P, 3)`` of the distances of points ``(..., P, 3)``."""
        R = self._R[which]
        local = (points[..., None, :] @ R)[..., 0, :]
        beyond = np.abs(local) - self._half[which]
        face = (beyond == beyond.max(axis=-1, keepdims=True)).astype(float)
        inside = (beyond <= 0).all(axis=-1, keepdims=True)
        out = np.where(inside, face, np.maximum(beyond, 0.0)) * np.where(local >= 0, 1.0, -1.0)
        out /= norm(out)[..., None]
        return np.asarray((R @ out[..., None])[..., 0])


def _rotation(obstacle: Obstacle) -> Array:
    return np.eye(3) if isinstance(obstacle, Sphere) else np.asarray(obstacle.rotation)


def _half(obstacle: Obstacle) -> Array:
    return np.zeros(3) if isinstance(obstacle, Sphere) else 0.5 * np.asarray(obstacle.size)


def _check(what: str, *vectors: Array) -> None:
    for vector in vectors:
        values = np.asarray(vector, dtype=float)
        if values.shape != (3,) or not np.isfinite(values).all():
            raise WbcError(f"{what} must be three finite numbers", value=vector)
