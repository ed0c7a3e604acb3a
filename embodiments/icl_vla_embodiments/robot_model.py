"""Kinematics of an embodiment on Pinocchio: actuated angles in, poses and Jacobians out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pinocchio as pin
from numpy.typing import ArrayLike, NDArray

from . import se3
from .embodiment import Embodiment
from .errors import FrameNotFound, UrdfError
from .types import Array


class RobotModel:
    """A :class:`pinocchio.Model` and the map of actuated joints to its configuration.

    Users give and get ``q`` ``(n,)``: one number for each actuated joint of
    :attr:`Embodiment.joints`, continuous joints as angles. Internally
    ``q_full = G q + c`` fills mimic followers, and continuous joints become (cos, sin).

    Not thread-safe: one workspace (``pinocchio.Data``) is reused.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self.embodiment = embodiment
        try:
            if embodiment.base == "floating":
                self.model = pin.buildModelFromXML(embodiment.urdf, pin.JointModelFreeFlyer())
            else:
                self.model = pin.buildModelFromXML(embodiment.urdf)
        except (ValueError, RuntimeError) as error:
            raise UrdfError(
                "Pinocchio cannot build a model", where=embodiment.urdf_path, value=str(error)
            ) from error
        self.data = self.model.createData()
        self.n = len(embodiment.joints)
        self.neutral = embodiment.neutral_q
        self.lower, self.upper = embodiment.array("lower"), embodiment.array("upper")
        self._build_joint_map()
        self._tips: dict[str, int] = {}
        for arm in embodiment.arms:
            spec = embodiment.tcp.get(arm.name)
            link = spec.link if spec else arm.tip_link
            placement = spec.matrix if spec else np.eye(4)
            self._tips[arm.name] = self._add_frame(f"{arm.name}:tcp", link, placement)
        self.data = self.model.createData()

    def _add_frame(self, name: str, link: str, T_link_frame: Array) -> int:
        parent = self.frame_id(link)
        frame = self.model.frames[parent]
        placement = frame.placement * pin.SE3(T_link_frame)
        return self.model.addFrame(
            pin.Frame(name, frame.parentJoint, parent, placement, pin.FrameType.OP_FRAME)
        )

    def _build_joint_map(self) -> None:
        """``self.G`` ``(nv, n)`` and ``self.c`` ``(nv,)``: joint angles ``= G q + c``."""
        index = {name: i for i, name in enumerate(self.embodiment.joints)}
        self.G = np.zeros((self.model.nv, self.n))
        self.c = np.zeros(self.model.nv)
        followers = {m.joint: m for m in self.embodiment.mimic}
        for joint_id in range(1, self.model.njoints):
            name = self.model.names[joint_id]
            if self.model.joints[joint_id].nv != 1:
                continue
            row = self.model.idx_vs[joint_id]
            multiplier, offset, seen = 1.0, 0.0, set()
            while name in followers and name not in seen:  # a follower may follow a follower
                seen.add(name)
                mimic = followers[name]
                offset += multiplier * mimic.offset
                multiplier *= mimic.multiplier
                name = mimic.master
            if name in index:
                self.G[row, index[name]] = multiplier
            self.c[row] = offset
        self._continuous = [
            (self.model.idx_qs[i], self.model.idx_vs[i])
            for i in range(1, self.model.njoints)
            if self.model.joints[i].nq == 2 and self.model.joints[i].nv == 1
        ]
        self._plain = [
            (self.model.idx_qs[i], self.model.idx_vs[i])
            for i in range(1, self.model.njoints)
            if self.model.joints[i].nq == 1
        ]

    @property
    def prismatic(self) -> NDArray[np.bool_]:
        """``(n,)``: which joints slide, so that their positions are in metres."""
        joints = (self.model.joints[self.model.getJointId(j)] for j in self.embodiment.joints)
        return np.array([j.shortname().startswith("JointModelP") for j in joints], dtype=bool)

    def full(self, q: ArrayLike) -> Array:
        """Pinocchio's configuration ``(nq,)`` of actuated positions ``(n,)``."""
        angles = self.G @ np.asarray(q, dtype=float) + self.c
        out = pin.neutral(self.model)
        for iq, iv in self._plain:
            out[iq] = angles[iv]
        for iq, iv in self._continuous:
            out[iq], out[iq + 1] = np.cos(angles[iv]), np.sin(angles[iv])
        return out

    def frame_id(self, name: str) -> int:
        """Pinocchio's index of a link or frame.

        Raises:
            FrameNotFound: The model has no such frame.
        """
        # links first: a joint may have a link's name
        kinds = (pin.FrameType.BODY, pin.FrameType.OP_FRAME, pin.FrameType.FIXED_JOINT)
        kind = next((k for k in kinds if self.model.existFrame(name, k)), None)
        if kind is None:
            raise FrameNotFound(
                f"{self.embodiment.name} has no frame {name!r}",
                valid=[f.name for f in self.model.frames if f.type == pin.FrameType.BODY],
            )
        return int(self.model.getFrameId(name, kind))

    def tcp_id(self, effector: str) -> int:
        """Pinocchio's index of an arm's tool centre point."""
        if effector not in self._tips:
            raise FrameNotFound(
                f"{self.embodiment.name} has no end effector {effector!r}", valid=self._tips
            )
        return self._tips[effector]

    def T_base_frame(self, q: ArrayLike, name: str) -> Array:
        """Pose ``(4, 4)`` of a link, or of an arm's TCP by the arm's name."""
        index = self._tips[name] if name in self._tips else self.frame_id(name)
        pin.forwardKinematics(self.model, self.data, self.full(q))
        return np.array(pin.updateFramePlacement(self.model, self.data, index).homogeneous)

    def poses(self, q: ArrayLike) -> dict[str, Array]:
        """Effector -> ``T_base_ee`` ``(4, 4)`` of every arm's TCP."""
        pin.forwardKinematics(self.model, self.data, self.full(q))
        return {
            name: np.array(pin.updateFramePlacement(self.model, self.data, i).homogeneous)
            for name, i in self._tips.items()
        }

    def link_poses(self, q: ArrayLike) -> dict[str, Array]:
        """Link -> ``T_base_link`` ``(4, 4)`` of every link."""
        pin.framesForwardKinematics(self.model, self.data, self.full(q))
        return {
            frame.name: np.array(self.data.oMf[i].homogeneous)
            for i, frame in enumerate(self.model.frames)
            if frame.type == pin.FrameType.BODY
        }

    def jacobian(self, q: ArrayLike, effector: str) -> Array:
        """``(6, n)``: TCP velocity (linear, angular; base axes, at the TCP) per joint velocity."""
        J = pin.computeFrameJacobian(
            self.model, self.data, self.full(q), self.tcp_id(effector), pin.LOCAL_WORLD_ALIGNED
        )
        return np.reshape(J, (6, -1)) @ self.G  # Pinocchio drops the axis of a single column

    def inverse_kinematics(
        self,
        targets: Mapping[str, Array],
        guess: ArrayLike,
        *,
        iterations: int = 200,
        tolerance: float = 1e-6,
        damping: float = 1e-3,
    ) -> Array:
        """Joint positions ``(n,)`` whose TCPs meet ``T_base_ee`` targets, inside the limits.

        Damped least squares on the SE(3) error, projected on the limits (Nakamura and Hanafusa
        1986). The best iterate is returned where the target cannot be met: compare with
        :meth:`poses`. For set-up and conversion; control goes through the MPC.
        """
        q = np.clip(np.asarray(guess, dtype=float), self.lower, self.upper)
        best, best_error = q, np.inf
        for _ in range(iterations):
            here = self.poses(q)
            errors, rows = [], []
            for effector, T in targets.items():
                errors.append(T[:3, 3] - here[effector][:3, 3])
                errors.append(se3.log3(T[:3, :3] @ here[effector][:3, :3].T))
                rows.append(self.jacobian(q, effector))
            e, J = np.concatenate(errors), np.concatenate(rows)
            size = float(np.linalg.norm(e))
            if size < best_error:
                best, best_error = q, size
            if size < tolerance:
                break
            step = J.T @ np.linalg.solve(J @ J.T + damping**2 * np.eye(len(e)), e)
            step *= min(1.0, 0.3 / max(float(np.abs(step).max()), 1e-12))
            q = np.clip(q + step, self.lower, self.upper)
        return best

    @classmethod
    def from_urdf(cls, path: Path) -> RobotModel:
        """Analyse a URDF file and build its model."""
        from .urdf import embodiment_from_urdf

        return cls(embodiment_from_urdf(path))
