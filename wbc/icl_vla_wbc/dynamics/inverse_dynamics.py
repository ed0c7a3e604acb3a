"""Torques of the joints that a robot actuates, mimic followers and continuous joints included."""

from __future__ import annotations

from collections.abc import Sequence

import casadi as ca
import pinocchio as pin

from icl_vla_embodiments.robot_model import RobotModel

from .joints import constant
from .rigid_body import RigidBody


def mounted(model: RobotModel) -> pin.Model:
    """Pinocchio's model with gravity as it acts on the base where it is mounted."""
    turned = model.model.copy()
    R = model.embodiment.mount.matrix[:3, :3]
    turned.gravity.linear = R.T @ turned.gravity.linear
    return turned


def full_configuration(model: RobotModel, q: ca.SX) -> ca.SX:
    """Pinocchio's configuration ``(nq,)`` of actuated positions ``(n,)``; see ``RobotModel.full``.

    Joints with several degrees of freedom stay neutral.
    """
    angles = constant(model.G) @ q + model.c
    full = ca.SX(ca.DM(pin.neutral(model.model)))
    for joint in list(model.model.joints)[1:]:
        if joint.nv != 1:
            continue
        angle = angles[joint.idx_v]
        full[joint.idx_q] = angle if joint.nq == 1 else ca.cos(angle)
        if joint.nq == 2:
            full[joint.idx_q + 1] = ca.sin(angle)
    return full


def inverse_dynamics(model: RobotModel) -> ca.Function:
    r"""``q, v, a (n,) -> tau (n,)`` of the actuated joints.

    Effort is dual to velocity, so that the map ``G`` of positions gives
    :math:`\tau = G^T\, \mathrm{RNEA}(G q + c, G v, G a)`. The base is held where it is mounted.
    """
    q, v, a, tau = _actuated(model)
    return ca.Function("inverse_dynamics", [q, v, a], [ca.densify(tau)], {"cse": True})


def inverse_dynamics_derivatives(
    model: RobotModel, joints: Sequence[int] | None = None
) -> ca.Function:
    r"""``q, v, a (n,) -> tau (m,), dtau/dq, dtau/dv, dtau/da (m, m)``.

    Args:
        model: The robot.
        joints: Indices of the ``m`` joints wanted, among the actuated; None for all. The others
            move as told and have no derivatives.
    """
    rows = list(range(model.n)) if joints is None else list(joints)
    q, v, a, tau = _actuated(model)
    tau = tau[rows]
    outputs = [ca.densify(x) for x in (tau, *(ca.jacobian(tau, x[rows]) for x in (q, v, a)))]
    return ca.Function("inverse_dynamics_derivatives", [q, v, a], outputs, {"cse": True})


def _actuated(model: RobotModel) -> tuple[ca.SX, ca.SX, ca.SX, ca.SX]:
    """Symbols of the actuated motion, and its torques."""
    q, v, a = (ca.SX.sym(name, model.n) for name in "qva")
    G = constant(model.G)
    return q, v, a, G.T @ RigidBody(mounted(model)).rnea(full_configuration(model, q), G @ v, G @ a)
