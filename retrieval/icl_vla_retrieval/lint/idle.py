"""Time at either end in which nothing happens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding
from .motion import Motion

LONGEST = 0.4  # [s] of stillness that is normal at either end
KEPT = 0.1  # [s] of it that a fix leaves


def check_idle(motion: Motion) -> Iterator[Finding]:
    """Nothing measured or commanded changes at the beginning, or at the end.

    A policy that reads such frames learns to stand still.
    """
    T = len(motion)
    keep = max(1, round(KEPT / motion.period))
    head = int(np.argmax(np.append(motion.distance(0) > 1.0, True)))
    tail = int(np.argmax(np.append(motion.distance(T - 1)[::-1] > 1.0, True)))
    for end, count in (("beginning", head), ("end", tail)):
        seconds = count * motion.period
        still_throughout = count == T and end == "end"  # said at the beginning already
        if seconds < LONGEST - 1e-9 or still_throughout:
            continue
        frames = range(count) if end == "beginning" else range(T - count, T)
        spare = frames[:-keep] if end == "beginning" else frames[keep:]
        yield Finding(
            "idle",
            motion.episode,
            (frames[0], frames[-1]),
            f"{seconds:.1f} s without motion or command at the {end}",
            f"trim it: icl-vla demos lint {motion.d.embodiment} --fix"
            if count < T
            else "remove the episode",
            drop=tuple(spare) if count < T else (),
        )
