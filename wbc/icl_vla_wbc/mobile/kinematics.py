"""A hand on a base that moves in the plane, as CasADi functions on numpy arrays."""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .. import quaternion
from ..compiled import CompiledInPlace
from ..dynamics import FrameKinematics, InPlace


class Hand:
    """An effector's pose in the world, and how far it is from references.

    Args:
        model: The robot.
        effector: Which.
        joints: ``(n,)`` indices of the controlled joints.
        inputs: Number ``b`` of the drive's integrators.
        P: ``(N, 2 + K)`` positions by the plan, see :class:`Horizon`.
        compiled: Whether machine code takes over when it is ready.
    """

    def __init__(
        self,
        model: RobotModel,
        effector: str,
        joints: NDArray[np.intp],
        inputs: int,
        P: Array,
        compiled: bool = True,
    ) -> None:
        self._joints = joints
        kinematics = FrameKinematics.of(model, model.tcp_id(effector))
        self._pose = InPlace(_pose(kinematics))
        residual = _residual(kinematics, joints)
        self._here = InPlace(residual)
        planned = _planned(residual, inputs, P.shape[1] - 2)
        self._planned = CompiledInPlace(planned.map(len(P)), wanted=compiled)
        self._planned.inputs[5][:] = P[:, 2:]

    def pose(self, centre: Array, lift: Array, posture: Array) -> Array:
        """``(7,)`` with the centre at ``(3,)``, the base at ``lift`` ``(7,)`` of it."""
        inputs = self._pose.inputs
        inputs[0][:], inputs[1][:], inputs[2][:] = centre, posture, lift
        return self._pose()[0][0].copy()

    def here(
        self, centre: Array, lift: Array, posture: Array, reference: Array
    ) -> tuple[Array, Array]:
        """Residual ``(6,)`` and its Jacobian ``(6, 3 + n)`` by the centre and the joints."""
        inputs = self._here.inputs
        inputs[0][:], inputs[1][:], inputs[2][:], inputs[3][:] = centre, posture, lift, reference
        r, J = self._here()
        return r[0].copy(), J.T.copy()

    def planned(
        self,
        centres: Array,
        slopes: Array,
        lift: Array,
        posture: Array,
        q: Array,
        references: Array,
        weights: Array,
    ) -> tuple[Array, Array]:
        """Weighted residuals ``(N, 6)`` and Jacobian ``(6 N, K (b + n))`` by the plan.

        Valid until the next call.

        Args:
            centres: ``(N, 3)``.
            slopes: ``(N, 3, K, b)`` of the centres by the plan.
            lift: ``(7,)`` of the base in the centre's frame.
            posture: ``(m,)`` of all actuated joints.
            q: ``(N, n)`` of the controlled ones.
            references: ``(N, 7)``.
            weights: ``(6, 6)`` by which residuals are multiplied.
        """
        function = self._planned
        inputs = function.inputs
        inputs[0][:], inputs[2][:], inputs[3][:] = centres, lift, references
        inputs[1][:] = posture
        inputs[1][:, self._joints] = q
        inputs[4][:] = slopes.reshape(inputs[4].shape)
        inputs[6][:] = np.tile(weights.T, (len(centres), 1))  # a map's arguments lie side by side
        r, F = function()
        return r, F


def _in_world(centre: ca.SX, lift: ca.SX, pose: ca.SX) -> tuple[ca.SX, ca.SX, ca.SX]:
    """Orientation of the base, way from the centre to the hand, orientation of the hand."""
    zero = ca.SX.zeros(2)
    heading = ca.vertcat(zero, ca.sin(centre[2] / 2), ca.cos(centre[2] / 2))
    base = quaternion.product(heading, lift[3:])
    local = quaternion.rotate(lift[3:], pose[:3]) + lift[:3]
    return base, quaternion.rotate(heading, local), quaternion.product(base, pose[3:])


def _pose(kinematics: FrameKinematics) -> ca.Function:
    """``centre (3,), q (all), lift (7,) -> pose (7,)``."""
    centre, lift = ca.SX.sym("centre", 3), ca.SX.sym("lift", 7)
    _, arm, orientation = _in_world(centre, lift, kinematics.pose)
    pose = ca.densify(ca.vertcat(ca.vertcat(centre[:2], 0) + arm, orientation))
    return ca.Function("mobile_pose", [centre, kinematics.q, lift], [pose], {"cse": True})


def _residual(kinematics: FrameKinematics, joints: NDArray[np.intp]) -> ca.Function:
    r"""``centre (3,), q (all), lift (7,), reference (7,) -> r (6,), dr (6, 3 + n)``.

    :math:`r = (p - p^*, 2 \sin(\theta/2)\, axis)` in world axes, by the centre's pose and the
    controlled joints; see :func:`icl_vla_wbc.gauss_newton.pose_error` for its rate.
    """
    centre, lift = ca.SX.sym("centre", 3), ca.SX.sym("lift", 7)
    reference = ca.SX.sym("reference", 7)
    base, arm, orientation = _in_world(centre, lift, kinematics.pose)
    turn = quaternion.short_way(orientation, reference[3:])
    r = ca.vertcat(ca.vertcat(centre[:2], 0) + arm - reference[:3], 2 * turn[:3])
    rate = turn[3] * ca.SX.eye(3) - ca.skew(turn[:3])
    R = quaternion.to_matrix(base)
    up = ca.SX([0, 0, 1])
    J_base = ca.vertcat(ca.SX.eye(3)[:, :2], ca.SX.zeros(3, 2))
    J_base = ca.horzcat(J_base, ca.vertcat(ca.cross(up, arm), rate @ up))
    chosen = kinematics.jacobian[:, joints.tolist()]
    J_arm = ca.vertcat(R @ chosen[:3, :], rate @ (R @ chosen[3:, :]))
    J = ca.densify(ca.horzcat(J_base, J_arm))
    inputs = [centre, kinematics.q, lift, reference]
    return ca.Function("mobile_residual", inputs, [ca.densify(r), J], {"cse": True})


def _planned(residual: ca.Function, b: int, knots: int) -> ca.Function:
    """The residual's inputs, ``slopes (K b, 3), p (K,), W (6, 6) -> r (6,), F (K (b + n), 6)``.

    One stage: its centre moves with the plan by ``slopes``, each joint by ``p``.
    """
    inputs = [ca.SX.sym(residual.name_in(i), *residual.size_in(i)) for i in range(4)]
    slopes, p, W = ca.SX.sym("slopes", knots * b, 3), ca.SX.sym("p", knots), ca.SX.sym("W", 6, 6)
    r, J = residual.call(inputs)
    rows = []
    for k in range(knots):
        rows += [slopes[k * b : (k + 1) * b, :] @ J[:, :3].T, p[k] * J[:, 3:].T]
    F = ca.vertcat(*rows) @ W.T
    return ca.Function("mobile_stage", [*inputs, slopes, p, W], [W @ r, F], {"cse": True})


def footing(T_base_centre: Array) -> ca.Function:
    """``T_world_base, transposed (4, 4) -> centre (3,), lift (7,), off ()``.

    The first two are those of :class:`~.program.State`; the last is the sum of squares by which
    the matrix fails to be a rigid motion.
    """
    T = ca.SX.sym("T", 4, 4)
    flat = T.T @ ca.SX(ca.sparsify(ca.DM(T_base_centre)))
    heading = ca.atan2(flat[1, 0], flat[0, 0])
    c, s = ca.cos(heading), ca.sin(heading)
    level = ca.vertcat(ca.horzcat(c, s, 0), ca.horzcat(-s, c, 0), ca.SX([[0, 0, 1]]))
    lift = level @ (T.T[:3, 3] - ca.vertcat(flat[:2, 3], 0))
    R = T.T[:3, :3]
    columns = R[:, 0], R[:, 1], R[:, 2]
    off = ca.sumsqr(R.T @ R - ca.SX.eye(3)) + (ca.dot(ca.cross(*columns[:2]), columns[2]) - 1) ** 2
    outputs = [
        ca.vertcat(flat[:2, 3], heading),
        ca.vertcat(lift, quaternion.from_matrix(level @ R)),
        off,
    ]
    return ca.Function("footing", [T], [ca.densify(x) for x in outputs], {"cse": True})
