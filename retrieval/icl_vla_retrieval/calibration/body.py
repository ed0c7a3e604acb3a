"""The robot as a camera sees it: its links' hulls in each posture, their outlines."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.geometry import Hull, hulls_of_tree
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf.normalise import tree_of_text

from .pinhole import NEAREST, Pinhole

_STILL = 1e-3  # [m] that a link's points may move and still count as standing


@dataclass(frozen=True)
class Outline:
    """Points on the border between the robot and what is behind it, in one picture.

    Attributes:
        points: ``(N, 3)`` on the robot, in the base frame.
        pixels: ``(N, 2)`` where they are seen.
        normals: ``(N, 2)`` unit, out of the robot.
    """

    points: Array
    pixels: Array
    normals: Array


@lru_cache(maxsize=8)
def _visible(urdf: str, path: Path) -> dict[str, tuple[Hull, ...]]:
    """Hulls of every link's visible shapes; they take a tenth of a second."""
    return hulls_of_tree(tree_of_text(urdf, path), "visual")[0]


class Body:
    """A robot's visible shapes in ``F`` postures.

    Args:
        model: Kinematics.
        q: ``(F, n)`` actuated positions.

    Attributes:
        hulls: One convex hull a visible shape, in its link's frame.
        poses: ``(F, K, 4, 4)`` of the hulls' links in the base frame.
        moving: ``(K,)`` whether a hull moves at all.
    """

    def __init__(self, model: RobotModel, q: Array) -> None:
        by_link = _visible(model.embodiment.urdf, model.embodiment.urdf_path)
        known = model.link_poses(q[0])
        named = [(link, h) for link, hs in by_link.items() if link in known for h in hs]
        self.hulls: list[Hull] = [h for _, h in named]
        self._links = [link for link, _ in named]
        # a hull's own offsets hold what its simplification cut off, so they stand off its faces
        self._offsets = [(h.normals @ h.vertices.T).max(axis=1) for h in self.hulls]
        self._model = model
        self._pose(q)

    def posed(self, q: Array) -> Body:
        """The same robot in other postures ``(F, n)``."""
        other = copy(self)
        other._pose(q)
        return other

    def _pose(self, q: Array) -> None:
        each = [self._model.link_poses(x) for x in q]
        self.poses = np.array([[p[link] for link in self._links] for p in each])
        corners = [se3.act(self.poses[:, k], h.vertices) for k, h in enumerate(self.hulls)]
        self.moving = np.array([np.ptp(c, axis=0).max() > _STILL for c in corners], dtype=bool)
        self._vertices = corners  # (F, V, 3) each

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """``(F, count, 3)`` points spread over the moving hulls, in the base frame."""
        areas, picks = [], []
        for k in np.flatnonzero(self.moving):
            a, b, c = (self.hulls[k].vertices[self.hulls[k].faces[:, i]] for i in range(3))
            areas.append(np.linalg.norm(np.cross(b - a, c - a), axis=1))
            picks += [(k, i) for i in range(len(a))]
        weights = np.concatenate(areas)
        chosen = rng.choice(len(picks), size=count, p=weights / weights.sum())
        out = np.empty((len(self.poses), count, 3))
        mix = rng.dirichlet(np.ones(3), size=count)
        for n, choice in enumerate(chosen):
            k, face = picks[choice]
            corners = self._vertices[k][:, self.hulls[k].faces[face]]  # (F, 3, 3)
            out[:, n] = np.einsum("c,fcx->fx", mix[n], corners)
        return out

    def mask(
        self, frame: int, camera: Pinhole, size: tuple[int, int], *, grow: int = 0
    ) -> NDArray[np.uint8]:
        """``(H, W)`` 1 where the robot is seen in a posture, grown by some pixels."""
        import cv2

        mask = np.zeros(size, np.uint8)
        for k in range(len(self.hulls)):
            ring = self._ring(frame, k, camera)
            if ring is not None:
                _fill(mask, ring[1])
        if grow:
            mask = cv2.dilate(mask, np.ones((2 * grow + 1,) * 2, np.uint8)).astype(np.uint8)
        return mask

    def outline(
        self, frame: int, camera: Pinhole, size: tuple[int, int], *, spacing: float = 4.0
    ) -> Outline:
        """The border of the robot's moving parts against all else, every few pixels.

        A hull is seen as the convex polygon round its projected vertices; points inside the
        polygon of another hull are not on the robot's border.
        """
        h, w = size
        rings = [self._ring(frame, k, camera) for k in range(len(self.hulls))]
        mask = np.zeros((h + 2 * _PAD, w + 2 * _PAD), np.uint8)
        points, normals = [], []
        for k, ring in enumerate(rings):
            if ring is None:
                continue
            _fill(mask, ring[1] + _PAD)
            if self.moving[k]:
                X, n = _along(self._vertices[k][frame][ring[0]], ring[1], spacing)
                points.append(X)
                normals.append(n)
        if not points:
            return Outline(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros((0, 2)))
        X, n = np.concatenate(points), np.concatenate(normals)
        u, _ = camera.project(X)
        inside = (u >= 2).all(axis=1) & (u[:, 0] < w - 2) & (u[:, 1] < h - 2)
        X, u, n = X[inside], u[inside], n[inside]
        beyond = np.round(u + 2.0 * n).astype(int) + _PAD
        free = mask[beyond[:, 1], beyond[:, 0]] == 0
        return Outline(X[free], u[free], n[free])

    def box(self, frame: int) -> tuple[Array, Array]:
        """Lower and upper corner ``(3,)`` of the robot in a posture."""
        corners = np.concatenate([v[frame] for v in self._vertices])
        return corners.min(axis=0), corners.max(axis=0)

    def distance(self, frame: int, points: Array) -> tuple[Array, Array]:
        """Of points ``(N, 3)`` from the nearest hull [m], and its outward normals there.

        Negative inside. Outside the distance is to the plane of the face that is farthest beyond,
        which is exact next to a face.
        """
        best = np.full(len(points), np.inf)
        normals = np.zeros((len(points), 3))
        for k, hull in enumerate(self.hulls):
            T = self.poses[frame, k]
            local = se3.act(se3.inverse(T), points)
            beyond = local @ hull.normals.T - self._offsets[k]
            face = beyond.argmax(axis=1)
            d = beyond[np.arange(len(points)), face]
            nearer = np.abs(d) < np.abs(best)
            best[nearer] = d[nearer]
            normals[nearer] = hull.normals[face[nearer]] @ T[:3, :3].T
        return best, normals

    def _ring(self, frame: int, k: int, camera: Pinhole) -> tuple[NDArray, Array] | None:
        """Vertices that make the outline of one hull, and their pixels, clockwise as seen."""
        import cv2

        pixels, z = camera.project(self._vertices[k][frame])
        if z.min() <= NEAREST:
            return None
        ring = cv2.convexHull(pixels.astype(np.float32), returnPoints=False)[:, 0]
        return ring, pixels[ring]


_PAD = 16  # [px] round the picture, so that what is just outside still covers


def _fill(mask: NDArray[np.uint8], polygon: Array) -> None:
    import cv2

    far = np.clip(polygon, -4096, 4096)  # OpenCV's fixed point overflows beyond
    cv2.fillConvexPoly(mask, np.round(far * 16).astype(np.int32), 1, shift=4)


def _along(vertices: Array, ring: Array, spacing: float) -> tuple[Array, Array]:
    """Points in space about every ``spacing`` pixels of a closed polygon, and its normals."""
    edges = np.roll(ring, -1, axis=0) - ring
    lengths = np.linalg.norm(edges, axis=1)
    counts = np.minimum(np.round(lengths / spacing).astype(int), 200)
    index = np.repeat(np.arange(len(ring)), counts)
    share = (np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[
        index
    ]
    following = (index + 1) % len(ring)
    points = (1 - share)[:, None] * vertices[index] + share[:, None] * vertices[following]
    tangent = edges[index] / np.maximum(lengths[index], 1e-9)[:, None]
    area = np.sum(ring[:, 0] * np.roll(ring[:, 1], -1) - ring[:, 1] * np.roll(ring[:, 0], -1))
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1) * np.sign(area)
    return points, normal
