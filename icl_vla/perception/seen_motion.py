"""What moves while a robot works, as fixed depth cameras saw it, and where in it the hand is.

Nothing about the robot is known. A pixel shows something that moves where it is nearer than the far
end of what it ever shows. The hand is what has come to the place where work begins: it is taken
from the frame before the gripper first shuts or, where none does, from the first where what has
come does not go lower soon: later, things that were moved may lie lower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Demonstration

_FRAMES = 64  # of a demonstration that are looked at
_FAR_END = 97.0  # percentile of a pixel's depth: noise lies beyond, hands are nearer
_BEFORE = 0.015  # [m]
_FRESH = 0.02  # [m] from everything that stood out in the beginning
_HAND = 0.10  # [m] from its lowest point
_LEAST = 20  # points of a hand
_LOWEST = 20  # points: fewer may be noise
_OPEN = 0.5  # opening that a gripper shuts through
_SETTLED = 0.005  # [m] over the lowest that is soon to come: it has come down
_AT_WORK = 0.15  # [m] over the lowest of all, which may be a thing that was moved
_MOSTLY = 0.5  # of what is there has come
_SOON = 6  # th part of a demonstration


@dataclass(frozen=True)
class View:
    """What a fixed camera saw of ``F`` frames.

    Attributes:
        intrinsics: ``(3, 3)``.
        T_camera_base: ``(4, 4)``.
        depth: ``(F, H, W)`` [m] along the optical axis; 0 for no return.
        moving: ``(F, H, W)`` whether a pixel shows something that moves.
    """

    intrinsics: Array
    T_camera_base: Array
    depth: NDArray[np.float32]
    moving: NDArray[np.bool_]

    @classmethod
    def of(cls, intrinsics: Array, T_base_camera: Array, depth: NDArray[np.float32]) -> View:
        """Find out what moves."""
        seen = np.where(depth > 0, depth, np.nan)
        known = np.isfinite(seen).any(axis=0)
        far = np.zeros(depth.shape[1:], dtype=np.float32)
        far[known] = np.nanpercentile(seen[:, known], _FAR_END, axis=0)
        moving = (depth > 0) & (depth < far - _BEFORE)
        return cls(intrinsics, se3.inverse(T_base_camera), depth, moving)

    def cloud(self, f: int) -> Array:
        """Points ``(N, 3)`` in the base frame [m] of what moves, in a frame."""
        v, u = np.nonzero(self.moving[f])
        z = self.depth[f, v, u].astype(float)
        K = self.intrinsics
        points = np.stack([(u - K[0, 2]) / K[0, 0] * z, (v - K[1, 2]) / K[1, 1] * z, z], axis=1)
        return se3.act(se3.inverse(self.T_camera_base), points)


@dataclass(frozen=True)
class SeenMotion:
    """A demonstration as fixed depth cameras saw it; ``F`` of its frames.

    Attributes:
        q: ``(F, n)`` measured joint positions.
        views: One a camera.
        clouds: Of each frame ``(N, 3)`` points of what moves, in the base frame [m].
        hand: ``(P, 3)`` points of the hand in one frame.
        at: That frame.
    """

    q: Array
    views: Sequence[View]
    clouds: Sequence[Array]
    hand: Array
    at: int


def seen_motion(d: Demonstration, joints: Sequence[int], effector: str) -> SeenMotion | None:
    """A demonstration as its fixed depth cameras saw it; None where they saw no hand.

    Args:
        d: The same.
        joints: Columns of ``q`` that are joints of the arm.
        effector: Whose gripper shuts.

    Raises:
        ReportedError: No camera is fixed, calibrated and measures depth.
    """
    frames = np.unique(np.linspace(0, len(d) - 1, min(len(d), _FRAMES)).astype(int))
    views = []
    for track in d.cameras.values():
        if track.mount is not None or track.depth is None:
            continue
        if track.intrinsics is not None and track.T_mount_camera is not None:
            pose = np.asarray(track.T_mount_camera, dtype=float)
            views.append(View.of(np.asarray(track.intrinsics), pose, track.depth[frames]))
    if not views:
        raise ReportedError(
            "a robot that is not known can be told only by depth cameras that stand still",
            where=repr(d.instruction),
            value=list(d.cameras),
            valid=["a camera with depth, intrinsics and pose in the base frame"],
            remedy="give the robot's URDF (icl-vla add-embodiment), or such a camera",
        )
    clouds = [np.concatenate([v.cloud(f) for v in views]) for f in range(len(frames))]
    commanded = d.gripper_commands.get(effector)
    found = _at_work(clouds, None if commanded is None else commanded[frames])
    if found is None:
        return None
    at, hand = found
    return SeenMotion(d.q[frames][:, list(joints)], views, clouds, hand, at)


def _at_work(clouds: Sequence[Array], opening: Array | None) -> tuple[int, Array] | None:
    """The frame in which work begins, and the hand's points there; None where nothing is seen."""
    begun = cKDTree(clouds[0]) if len(clouds[0]) else None

    def came(f: int) -> NDArray[np.bool_]:
        if begun is None:
            return np.ones(len(clouds[f]), dtype=bool)
        return np.asarray(begun.query(clouds[f])[0] > _FRESH)

    def hand(f: int) -> tuple[Array, float]:
        """Its points, and the height of the lowest; none where too much stood there before."""
        none = np.zeros((0, 3)), np.inf
        if len(clouds[f]) < _LEAST:
            return none
        fresh = came(f)
        if fresh.sum() < _LEAST:
            return none
        points = clouds[f][fresh]
        low = points[np.argsort(points[:, 2])[:_LOWEST]]
        about = np.median(low, axis=0)
        by = np.linalg.norm(clouds[f] - about, axis=1) < _HAND
        if not by.any() or fresh[by].mean() < _MOSTLY:
            return none
        return clouds[f][by & fresh], float(about[2])

    each = [hand(f) for f in range(len(clouds))]
    if opening is not None:
        shuts = np.flatnonzero((opening[:-1] > _OPEN) & (opening[1:] <= _OPEN))
        for f in shuts[:1]:
            if len(each[f][0]) >= _LEAST:
                return int(f), each[f][0]
    heights = np.array([height for _, height in each])
    if not np.isfinite(heights).any():
        return None
    coming = max(len(clouds) // _SOON, 1)
    lowest = np.array([heights[f : f + coming + 1].min() for f in range(len(clouds))])
    low = heights < heights.min() + _AT_WORK
    f = int(np.argmax(low & (heights < lowest + _SETTLED)))
    return f, each[f][0]
