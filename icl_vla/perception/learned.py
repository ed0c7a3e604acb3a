"""Scene tokens by a learned network: things as it groups them, told apart by what it sees of them.

A backbone (:mod:`.backbone`) says of every pixel whether it shows a thing, of which thing, and what
that looks like. Pixels whose embeddings lie together in one place are a token; views of one thing
from several cameras become one. Depth and calibration put tokens in the base frame, and what
forward kinematics and the links' hulls say is the robot is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from icl_vla_embodiments import CameraImage, Observation
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.kinematics import Kinematics
from icl_vla_embodiments.types import Array

from .backbone import Backbone
from .registration import box_of
from .resizing import enlarged, shrunk
from .sight import cameras_and_links, points_in_base
from .tokens import CLOUD, FINE, SceneTokens, some_of
from .touch import Body, body_of

MOST = 64  # tokens
_KEPT = -0.4  # logit from which a pixel shows a thing; what lies flat is often less sure than even
_TOGETHER = 2.0  # embeddings this near are one thing's: half of what training pushes means apart
_LARGEST = 0.15  # [m] of a thing about its middle
_TOUCHING = 0.01  # [m] between the boxes of two parts of one thing at most
_PICTURE = 256  # [px] that are looked at, about: at half of it, names of small things are lost
_LEAST = 144  # [px] that are looked at: with 96, answers at half the size are too coarse
_RIM = 0.005  # [m]
_PAINTED = 0.5  # times as many pixels as of what stands on a mark there are of the mark
_TINGED = 2.0  # times as unlike as other parts may look those of a mark that things stand on
_SMALLER = 0.6  # of a mark's width: what stands on it is no wider
_CELL = 0.012  # [m]: points in cells that touch hang together,
_NARROW = 0.006  # [m]: of those that stand on a mark,
_PIXELS = 1.4  # or so many pixels, where these are coarser
_MAKING = 13  # version of how groups become tokens
_SCRAP = 20  # [px] of the camera: what is smaller is part of what it touches
_CRUMB = 0.5  # of the largest piece: what is smaller, and a scrap, is left out
SAME = 0.6  # feature distance below which they may be, as in :mod:`.memory`


@dataclass(frozen=True)
class LearnedEncoder:
    """Tokens of one or more calibrated RGB-D cameras.

    Attributes:
        model: Forward kinematics of the robot; None where nobody tells: then cameras are fixed.
        hulls: Its links' hulls; None: then pixels that show the robot should have no depth.
        reach: Points farther from the base than this [m] are ignored.
        backbone: Sees.
        robot_margin: Distance [m] to a hull within which a point belongs to the robot.
        min_pixels: Groups that are smaller in the camera's picture are dropped.
    """

    model: Kinematics | None
    hulls: LinkHulls | None
    reach: float
    backbone: Backbone
    robot_margin: float = 0.012
    min_pixels: int = 6

    @property
    def feature_size(self) -> int:
        """``F``."""
        return self.backbone.feature_size

    @property
    def schema(self) -> str:
        """Names the weights, and how tokens are made of what they see."""
        return schema_with(self.backbone)

    def encode(self, observation: Observation) -> SceneTokens:
        """Tokens of all cameras that have colour, depth and calibration, the largest first.

        Raises:
            ReportedError: No camera has all three, or joint positions are missing.
        """
        usable, links = cameras_and_links(observation, self.model, self.hulls)
        groups = [g for camera in usable for g in self._groups(shrunk(camera, _PICTURE), links)]
        return self._tokens(_merged(groups, SAME / self.backbone.scale))

    def body(self, observation: Observation) -> Body | None:
        """What the robot fills there; None where its shape or posture is not known."""
        return body_of(observation, self.model, self.hulls)

    def _groups(self, camera: CameraImage, links: dict[str, Array]) -> list[_Group]:
        """What one camera shows."""
        own = camera
        camera = enlarged(camera, _LEAST)
        assert camera.rgb is not None and camera.depth is not None and camera.intrinsics is not None
        assert own.depth is not None
        each = own.depth.size / camera.depth.size  # of the camera's pixels
        points = points_in_base(camera, links)
        valid = camera.depth > 0
        seen = self.backbone.look(camera.rgb, points, valid)
        near = valid & (np.linalg.norm(points[..., :2], axis=-1) < self.reach)
        kept = near & (seen.keep > _KEPT)
        if self.hulls is not None:
            robot = self.hulls.mask(points[kept].astype(float), links, self.robot_margin)
            kept[kept] = ~robot
        islands, _ = ndimage.label(kept, np.ones((3, 3)))
        y, x = np.nonzero(kept)
        P = points[y, x]
        half = _surest(seen.keep[::2, ::2], y, x)
        labels = grouped(seen.embedding[half], P, seen.keep[y, x], islands[y, x])
        features = seen.feature[half]
        pixel = camera.depth[y, x] / camera.intrinsics[0, 0]  # [m]
        groups = []
        for label in range(labels.max(initial=-1) + 1):
            mine = np.flatnonzero(labels == label)
            coarse = _PIXELS * float(np.median(pixel[mine]))
            for part, pieces in flat_and_upright(P[mine], coarse, _SCRAP / each):
                some = mine[part]
                sizes = each * np.bincount(pieces)
                least = max(min(_SCRAP, _CRUMB * sizes.max(initial=0)), self.min_pixels)
                for piece in np.flatnonzero(sizes >= least):
                    one = some[pieces == piece]
                    groups.append(
                        _Group(P[one].astype(float), features[one].mean(axis=0), sizes[piece])
                    )
        return groups

    def _tokens(self, groups: list[_Group]) -> SceneTokens:
        if not groups:
            return SceneTokens.empty(self.feature_size)
        groups = sorted(groups, key=lambda g: -g.pixels)[:MOST]
        boxes = np.stack([g.box for g in groups])  # (M, 2, 3)
        return SceneTokens(
            positions=boxes.mean(axis=1),
            features=self.backbone.scale * np.stack([g.unit for g in groups]),
            extents=boxes[:, 1] - boxes[:, 0],
            clouds=np.stack([some_of(g.points, CLOUD) for g in groups]),
            pixels=np.array([g.pixels for g in groups]),
            fine=np.stack([some_of(g.points, FINE) for g in groups]),
        )


@dataclass(frozen=True)
class _Group:
    """What is taken for one thing: points ``(P, 3)`` [m], their mean feature ``(F,)``, and size."""

    points: Array
    feature: Array
    pixels: float

    @cached_property
    def box(self) -> Array:
        """``(2, 3)`` lower and upper corner of most of it."""
        return box_of(self.points)

    @property
    def unit(self) -> Array:
        """The feature at length 1."""
        return self.feature / max(float(np.linalg.norm(self.feature)), 1e-9)

    def on(self, other: _Group) -> bool:
        """Whether it stands on another that is as thin as paint."""
        enough = other.pixels >= max(_SCRAP, _PAINTED * self.pixels)
        return enough and other.thin and bool(self.box[1, 2] > other.box[0, 2] + 3 * _RIM)

    @property
    def thin(self) -> bool:
        """Whether it is as thin as paint."""
        return bool(np.ptp(self.box[:, 2]) <= 2 * _RIM)

    def with_(self, other: _Group) -> _Group:
        """Both as one."""
        n, m = self.pixels, other.pixels
        feature = (n * self.feature + m * other.feature) / (n + m)
        return _Group(np.concatenate([self.points, other.points]), feature, n + m)


def _merged(groups: list[_Group], same: float) -> list[_Group]:
    """Groups that touch and look alike are parts, or other sides, of one thing; so are scraps."""
    done: list[_Group] = []
    for group in sorted(groups, key=lambda g: -g.pixels):
        for i, other in enumerate(done):
            low = np.maximum(group.box[0], other.box[0])
            high = np.minimum(group.box[1], other.box[1])
            touch = (low - high).max() < _TOUCHING and not (group.on(other) or other.on(group))
            small = group.pixels < _SCRAP
            alike = same * (_TINGED if group.thin and other.thin else 1.0)
            if touch and (small or np.linalg.norm(group.unit - other.unit) < alike):
                done[i] = other.with_(group)
                break
        else:
            done.append(group)
    return done


def _surest(
    keep: NDArray[np.float32], y: NDArray[np.int64], x: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns ``(P,)`` of a picture of half the size whose answers hold for pixels.

    Between two of them, those of the one that is surer to show a thing.

    Args:
        keep: ``(H/2, W/2)`` logits.
        y: ``(P,)`` rows of the whole picture.
        x: ``(P,)`` columns.
    """
    rows, columns = (
        np.stack([a // 2, np.minimum((a + 1) // 2, n - 1)])
        for a, n in zip((y, x), keep.shape, strict=True)
    )
    rows, columns = np.repeat(rows, 2, axis=0), np.tile(columns, (2, 1))  # (4, P)
    best = np.argmax(keep[rows, columns], axis=0), np.arange(len(y))
    return rows[best], columns[best]


def schema_with(backbone: Backbone) -> str:
    """What tokens made with a backbone are called."""
    return f"{backbone.schema}/{_MAKING}"


def above_ground(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of points ``(P, 3)`` of a thing are not as low as what it stands on; all if it is flat.

    At half the picture's size its edge takes in some of the ground, which blurs how it is turned.
    """
    if not len(points):
        return np.zeros(0, dtype=bool)
    low, high = box_of(points[:, 2:])[:, 0]
    if high - low <= 3 * _RIM:
        return np.ones(len(points), dtype=bool)
    return np.asarray(points[:, 2] > low + _RIM)


def flat_and_upright(
    points: NDArray[np.float32], coarse: float, least: float
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of points ``(P, 3)`` painted flat, and of those that stand on it; or all of a thing's.

    Small things on a mark are one with it in a picture.

    Args:
        points: Taken for one thing [m].
        coarse: Distance between points [m].
        least: Points that what is painted has at least.

    Returns:
        Rows, and which of them hang together (:func:`in_pieces`).
    """

    def hanging(
        some: NDArray[np.bool_], cell: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = np.flatnonzero(some)
        return rows, in_pieces(points[rows], max(cell, coarse))

    flat = painted(points, least)
    if flat.any():
        upright, pieces = hanging(~flat, _NARROW)
        wide = np.ptp(box_of(points[flat, :2]), axis=0).max()
        each = (points[upright[pieces == n], :2] for n in range(pieces.max(initial=-1) + 1))
        # something wider is a rim, as of a bowl
        if all(np.ptp(box_of(piece), axis=0).max() <= _SMALLER * wide for piece in each):
            return [hanging(flat, _CELL), (upright, pieces)]
    return [hanging(above_ground(points), _CELL)]


def painted(points: NDArray[np.float32], least: float) -> NDArray[np.bool_]:
    """Which of points ``(P, 3)`` may be paint that others stand on; none if too few or all are.

    Args:
        points: Taken for one thing [m].
        least: Points that what is painted has at least.
    """
    none = np.zeros(len(points), dtype=bool)
    if not len(points):
        return none
    z = points[:, 2]
    low, high = box_of(points[:, 2:])[:, 0]
    flat = z <= low + 2 * _RIM
    enough = max(least, _PAINTED * (~flat).sum())
    stood_on = high - low > 3 * _RIM and flat.sum() >= enough
    return flat if stood_on and np.median(z[flat]) <= low + _RIM else none


def in_pieces(points: NDArray[np.float32], cell: float) -> NDArray[np.int64]:
    """Which of points ``(P, 3)`` hang together in space: numbers ``(P,)`` from 0 on.

    Two things that look alike, one behind the other, hang together in a picture.

    Args:
        points: [m].
        cell: Edge of cubes [m]; points hang together where such that hold some touch.
    """
    if not len(points):
        return np.zeros(0, dtype=int)
    cells = np.floor(points / cell).astype(int)
    cells -= cells.min(axis=0)
    filled = np.zeros(cells.max(axis=0, initial=0) + 1, dtype=bool)
    filled[tuple(cells.T)] = True
    labels, _ = ndimage.label(filled, np.ones((3, 3, 3)))
    return np.asarray(labels[tuple(cells.T)] - 1)


def grouped(
    embedding: NDArray[np.float32],
    points: NDArray[np.float32],
    keep: NDArray[np.float32],
    island: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Which pixels are one thing: the surest one takes what lies about it, then the next.

    Args:
        embedding: ``(P, E)``.
        points: ``(P, 3)`` [m].
        keep: ``(P,)`` logits.
        island: ``(P,)`` the same for pixels that hang together in the picture.

    Returns:
        ``(P,)`` numbers from 0 on.
    """
    labels = np.full(len(keep), -1)
    free = np.argsort(-keep, kind="stable")
    count = 0
    while len(free):
        home = island[free] == island[free[0]]
        middle, place = embedding[free[0]], points[free[0]]
        for _ in range(2):  # about the surest pixel, then about the middle of what that found
            apart = np.linalg.norm(embedding[free] - middle, axis=1)
            way = np.linalg.norm(points[free] - place, axis=1)
            mine = home & (apart < _TOGETHER) & (way < _LARGEST)
            mine[0] = True  # or it would never end
            middle, place = embedding[free[mine]].mean(axis=0), points[free[mine]].mean(axis=0)
        labels[free[mine]] = count
        free, count = free[~mine], count + 1
    return labels
