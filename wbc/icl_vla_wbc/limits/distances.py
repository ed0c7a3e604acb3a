"""Distances between the robot's links, and to obstacles, along a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from ..horizon import Horizon
from ..obstacles import Obstacle
from ..plan import Plan
from .limit import Rows

if TYPE_CHECKING:  # its settings hold those of the governor, which knows limits
    from ..collision import CollisionModel, DistanceRows

CORRECTION = 0.03  # [m]; most that an iteration is asked to change a distance that is too small


class DistanceLimits:
    r"""Keeps bodies apart: :math:`d(q_k) + \nabla d\, P_k \delta U \ge m` at the checked stages.

    The distances and their gradients are :class:`CollisionModel`'s.

    Args:
        collision: Distances at the present posture and the checked stages.
        joints: ``(n,)`` indices of the controlled joints.
        horizon: Stages and knots.

    Attributes:
        obstacles: Where they are now.
    """

    def __init__(
        self, collision: CollisionModel, joints: NDArray[np.intp], horizon: Horizon
    ) -> None:
        self.collision, self._joints, self._checked = collision, joints, horizon.checked
        self._times = np.concatenate([[0.0], horizon.times[horizon.checked]])
        self._shares = horizon.P[horizon.checked, 2:]
        self.obstacles: Sequence[Obstacle] = ()
        self._found: DistanceRows | None = None
        self._C = np.zeros((0, 0))

    def rows(self, plan: Plan) -> Rows | None:
        """See :meth:`Limit.rows`."""
        Q = np.concatenate([plan.now[None], plan.Q[self._checked]])
        found = self._found = self.collision.look(Q, self._times, self.obstacles)
        if not len(found.stage):
            return None
        shares = self._shares[found.stage - 1]  # (M, K)
        C = (shares[:, :, None] * found.gradient[:, None, :]).reshape(len(shares), -1)
        self._C = C
        lower = np.minimum(found.margin - found.distance, CORRECTION)
        return Rows(C, lower, np.full(len(shares), np.inf))

    def clear(self, change: Array) -> bool:
        """Whether a change of the plan last looked at keeps distances too well to be braked."""
        found = self._found
        if found is None or not len(found.stage):
            return True
        planned = found.distance + self._C @ change
        return bool((planned >= self.collision.config.stop * found.margin).all())
