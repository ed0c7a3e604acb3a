"""Actions that repeat the state instead of leading it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding
from .motion import Motion

EQUAL = 2e-4  # [rad or m] that rounding may put between the two
MOST = 0.95  # of the moving frames


def check_passive(motion: Motion) -> Iterator[Finding]:
    """Each action asks for what is already there: played back, the robot would never move."""
    gaps = []
    if motion.joint_commands:
        gaps += [np.abs(c - motion.d.q[:, k]) for k, c in motion.joint_commands.items()]
    for arm, T in motion.tool_commands.items():
        if arm in motion.poses:
            gaps.append(np.abs(T - motion.poses[arm])[:, :3].max(axis=(1, 2)))
    if not gaps or len(motion) < 3:
        return
    moving = np.append(np.abs(motion.steps).max(axis=1) > 5e-3, False)
    equal = np.max(gaps, axis=0) < EQUAL
    if moving.sum() >= 3 and equal[moving].mean() >= MOST:
        yield Finding(
            "action-equals-state",
            motion.episode,
            None,
            f"the action is the measured state in {equal[moving].mean():.0%} of the moving frames",
            "record what was commanded, or import the next frame's state as the action",
        )
