"""Where a leg touches the ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from .. import se3
from ..embodiment import Group
from ..geometry import Hull
from ..robot_model import RobotModel
from ..types import Array
from .tree import KinematicTree

BALL = 0.02  # [m] short of the farthest point of a shank that still belongs to its foot
SAME = 0.01  # [m] between a foot's frame and the last joint's, within which it marks no foot


@dataclass(frozen=True)
class Foot:
    """A leg and the point that it stands on.

    Attributes:
        leg: Its group.
        point: ``(3,)`` in the frame of its last link: the origin or, where that is a knee (a shank
            without a link for its foot), the shank's far end.
    """

    leg: Group
    point: Array

    @classmethod
    def of(cls, tree: KinematicTree, hulls: Mapping[str, Sequence[Hull]], leg: Group) -> Foot:
        """The foot of one leg."""
        poses = tree.poses()
        from_knee = poses[leg.tip_link][:3, 3] - poses[tree.joints[leg.joints[-1]].child][:3, 3]
        members = tree.members[tree.body[leg.tip_link]]
        points = np.concatenate(
            [np.zeros((0, 3)), *(h.moved(poses[a]) for a in members for h in hulls.get(a, ()))]
        )
        ankle = len(leg.joints) > 4
        if ankle or np.linalg.norm(from_knee) > SAME or not len(points):
            return cls(leg, np.zeros(3))
        points = se3.act(se3.inverse(poses[leg.tip_link]), points)
        reach = np.linalg.norm(points, axis=1)
        return cls(leg, points[reach > reach.max() - BALL].mean(axis=0))

    def pose(self, model: RobotModel, q: Array) -> Array:
        """``T_base_foot`` ``(4, 4)``, turned as the last link."""
        return model.T_base_frame(q, self.leg.tip_link) @ se3.pose(p=self.point)

    def jacobian(self, model: RobotModel, q: Array, columns: Sequence[int]) -> Array:
        """``(6, k)`` linear over angular velocity of the point, in the axes of the base frame."""
        frame = model.frame_id(self.leg.tip_link)
        J = pin.computeFrameJacobian(
            model.model, model.data, model.full(q), frame, pin.LOCAL_WORLD_ALIGNED
        )
        J = (np.reshape(J, (6, -1)) @ model.G)[:, columns]  # Pinocchio drops a single column's axis
        arm = model.T_base_frame(q, self.leg.tip_link)[:3, :3] @ self.point
        J[:3] += np.cross(J[3:], arm, axis=0)
        return np.asarray(J)
