"""Kinematics and dynamics of a tree of rigid bodies, symbolically."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pinocchio as pin

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .joints import Joint, constant

Pose = tuple[ca.SX, ca.SX]  # rotation (3, 3), origin (3,)
Spatial = tuple[ca.SX, ca.SX]  # linear, angular (3,) each: a motion, or a force and a moment


class RigidBody:
    """CasADi expressions of what Pinocchio computes for a model.

    Arguments are symbols or expressions: configuration ``q (nq,)``, velocity ``v (nv,)``,
    acceleration ``a (nv,)``, as in Pinocchio. Algorithms and notation follow Featherstone, *Rigid
    Body Dynamics Algorithms*, 2008. Wrap results with ``ca.Function(..., {"cse": True})``, which
    merges what several of them share.

    Args:
        model: Any model of revolute, continuous, prismatic, planar and free-flyer joints.

    Raises:
        WbcError: The model has a joint of another kind.
    """

    def __init__(self, model: pin.Model) -> None:
        self.model = model
        self._ids = range(1, model.njoints)
        self._parents = list(model.parents)
        self._joints = {i: Joint.of(model, i) for i in self._ids}

    def symbols(self) -> tuple[ca.SX, ca.SX, ca.SX]:
        """Fresh ``q (nq,)``, ``v (nv,)`` and ``a (nv,)``."""
        nq, nv = self.model.nq, self.model.nv
        return ca.SX.sym("q", nq), ca.SX.sym("v", nv), ca.SX.sym("a", nv)

    def joint_poses(self, q: ca.SX) -> list[Pose]:
        """Pose of every joint's child in the world (Pinocchio's ``oMi``)."""
        poses: list[Pose] = [(ca.SX.eye(3), ca.SX(3, 1))]
        for i, (R, p) in self._steps(q).items():
            R_parent, p_parent = poses[self._parents[i]]
            poses.append((R_parent @ R, p_parent + R_parent @ p))
        return poses

    def frame_pose(self, q: ca.SX, frame_id: int) -> Pose:
        """Pose of a frame in the world."""
        frame = self.model.frames[frame_id]
        R, p = self.joint_poses(q)[frame.parentJoint]
        placement = frame.placement
        return R @ constant(placement.rotation), p + R @ constant(placement.translation)

    def frame_jacobian(self, q: ca.SX, frame_id: int) -> ca.SX:
        """``(6, nv)`` velocity (linear, angular; world axes, at the frame) per ``v``."""
        poses = self.joint_poses(q)
        _, point = self.frame_pose(q, frame_id)
        J = ca.SX(6, self.model.nv)
        i = self.model.frames[frame_id].parentJoint
        while i > 0:
            (R, p), joint = poses[i], self._joints[i]
            about = R @ constant(joint.S[3:])
            J[:3, joint.v] = R @ constant(joint.S[:3]) - ca.skew(point - p) @ about
            J[3:, joint.v] = about
            i = self._parents[i]
        return J

    def center_of_mass(self, q: ca.SX) -> ca.SX:
        """``(3,)`` in the world."""
        poses, moment, mass = self.joint_poses(q), ca.SX(3, 1), 0.0
        for i in self._ids:
            R, p = poses[i]
            inertia = self.model.inertias[i]
            mass += inertia.mass
            moment += inertia.mass * (p + R @ constant(inertia.lever))
        return moment / mass

    def centroidal_momentum(self, q: ca.SX, v: ca.SX) -> ca.SX:
        """``(6,)`` linear momentum, and angular momentum about the centre of mass; world axes."""
        poses, center = self.joint_poses(q), self.center_of_mass(q)
        velocities = self._velocities(self._steps(q), v)
        linear, angular = ca.SX(3, 1), ca.SX(3, 1)
        for i in self._ids:
            R, p = poses[i]
            h, k = (R @ part for part in _momentum(self.model.inertias[i], velocities[i]))
            linear += h
            angular += k + ca.cross(p - center, h)
        return ca.vertcat(linear, angular)

    def rnea(self, q: ca.SX, v: ca.SX, a: ca.SX) -> ca.SX:
        r"""Inverse dynamics :math:`M(q)\, a + h(q, v)` ``(nv,)`` (recursive Newton-Euler)."""
        steps = self._steps(q)
        velocities = self._velocities(steps, v)
        accelerations: list[Spatial] = [(-constant(self.model.gravity.linear), ca.SX(3, 1))]
        forces: list[Spatial] = [(ca.SX(3, 1), ca.SX(3, 1))]
        for i in self._ids:
            joint, V = self._joints[i], velocities[i]
            along = _subspace(joint.S, v[joint.v])
            carried = _add(_to_child(steps[i], accelerations[self._parents[i]]), _cross(V, along))
            A = _add(carried, _subspace(joint.S, a[joint.v]))
            accelerations.append(A)
            inertia = self.model.inertias[i]
            gyroscopic = _cross_force(V, _momentum(inertia, V))
            forces.append(_add(_momentum(inertia, A), gyroscopic))
        tau = ca.SX(self.model.nv, 1)
        for i in reversed(self._ids):
            joint = self._joints[i]
            tau[joint.v] = constant(joint.S.T) @ ca.vertcat(*forces[i])
            parent = self._parents[i]
            forces[parent] = _add(forces[parent], _to_parent(steps[i], forces[i]))
        return tau

    def rnea_derivatives(self, q: ca.SX, v: ca.SX, a: ca.SX) -> tuple[ca.SX, ca.SX, ca.SX]:
        r"""Derivatives ``(nv, nv)`` of :meth:`rnea` in :math:`q \oplus \delta`, ``v`` and ``a``.

        The arguments must be symbols.
        """
        tau = self.rnea(q, v, a)
        tangent = ca.diagcat(*(joint.tangent(q[joint.q]) for joint in self._joints.values()))
        return ca.jacobian(tau, q) @ tangent, ca.jacobian(tau, v), self.crba(q)

    def crba(self, q: ca.SX) -> ca.SX:
        """Mass matrix ``(nv, nv)`` (composite rigid bodies), both triangles."""
        steps = self._steps(q)
        composite = {i: constant(self.model.inertias[i].matrix()) for i in self._ids}
        M = ca.SX(self.model.nv, self.model.nv)
        for i in reversed(self._ids):
            joint, parent = self._joints[i], self._parents[i]
            F = composite[i] @ constant(joint.S)
            M[joint.v, joint.v] = constant(joint.S.T) @ F
            below, above = i, parent
            while above > 0:
                F = _force_matrix(steps[below]) @ F
                other = self._joints[above]
                M[other.v, joint.v] = constant(other.S.T) @ F
                M[joint.v, other.v] = M[other.v, joint.v].T
                below, above = above, self._parents[above]
            if parent > 0:
                X = _force_matrix(steps[i])
                composite[parent] = composite[parent] + X @ composite[i] @ X.T
        return M

    def _steps(self, q: ca.SX) -> dict[int, Pose]:
        """Pose of every joint's child in its parent (Pinocchio's ``liMi``)."""
        return {i: joint.pose(q[joint.q]) for i, joint in self._joints.items()}

    def _velocities(self, steps: dict[int, Pose], v: ca.SX) -> list[Spatial]:
        """Velocity of every body, in its own frame."""
        velocities: list[Spatial] = [(ca.SX(3, 1), ca.SX(3, 1))]
        for i, joint in self._joints.items():
            carried = _to_child(steps[i], velocities[self._parents[i]])
            velocities.append(_add(carried, _subspace(joint.S, v[joint.v])))
        return velocities


def _add(a: Spatial, b: Spatial) -> Spatial:
    return a[0] + b[0], a[1] + b[1]


def _subspace(S: Array, v: ca.SX) -> Spatial:
    return constant(S[:3]) @ v, constant(S[3:]) @ v


def _to_child(step: Pose, motion: Spatial) -> Spatial:
    """A motion of the parent's frame, in the child's."""
    (R, p), (linear, angular) = step, motion
    return R.T @ (linear + ca.cross(angular, p)), R.T @ angular


def _to_parent(step: Pose, force: Spatial) -> Spatial:
    """A force in the child's frame, in the parent's."""
    R, p = step
    linear = R @ force[0]
    return linear, R @ force[1] + ca.cross(p, linear)


def _force_matrix(step: Pose) -> ca.SX:
    """``(6, 6)`` of :func:`_to_parent`."""
    R, p = step
    return ca.vertcat(ca.horzcat(R, ca.SX(3, 3)), ca.horzcat(ca.skew(p) @ R, R))


def _cross(V: Spatial, motion: Spatial) -> Spatial:
    r""":math:`V \times m`, the rate of a motion that moves with ``V``."""
    (v, w), (linear, angular) = V, motion
    return ca.cross(w, linear) + ca.cross(v, angular), ca.cross(w, angular)


def _cross_force(V: Spatial, force: Spatial) -> Spatial:
    r""":math:`V \times^* f`, the rate of a force that moves with ``V``."""
    (v, w), (linear, angular) = V, force
    return ca.cross(w, linear), ca.cross(w, angular) + ca.cross(v, linear)


def _momentum(inertia: pin.Inertia, V: Spatial) -> Spatial:
    """Inertia times motion, at the body's frame."""
    v, w = V
    c = inertia.lever
    linear = inertia.mass * (v - constant(se3.skew(np.array(c))) @ w)
    return linear, constant(inertia.inertia) @ w + constant(se3.skew(np.array(c))) @ linear
