"""Cameras that were knocked since they were calibrated: found again by the robot and the table.

Forward kinematics says where the robot's surface is, and a table is level. What a depth camera sees
of both lies there if the camera is where it was said to be. If not, its pose is refined from one
picture (point to plane: Chen and Medioni, *Object modelling by registration of multiple range
images*, 1992), and taken if it explains the picture much better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from icl_vla_embodiments import CameraImage, Observation, se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval.calibration import Body, Pinhole, normal_equations

_PIXELS = 20_000  # that are looked at
_SOME = 500  # points of the robot, and of the table
_LEAST = 40  # points of the robot, and of the table, that a pose can be told by
_FAR = 0.12  # [m] from where the robot or the table should be: something else
_ABOVE = 0.06  # [m] over the table, so that the robot is not taken for it
_RANGE = (0.05, 3.0)  # [m] of sound returns
_REACHES = (0.12, 0.12, 0.1, 0.1, 0.08, 0.08, 0.06, 0.06, 0.04, 0.04, 0.03, 0.03, 0.02, 0.02)
_KNOCKED = 0.06  # [m] or [rad] that a camera may have been knocked by, about
_HEIGHT = 0.005  # [m] that the table's height is uncertain by
_METRE = 0.002  # [m] that a depth is uncertain by at best
_ALIKE = 10.0  # neighbouring pixels err alike: so many count as one
_LONGEST = 0.05  # [m] or [rad] in one step
_EXPLAINED = 0.006  # [m] from a surface
_TRIES = 16
_FARTHEST = 0.15  # [m] or [rad]: a camera that was moved on purpose, or a wrong fit
_ENOUGH = 0.85  # of the robot's points, and of the table's, that a right pose explains
_BETTER = 0.15  # more than before


@dataclass(frozen=True)
class Moved:
    """What became of a camera.

    Attributes:
        T_base_camera: ``(4, 4)`` where it is.
        shift: How far from where it was said to be [m].
        turn: By how much it is turned [rad].
    """

    T_base_camera: Array
    shift: float
    turn: float


class CameraCheck:
    """Tells where fixed depth cameras are.

    Args:
        body: The robot's visible shapes.
        table: Height of the table in the base frame [m].

    Attributes:
        moved: Camera -> what became of it, of those that are not where they were said to be.
    """

    def __init__(self, body: Body, table: float) -> None:
        self._body = body
        self._table = table
        self._known: set[str] = set()
        self.moved: dict[str, Moved] = {}

    def __call__(self, observation: Observation) -> Observation:
        """The observation with cameras where they are; each is looked for when first seen."""
        if observation.q is None:
            return observation
        cameras = dict(observation.cameras)
        for name, image in cameras.items():
            if image.mount is not None or image.depth is None:
                continue
            if image.intrinsics is None or image.T_mount_camera is None:
                continue
            if name not in self._known:
                self._known.add(name)
                moved = knocked(image, self._body.posed(observation.q[None]), self._table)
                if moved is not None:
                    self.moved[name] = moved
            if name in self.moved:
                cameras[name] = replace(image, T_mount_camera=self.moved[name].T_base_camera)
        return replace(observation, cameras=cameras)


def knocked(image: CameraImage, body: Body, table: float) -> Moved | None:
    """Where a fixed camera is; None if it may well be where it is said to be, or nobody can tell.

    Args:
        image: With depth, intrinsics and pose.
        body: The robot in its present posture.
        table: Height of the table in the base frame [m].
    """
    assert image.intrinsics is not None and image.T_mount_camera is not None
    if not body.hulls:
        return None
    told = Pinhole.of(image.intrinsics, np.asarray(image.T_mount_camera))
    view = _View.of(image, told, body, table)
    as_told = view.explained(told)
    if len(view.robot) < _LEAST or min(as_told) > _ENOUGH:
        return None
    before = np.mean(as_told)
    camera = view.fitted(told)
    if np.mean(view.explained(camera)) < before + _BETTER:
        return None
    for start in (camera, *_about(camera)):
        view = _View.of(image, start, body, table)
        camera = view.fitted(start)
        shift, turn = told.difference(camera)
        after = view.explained(camera)
        enough = min(after) > _ENOUGH and np.mean(after) > before + _BETTER
        if enough and max(shift, turn) < _FARTHEST:
            return Moved(camera.T_base_camera, shift, turn)
    return None


def _about(camera: Pinhole) -> Iterator[Pinhole]:
    """Poses that see the table where this one does, turned and shifted along it."""
    rng = np.random.default_rng(0)
    for _ in range(_TRIES):
        shift, turn = _KNOCKED * rng.normal(size=2), _KNOCKED * rng.normal()
        moved = se3.pose(se3.yaw(turn), np.append(shift, 0.0))
        yield replace(camera, T_camera_base=camera.T_camera_base @ moved)


@dataclass(frozen=True)
class _View:
    """Points that should be the robot's ``(N, 3)``, and the table's, as the camera sees them [m].

    Attributes:
        depth: ``(H, W)`` [m].
        robot: In camera axes.
        flat: In camera axes.
        body: The robot.
        table: Height of the table [m].
    """

    depth: Array
    robot: Array
    flat: Array
    body: Body
    table: float

    @classmethod
    def of(cls, image: CameraImage, camera: Pinhole, body: Body, table: float) -> _View:
        """What lies near to either."""
        assert image.depth is not None
        depth = np.asarray(image.depth, dtype=float)
        v, u = np.nonzero((depth > _RANGE[0]) & (depth < _RANGE[1]))
        pixels = _some(np.stack([u, v], axis=1), _PIXELS)
        seen = camera.rays(pixels.astype(float)) * depth[pixels[:, 1], pixels[:, 0]][:, None]
        points = se3.act(camera.T_base_camera, seen)
        lower, upper = body.box(0)
        by = ((points > lower - _FAR) & (points < upper + _FAR)).all(axis=1)
        robot = _some(seen[by & (points[:, 2] > table + _ABOVE)], 4 * _SOME)
        distance, _ = body.distance(0, se3.act(camera.T_base_camera, robot))
        flat = seen[np.abs(points[:, 2] - table) < _FAR]
        near = robot[np.abs(distance) < _FAR]
        return cls(depth, _some(near, _SOME), _some(flat, _SOME), body, table)

    def explained(self, camera: Pinhole) -> tuple[float, float]:
        """Share of what should show the robot, and of the table's points, that do.

        Nothing of the robot is explained where hardly any of it should be in sight.
        """
        v, u = np.nonzero(self.body.mask(0, camera, self.depth.shape))
        pixels = _some(np.stack([u, v], axis=1), _SOME)
        depth = self.depth[pixels[:, 1], pixels[:, 0]]
        seen = (camera.rays(pixels.astype(float)) * depth[:, None])[depth > _RANGE[0]]
        robot, _ = self.body.distance(0, se3.act(camera.T_base_camera, seen))
        flat = se3.act(camera.T_base_camera, self.flat)[:, 2]
        level = np.abs(flat - np.median(flat)) < _EXPLAINED if len(flat) >= _LEAST else np.zeros(1)
        known = np.abs(robot) < _EXPLAINED if len(seen) >= _LEAST else np.zeros(1)
        return float(known.mean()), float(level.mean())

    def fitted(self, camera: Pinhole) -> Pinhole:
        """The camera that explains most, from where it is said to be (Gauss-Newton)."""
        level, up = self.table, np.array([0.0, 0.0, 1.0])
        for reach in _REACHES:
            T, R = camera.T_base_camera, camera.T_camera_base[:3, :3]
            H, g = np.diag([*[_KNOCKED**-2] * 6, _HEIGHT**-2]), np.zeros(7)
            g[6] = (level - self.table) / _HEIGHT**2
            robot = se3.act(T, self.robot)
            distance, normals = self.body.distance(0, robot)
            near = np.abs(distance) < reach
            height = se3.act(T, self.flat)[:, 2] - level
            flat = np.abs(height) < 0.5 * reach
            for seen, off, n, rise in (
                (self.robot[near], distance[near], normals[near], 0.0),
                (self.flat[flat], height[flat], np.tile(up, (int(flat.sum()), 1)), -1.0),
            ):
                n = n @ R.T
                J = np.concatenate([-n, -np.cross(seen, n), np.full((len(n), 1), rise)], axis=1)
                H_part, g_part = normal_equations(off, J, _METRE)
                H, g = H + H_part / _ALIKE, g + g_part / _ALIKE
            step = -np.linalg.solve(H, g)
            step *= min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-12))
            camera, level = camera.moved(np.append(step[:6], 0.0)), level + step[6]
        return camera


def _some(points: Array, count: int) -> Array:
    """At most so many, evenly chosen."""
    return points[:: max(1, -(-len(points) // count))]
