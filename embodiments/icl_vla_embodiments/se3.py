"""Rigid motions as 4x4 matrices, in numpy alone.

``T_world_ee`` maps coordinates: ``p_world = T_world_ee @ p_ee`` (homogeneous). Every function
broadcasts over leading dimensions. References: Solà et al., *A micro Lie theory for state
estimation in robotics*, 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def skew(w: ArrayLike) -> Array:
    """Matrix of the cross product: ``skew(w) @ u = w x u``. ``(..., 3) -> (..., 3, 3)``."""
    w = np.asarray(w, dtype=float)
    S = np.zeros((*w.shape[:-1], 3, 3))
    S[..., 0, 1], S[..., 0, 2], S[..., 1, 2] = -w[..., 2], w[..., 1], -w[..., 0]
    return S - np.swapaxes(S, -1, -2)


def exp3(w: ArrayLike) -> Array:
    """Rotation of a rotation vector [rad] (Rodrigues). ``(..., 3) -> (..., 3, 3)``."""
    w = np.asarray(w, dtype=float)
    angle = np.linalg.norm(w, axis=-1)[..., None, None]
    S = skew(w)
    a = np.sinc(angle / np.pi)  # sin(t)/t
    b = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2  # (1 - cos t)/t^2
    return np.eye(3) + a * S + b * (S @ S)


def exp6(twist: ArrayLike) -> Array:
    """Motion of a twist ``(v, w)`` in unit time. ``(..., 6) -> (..., 4, 4)``.

    ``v`` [m] is the velocity of the point that is at the origin, ``w`` [rad] the angular one.
    """
    twist = np.asarray(twist, dtype=float)
    v, w = twist[..., :3], twist[..., 3:]
    angle = np.linalg.norm(w, axis=-1)[..., None, None]
    S = skew(w)
    b = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2  # (1 - cos t)/t^2
    small = angle < 1e-3
    safe = np.where(small, 1.0, angle)
    c = np.where(small, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3)
    V = np.eye(3) + b * S + c * (S @ S)
    return pose(exp3(w), (V @ v[..., None])[..., 0])


def quat_xyzw(R: ArrayLike) -> Array:
    """Unit quaternion ``(x, y, z, w)`` with ``w >= 0`` of a rotation matrix (Shepperd)."""
    R = np.asarray(R, dtype=float)
    trace = np.trace(R, axis1=-2, axis2=-1)
    diagonal = np.einsum("...ii->...i", R)
    four_squares = np.concatenate([1 + 2 * diagonal - trace[..., None], 1 + trace[..., None]], -1)
    largest = np.argmax(four_squares, axis=-1)[..., None]
    off = np.stack(
        [R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1
    )
    both = np.stack(
        [R[..., 1, 0] + R[..., 0, 1], R[..., 0, 2] + R[..., 2, 0], R[..., 2, 1] + R[..., 1, 2]], -1
    )
    xy, xz, yz = both[..., 0], both[..., 1], both[..., 2]
    columns = np.stack(
        [
            np.stack([four_squares[..., 0], xy, xz, off[..., 0]], -1),
            np.stack([xy, four_squares[..., 1], yz, off[..., 1]], -1),
            np.stack([xz, yz, four_squares[..., 2], off[..., 2]], -1),
            np.concatenate([off, four_squares[..., 3:]], -1),
        ],
        axis=-2,
    )
    q = np.take_along_axis(columns, largest[..., None], axis=-2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., 3:] < 0, -q, q)


def from_quat_xyzw(q: ArrayLike) -> Array:
    """Rotation matrix of a quaternion ``(x, y, z, w)``, normalised first."""
    x = np.asarray(q, dtype=float)
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    v, w = x[..., :3], x[..., 3, None, None]
    S = skew(v)
    return np.eye(3) + 2 * w * S + 2 * (S @ S)


def log3(R: ArrayLike) -> Array:
    """Rotation vector [rad], norm at most pi. ``(..., 3, 3) -> (..., 3)``."""
    q = quat_xyzw(R)
    sine = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., 3:])
    # angle / sin(angle / 2) -> 2 as the angle goes to 0
    return q[..., :3] * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)


def pose(R: ArrayLike | None = None, p: ArrayLike | None = None) -> Array:
    """``(..., 4, 4)`` from a rotation ``(..., 3, 3)`` and a position ``(..., 3)`` [m]."""
    R = np.eye(3) if R is None else np.asarray(R, dtype=float)
    p = np.zeros(3) if p is None else np.asarray(p, dtype=float)
    batch = np.broadcast_shapes(R.shape[:-2], p.shape[:-1])
    T = np.zeros((*batch, 4, 4))
    T[..., :3, :3], T[..., :3, 3], T[..., 3, 3] = R, p, 1.0
    return T


def inverse(T: ArrayLike) -> Array:
    """Inverse of a rigid motion."""
    T = np.asarray(T, dtype=float)
    Rt = np.swapaxes(T[..., :3, :3], -1, -2)
    return pose(Rt, -(Rt @ T[..., :3, 3, None])[..., 0])


def act(T: ArrayLike, points: ArrayLike) -> Array:
    """Move points ``(..., n, 3)`` by ``T`` ``(..., 4, 4)``."""
    T = np.asarray(T, dtype=float)
    return np.asarray(points) @ np.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3]


def yaw(angle: ArrayLike) -> Array:
    """Rotation about z by ``angle`` [rad]. ``(...,) -> (..., 3, 3)``."""
    angle = np.asarray(angle, dtype=float)
    return exp3(angle[..., None] * np.array([0.0, 0.0, 1.0]))


def between(A: Array, B: Array, share: ArrayLike) -> Array:
    """Poses ``(..., 4, 4)`` a share ``(...)`` of the way from A to B, places and turns apart."""
    share = np.asarray(share, dtype=float)[..., None]
    turn = log3(A[..., :3, :3].swapaxes(-1, -2) @ B[..., :3, :3])
    p = A[..., :3, 3] + share * (B[..., :3, 3] - A[..., :3, 3])
    return pose(A[..., :3, :3] @ exp3(share * turn), p)


def euler_xyz(R: ArrayLike) -> Array:
    """Roll, pitch, yaw [rad] about fixed axes (``R = Rz @ Ry @ Rx``, the URDF's ``rpy``).

    Where a pitch of a quarter turn leaves roll and yaw one angle, roll is zero.
    """
    R = np.asarray(R, dtype=float)
    level = np.hypot(R[..., 0, 0], R[..., 1, 0])
    locked = level < 1e-8
    pitch = np.arctan2(-R[..., 2, 0], level)
    roll = np.where(locked, 0.0, np.arctan2(R[..., 2, 1], R[..., 2, 2]))
    yaw_ = np.where(
        locked, np.arctan2(-R[..., 0, 1], R[..., 1, 1]), np.arctan2(R[..., 1, 0], R[..., 0, 0])
    )
    return np.stack([roll, pitch, yaw_], -1)


def from_euler_xyz(rpy: ArrayLike) -> Array:
    """Inverse of :func:`euler_xyz`."""
    rpy = np.asarray(rpy, dtype=float)
    x, y, z = (exp3(rpy[..., i, None] * np.eye(3)[i]) for i in range(3))
    return z @ y @ x


def mean_rotation(R: ArrayLike, weights: ArrayLike) -> Array:
    """Weighted chordal mean of rotations ``(n, ..., 3, 3)`` with weights ``(n, ...)``.

    The rotation nearest to the weighted sum in the Frobenius norm (Moakher 2002).
    """
    R, weights = np.asarray(R, dtype=float), np.asarray(weights, dtype=float)
    return project_rotation((weights[..., None, None] * R).sum(axis=0))


def project_rotation(M: ArrayLike) -> Array:
    """The rotation nearest to ``M`` ``(..., 3, 3)`` in the Frobenius norm."""
    U, _, Vt = np.linalg.svd(np.asarray(M, dtype=float))
    sign = np.linalg.det(U @ Vt)
    U[..., :, 2] *= sign[..., None]
    return U @ Vt
