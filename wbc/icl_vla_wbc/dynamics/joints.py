"""The joints of a :class:`pinocchio.Model`: what each does to its child, symbolically."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
import pinocchio as pin

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .. import quaternion
from ..errors import WbcError

# Pinocchio's names, without "JointModel"; continuous joints are its "unbounded" ones
_KINDS = {
    "revolute": ("RX", "RY", "RZ", "RevoluteUnaligned"),
    "continuous": ("RUBX", "RUBY", "RUBZ", "RevoluteUnboundedUnaligned"),
    "prismatic": ("PX", "PY", "PZ", "PrismaticUnaligned"),
    "planar": ("Planar",),
    "free-flyer": ("FreeFlyer",),
}
_KIND = {f"JointModel{name}": kind for kind, names in _KINDS.items() for name in names}


@dataclass(frozen=True)
class Joint:
    r"""One joint, with a motion subspace that is constant in the child's frame.

    Attributes:
        kind: One of revolute, continuous (``q`` = cos, sin), prismatic, planar (``q`` = x, y, cos,
            sin) and free-flyer (``q`` = position, quaternion ``(x, y, z, w)``).
        q: Its part of the model's configuration.
        v: Its part of the model's velocity, in the child's frame.
        S: ``(6, nv)`` motion subspace (linear, angular).
        R: ``(3, 3)`` rotation of the joint's frame in the parent's at ``q`` = neutral.
        p: ``(3,)`` its origin there.
    """

    kind: str
    q: slice
    v: slice
    S: Array
    R: Array
    p: Array

    @classmethod
    def of(cls, model: pin.Model, joint_id: int) -> Joint:
        """Read joint ``joint_id``.

        Raises:
            WbcError: The joint is of another kind.
        """
        joint = model.joints[joint_id]
        kind = _KIND.get(joint.shortname())
        if kind is None:
            raise WbcError(
                "the dynamics do not cover this kind of joint",
                where=model.names[joint_id],
                value=joint.shortname(),
                valid=tuple(_KINDS),
            )
        data = joint.createData()
        joint.calc(data, pin.neutral(model))
        placement = model.jointPlacements[joint_id]
        return cls(
            kind,
            slice(joint.idx_q, joint.idx_q + joint.nq),
            slice(joint.idx_v, joint.idx_v + joint.nv),
            np.asarray(data.S, dtype=float).reshape(6, joint.nv),
            np.array(placement.rotation),
            np.array(placement.translation),
        )

    def pose(self, q: ca.SX) -> tuple[ca.SX, ca.SX]:
        """Rotation ``(3, 3)`` and origin ``(3,)`` of the child in the parent's frame.

        Args:
            q: ``(nq,)`` configuration of this joint alone.
        """
        axis = self.S[:, -1]
        R, p = constant(np.eye(3)), ca.SX(3, 1)
        if self.kind == "revolute":
            R = turn(axis[3:], ca.cos(q), ca.sin(q))
        elif self.kind == "continuous":
            R = turn(axis[3:], q[0], q[1])
        elif self.kind == "prismatic":
            p = q * constant(axis[:3])
        elif self.kind == "planar":
            R, p = turn(axis[3:], q[2], q[3]), ca.vertcat(q[0], q[1], 0)
        else:
            R, p = quaternion.to_matrix(q[3:]), q[:3]
        return constant(self.R) @ R, constant(self.p) + constant(self.R) @ p

    def tangent(self, q: ca.SX) -> ca.SX:
        r"""``(nq, nv)`` derivative of :math:`q \oplus \delta` with respect to ``delta`` at 0.

        It turns derivatives with respect to ``q`` into those that Pinocchio gives.
        """
        if self.kind == "continuous":
            return ca.vertcat(-q[1], q[0])
        if self.kind == "planar":
            c, s = q[2], q[3]
            return ca.vertcat(
                ca.horzcat(c, -s, 0), ca.horzcat(s, c, 0), ca.horzcat(0, 0, -s), ca.horzcat(0, 0, c)
            )
        if self.kind == "free-flyer":
            x, y, z, w = ca.vertsplit(q[3:])
            rate = ca.vertcat(
                ca.horzcat(w, -z, y), ca.horzcat(z, w, -x), ca.horzcat(-y, x, w), -q[3:6].T
            )
            return ca.diagcat(quaternion.to_matrix(q[3:]), rate / 2)
        return ca.SX.eye(1)


def turn(axis: Array, cosine: ca.SX, sine: ca.SX) -> ca.SX:
    """Rotation ``(3, 3)`` about a unit axis (Rodrigues).

    Sorted so that an axis along x, y or z leaves no idle operation.
    """
    K = se3.skew(axis)
    return constant(np.eye(3) + K @ K) + (sine * constant(K) - cosine * constant(K @ K))


def constant(values: Array) -> ca.SX:
    """Exact zeros and ones where rounding left neighbours of them, so that products vanish."""
    nearest = np.round(values)
    clean = np.where(np.abs(values - nearest) < 1e-15, nearest, values)
    return ca.SX(ca.sparsify(ca.DM(clean)))
