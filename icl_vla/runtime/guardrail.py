"""The last look at a chunk before a robot moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation


@dataclass(frozen=True)
class Review:
    """What a guardrail decided, and why."""

    decision: Literal["allow", "modify", "replan", "stop"]
    chunk: ActionChunk
    reason: str = ""


class Guardrail(Protocol):
    """Reviews every chunk; several can be chained."""

    def review(self, chunk: ActionChunk, observation: Observation) -> Review:
        """Allow a chunk, change it, ask for another, or stop the robot."""
        ...


@dataclass(frozen=True)
class FiniteAndNear:
    """Stops at numbers that are not finite; asks again where a step leaps.

    Attributes:
        leap: Longest distance of a step from the measured pose [m].
    """

    leap: float = 0.5

    def review(self, chunk: ActionChunk, observation: Observation) -> Review:
        """See :class:`Guardrail`."""
        numbers = {**chunk.motions, **{f"{e}'s gripper": x for e, x in chunk.grippers.items()}}
        if chunk.base_twists is not None:
            numbers["base"] = chunk.base_twists
        for name, values in numbers.items():
            if not np.isfinite(values).all():
                return Review("stop", chunk, f"{name}: the chunk holds a number not finite")
        for effector, motion in chunk.motions.items():
            farthest = float(np.linalg.norm(motion[:, :3, 3], axis=-1).max())
            if farthest > self.leap:
                return Review("replan", chunk, f"{effector}: a step leaps {farthest:.2f} m")
        return Review("allow", chunk)
