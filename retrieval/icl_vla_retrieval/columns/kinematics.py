"""Forward kinematics of many configurations at once, and how a recorded pose relates to it.

A recorded pose may be of another tool and in another frame than ours::

    T_recorded = X @ T_base_ee(q) @ Y

with constant ``X`` (our base in the recorded frame) and ``Y`` (the recorded tool in ours). Whatever
X and Y are, the angle between the rotations of two frames is that of ``T_base_ee``: by this, order
and units of joint columns are tried before X and Y are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.action_space import Rotation
from icl_vla_embodiments.robot_model import RobotModel

CLOSE, TURNED = 0.01, 0.035  # [m], [rad]: root mean squares up to which a pose is our tool's
Array = NDArray[np.float64]


class Chain:
    """Kinematics of one arm's tool centre point by exponentials, other joints neutral.

    Attributes:
        joints: The arm's, from base to tip.
    """

    def __init__(self, model: RobotModel, effector: str) -> None:
        self.joints = model.embodiment.group(effector).joints
        self._start = np.array([model.embodiment.neutral.get(j, 0.0) for j in self.joints])
        self._tip = model.T_base_frame(model.neutral, effector)
        self._screws = [_screw(model, j) for j in self.joints]

    def __call__(self, q: Array) -> Array:
        """``(..., k)`` positions of the arm's joints to ``T_base_ee`` ``(..., 4, 4)``."""
        T = np.broadcast_to(np.eye(4), (*q.shape[:-1], 4, 4))
        for i, screw in enumerate(self._screws):
            T = T @ _exp(screw, q[..., i] - self._start[i])
        return np.asarray(T @ self._tip)


def _screw(model: RobotModel, joint: str) -> Array:
    """``(6,)`` linear, angular motion of a joint in the base frame; kinematics must be current."""
    index = model.model.getJointId(joint)
    kind = model.model.joints[index]
    data = kind.createData()
    q = model.full(model.neutral)
    kind.calc(data, q)
    motion = pin.Motion(np.asarray(data.S, dtype=float).reshape(6))
    return np.array(model.data.oMi[index].act(motion).vector)


def _exp(screw: Array, angle: Array) -> Array:
    """``(...,)`` angles about (or lengths along) a unit screw to ``(..., 4, 4)``."""
    v, w = screw[:3], screw[3:]
    if not w.any():
        return se3.pose(None, angle[..., None] * v)
    S = se3.skew(w)
    a = angle[..., None, None]
    V = a * np.eye(3) + (1 - np.cos(a)) * S + (a - np.sin(a)) * (S @ S)
    return se3.pose(se3.exp3(angle[..., None] * w), V @ v)


@dataclass(frozen=True)
class PoseFit:
    """A recorded pose as ours.

    Attributes:
        rotation: How its rotation is written; empty for a position alone.
        X: ``(4, 4)`` our base in the recorded frame.
        Y: ``(4, 4)`` the recorded tool in ours.
        distance: Root mean square of what is left [m].
        angle: The same [rad].
    """

    rotation: str
    X: Array
    Y: Array
    distance: float
    angle: float

    @property
    def good(self) -> bool:
        return self.distance < CLOSE and self.angle < TURNED

    @property
    def same_frames(self) -> bool:
        """Whether the recorded pose is our tool centre point in our base frame."""
        shift = max(np.abs(self.X[:3, 3]).max(), np.abs(self.Y[:3, 3]).max())
        turn = max(np.abs(se3.log3(self.X[:3, :3])).max(), np.abs(se3.log3(self.Y[:3, :3])).max())
        return bool(shift < 2e-3 and turn < 5e-3)

    def ours(self, recorded: Array) -> Array:
        """Recorded ``(..., 4, 4)`` to ``T_base_ee``."""
        return np.asarray(se3.inverse(self.X) @ recorded @ se3.inverse(self.Y))


def rotation_matrices(coordinates: Array, rotation: str) -> Array:
    """``(..., k)`` to ``(..., 3, 3)``; ``rotation`` may end in ``deg``."""
    name, _, unit = rotation.partition(" ")
    x = coordinates * (math.pi / 180 if unit == "deg" else 1.0)
    if name == "quat_wxyz":
        name, x = "quat_xyzw", np.roll(x, -1, axis=-1)
    return Rotation(name).matrix(x)


def rotations_of(coordinates: Array) -> list[str]:
    """Ways in which a rotation of 3, 4 or 6 numbers may be written."""
    width = coordinates.shape[-1]
    if width == 4:
        norms = np.linalg.norm(coordinates, axis=-1)
        return ["quat_xyzw", "quat_wxyz"] if np.abs(norms - 1).max() < 0.02 else []
    if width == 6:
        columns = [np.linalg.norm(c, axis=-1) for c in np.split(coordinates, 2, axis=-1)]
        return ["rot6d"] if max(np.abs(c - 1).max() for c in columns) < 0.02 else []
    if width != 3:
        return []
    largest = np.abs(coordinates).max()
    if largest > 2 * math.pi + 0.1:
        return ["euler_xyz deg", "rotvec deg"]
    return ["euler_xyz", "rotvec", "euler_xyz deg", "rotvec deg"]


def turning(R: Array) -> Array:
    """Angles between each rotation and the one half the rows later: they know no frames."""
    half = len(R) // 2
    relative = np.swapaxes(R[: len(R) - half], -1, -2) @ R[half:]
    cosine = (np.trace(relative, axis1=-2, axis2=-1) - 1) / 2
    return np.arccos(np.clip(cosine, -1, 1))


def fit_pose(recorded: Array, rotation: str, T: Array) -> PoseFit:
    """Frames in which recorded poses are those of our tool.

    Args:
        recorded: ``(N, 3 + k)``.
        rotation: How the ``k`` numbers are a rotation; empty for none.
        T: ``(N, 4, 4)`` of ours.
    """
    p = recorded[:, :3]
    fits = []
    if not rotation:
        for RX in (np.eye(3), _kabsch(T[:, :3, 3] - T[:, :3, 3].mean(0), p - p.mean(0))):
            x = (p - T[:, :3, 3] @ RX.T).mean(0)
            left = p - T[:, :3, 3] @ RX.T - x
            fits.append(PoseFit("", se3.pose(RX, x), np.eye(4), _rms(left), 0.0))
    else:
        R = rotation_matrices(recorded[:, 3:], rotation)
        turns = se3.log3(T[:, :3, :3] @ T[:1, :3, :3].swapaxes(-1, -2))
        theirs = se3.log3(R @ R[:1].swapaxes(-1, -2))
        for RX in (np.eye(3), _kabsch(turns, theirs)):
            RY = se3.project_rotation((T[:, :3, :3].swapaxes(-1, -2) @ RX.T @ R).mean(axis=0))
            angle = _rms(se3.log3((RX @ T[:, :3, :3] @ RY).swapaxes(-1, -2) @ R))
            y, x, left = _shifts(p, T, RX)
            fits.append(PoseFit(rotation, se3.pose(RX, x), se3.pose(RY, y), _rms(left), angle))
    first, second = fits
    keep = first.distance < 1.5 * second.distance + 1e-4 and first.angle < 1.5 * second.angle + 1e-3
    return first if keep else second


def _shifts(p: Array, T: Array, RX: Array) -> tuple[Array, Array, Array]:
    """``y``, ``x`` and what is left of ``p = RX (t + R y) + x``, by least squares.

    Where the data do not need them, the smallest: no tool offset is invented.
    """
    b = p - T[:, :3, 3] @ RX.T
    if _rms(b) < 1e-3:
        return np.zeros(3), np.zeros(3), b
    shifted = b - b.mean(0)
    if _rms(shifted) < 1e-3:
        return np.zeros(3), b.mean(0), shifted
    A = np.concatenate([RX @ T[:, :3, :3], np.broadcast_to(np.eye(3), (len(T), 3, 3))], axis=-1)
    solution = np.linalg.lstsq(A.reshape(-1, 6), b.reshape(-1), rcond=1e-6)[0]
    return solution[:3], solution[3:], b - (A @ solution)


def _kabsch(a: Array, b: Array) -> Array:
    """The rotation that turns vectors ``a`` into ``b`` ``(N, 3)`` best."""
    U, _, Vt = np.linalg.svd(b.T @ a)
    return np.asarray(U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt)


def _rms(x: Array) -> float:
    return float(np.sqrt((x**2).sum(axis=-1).mean()))
