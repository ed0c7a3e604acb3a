"""A gripper whose numbers run the wrong way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding
from .motion import Motion, lagged

APART = 0.15  # of the opening, on average
BETTER = 0.5  # share of the distance that turning one of them round must leave at most


def check_gripper(motion: Motion) -> Iterator[Finding]:
    """Commands, measured openings and finger joints that contradict each other in direction."""
    d = motion.d
    for arm in motion.robot.arms:
        sources = {
            "the commands": d.gripper_commands.get(arm.name),
            "the measured opening": d.grippers.get(arm.name),
            "the finger joints": motion.openings.get(arm.name),
        }
        known = {name: x for name, x in sources.items() if x is not None and np.isfinite(x).all()}
        names = list(known)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                as_is, turned = lagged(known[a], known[b]), lagged(1 - known[a], known[b])
                if as_is > APART and turned < BETTER * as_is:
                    yield Finding(
                        "inverted-gripper",
                        motion.episode,
                        None,
                        f"{a} and {b} are {as_is:.2f} of the opening apart, {turned:.2f} if one"
                        " is turned round (0 closed, 1 open)",
                        "import the data again with the gripper's sign turned, or correct"
                        " `closed` and `open` of the gripper in the embodiment",
                    )
                    return
