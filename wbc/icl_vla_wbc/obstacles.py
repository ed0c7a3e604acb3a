"""What the robot must not touch: spheres and boxes that move at constant velocity."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from icl_vla_embodiments.types import Array

from .errors import WbcError


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

    @property
    def reach(self) -> float:
        """Radius of a ball that holds it [m]."""
        return self.radius

    def farthest(self, direction: Array) -> Array:
        """Its point farthest in a unit direction ``(..., 3)``, relative to its middle."""
        return self.radius * direction

    def away(self, points: Array) -> tuple[Array, Array]:
        """Distance ``(...,)`` of points ``(..., 3)``, relative to its middle, and its gradient."""
        length = np.sqrt((points * points).sum(axis=-1))
        return length - self.radius, _unit(points, length)


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

    @property
    def reach(self) -> float:
        """Radius of a ball that holds it [m]."""
        return 0.5 * float(np.linalg.norm(self.size))

    def farthest(self, direction: Array) -> Array:
        """Its corner farthest in a direction ``(..., 3)``, relative to its middle."""
        R, half = np.asarray(self.rotation), 0.5 * np.asarray(self.size, dtype=float)
        return np.where(direction @ R >= 0, half, -half) @ R.T

    def away(self, points: Array) -> tuple[Array, Array]:
        """Signed distance ``(...,)`` of points ``(..., 3)``, relative to its middle, and gradient.

        Inside it is the (negative) distance to the nearest face.
        """
        R = np.asarray(self.rotation, dtype=float)
        local = points @ R
        beyond = np.abs(local) - 0.5 * np.asarray(self.size, dtype=float)
        outside = np.maximum(beyond, 0.0)
        length = np.sqrt((outside * outside).sum(axis=-1))
        inner = np.minimum(beyond.max(axis=-1), 0.0)
        face = (beyond == beyond.max(axis=-1, keepdims=True)).astype(float)
        side = np.where(local >= 0, 1.0, -1.0)
        out = np.where((length > 0)[..., None], outside, face) * side
        return length + inner, _unit(out, np.sqrt((out * out).sum(axis=-1))) @ R.T


Obstacle = Sphere | Box


def _unit(vectors: Array, lengths: Array) -> Array:
    """Unit vectors; upwards where there is no direction."""
    safe = np.maximum(lengths, 1e-9)[..., None]
    return np.where(lengths[..., None] > 1e-9, vectors / safe, np.array([0.0, 0.0, 1.0]))


def _check(what: str, *vectors: Array) -> None:
    for vector in vectors:
        values = np.asarray(vector, dtype=float)
        if values.shape != (3,) or not np.isfinite(values).all():
            raise WbcError(f"{what} must be three finite numbers", value=vector)
