"""The error of a pose, and the Gauss-Newton model of a residual's square, as CasADi expressions."""

from __future__ import annotations

from collections.abc import Sequence

import casadi as ca

from icl_vla_embodiments.types import Array

from . import quaternion
from .dynamics import FrameKinematics

Part = tuple[slice, float]


def pose_error(kinematics: FrameKinematics, target: ca.SX) -> tuple[ca.SX, ca.SX]:
    r"""Error ``(6,)`` of a frame's pose and its Jacobian ``(6, n_all)``.

    :math:`r = (p - p^*, 2 \sin(\theta/2)\, axis)`, both in base axes. With the difference's
    quaternion :math:`(\epsilon, \eta)` the latter's rate is
    :math:`(\eta I - \epsilon^\wedge)\, \omega`.

    Args:
        kinematics: Of the frame.
        target: ``(7,)`` position, then orientation ``(x, y, z, w)``.
    """
    turn = quaternion.short_way(kinematics.pose[3:], target[3:])
    rate = turn[3] * ca.SX.eye(3) - ca.skew(turn[:3])
    error = ca.vertcat(kinematics.pose[:3] - target[:3], 2 * turn[:3])
    return error, ca.vertcat(kinematics.jacobian[:3, :], rate @ kinematics.jacobian[3:, :])


def pose_residual(kinematics: FrameKinematics, joints: Array) -> ca.Function:
    """``q (n_all,), target (7,) -> r (6,), dr/dq (6, n)`` over ``n`` of the actuated joints."""
    target = ca.SX.sym("target", 7)
    r, J = pose_error(kinematics, target)
    columns = ca.densify(J[:, joints.tolist()])
    return ca.Function("residual", [kinematics.q, target], [r, columns], {"cse": True})


def local_model(r: ca.SX, J: ca.SX, bends: Sequence[Part] = ()) -> list[ca.SX]:
    r"""Gauss-Newton model of :math:`\tfrac12 \|r\|^2`, and what it leaves out.

    Args:
        r: ``(m,)``.
        J: ``(m, n)`` its Jacobian.
        bends: Parts of the residual, and how large their :math:`\partial^2 r` is.

    Returns:
        :math:`J^T J` ``(n, n)``, :math:`J^T r` ``(n,)``, :math:`\sum k_i \|r_i\|`.
    """
    left_out = sum((size * ca.norm_2(r[part]) for part, size in bends), ca.SX(0))
    return [ca.densify(J.T @ J), ca.densify(J.T @ r), left_out]
