"""Positions beyond a joint's limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding
from .motion import Motion

TOLERANCE_TURN, TOLERANCE_SLIDE = 0.02, 0.002  # [rad], [m]: encoders and URDFs are rounded


def check_limits(motion: Motion) -> Iterator[Finding]:
    """Measured or commanded joint positions beyond the URDF's limits."""
    tolerance = np.where(motion.prismatic, TOLERANCE_SLIDE, TOLERANCE_TURN)
    lower, upper = motion.robot.array("lower"), motion.robot.array("upper")
    commanded = np.clip(motion.d.q, lower, upper)  # joints that no action moves are within
    for k, values in motion.joint_commands.items():
        commanded[:, k] = values
    for what, positions in (("measured", motion.d.q), ("commanded", commanded)):
        over = np.maximum(positions - upper, lower - positions)
        worst = int((over - tolerance).max(axis=0).argmax())
        bad = np.flatnonzero(over[:, worst] > tolerance[worst])
        if len(bad):
            frame = int(over[:, worst].argmax())
            unit = "m" if motion.prismatic[worst] else "rad"
            yield Finding(
                "limits",
                motion.episode,
                (int(bad[0]), int(bad[-1])),
                f"{motion.robot.joints[worst]} {what} {positions[frame, worst]:.3f} {unit},"
                f" limits {lower[worst]:.3f} to {upper[worst]:.3f} (frame {frame})",
                "correct the limits in the embodiment, the joint's zero or sign in the data,"
                " or remove the episode",
            )
