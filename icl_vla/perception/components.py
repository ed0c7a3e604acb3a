"""Scene tokens without learning: connected regions of colour and depth, the robot masked by FK.

A region grows over neighbouring pixels whose 3-D points and chromaticities are close. What belongs
to the table is left out, unless its colour differs from the table's; what lies within a centimetre
of one of the robot's links, posed by forward kinematics, is the robot. Regions of several cameras
that lie in one place and look alike are one thing (:mod:`.views`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from icl_vla_embodiments import CameraImage, Observation
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.kinematics import Kinematics
from icl_vla_embodiments.types import Array

from .registration import box_of
from .sight import cameras_and_links, points_in_base
from .tokens import CLOUD, SceneTokens, some_of
from .touch import Body, body_of
from .views import merged, size_features


@dataclass(frozen=True)
class ComponentEncoder:
    """Connected components of one or more calibrated RGB-D cameras.

    Attributes:
        model: Forward kinematics of the robot; None where nobody tells: then cameras are fixed.
        hulls: Its links' hulls; None: then pixels that show the robot should have no depth.
        reach: Points farther from the base than this [m] are ignored.
        robot_margin: Distance [m] to a hull within which a point belongs to the robot.
        table_height: Points this high [m] above the table stand out by shape.
        table_contrast: Chromaticity distance to the table that stands out by colour.
        link_distance: Neighbouring pixels are linked up to this 3-D distance [m] ...
        link_contrast: ... and this chromaticity distance.
        min_pixels: Smaller regions are dropped.
    """

    model: Kinematics | None
    hulls: LinkHulls | None
    reach: float
    robot_margin: float = 0.012
    table_height: float = 0.010
    table_contrast: float = 0.10
    link_distance: float = 0.02
    link_contrast: float = 0.09
    min_pixels: int = 14

    schema = "components/2"
    feature_size = 5

    def encode(self, observation: Observation) -> SceneTokens:
        """Tokens of all cameras that have colour, depth and calibration, one for each thing.

        Raises:
            ReportedError: No camera has all three, or joint positions are missing.
        """
        usable, links = cameras_and_links(observation, self.model, self.hulls)
        return merged([self._encode_camera(camera, links) for camera in usable])

    def body(self, observation: Observation) -> Body | None:
        """What the robot fills there; None where its shape or posture is not known."""
        return body_of(observation, self.model, self.hulls)

    def _encode_camera(self, camera: CameraImage, links: dict[str, Array]) -> SceneTokens:
        assert camera.rgb is not None and camera.depth is not None
        points = points_in_base(camera, links)
        color: NDArray[np.float32] = camera.rgb.astype(np.float32) / np.float32(255)
        foreground = self._foreground(points, color, camera.depth > 0, links)
        labels = self._regions(points, color, foreground)
        return self._summarise(points, color, foreground, labels)

    def _foreground(
        self,
        points: NDArray[np.float32],
        color: NDArray[np.float32],
        valid: NDArray[np.bool_],
        links: dict[str, Array],
    ) -> NDArray[np.bool_]:
        z = points[..., 2]
        near = valid & (np.linalg.norm(points[..., :2], axis=-1) < self.reach)
        low = near & (np.abs(z) < 0.05)
        if low.sum() < 100:
            return np.zeros_like(valid)
        counts, edges = np.histogram(z[low], bins=100)
        level = edges[counts.argmax()] + 0.5 * (edges[1] - edges[0])
        on_table = low & (np.abs(z - level) < 0.006)
        level = float(np.median(z[on_table]))
        paint = np.median(color[on_table], axis=0)
        contrast = np.linalg.norm(_chromaticity(color) - _chromaticity(paint), axis=-1)
        darkness = np.abs(color.mean(-1) - paint.mean())
        stands_out = (
            (z > level + self.table_height)
            | (contrast > self.table_contrast)
            | (darkness > 3 * self.table_contrast)
        )
        foreground = near & stands_out & (z < level + 0.5)
        if self.hulls is None:
            return np.asarray(foreground)
        candidates = np.flatnonzero(foreground)
        robot = self.hulls.mask(
            points.reshape(-1, 3)[candidates].astype(float), links, self.robot_margin
        )
        foreground.reshape(-1)[candidates[robot]] = False
        return foreground

    def _regions(
        self,
        points: NDArray[np.float32],
        color: NDArray[np.float32],
        foreground: NDArray[np.bool_],
    ) -> NDArray[np.int32]:
        """Label of each foreground pixel, in row-major order."""
        index = np.full(foreground.shape, -1)
        count = int(foreground.sum())
        index[foreground] = np.arange(count)
        chroma = _chromaticity(color)
        rows, columns = [], []
        for a, b in (
            ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
            ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ):
            y, x = np.nonzero(foreground[a] & foreground[b])
            dy, dx = (0, 1) if a[1] != slice(None) else (1, 0)
            distance = np.linalg.norm(points[y, x] - points[y + dy, x + dx], axis=-1)
            contrast = np.linalg.norm(chroma[y, x] - chroma[y + dy, x + dx], axis=-1)
            keep = (distance < self.link_distance) & (contrast < self.link_contrast)
            rows.append(index[y[keep], x[keep]])
            columns.append(index[y[keep] + dy, x[keep] + dx])
        i, j = np.concatenate(rows), np.concatenate(columns)
        graph = coo_matrix((np.ones(len(i), dtype=bool), (i, j)), shape=(count, count))
        return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int32)

    def _summarise(
        self,
        points: NDArray[np.float32],
        color: NDArray[np.float32],
        foreground: NDArray[np.bool_],
        labels: NDArray[np.int32],
    ) -> SceneTokens:
        if not len(labels):
            return SceneTokens.empty(self.feature_size)
        P, C = points[foreground], color[foreground]
        sizes = np.bincount(labels)
        order = np.argsort(labels, kind="stable")
        starts = np.concatenate([[0], np.cumsum(sizes)])
        rows: list[tuple[Array, Array, Array, Array, int]] = []
        for label in np.flatnonzero(sizes >= self.min_pixels):
            members = order[starts[label] : starts[label + 1]]
            p, c = P[members].astype(float), C[members]
            low, high = box_of(p)
            extent = high - low
            chroma = _chromaticity(np.median(c, axis=0))
            rows.append(
                (
                    0.5 * (low + high),
                    np.concatenate([4 * chroma, size_features(extent)]),
                    extent,
                    some_of(p, CLOUD),
                    len(members),
                )
            )
        if not rows:
            return SceneTokens.empty(self.feature_size)
        return SceneTokens(*(np.stack([np.asarray(r[i]) for r in rows]) for i in range(5)))


def _chromaticity(color: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(..., 3)`` colour with most of its brightness divided out."""
    return np.asarray(color / (color.sum(-1, keepdims=True) + 0.2))
