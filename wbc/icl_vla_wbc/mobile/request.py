"""What a caller asks of a base, read once and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import TaskTarget, se2
from icl_vla_embodiments.types import Array

from ..request import rigid
from .drive import Drive


@dataclass(frozen=True)
class BaseRequest:
    """Targets of the base, as poses and twists of the drive's centre.

    Attributes:
        times: ``(M,)`` seconds from now at which the places are due.
        places: ``(M, 3)``; None: nothing is asked.
        twist: ``(3,)`` of the target that is due next, if it has one.
    """

    times: Array
    places: Array | None
    twist: Array | None

    @classmethod
    def read(
        cls, targets: Sequence[TaskTarget], due: Array, period: float, drive: Drive
    ) -> BaseRequest | None:
        """The request, or None where a number is not finite or a pose is no rigid motion."""
        if not len(targets):
            return cls(due, None, None)
        present = targets[min(int(np.searchsorted(due, period)), len(targets) - 1)]
        twist = None
        if present.base_twist is not None:
            asked = np.asarray(present.base_twist, dtype=float)
            if asked.shape != (6,) or not np.isfinite(asked).all():
                return None
            twist = np.clip(drive.centre_twist(asked), -drive.twist_limit, drive.twist_limit)
        placed = [i for i, t in enumerate(targets) if t.T_world_base is not None]
        if not placed:
            return cls(due, None, twist)
        poses = np.array([targets[i].T_world_base for i in placed], dtype=float)
        if not rigid(poses):
            return None
        return cls(due[placed], se2.planar(poses @ drive.T_base_centre), twist)

    def at(self, times: Array, heading: float) -> Array:
        """Places ``(n, 3)`` on straight lines between those due; headings nearest to one."""
        assert self.places is not None
        turned = heading + np.unwrap(se2.wrap(self.places[:, 2] - heading))
        columns = (self.places[:, 0], self.places[:, 1], turned)
        return np.stack([np.interp(times, self.times, c) for c in columns], axis=1)
