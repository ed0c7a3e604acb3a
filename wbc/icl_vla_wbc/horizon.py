"""Joints as double integrators over a horizon, condensed on a few acceleration knots."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments.types import Array

SPACING = 1.9  # exponent; above 1 the knots crowd towards now, where the plan is used
NEAREST = 0.75  # [stages] from now that the second knot may be
CHECKS = 8  # stages at which limits are checked; between them the plan has little freedom


class Horizon:
    r"""``N`` stages of length ``dt``; accelerations interpolated between ``K`` knots.

    With the state now and the knot values stacked as :math:`X = (q, v, U)`, ``(2 + K, n)``,

    .. math:: q_k = (P X)_k, \quad v_k = (V X)_k, \quad a_k = (A X)_k,

    which eliminates the states exactly (condensing) and cuts the unknowns from ``N n`` to ``K n``
    (move blocking; Cagienard et al., *Move blocking strategies in receding horizon control*, 2007).

    Attributes:
        times: ``(N,)`` of the stages, the first at ``dt`` [s].
        checked: Indices of the stages at which state limits are imposed.
        P: ``(N, 2 + K)`` positions; the first two columns are 1 and the times.
        V: ``(N, 2 + K)`` velocities.
        A: ``(N, 2 + K)`` accelerations, each held during the step before its stage.
        shift: ``(K, K)`` knot values of the same plan, seen one control period later.
    """

    def __init__(self, stages: int, knots: int, dt: float, period: float) -> None:
        at = _crowded(knots, stages)
        if at[1] < NEAREST:
            # crowded between two stages, some act on hardly any, and jump when they come to act
            at = np.maximum(at, np.arange(knots))

        def hats(x: Array) -> Array:
            return np.stack([np.interp(x, at, row) for row in np.eye(knots)], axis=1)

        self.checked = np.unique(np.round(_crowded(CHECKS, stages)).astype(int))
        self.times: Array = dt * np.arange(1.0, stages + 1)
        B = hats(np.arange(stages, dtype=float))
        held = np.tril(np.ones((stages, stages)))
        ages = np.subtract.outer(np.arange(stages), np.arange(stages)) + 0.5
        one, zero = np.ones((stages, 1)), np.zeros((stages, 1))
        self.P = np.hstack([one, self.times[:, None], dt**2 * (held * ages) @ B])
        self.V = np.hstack([zero, one, dt * held @ B])
        self.A = np.hstack([zero, zero, B])
        self.shift = hats(at + period / dt)


def _crowded(count: int, stages: int) -> Array:
    """Moments in ``[0, stages - 1]`` that crowd towards 0."""
    return np.linspace(0, 1, count) ** SPACING * (stages - 1)
