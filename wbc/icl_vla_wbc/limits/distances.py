"""Distances between the robot's links, and to obstacles, along a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icl_vla_embodiments.types import Array

from ..horizon import Horizon
from ..obstacles import Obstacle
from ..plan import Plan
from .limit import Rows

if TYPE_CHECKING:  # its settings hold those of the governor, which knows limits
    from ..avoidance import Avoidance
    from ..collision import DistanceRows
    from ..qp import QuadraticProgram

TINY = 1e-6  # [m/s]
CORRECTION = 0.03  # [m]; most that an iteration is asked to change a distance that is too small


class DistanceLimits:
    r"""Keeps bodies apart: :math:`d(q_k) + \nabla d\, P_k \delta U \ge m` at the checked stages.

    The distances and their gradients are :class:`CollisionModel`'s, around the plan that
    :class:`Avoidance` chose.

    Args:
        avoidance: Looks for plans that keep distances.
        horizon: Stages and knots.
    """

    def __init__(self, avoidance: Avoidance, horizon: Horizon) -> None:
        self._avoidance, self._collision = avoidance, avoidance.collision
        self._shares = horizon.P[horizon.checked, 2:]
        self._found: DistanceRows | None = None
        self._C = np.zeros((0, 0))

    def reset(self) -> None:
        """Forget what was seen."""
        self._avoidance.reset()
        self._found = None

    def around(
        self, q: Array, measured: Array, v: Array, U: Array, obstacles: Sequence[Obstacle]
    ) -> Array:
        """The plan ``(K, n)`` or a better one; see :meth:`Avoidance.around`."""
        U, self._found = self._avoidance.around(q, measured, v, U, obstacles)
        return U

    @property
    def pressed(self) -> bool:
        """Whether no plan was found that keeps the margins."""
        return self._avoidance.pressed

    def escape(self, q: Array, v: Array, following: tuple[Array, Array]) -> Array | None:
        """Velocities that lead to a refuge; see :meth:`Avoidance.escape`."""
        return self._avoidance.escape(q, v, following)

    @property
    def kept(self) -> bool:
        """Whether the plan keeps its distances well enough to be used once more."""
        found, stop = self._found, self._collision.config.stop
        return found is None or not (found.broken > 1 - stop).any()

    def rows(self, plan: Plan) -> Rows | None:
        """See :meth:`Limit.rows`; of the plan last looked at."""
        found = self._found
        if found is None or not len(found.stage):
            return None
        shares = self._shares[found.stage - 1]  # (M, K)
        self._C = (shares[:, :, None] * found.gradient[:, None, :]).reshape(len(shares), -1)
        lower = np.minimum(found.margin - found.distance, CORRECTION)
        return Rows(self._C, lower, np.full(len(shares), np.inf))

    def clear(self, change: Array) -> bool:
        """Whether a change of the plan last looked at keeps distances too well to be braked."""
        found = self._found
        if found is None or not len(found.stage):
            return True
        planned = found.distance + self._C @ change
        return bool((planned >= self._collision.config.stop * found.margin).all())

    def damped(self, program: QuadraticProgram) -> QuadraticProgram:
        """A program for velocities that keeps distances; see :meth:`CollisionModel.damped`."""
        return self._collision.damped(program)

    def damps(self, velocity: Array) -> bool:
        """Whether velocities ``(n,)`` let no distance shrink faster than dampers would."""
        gradient, slowest = self._collision.dampers()
        return not len(slowest) or bool((gradient @ velocity >= slowest - TINY).all())

    def danger(self, v: Array, following: Array, acceleration: Array, period: float) -> str:
        """Why a motion must be braked; see :meth:`CollisionModel.danger`."""
        return self._collision.danger(v, following, acceleration, period)
