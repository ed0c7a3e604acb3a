"""A robot's links as convex bodies: where they are, their covers, extreme points and Jacobians."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.geometry import Hull
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from . import quaternion
from .dynamics import FrameKinematics, InPlace
from .errors import WbcError
from .spheres import Spheres, corners, enclosing_ball
from .vectors import cross


class Bodies:
    """The convex hulls of a robot's links at ``C`` postures; :meth:`place` sets them.

    Args:
        model: The robot.
        hulls: Link -> its convex hulls, each a body.
        joints: ``(n,)`` indices of the joints that Jacobians are for.
        effectors: Arms whose tool centre points are tracked too.
        postures: ``C``.

    Raises:
        WbcError: There are no hulls.

    Attributes:
        links: Link of each of the ``B`` bodies.
        hulls: Hull of each body.
        radii: ``(B, m)`` of the spheres [m]; the first one holds the whole body, the others cover
            it.
        spheres: ``(C, B, m, 3)`` their centres in the base frame [m].
        tools: ``(C, E, 3)`` tool centre points [m].
        moved: ``(B, n)`` which joints move which body.
    """

    def __init__(
        self,
        model: RobotModel,
        hulls: Mapping[str, Sequence[Hull]],
        joints: NDArray[np.intp],
        effectors: Sequence[str],
        postures: int,
    ) -> None:
        known = [link for link in hulls if hulls[link] and model.model.existFrame(link)]
        if not known:
            raise WbcError(
                "none of the robot's links has a known shape",
                where=f"{model.embodiment.name}, hulls",
                value=list(hulls),
                valid=("link -> hulls",),
                remedy="pass LinkHulls(embodiment).hulls, or None to look at no distances",
            )
        self.links = tuple(link for link in known for _ in hulls[link])
        self.hulls = tuple(hull for link in known for hull in hulls[link])
        frames = [model.frame_id(link) for link in known]
        frames += [model.tcp_id(effector) for effector in effectors]
        self._tools = np.arange(len(known), len(frames))
        self._frame = np.array([known.index(link) for link in self.links], dtype=np.intp)
        covers = [_cover(hull) for hull in self.hulls]
        self._centers = _padded([cover.centers for cover in covers])  # (B, m, 3)
        self.radii = _padded([cover.radii for cover in covers])
        self._vertices = _padded([corners(hull) for hull in self.hulls])  # (B, V, 3)
        self._columns = np.ascontiguousarray(self._vertices.transpose(0, 2, 1))
        self._kinematics, moved = _kinematics(model, frames, joints)
        self.moved = moved[self._frame]
        self._evaluate = InPlace(self._kinematics.map(postures))
        self._n = len(joints)
        self.place(np.tile(model.neutral, (postures, 1)))

    def without_jacobians(self, postures: int) -> Bodies:
        """The same bodies at another number of postures; gradients cannot be asked for."""
        bodies = copy.copy(self)
        q = self._kinematics.sx_in(0)
        poses = ca.Function("poses", [q], self._kinematics.call([q])[:2], {"cse": True})
        bodies._evaluate = InPlace(poses.map(postures))
        return bodies

    def place(self, Q: Array) -> None:
        """Take the postures ``Q`` ``(C, n_all)`` of all actuated joints."""
        self._evaluate.inputs[0][:] = Q
        p, R, *J = self._evaluate()
        C = len(Q)
        self._origins = p.reshape(C, -1, 3)
        self._axes = R.reshape(C, -1, 3, 3)  # R transposed: a row is an axis of the frame
        if J:
            self._jacobians = J[0].reshape(C, -1, self._n, 6)
        spheres = self._centers @ self._axes[:, self._frame]
        self.spheres = spheres + self._origins[:, self._frame, None]
        self.tools = self._origins[:, self._tools]

    def pose(self, body: int) -> tuple[Array, Array]:
        """Rotation ``(3, 3)`` and position ``(3,)`` of a body at the first posture."""
        frame = self._frame[body]
        return self._axes[0, frame].T, self._origins[0, frame]

    def farthest(
        self, postures: NDArray[np.intp], bodies: NDArray[np.intp], direction: Array
    ) -> Array:
        """The point ``(S, P, 3)`` of each body that is farthest in a direction ``(S, P, 3)``.

        Args:
            postures: ``(S,)``.
            bodies: ``(P,)``.
            direction: In base axes.
        """
        frame = self._frame[bodies]
        axes = self._axes[postures[:, None], frame]  # (S, P, 3, 3)
        local = (axes @ direction[..., None])[..., 0]
        heights = local.transpose(1, 0, 2) @ self._columns[bodies]  # (P, S, V)
        vertex = self._vertices[bodies, heights.argmax(axis=2).T]  # (S, P, 3)
        at = self._origins[postures[:, None], frame]
        return at + (vertex[:, :, None] @ axes)[:, :, 0]

    def gradient(
        self, postures: NDArray[np.intp], bodies: NDArray[np.intp], normal: Array, point: Array
    ) -> Array:
        """``(M, n)``: speed along ``normal`` of points fixed to bodies, for each joint's speed.

        Args:
            postures: ``(M,)``.
            bodies: ``(M,)``.
            normal: ``(M, 3)``.
            point: ``(M, 3)`` in the base frame.
        """
        frame = self._frame[bodies]
        arm = point - self._origins[postures, frame]
        wrench = np.concatenate([normal, cross(arm, normal)], axis=1)
        return (self._jacobians[postures, frame] @ wrench[:, :, None])[:, :, 0]

    def tool_gradient(
        self, postures: NDArray[np.intp], tools: NDArray[np.intp], normal: Array
    ) -> Array:
        """The same for tool centre points."""
        J = self._jacobians[postures, self._tools[tools]][:, :, :3]
        return (J @ normal[:, :, None])[:, :, 0]


def _cover(hull: Hull) -> Spheres:
    """A ball around a hull, then spheres that cover it."""
    cover = Spheres.covering(hull)
    center = enclosing_ball(cover.centers)[0]
    radius = float((np.linalg.norm(cover.centers - center, axis=1) + cover.radii).max())
    return Spheres(np.vstack([center, cover.centers]), np.array([radius, *cover.radii]))


def _padded(arrays: Sequence[Array]) -> Array:
    """Stacked, the last row of the shorter ones repeated."""
    most = max((len(array) for array in arrays), default=2)
    return np.array([array[np.minimum(np.arange(most), len(array) - 1)] for array in arrays])


def _kinematics(
    model: RobotModel, frames: Sequence[int], joints: NDArray[np.intp]
) -> tuple[ca.Function, NDArray[np.bool_]]:
    """``q -> origins, rotations, Jacobians`` of frames, and which joints move them ``(F, n)``."""
    q = ca.SX.sym("q", model.n)
    origins, rotations, jacobians, moved = [], [], [], []
    for frame in frames:
        kinematics = FrameKinematics.of(model, frame)
        J = kinematics.jacobian[:, joints.tolist()]
        sparse = ca.sparsify(J)
        moved.append([sparse[:, i].nnz() > 0 for i in range(len(joints))])
        pose, J = ca.Function("frame", [kinematics.q], [kinematics.pose, J])(q)
        origins.append(pose[:3])
        rotations.append(quaternion.to_matrix(pose[3:]))
        jacobians.append(J)
    blocks = (origins, rotations, jacobians)
    outputs = [ca.densify(ca.horzcat(*block)) for block in blocks]
    return ca.Function("links", [q], outputs, {"cse": True}), np.array(moved)
