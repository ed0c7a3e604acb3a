"""Where feet touch the ground, from the shapes of their links."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from icl_vla_embodiments import se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

FLAT = 0.04  # [m] least extent of a sole that can hold a torque
NEAR = 0.006  # [m] above the lowest point that still belongs to the sole
COMPACT = 0.12  # [m] largest extent of a link that is a foot and nothing else


@dataclass(frozen=True)
class Foot:
    """A foot.

    Attributes:
        leg: Name of its group.
        frame: Pinocchio's index of its link.
        points: ``(P, 3)`` contact points in the link's frame: the centre of a ball, the corners of
            a sole.
        radius: Height of the points over the ground when the foot stands [m].
    """

    leg: str
    frame: int
    points: Array
    radius: float


def find_feet(model: RobotModel) -> tuple[Foot, ...]:
    """The feet of a robot's legs, at its neutral posture with the base level."""
    hulls = LinkHulls(model.embodiment).hulls
    poses = model.link_poses(model.neutral)
    feet = []
    for leg in model.embodiment.of_kind("leg"):
        frame = model.frame_id(leg.tip_link)
        body = model.model.frames[frame].parentJoint
        rigid = [
            f.name
            for f in model.model.frames
            if f.type == pin.FrameType.BODY and f.parentJoint == body
        ]
        own = [leg.tip_link] if hulls.get(leg.tip_link) else rigid
        parts = [hull.moved(poses[link]) for link in own for hull in hulls.get(link, ())]
        T = poses[leg.tip_link]
        points, radius = _contact(parts, T[:3, 3])
        feet.append(Foot(leg.name, frame, se3.act(se3.inverse(T), points), radius))
    return tuple(feet)


def _contact(parts: list[Array], origin: Array) -> tuple[Array, float]:
    """Contact points ``(P, 3)`` in the base frame, and their height over the ground."""
    if not parts:
        return origin[None], 0.0
    floor = min(float(part[:, 2].min()) for part in parts)
    part = np.concatenate([p for p in parts if p[:, 2].min() < floor + NEAR])
    sole = part[part[:, 2] < floor + NEAR]
    extent = np.ptp(sole[:, :2], axis=0)
    if extent.min() > FLAT:
        low, high = sole[:, :2].min(axis=0), sole[:, :2].max(axis=0)
        corners = [(x, y, floor) for x in (low[0], high[0]) for y in (low[1], high[1])]
        return np.array(corners), 0.0
    if np.ptp(part, axis=0).max() < COMPACT:
        centre = 0.5 * (part.min(axis=0) + part.max(axis=0))
        return centre[None], float(centre[2] - floor)
    lowest = sole.mean(axis=0)
    return np.array([[lowest[0], lowest[1], floor]]), 0.0
