"""A small z-buffer renderer in numpy: shaded convex hulls over a soft shadow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .types import Array

SIZE = (1200, 900)  # [px] width, height
SAMPLES = 2  # per pixel and axis
EYE = (1.0, 0.75, 0.55)  # direction from the robot to the camera; x is forward
LIGHT = (0.25, 0.65, 1.0)  # direction to the light
PAPER = (0.975, 0.975, 0.97)


@dataclass(frozen=True)
class View:
    """A perspective camera: ``R`` rows are its right, up and backward axes."""

    R: Array
    eye: Array
    focal: float  # [px]
    centre: tuple[float, float]  # [px]
    ground: float  # height of the ground [m]
    size: float  # radius of what is seen [m]

    @classmethod
    def of(cls, clouds: Sequence[Array], origins: Sequence[Array]) -> View:
        points = np.concatenate([*clouds, np.array(origins)])
        lower, upper = points.min(axis=0), points.max(axis=0)
        middle = 0.5 * (lower + upper)
        radius = max(float(np.linalg.norm(points - middle, axis=1).max()), 0.05)
        back = np.array(EYE) / np.linalg.norm(EYE)
        right = np.cross([0.0, 0.0, 1.0], back)
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(back, right), back])
        eye = middle + 5 * radius * back
        seen = (points - eye) @ R.T
        flat = seen[:, :2] / -seen[:, 2:]
        low, high = flat.min(axis=0), flat.max(axis=0)
        w, h = SIZE
        focal = float(min(0.62 * w / np.ptp(flat[:, 0]), 0.74 * h / max(np.ptp(flat[:, 1]), 1e-6)))
        shift = 0.5 * (low + high) * focal
        centre = (0.43 * w - shift[0], 0.52 * h + shift[1])
        return cls(R, eye, focal, (float(centre[0]), float(centre[1])), float(lower[2]), radius)

    def project(self, points: Array) -> Array:
        """``(..., 3)`` to pixels and distance ``(..., 3)``."""
        seen = (np.asarray(points) - self.eye) @ self.R.T
        depth = -seen[..., 2]
        x = self.centre[0] + self.focal * seen[..., 0] / depth
        y = self.centre[1] - self.focal * seen[..., 1] / depth
        return np.stack([x, y, depth], axis=-1)


Part = tuple[Array, NDArray[np.int64], str]  # vertices (V, 3), faces (F, 3), colour


def render(view: View, parts: Sequence[Part]) -> Array:
    """``(H, W, 3)`` in 0..1: shaded hulls with drawn edges over a soft shadow."""
    from matplotlib.colors import to_rgb
    from scipy.ndimage import gaussian_filter

    w, h = (SAMPLES * n for n in SIZE)
    depth = np.full((h, w), np.inf)
    colour = np.ones((h, w, 3)) * PAPER
    which = np.zeros((h, w), dtype=np.int32)
    shade = _shadow(view, parts, (h // 4, w // 4))
    shade = gaussian_filter(shade, h / 4 / 90)
    shade = np.kron(shade, np.ones((4, 4)))[:h, :w]
    colour *= 1 - 0.22 * shade[..., None]
    light = np.array(LIGHT) / np.linalg.norm(LIGHT)
    for index, (vertices, faces, name) in enumerate(parts, 1):
        screen = view.project(vertices)
        screen[:, :2] *= SAMPLES
        corners = vertices[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normals, axis=1)
        facing = np.einsum("ij,ij->i", normals, view.eye - corners[:, 0]) > 0
        rgb = np.array(to_rgb(name))
        for k in np.flatnonzero(facing & (length > 0)):
            n = normals[k] / length[k]
            lit = 0.50 + 0.42 * max(float(n @ light), 0.0) + 0.12 * float(n @ view.R[2])
            tint = np.clip(rgb * lit + 0.06 * max(float(n[2]), 0.0), 0, 1)
            _fill(screen[faces[k]], depth, colour, which, tint, index)
    edge = _edges(depth, which, view.size)
    colour *= 1 - 0.45 * edge[..., None]
    return colour.reshape(SIZE[1], SAMPLES, SIZE[0], SAMPLES, 3).mean(axis=(1, 3))


def _fill(
    triangle: Array, depth: Array, colour: Array, which: NDArray[np.int32], tint: Array, index: int
) -> None:
    """One triangle ``(3, 3)`` of pixels and distances into the buffers."""
    box = _barycentric(triangle, depth.shape)
    if box is None:
        return
    rows, columns, a, b, c, inside = box
    z = 1 / (a / triangle[0, 2] + b / triangle[1, 2] + c / triangle[2, 2])
    near = inside & (z < depth[rows, columns])
    depth[rows, columns][near] = z[near]
    colour[rows, columns][near] = tint
    which[rows, columns][near] = index


def _barycentric(
    triangle: Array, shape: tuple[int, ...]
) -> tuple[slice, slice, Array, Array, Array, NDArray[np.bool_]] | None:
    """Rows and columns of a triangle's box, the coordinates in it, and what is inside."""
    h, w = shape[:2]
    (x0, y0), (x1, y1), (x2, y2) = triangle[:, :2]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 2, w)
    top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 2, h)
    if abs(area) < 1e-9 or left >= right or top >= bottom:
        return None
    x = np.arange(left, right)[None] + 0.5
    y = np.arange(top, bottom)[:, None] + 0.5
    a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
    b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
    c = 1 - a - b
    inside = (a >= 0) & (b >= 0) & (c >= 0)
    return slice(top, bottom), slice(left, right), a, b, c, inside


def _shadow(view: View, parts: Sequence[Part], shape: tuple[int, int]) -> Array:
    """``shape``, 1 where the robot keeps the light from the ground."""
    light = np.array(LIGHT) / np.linalg.norm(LIGHT)
    shadow = np.zeros(shape)
    for vertices, faces, _ in parts:
        fallen = vertices - (vertices[:, 2:] - view.ground) / light[2] * light
        screen = view.project(fallen)
        screen[:, :2] *= shape[1] / SIZE[0]
        for face in faces:
            box = _barycentric(screen[face], shape)
            if box is not None:
                shadow[box[0], box[1]][box[-1]] = 1.0
    return shadow


def _edges(depth: Array, which: NDArray[np.int32], size: float) -> Array:
    """1 where one link ends before another, or before the background."""
    edge = np.zeros(depth.shape)
    near = np.where(np.isfinite(depth), depth, 1e3 * size)
    for axis in (0, 1):
        step = np.abs(np.diff(near, axis=axis)) > 0.02 * size
        change = (np.diff(which, axis=axis) != 0) | step
        pad = [(0, 0), (0, 0)]
        for before in (True, False):
            pad[axis] = (1, 0) if before else (0, 1)
            edge = np.maximum(edge, np.pad(change, pad).astype(float))
    return edge
