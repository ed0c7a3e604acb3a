"""A camera on a physics world that looks at a point, and the light that makes the shadow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from icl_vla_embodiments.types import Array

from ..sim.bullet import pybullet

SIZE = (640, 480)  # [px] width, height
FOV = 42.0  # [deg] vertical
AZIMUTH, ELEVATION = np.radians([52.0, 20.0])  # of the camera, seen from what it looks at
SUN = np.array([0.25, 0.35, 1.0])  # where the light comes from
SHADOW_PIXELS = 160
AWAY = 20.0  # of the size of what is lit


class View:
    """A perspective camera in front of a robot that faces along x.

    Args:
        target: ``(3,)`` point that it looks at.
        distance: From there [m].

    Attributes:
        eye: ``(3,)`` its place.
        pixel: Angle of one pixel [rad].
    """

    def __init__(self, target: Array, distance: float) -> None:
        c, s = np.cos(ELEVATION), np.sin(ELEVATION)
        way = np.array([c * np.cos(AZIMUTH), c * np.sin(AZIMUTH), s])
        self.eye = target + distance * way
        self.pixel = float(np.radians(FOV)) / SIZE[1]
        self._pose = pybullet.computeViewMatrix(self.eye, target, [0, 0, 1])
        self._lens = pybullet.computeProjectionMatrixFOV(
            FOV, SIZE[0] / SIZE[1], 0.05 * distance, 10 * distance
        )
        self._matrix = _matrix(self._lens) @ _matrix(self._pose)

    def render(self, client: Any, body: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Colours ``(H, W, 3)``, and where a body is seen ``(H, W)``."""
        width, height = SIZE
        _, _, rgba, _, bodies = client.getCameraImage(
            width,
            height,
            self._pose,
            self._lens,
            lightDirection=SUN,
            lightAmbientCoeff=0.6,
            lightDiffuseCoeff=0.45,
            lightSpecularCoeff=0.0,
            shadow=0,
            renderer=pybullet.ER_TINY_RENDERER,
        )
        rgb = np.asarray(rgba, np.uint8).reshape(height, width, 4)[..., :3]
        return rgb, np.asarray(bodies).reshape(height, width) == body

    def on_plane(self, z: float, coarse: int) -> tuple[Array, NDArray[np.bool_]]:
        """What a picture of ``1/coarse`` of the size shows of a level plane.

        Returns:
            ``(N, 3)`` points, and the ``N`` pixels that they are at as a mask ``(H, W)``.
        """
        width, height = (n // coarse for n in SIZE)
        x = (2 * np.arange(width) + 1) / width - 1
        y = 1 - (2 * np.arange(height) + 1) / height
        # the far plane is flat: its points are linear in x and y
        corners = np.array([[0, 0, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1]])
        far = corners @ np.linalg.inv(self._matrix).T
        middle, right, top = far[:, :3] / far[:, 3:] - self.eye
        rows = middle + y[:, None] * (top - middle)  # (H, 3)
        rays = rows[:, None] + x[:, None] * (right - middle)  # (H, W, 3)
        below = rays[..., 2] < -1e-3 * np.linalg.norm(middle)
        rays = rays[below]
        return self.eye + rays * ((z - self.eye[2]) / rays[:, 2])[:, None], below

    def project(self, points: Array) -> Array:
        """Pixels ``(N, 2)`` of points ``(N, 3)`` in front of the camera."""
        clip = np.column_stack([points, np.ones(len(points))]) @ self._matrix.T
        ahead = clip[:, :2] / np.maximum(clip[:, 3:], 1e-6)
        return np.column_stack([(ahead[:, 0] + 1) * SIZE[0] / 2, (1 - ahead[:, 1]) * SIZE[1] / 2])


class Light:
    """Nearly parallel light; what it meets on its way throws a shadow.

    Args:
        target: ``(3,)`` middle of what is lit.
        size: Across what is lit [m].
    """

    def __init__(self, target: Array, size: float) -> None:
        way = SUN / np.linalg.norm(SUN)
        # far away, as the renderer knows perspective lenses only
        self._pose = pybullet.computeViewMatrix(target + AWAY * size * way, target, [1, 0, 0])
        angle = 2 * float(np.degrees(np.arctan(1 / AWAY)))
        self._lens = pybullet.computeProjectionMatrixFOV(
            angle, 1.0, (AWAY - 3) * size, (AWAY + 3) * size
        )
        self._matrix = _matrix(self._lens) @ _matrix(self._pose)

    def render(self, client: Any, body: int) -> Array:
        """``(n, n)``: 1 where the light meets a body."""
        n = SHADOW_PIXELS
        *_, bodies = client.getCameraImage(
            n,
            n,
            self._pose,
            self._lens,
            shadow=0,
            renderer=pybullet.ER_TINY_RENDERER,
        )
        return (np.asarray(bodies).reshape(n, n) == body).astype(float)

    def at(self, shadow: Array, points: Array) -> Array:
        """``(N,)`` value of a picture ``(n, n)`` of :meth:`render` at points ``(N, 3)``."""
        n = SHADOW_PIXELS
        clip = np.column_stack([points, np.ones(len(points))]) @ self._matrix.T
        columns = (clip[:, 0] / clip[:, 3] + 1) * n / 2
        rows = (1 - clip[:, 1] / clip[:, 3]) * n / 2
        return np.asarray(map_coordinates(shadow, [rows, columns], order=1))


def _matrix(values: Any) -> Array:
    """``(4, 4)`` of sixteen numbers, columns first."""
    return np.array(values).reshape(4, 4).T
