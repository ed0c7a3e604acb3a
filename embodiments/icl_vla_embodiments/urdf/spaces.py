"""The ways in which a robot can be commanded, the default first."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ..action_space import (
    ActionSpace,
    Dimension,
    Kind,
    Reference,
    gripper_dimension,
    pose_dimensions,
)
from ..embodiment import Base, Group, JointLimits

RATE = 10.0  # [Hz]
WALKING = 4  # legs that make a body walk rather than balance
STEP, TURN = 0.05, 0.3  # [m], [rad], bounds of one delta action


def action_spaces(
    groups: Sequence[Group],
    limits: Mapping[str, JointLimits],
    slides: Collection[str],
    base: Base,
    reach: float,
) -> tuple[ActionSpace, ...]:
    """Absolute poses, pose deltas and joint positions; a planar base's velocities join each.

    A body on four legs or more walks where its velocities say; they join its hands' poses, or stand
    alone. Joint positions leave walking to whoever commands the legs.

    Args:
        groups: The robot's.
        limits: Joint -> limits.
        slides: Names of prismatic joints.
        base: How the base moves.
        reach: Bounds each coordinate of an absolute position [m].
    """
    arms = [g for g in groups if g.kind == "arm"]
    grippers = {g.effector: g for g in groups if g.kind == "gripper" and g.effector}
    driving = _base_dimensions(base)
    walks = base == "floating" and sum(g.kind == "leg" for g in groups) >= WALKING
    going = _base_dimensions("planar_holo") if walks else driving
    spaces = []
    for name, reference in (("ee_pose", Reference.ABSOLUTE), ("ee_delta", Reference.MEASURED)):
        dims: list[Dimension] = []
        for arm in arms:
            prefix = "" if len(arms) == 1 else f"{arm.name}_"
            pose = pose_dimensions(arm.name, prefix=prefix, reference=reference, reach=reach)
            if reference is not Reference.ABSOLUTE:
                pose = tuple(_bounded(d) for d in pose)
            dims += pose
            if arm.name in grippers:
                dims.append(gripper_dimension(arm.name, f"{prefix}gripper"))
        if dims:
            spaces.append(ActionSpace(name, (*dims, *going), RATE, task_axes=_task_axes(arms)))
    if walks and not spaces:
        spaces.append(ActionSpace("base_velocity", going, RATE))
    dims = []
    for group in groups:
        if group.kind == "wheel":
            continue
        if group.kind == "gripper" and group.effector:
            continue
        dims += [
            _joint_dimension(group, j, limits[j], "m" if j in slides else "rad")
            for j in group.joints
        ]
    for arm in arms:
        if arm.name in grippers:
            name = "gripper" if len(arms) == 1 else f"{arm.name}_gripper"
            dims.append(gripper_dimension(arm.name, name))
    if dims:
        spaces.append(ActionSpace("joint_position", (*dims, *driving), RATE))
    elif driving:
        spaces.append(ActionSpace("base_velocity", driving, RATE))
    return tuple(spaces)


def _bounded(d: Dimension) -> Dimension:
    bound = STEP if d.kind is Kind.EE_POSITION else TURN
    return replace(d, lower=-bound, upper=bound)


def _task_axes(arms: Sequence[Group]) -> dict[str, tuple[bool, ...]]:
    """An arm of fewer than six joints cannot turn freely: its last rotation axis is let go."""
    return {a.name: (True,) * 5 + (False,) for a in arms if len(a.joints) == 5}


def _joint_dimension(group: Group, joint: str, limit: JointLimits, unit: str) -> Dimension:
    role = "arm" if group.kind == "arm" else group.kind
    return Dimension(
        name=joint,
        kind=Kind.JOINT_POSITION,
        role=role,
        effector=group.name if group.kind == "arm" else group.effector,
        joint=joint,
        unit=unit,
        lower=limit.lower,
        upper=limit.upper,
    )


def _base_dimensions(base: Base) -> tuple[Dimension, ...]:
    if not base.startswith("planar"):
        return ()
    names = ["base_vx", "base_vy"] if base == "planar_holo" else ["base_vx"]
    linear = tuple(
        Dimension(
            name, Kind.BASE_LINEAR_VELOCITY, "base", component=i, unit="m/s", lower=-1.0, upper=1.0
        )
        for i, name in enumerate(names)
    )
    turn = Dimension(
        "base_wz",
        Kind.BASE_ANGULAR_VELOCITY,
        "base",
        component=2,
        unit="rad/s",
        lower=-math.pi / 2,
        upper=math.pi / 2,
    )
    return (*linear, turn)
