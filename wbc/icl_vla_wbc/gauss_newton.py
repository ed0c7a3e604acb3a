"""The error of a pose and the Gauss-Newton model of its square, as CasADi functions."""

from __future__ import annotations

import casadi as ca

from icl_vla_embodiments.types import Array

from . import quaternion
from .dynamics import FrameKinematics


def pose_residual(kinematics: FrameKinematics, joints: Array) -> ca.Function:
    r"""``q (m,), reference (7,) -> r (6,), dr/dq (6, n)`` over ``n`` of the actuated joints.

    :math:`r = (p - p^*, 2 \sin(\theta/2)\, axis)`, both in base axes. With the difference's
    quaternion :math:`(\epsilon, \eta)` the latter's rate is
    :math:`(\eta I - \epsilon^\wedge)\, \omega`.
    """
    reference = ca.SX.sym("reference", 7)
    turn = quaternion.short_way(kinematics.pose[3:], reference[3:])
    r = ca.vertcat(kinematics.pose[:3] - reference[:3], 2 * turn[:3])
    rate = turn[3] * ca.SX.eye(3) - ca.skew(turn[:3])
    J = ca.vertcat(kinematics.jacobian[:3, :], rate @ kinematics.jacobian[3:, :])
    J = ca.densify(J[:, joints.tolist()])
    return ca.Function("residual", [kinematics.q, reference], [r, J], {"cse": True})


def pose_model(residual: ca.Function, damping: tuple[float, float] = (0.0, 0.0)) -> ca.Function:
    r"""Local model of :math:`\tfrac12 \|W r(q)\|^2` with Levenberg-Marquardt damping.

    Args:
        residual: See :func:`pose_residual`.
        damping: Factors :math:`d` of :math:`\mu = d_1 \|W_p r_p\| + d_2 \|W_o r_o\|`,
            linear and angular.

    Returns:
        ``q, reference, weights (6,) -> J^T W^2 J + mu I (n, n), J^T W^2 r (n,), mu``.
    """
    q, reference = ca.SX.sym("q", residual.size1_in(0)), ca.SX.sym("reference", 7)
    weights = ca.SX.sym("weights", 6)
    r, J = residual(q, reference)
    r, J = weights * r, ca.diag(weights) @ J
    mu = damping[0] * ca.norm_2(r[:3]) + damping[1] * ca.norm_2(r[3:])
    square = ca.densify(J.T @ J + mu * ca.SX.eye(J.shape[1]))
    outputs = [square, J.T @ r, mu]
    return ca.Function("pose_model", [q, reference, weights], outputs, {"cse": True})
