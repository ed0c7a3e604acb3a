"""Motion that no motor could have made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding
from .motion import Motion

TOO_FAST = {
    "measured": 1.5,  # times the velocity limit; a robot at its limit is clean, rounding included
    "commanded": 5.0,  # set-points may run ahead of the robot
}


def check_jumps(motion: Motion) -> Iterator[Finding]:
    """Steps between frames that are faster than the velocity limits allow."""
    measured = {k: motion.d.q[:, k] for k in range(motion.d.q.shape[1])}
    duration = np.maximum(np.diff(motion.d.times), motion.period)
    for what, positions in (("measured", measured), ("commanded", motion.joint_commands)):
        if not positions or len(motion) < 2:
            continue
        joints = list(positions)
        steps = np.abs(np.diff(np.stack([positions[k] for k in joints], axis=1), axis=0))
        share = steps / (duration[:, None] * motion.fastest[joints])
        bad = np.flatnonzero(share.max(axis=1) > TOO_FAST[what])
        if len(bad):
            frame = int(share.max(axis=1).argmax())
            k = int(share[frame].argmax())
            unit = "m" if motion.prismatic[joints[k]] else "rad"
            yield Finding(
                "jump",
                motion.episode,
                (int(bad[0]), int(bad[-1]) + 1),
                f"{motion.robot.joints[joints[k]]} {what}: {steps[frame, k]:.3f} {unit} in one"
                f" frame, {share[frame, k]:.1f} times its velocity limit (frame {frame + 1})",
                "record the episode again or remove it; if all episodes show it, check the rate"
                " and the joint's unit",
            )
