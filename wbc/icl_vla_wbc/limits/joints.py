"""Positions, velocities and accelerations of the joints along a plan."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments.types import Array

from ..horizon import Horizon
from ..qp import row_kinds
from ..vectors import selection
from .viable import ViableLimits


class JointLimits:
    r"""The limits that every plan has, constant but for their bounds.

    Accelerations are bounded (hard) at the knots, which bounds them in between; positions and
    velocities (soft rows) at the horizon's checked stages:

    .. math:: |U_j| \le a_{max}, \quad q_{min} \le P_k X \le q_{max}, \quad |V_k X| \le v_{max}.

    Args:
        limits: Of the controlled joints.
        horizon: Stages and knots.

    Attributes:
        C: ``(M, K n)`` soft rows, by the change of the plan.
        kinds: Of the bounds and rows, see :func:`row_kinds`.
        speed: ``(n,)`` largest velocities that plans may have now; never above the limits' own.
    """

    def __init__(self, limits: ViableLimits, horizon: Horizon) -> None:
        K, n, checks = len(horizon.shift), len(limits.velocity), len(horizon.checked)
        P, V = horizon.P[horizon.checked], horizon.V[horizon.checked]
        self._values = np.vstack([np.eye(K + 2)[2:], P, V])
        counts = [K, checks, checks]
        acceleration, velocity = limits.acceleration, limits.velocity
        self._low = np.repeat([-acceleration, limits.lower, -velocity], counts, axis=0)
        self._high = np.repeat([acceleration, limits.upper, velocity], counts, axis=0)
        self._fast = slice(K + checks, None)
        rows = np.flatnonzero(np.isfinite(self._low) | np.isfinite(self._high))
        self.C = np.kron(self._values[:, 2:], np.eye(n))[rows[K * n :]]
        self._rows = selection(rows)
        self.kinds = row_kinds(K * n, len(self.C))
        self.speed = velocity

    def bounds(self, X: Array) -> tuple[Array, Array]:
        """Lowest and highest change ``(K n + M,)`` of the knots, then of the rows' values."""
        self._low[self._fast], self._high[self._fast] = -self.speed, self.speed
        values = self._values @ X
        low, high = ((x - values).reshape(-1)[self._rows] for x in (self._low, self._high))
        return low, high
