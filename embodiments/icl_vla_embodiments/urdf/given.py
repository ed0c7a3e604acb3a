"""Groups that a person gave: what follows from their joints is filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..embodiment import Embodiment, Group
from ..errors import EmbodimentError
from .evidence import Evidence
from .hands import Hand, closed_and_open


def joints_of(groups: Any) -> set[str]:
    """Names of joints in groups as a person writes them (a list, or a mapping by name)."""
    parts: Iterable[Any] = groups.values() if isinstance(groups, Mapping) else groups or ()
    found: set[str] = set()
    for part in parts:
        given = isinstance(part, Mapping)
        joints = part.get("joints", ()) if given else getattr(part, "joints", ())
        found |= {str(j) for j in joints} if isinstance(joints, list | tuple) else set()
    return found


def complete_groups(evidence: Evidence, robot: Embodiment) -> tuple[Group, ...]:
    """The robot's groups with links, closed and open positions, radius and axle where absent.

    Raises:
        EmbodimentError: A group without joints, or with one that the robot does not drive.
    """
    for group in robot.groups:
        unknown = [j for j in group.joints if j not in robot.joints]
        if unknown or not group.joints:
            raise EmbodimentError(
                f"the group {group.name!r} names joints that the robot does not drive"
                if unknown
                else f"the group {group.name!r} has no joints",
                where="overrides",
                value=", ".join(unknown) or None,
                valid=robot.joints,
            )
    return tuple(_complete(evidence, group) for group in robot.groups)


def _complete(evidence: Evidence, group: Group) -> Group:
    joints = evidence.tree.joints
    hand = group.kind in ("gripper", "hand")
    base = group.base_link or joints[group.joints[0]].parent
    tip = group.tip_link or (base if hand else joints[group.joints[-1]].child)
    group = replace(group, base_link=base, tip_link=tip)
    if hand and len(group.closed) != len(group.joints):
        closed, opened = closed_and_open(evidence, hand_of_group(evidence, group))
        group = replace(
            group,
            closed=tuple(closed.get(j, 0.0) for j in group.joints),
            open=tuple(opened.get(j, 0.0) for j in group.joints),
        )
    if group.kind == "wheel" and group.radius is None:
        wheel = joints[group.joints[0]]
        radius, _ = evidence.roundness(wheel)
        x, y, z = (float(a) for a in evidence.axis(wheel))
        height = float(evidence.origin(wheel)[2] - evidence.lowest)
        group = replace(group, radius=radius or height, axle=(x, y, z))
    return group


def hands_of(evidence: Evidence, robot: Embodiment) -> dict[str, Hand]:
    """Arm -> the hand that it carries, from groups."""
    hands = (*robot.of_kind("gripper"), *robot.of_kind("hand"))
    return {g.effector: hand_of_group(evidence, g) for g in hands if g.effector}


def hand_of_group(evidence: Evidence, group: Group) -> Hand:
    """A finger starts at every joint of the group, and follower, that no other one carries."""
    tree = evidence.tree
    own = [tree.joints[j] for j in group.joints]
    inside = {j.name for o in own for j in tree.subtree(o)}
    masters = {o.name for o in own}
    followers = [j for j in tree.moving if j.mimic and j.mimic.master in masters]
    inside |= {j.name for j in followers}
    starts = [
        j for j in (*own, *followers) if not any(k.name in inside for k in tree.chain(j)[:-1])
    ]
    fingers = tuple(tuple(tree.subtree(j)) for j in {j.name: j for j in starts}.values())
    return Hand(tree.body[starts[0].parent], fingers, "given by the user")
