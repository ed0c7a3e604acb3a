"""Tool centre points: where an arm acts, z pointing the way it approaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import se3
from ..embodiment import FrameSpec, Group
from ..types import Array
from .evidence import Evidence
from .hands import FingerTips, Hand, approach, closed_and_open

TOOL = r"tcp|tool|grasp|grasptarget|grip|pinch|ee|eef|endeffector|effector|tooltip|flange"
SENSOR = r"camera|optical|sensor|imu|force|torque|mount|ft"
BEST = r"tcp|grasp|grasptarget|pinch|tooltip"


def find_tcp(evidence: Evidence, arm: Group, hand: Hand | None) -> tuple[FrameSpec, str]:
    """The TCP of an arm, and the reason.

    A link without shape that is called tool, tcp, grasp ... and lies as far out as the fingers is
    taken as it is, turned where z is not the approach. Otherwise the middle between the finger
    tips, or the far end of the last body along its joint's axis. Where z must be chosen, y is the
    direction in which the gripper closes.
    """
    found = _between_fingers(evidence, hand) if hand is not None else _far_end(evidence, arm)
    T_tip = evidence.poses[arm.tip_link]
    named = _tool_link(evidence, arm, hand, found)
    if named is not None:
        R = (se3.inverse(T_tip) @ evidence.poses[named])[:3, :3]
        turned = R if R[:, 2] @ found.approach > np.cos(np.pi / 6) else _turned(R, found)
        why = f"link {named} is called a tool frame"
        why += "" if turned is R else ", turned so that z is the approach"
        return FrameSpec.at(named, se3.pose(R.T @ turned)), why
    R = _frame(found.approach, found.closing)
    return FrameSpec.at(arm.tip_link, se3.pose(R, found.point)), found.why


@dataclass(frozen=True)
class _Tip:
    """Where a hand works, in the arm's tip link: point, unit approach, closing direction."""

    point: Array
    approach: Array
    closing: Array | None
    why: str


def _between_fingers(evidence: Evidence, hand: Hand) -> _Tip:
    closed, opened = closed_and_open(evidence, hand)
    outward = approach(evidence, hand)
    tips = FingerTips.of(evidence, hand)
    wide = tips.at(evidence, opened)
    if len(wide) == 1:  # one jaw closes against the palm
        return _Tip(tips.at(evidence, closed)[0], outward, None, "tip of the closed jaw")
    half = {n: 0.5 * (closed[n] + opened[n]) for n in closed}
    point = tips.at(evidence, half).mean(axis=0)
    across = wide[0] - wide[1:].mean(axis=0)
    return _Tip(point, outward, across, "middle between the finger tips")


def _far_end(evidence: Evidence, arm: Group) -> _Tip:
    tree, link = evidence.tree, arm.tip_link
    joint = tree.joints[arm.joints[-1]]
    to_link = se3.inverse(evidence.poses[link])
    cloud = se3.act(to_link, evidence.points(link))
    axis = joint.axis
    before = tree.up(joint)
    inner = np.zeros(3) if before is None else se3.act(to_link, evidence.origin(before)[None])[0]
    inward = float(inner @ axis)
    if not len(cloud):
        out = -inner if np.linalg.norm(inner) > 5e-3 and abs(inward) < 5e-3 else axis
        out = -np.sign(inward) * axis if abs(inward) > 5e-3 else out / np.linalg.norm(out)
        return _Tip(np.zeros(3), out, None, f"origin of {link}")
    along = cloud @ axis
    aside = cloud - np.outer(along, axis)
    width = np.linalg.norm(aside, axis=1)
    if width.max() > 2.5 * np.abs(along).max():  # the tool sticks out across the last axis
        far = aside[np.argmax(width)]
        return _Tip(far, far / np.linalg.norm(far), None, f"far end of {link}")
    sign = -np.sign(inward) if abs(inward) > 5e-3 else np.sign(along.max() + along.min()) or 1.0
    reach = max(float((sign * along).max()), 0.0)
    return _Tip(sign * axis * reach, sign * axis, None, f"far end of {link} along {joint.name}")


def _tool_link(evidence: Evidence, arm: Group, hand: Hand | None, tip: _Tip) -> str | None:
    """A bare link called a tool frame; the most telling name, then the farthest out."""
    tree = evidence.tree
    to_tip = se3.inverse(evidence.poses[arm.tip_link])
    palms = set() if hand is None else {f[0].parent for f in hand.fingers}
    found = []
    for link in tree.members[arm.tip_link]:
        if tree.shapes[link] or link in palms or link == arm.tip_link:
            continue
        if not evidence.says(TOOL, link) or evidence.says(SENSOR, link):
            continue
        out = float(se3.act(to_tip, evidence.poses[link][None, :3, 3])[0] @ tip.approach)
        if out < 0.6 * float(tip.point @ tip.approach) - 5e-3:
            continue  # a flange before the gripper
        found.append((evidence.says(BEST, link), not tree.below[link], round(out, 4), link))
    return max(found)[3] if found else None


def _turned(R: Array, tip: _Tip) -> Array:
    """A frame whose z is the approach: along an axis of ``R`` where one is near."""
    axes = [sign * R[:, k] for k in range(3) for sign in (1, -1)]
    best = max(axes, key=lambda a: float(a @ tip.approach))
    return _frame(best if best @ tip.approach > 0.85 else tip.approach, tip.closing)


def _frame(z: Array, closing: Array | None) -> Array:
    """Rotation with that z; y along ``closing``, as far as it is perpendicular."""
    z = z / np.linalg.norm(z)
    y = np.zeros(3) if closing is None else closing - (closing @ z) * z
    if np.linalg.norm(y) < 1e-3:
        trial = np.eye(3)[1] if abs(z[1]) < 0.9 else np.eye(3)[0]
        y = trial - (trial @ z) * z
    y = y / np.linalg.norm(y)
    if y[np.argmax(np.abs(y))] < 0:
        y = -y
    return np.stack([np.cross(y, z), y, z], axis=1)
