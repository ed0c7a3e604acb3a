"""A pinhole camera that is looked for: pose in the base frame and focal length."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

NEAREST = 0.02  # [m] in front of the camera


@dataclass(frozen=True)
class Pinhole:
    """Square pixels, no lens distortion.

    Attributes:
        T_camera_base: ``(4, 4)``; camera axes are x right, y down, z forward.
        focal: [px].
        centre: Principal point ``(2,)`` [px], pixel centres at integer coordinates.
        aspect: Vertical over horizontal focal length.
    """

    T_camera_base: Array
    focal: float
    centre: Array
    aspect: float = 1.0

    @property
    def intrinsics(self) -> Array:
        """``(3, 3)``."""
        fy = self.focal * self.aspect
        (cx, cy), f = self.centre, self.focal
        return np.array([[f, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    @property
    def T_base_camera(self) -> Array:
        return se3.inverse(self.T_camera_base)

    @classmethod
    def of(cls, intrinsics: Array, T_base_camera: Array) -> Pinhole:
        """The camera of a ``(3, 3)`` matrix without skew and a pose."""
        fx, fy = float(intrinsics[0, 0]), float(intrinsics[1, 1])
        return cls(se3.inverse(T_base_camera), fx, np.array(intrinsics[:2, 2]), fy / fx)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Base-frame points ``(..., 3)`` -> pixels ``(..., 2)`` and distance ``(...)`` [m].

        What lies nearer than :data:`NEAREST` (or behind) is put there.
        """
        seen = points @ self.T_camera_base[:3, :3].T + self.T_camera_base[:3, 3]
        z = np.maximum(seen[..., 2], NEAREST)
        scale = self.focal * np.array([1.0, self.aspect])
        return seen[..., :2] / z[..., None] * scale + self.centre, seen[..., 2]

    def rays(self, pixels: Array) -> Array:
        """``(..., 2)`` pixels -> ``(..., 3)`` points at distance 1 in the camera frame."""
        scale = self.focal * np.array([1.0, self.aspect])
        flat = (pixels - self.centre) / scale
        return np.concatenate([flat, np.ones_like(flat[..., :1])], axis=-1)

    def jacobian(self, points: Array) -> Array:
        """``(N, 2, 7)``: pixels of base-frame points per step of :meth:`moved`."""
        x, y, z = (points @ self.T_camera_base[:3, :3].T + self.T_camera_base[:3, 3]).T
        z = np.maximum(z, NEAREST)
        f, g, zero = self.focal, self.focal * self.aspect, np.zeros_like(x)
        per_point = np.array([[f / z, zero, -f * x / z**2], [zero, g / z, -g * y / z**2]])
        seen = np.stack([x, y, z], axis=-1)
        per_step = np.concatenate(
            [np.broadcast_to(np.eye(3), (len(seen), 3, 3)), -se3.skew(seen)], axis=2
        )
        motion = np.moveaxis(per_point, 2, 0) @ per_step  # (N, 2, 6)
        zoom = np.stack([f * x / z, g * y / z], axis=-1)[..., None]  # per log focal length
        return np.concatenate([motion, zoom], axis=2)

    def moved(self, step: Array) -> Pinhole:
        """Changed by ``(7,)``: translation [m] and rotation [rad] in camera axes, log focal."""
        T = se3.pose(se3.exp3(step[3:6]), step[:3])
        return replace(
            self, T_camera_base=T @ self.T_camera_base, focal=self.focal * float(np.exp(step[6]))
        )

    def scaled(self, scale: float) -> Pinhole:
        """The same camera with pictures ``scale`` times as large."""
        return replace(self, focal=scale * self.focal, centre=scale * (self.centre + 0.5) - 0.5)

    def difference(self, other: Pinhole) -> tuple[float, float]:
        """Distance of the two positions [m] and angle between the two orientations [rad]."""
        T = self.T_camera_base @ other.T_base_camera
        shift = self.T_base_camera[:3, 3] - other.T_base_camera[:3, 3]
        return float(np.linalg.norm(shift)), float(np.linalg.norm(se3.log3(T[:3, :3])))
