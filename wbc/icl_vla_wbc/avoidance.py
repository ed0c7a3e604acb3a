"""Ways round what comes near: plans that keep distances where the present one cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .collision import CollisionModel, DistanceRows
from .config import MpcConfig
from .horizon import Horizon
from .limits import ViableLimits
from .obstacles import Obstacle

DRAWS = 12  # plans drawn in a tick
SLOWEST = 0.2  # of these, as a share of the velocity limits
SLACK = 0.25  # share of a margin that a plan may break before others are tried
WORST = 3.0  # margins; deeper than this is not worse
GAIN = 0.5  # an escape must lower the cost to this share
SWING = 3  # knots over which an escape speeds up
SOON = 0.3  # [s]; what happens this late counts half, for much can be done until then
FIRST = 2  # moment that other plans are judged from; they hardly differ before
BEYOND = 10.0  # cost of each rad or m outside the joints' range


class Avoidance:
    r"""Looks ahead along a plan and, where it leads too near to something, for a way round.

    Linearised distances show only which way is better next to the present plan: an arm that yields
    step by step to what pushes it ends stretched, at its limits or against itself, and a whole step
    may overshoot. So whenever a plan breaks a margin, other plans are rolled out: the one that this
    plan was made from, one half way back to it, and some drawn at random, anew in each tick, of
    which each swings to a joint velocity and holds it over the horizon (a dynamic window in joint
    space; Fox et al., *The dynamic window approach to collision avoidance*, 1997). With the missing
    share of the margin :math:`b_k` of the worst pair at time :math:`t_k`, their cost is

    .. math:: \sum_k \frac{\tau}{\tau + t_k} \min(\max(b_k, 0), b_{max})^2

    and the cheapest becomes the plan that the program is linearised around, if it costs clearly
    less. Where a plan ends must be a safe place to stop, too: that posture is looked at again
    :attr:`SafetyConfig.stay` after the plan's end.

    Args:
        collision: Made for as many postures as there are :func:`moments`.
        horizon: Stages and knots.
        limits: Of the controlled joints.
        joints: ``(n,)`` their indices.
        config: Settings.

    Attributes:
        collision: Distances.
        pressed: Whether the plan last returned breaks a margin clearly.
    """

    def __init__(
        self,
        collision: CollisionModel,
        horizon: Horizon,
        limits: ViableLimits,
        joints: NDArray[np.intp],
        config: MpcConfig,
    ) -> None:
        self.collision, self._limits, self._joints = collision, limits, joints
        self._horizon = horizon
        self._times, stages = moments(horizon, config)
        self._P = horizon.P[stages]
        self._urgency = SOON / (SOON + self._times[FIRST:])
        self._swing = np.zeros(config.knots)
        self._swing[:SWING] = 1 / horizon.V[-1, 2 : 2 + SWING].sum()
        self._trials = collision.bodies.without_jacobians((DRAWS + 4) * len(self._urgency))
        self.reset()

    def reset(self) -> None:
        """Forget the last plan, and draw the same ones again."""
        self._rng = np.random.default_rng(0)
        self._before = np.zeros((len(self._swing), len(self._joints)))
        self.pressed = False

    def around(
        self,
        all_q: Array,
        measured: Array,
        v: Array,
        U: Array,
        obstacles: Sequence[Obstacle],
    ) -> tuple[Array, DistanceRows]:
        """The plan or a better one ``(K, n)``, and the rows of its distances.

        Args:
            all_q: Commanded positions of all actuated joints.
            measured: Measured ones; these are what the monitor looks at.
            v: ``(n,)`` commanded velocities.
            U: ``(K, n)`` plan.
            obstacles: Where they are now.
        """
        rows = self._look(all_q, measured, v, U, obstacles)
        if (rows.broken > SLACK).any():
            before = self._horizon.shift @ self._before
            plans = np.stack([U, before, 0.5 * (U + before), *self._draw(all_q[self._joints], v)])
            costs = self._costs(all_q, v, plans)
            best = int(costs.argmin())
            if costs[best] < GAIN * costs[0]:
                U = plans[best]
                rows = self._look(all_q, measured, v, U, obstacles)
        self._before, self.pressed = U, bool((rows.broken > SLACK).any())
        return U, rows

    def _look(
        self, all_q: Array, measured: Array, v: Array, U: Array, obstacles: Sequence[Obstacle]
    ) -> DistanceRows:
        Q = np.tile(all_q, (1 + len(self._P), 1))
        Q[0] = measured
        Q[1:, self._joints] = self._P @ np.concatenate([all_q[None, self._joints], v[None], U])
        rows = self.collision.look(Q, self._times, obstacles)
        # what is too near after the plan's end bends its end
        return replace(rows, stage=np.minimum(rows.stage, len(self._horizon.checked)))

    def _draw(self, q: Array, v: Array) -> Array:
        """Plans ``(DRAWS + 1, K, n)``: :data:`DRAWS` at random speeds, and one to stop."""
        limits, end = self._limits, float(self._horizon.times[-1])
        w = self._rng.normal(size=(DRAWS, len(q)))
        w *= self._rng.uniform(SLOWEST, 1.0, (DRAWS, 1)) / np.abs(w).max(axis=1, keepdims=True)
        w *= limits.velocity
        # no joint reaches the end of its range before the plan ends
        w = np.clip(
            w, np.minimum((limits.lower - q) / end, 0), np.maximum((limits.upper - q) / end, 0)
        )
        change = np.vstack([w, np.zeros_like(q)]) - v
        U = self._swing[:, None] * change[:, None]
        return np.clip(U, -limits.acceleration, limits.acceleration)

    def _costs(self, all_q: Array, v: Array, plans: Array) -> Array:
        """How badly each plan ``(S, K, n)`` breaks margins and ranges."""
        S = len(plans)
        state = np.stack([all_q[self._joints], v])
        X = np.concatenate([np.broadcast_to(state, (S, *state.shape)), plans], axis=1)
        q = self._P[FIRST - 1 :] @ X  # (S, C, n)
        Q = np.tile(all_q, (q.shape[0] * q.shape[1], 1))
        Q[:, self._joints] = q.reshape(len(Q), -1)
        times = np.tile(self._times[FIRST:], S)
        broken = self.collision.broken(self._trials, Q, times).reshape(S, -1)
        outside = np.maximum(self._limits.lower - q, q - self._limits.upper)
        beyond = np.maximum(outside, 0.0).sum(axis=(1, 2))
        cost: Array = np.clip(broken, 0.0, WORST) ** 2 @ self._urgency + BEYOND * beyond
        return cost


def moments(horizon: Horizon, config: MpcConfig) -> tuple[Array, Array]:
    """When distances are looked at, ``(1 + C,)`` from now on [s], and the ``C`` stages then."""
    stay = np.asarray(config.safety.stay, dtype=float)
    times = np.concatenate([[0.0], horizon.times[horizon.checked], horizon.times[-1] + stay])
    last = np.full(len(stay), len(horizon.times) - 1)
    return times, np.concatenate([horizon.checked, last])
