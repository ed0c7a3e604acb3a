"""Gripper openings as joint positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import Embodiment
from icl_vla_embodiments.types import Array


@dataclass(frozen=True)
class GripperJoints:
    """Where the joints of a gripper are, and what closed and open mean.

    Attributes:
        joints: ``(k,)`` indices among the actuated joints.
        closed: ``(k,)`` positions [rad or m].
        open: ``(k,)``.
    """

    joints: NDArray[np.intp]
    closed: Array
    open: Array

    def positions(self, opening: float) -> Array:
        """``(k,)`` at an opening, 0 closed to 1 open."""
        return self.closed + min(max(opening, 0.0), 1.0) * (self.open - self.closed)


def gripper_joints(embodiment: Embodiment) -> dict[str, GripperJoints]:
    """Effector -> its gripper's joints, where an arm has a gripper."""
    found = {}
    for arm in embodiment.arms:
        group = embodiment.gripper_of(arm.name)
        if group is not None and len(group.closed) == len(group.open) == len(group.joints) > 0:
            joints = np.array([embodiment.joints.index(name) for name in group.joints])
            found[arm.name] = GripperJoints(joints, np.array(group.closed), np.array(group.open))
    return found


def resting_places(
    hold: Array, openings: Mapping[str, float], grippers: Mapping[str, GripperJoints]
) -> Array:
    """Where the joints that a controller does not plan belong ``(n,)``.

    Args:
        hold: ``(n,)`` where they were found.
        openings: Effector -> opening that was asked for.
        grippers: Effector -> its gripper's joints.
    """
    goal = hold.copy()
    for effector, opening in openings.items():
        if effector in grippers:
            gripper = grippers[effector]
            goal[gripper.joints] = gripper.positions(opening)
    return goal
