"""Unit quaternions ``(x, y, z, w)`` as CasADi expressions."""

from __future__ import annotations

import casadi as ca

TINY = 1e-12  # keeps divisions and roots differentiable at the identity


def product(a: ca.SX, b: ca.SX) -> ca.SX:
    """Rotation by ``b``, then by ``a``."""
    vector = a[3] * b[:3] + b[3] * a[:3] + ca.cross(a[:3], b[:3])
    return ca.vertcat(vector, a[3] * b[3] - ca.dot(a[:3], b[:3]))


def conjugate(q: ca.SX) -> ca.SX:
    """Inverse rotation."""
    return ca.vertcat(-q[:3], q[3])


def rotate(q: ca.SX, u: ca.SX) -> ca.SX:
    """The vector ``(3,)`` turned by the rotation."""
    t = 2 * ca.cross(q[:3], u)
    return u + q[3] * t + ca.cross(q[:3], t)


def short_way(a: ca.SX, b: ca.SX) -> ca.SX:
    """``a b^-1`` as a quaternion with ``w >= 0``: the short way from ``b`` to ``a``, base axes."""
    difference = product(a, conjugate(b))
    return ca.if_else(difference[3] < 0, -difference, difference)


def error(a: ca.SX, b: ca.SX) -> ca.SX:
    """``2 sin(angle / 2) axis`` ``(3,)`` of the rotation from ``b`` to ``a``, in base axes."""
    return 2 * short_way(a, b)[:3]


def log(q: ca.SX) -> ca.SX:
    """Rotation vector [rad] of a quaternion with ``w >= 0``."""
    sine = ca.sqrt(ca.sumsqr(q[:3]) + TINY**2)
    return 2 * ca.atan2(sine, q[3]) / sine * q[:3]


def exp(w: ca.SX) -> ca.SX:
    """Quaternion of a rotation vector [rad]."""
    angle = ca.sqrt(ca.sumsqr(w) + TINY**2)
    return ca.vertcat(ca.sin(angle / 2) / angle * w, ca.cos(angle / 2))


def from_matrix(R: ca.SX) -> ca.SX:
    """Quaternion of a rotation matrix (Shepperd: divide by the largest of the four squares)."""
    xx, yy, zz = R[0, 0], R[1, 1], R[2, 2]
    x = ca.vertcat(1 + xx - yy - zz, R[1, 0] + R[0, 1], R[0, 2] + R[2, 0], R[2, 1] - R[1, 2])
    y = ca.vertcat(R[1, 0] + R[0, 1], 1 - xx + yy - zz, R[2, 1] + R[1, 2], R[0, 2] - R[2, 0])
    z = ca.vertcat(R[0, 2] + R[2, 0], R[2, 1] + R[1, 2], 1 - xx - yy + zz, R[1, 0] - R[0, 1])
    w = ca.vertcat(R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 1 + xx + yy + zz)
    xy, zw = ca.if_else(x[0] > y[1], x, y), ca.if_else(z[2] > w[3], z, w)
    xy_largest = ca.fmax(x[0], y[1]) > ca.fmax(z[2], w[3])
    q = ca.if_else(xy_largest, xy, zw)
    return q / ca.norm_2(q)


def to_matrix(q: ca.SX) -> ca.SX:
    """Rotation matrix ``(3, 3)``."""
    return ca.horzcat(*(rotate(q, ca.SX(column)) for column in ([1, 0, 0], [0, 1, 0], [0, 0, 1])))


def pose_matrix() -> ca.Function:
    """``(7,) -> (4, 4)``, transposed because CasADi's arrays are column-major."""
    pose = ca.SX.sym("pose", 7)
    top = ca.horzcat(to_matrix(pose[3:]), pose[:3])
    return ca.Function(
        "pose_matrix", [pose], [ca.densify(ca.vertcat(top, ca.SX([[0, 0, 0, 1]])).T)]
    )
