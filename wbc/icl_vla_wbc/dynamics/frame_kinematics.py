"""Pose and Jacobian of one frame, for a chain of joints with one degree of freedom each."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
import pinocchio as pin

from icl_vla_embodiments import se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .. import quaternion
from ..errors import WbcError
from .joints import constant


@dataclass(frozen=True)
class FrameKinematics:
    """Kinematics of one frame for symbolic actuated positions ``q``.

    Attributes:
        q: ``(n,)`` actuated positions, as in :attr:`Embodiment.joints`.
        pose: ``(7,)`` position in the base frame, then orientation ``(x, y, z, w)``.
        jacobian: ``(6, n)`` velocity (linear, angular; base axes, at the frame) per joint velocity.
    """

    q: ca.SX
    pose: ca.SX
    jacobian: ca.SX

    @classmethod
    def of(cls, model: RobotModel, frame_id: int) -> FrameKinematics:
        r"""Walk the chain from the base to a frame of ``model.model``.

        With ``o_i`` the origin and ``s_i`` the axis of joint ``i`` in the base frame, the column of
        a revolute joint is :math:`(s_i \times (p - o_i), s_i)` and of a prismatic one
        :math:`(s_i, 0)`. Joint angles are ``G q + c``, which covers mimic followers.

        Raises:
            WbcError: A joint of the chain has several degrees of freedom (other than the root's
                six, where the base frame moves with the root).
        """
        pinocchio_model = model.model
        q = ca.SX.sym("q", model.n)
        angles = ca.sparsify(ca.DM(model.G)) @ q + model.c
        frame = pinocchio_model.frames[frame_id]
        R, p = ca.SX.eye(3), ca.SX.zeros(3)
        columns: list[tuple[int, ca.SX, ca.SX, ca.SX]] = []
        for joint_id in _chain(pinocchio_model, frame.parentJoint):
            joint = pinocchio_model.joints[joint_id]
            if joint.nv == 6 and pinocchio_model.parents[joint_id] == 0:
                continue  # the base frame is the floating root's own
            placement = pinocchio_model.jointPlacements[joint_id]
            R, p = R @ constant(placement.rotation), p + R @ constant(placement.translation)
            linear, angular = _axis(pinocchio_model, joint_id)
            along, about = R @ constant(linear), R @ constant(angular)
            columns.append((joint.idx_v, along, about, p))
            angle = angles[joint.idx_v]
            p = p + angle * along
            if angular.any():
                # Rodrigues, sorted so that an axis along x, y or z leaves no idle operation
                K = se3.skew(angular)
                turned = ca.sin(angle) * constant(K) - ca.cos(angle) * constant(K @ K)
                R = R @ (constant(np.eye(3) + K @ K) + turned)
        R, p = (
            R @ constant(frame.placement.rotation),
            p + R @ constant(frame.placement.translation),
        )

        J = ca.SX(6, pinocchio_model.nv)
        for column, along, about, origin in columns:
            J[:3, column] = along + ca.cross(about, p - origin)
            J[3:, column] = about
        jacobian = ca.densify(J @ ca.sparsify(ca.DM(model.G)))
        pose = ca.densify(ca.vertcat(p, quaternion.from_matrix(R)))
        return cls(q, pose, jacobian)


def _chain(model: pin.Model, joint_id: int) -> list[int]:
    """Joints from the base to ``joint_id``."""
    joints = []
    while joint_id > 0:
        joints.append(joint_id)
        joint_id = model.parents[joint_id]
    return joints[::-1]


def _axis(model: pin.Model, joint_id: int) -> tuple[Array, Array]:
    """Linear and angular part ``(3,)`` of a joint's motion subspace, in the joint's frame."""
    joint = model.joints[joint_id]
    if joint.nv != 1:
        raise WbcError(
            "the controller's chain has a joint with several degrees of freedom",
            where=model.names[joint_id],
            value=joint.shortname(),
            valid=("revolute", "continuous", "prismatic"),
            remedy="split it into single joints in the URDF",
        )
    data = joint.createData()
    joint.calc(data, pin.neutral(model))
    subspace = np.asarray(data.S, dtype=float).reshape(-1)
    return subspace[:3], subspace[3:]
