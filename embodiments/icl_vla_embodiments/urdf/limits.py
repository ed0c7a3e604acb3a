"""Joint limits that a controller can rely on, and what was assumed where the file says nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..embodiment import JointLimits
from .tree import Joint

TURN = math.pi  # [rad/s], default joint speed
SLIDE = 0.25  # [m/s], default speed of a prismatic joint
EFFORT = 100.0  # [N m] or [N], default
FASTEST = 60.0  # [rad/s or m/s], a larger velocity limit is a placeholder
STRONGEST = 5000.0  # [N m or N], a larger effort limit is a placeholder
ROUND = 999.0  # where the velocity limit is a placeholder, an effort limit beyond this is one too
ACCELERATION = 4.0  # [1/s], default acceleration limit over velocity limit: 0.25 s to full speed


def joint_limits(joints: Iterable[Joint]) -> tuple[dict[str, JointLimits], list[str]]:
    """Limits of each joint, and warnings about what was assumed.

    A URDF has no acceleration limits: ``ACCELERATION`` times the velocity limit is taken.
    """
    limits: dict[str, JointLimits] = {}
    no_velocity, no_effort = [], []
    for joint in joints:
        lower, upper = joint.range
        if joint.type == "continuous":
            lower, upper = -math.inf, math.inf
        velocity, effort = joint.velocity or 0.0, joint.effort or 0.0
        placeholder = not 0 < velocity <= FASTEST
        if not 0 < effort <= (ROUND if placeholder else STRONGEST):
            no_effort.append(f"{joint.name} ({effort:g})")
            effort = EFFORT
        if placeholder:
            no_velocity.append(f"{joint.name} ({velocity:g})")
            velocity = SLIDE if joint.type == "prismatic" else TURN
        limits[joint.name] = JointLimits(lower, upper, velocity, effort, ACCELERATION * velocity)
    warnings = []
    if no_velocity:
        warnings.append(
            f"velocity limits are missing or placeholders: {', '.join(no_velocity)};"
            f" {TURN:.3g} rad/s or {SLIDE} m/s is assumed"
        )
    if no_effort:
        warnings.append(
            f"effort limits are missing or placeholders: {', '.join(no_effort)};"
            f" {EFFORT:g} is assumed"
        )
    return limits, warnings
