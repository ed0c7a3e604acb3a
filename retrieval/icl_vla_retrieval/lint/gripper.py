"""A gripper whose numbers run the wrong way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from icl_vla_embodiments.types import Array

from .finding import Finding
from .motion import LAGS, Motion, lagged

APART = 0.15  # of the opening, on average
BETTER = 0.5  # share of the distance that turning one of them round must leave at most
STROKE = 0.05  # least opening and closing from which a direction is read
AGAINST = -0.7  # correlation of openings that move against each other


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
                apart = as_is > APART and turned < BETTER * as_is
                if apart or _correlation(known[a], known[b]) < AGAINST:
                    yield Finding(
                        "inverted-gripper",
                        motion.episode,
                        None,
                        f"{a} and {b} move against each other: {as_is:.2f} of the opening apart,"
                        f" {turned:.2f} if one is turned round (0 closed, 1 open)",
                        "import the data again with the gripper's sign turned, or correct"
                        " `closed` and `open` of the gripper in the embodiment",
                    )
                    return


def _correlation(a: Array, b: Array) -> float:
    """Of two openings ``(T,)`` at the lag at which they are most alike; 0 where one is still.

    A thing between the fingers keeps them far from where they are told to close, so distances
    alone would mislead.
    """
    if min(np.ptp(a), np.ptp(b)) < STROKE:
        return 0.0
    found = [0.0]
    for k in range(min(LAGS, len(a) - 3) + 1):
        x, y = a[: len(a) - k], b[k:]
        if min(np.ptp(x), np.ptp(y)) > 0:
            found.append(float(np.corrcoef(x, y)[0, 1]))
    return max(found, key=abs)
