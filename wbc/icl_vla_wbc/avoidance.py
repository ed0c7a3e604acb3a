"""Ways round what comes near: plans that keep distances where the present one cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .bodies import Bodies
from .collision import CollisionModel, DistanceRows
from .config import MpcConfig
from .horizon import Horizon
from .limits import ViableLimits
from .obstacles import Obstacle
from .refuge import Refuges

DRAWS = 12  # refuges drawn in a tick
SLOWEST = 0.3  # way to one, as a share of the velocity limits
REACH = (0.2, 1.5)  # [s]; how far away they are drawn, at full speed
SLACK = 0.25  # share of a margin that a plan may break before others are tried
WORST = 3.0  # margins; deeper than this is not worse
GAIN = 0.5  # what replaces a plan must lower the cost to this share
ALERT = -1.0  # share of a margin by which distances are larger that need no refuge
WORSE = 0.02  # cost by which a refuge may get worse while a plan is followed
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
        self._fit = np.linalg.pinv(horizon.P[:, 2:], rcond=1e-2)
        self._trials = collision.bodies.without_jacobians((DRAWS + 5) * len(self._urgency))
        self._few = {
            s: collision.bodies.without_jacobians(s * len(self._urgency)) for s in (1, 2)
        }
        self.reset()

    def reset(self) -> None:
        """Forget the last plan and refuge, and draw the same ones again."""
        self._rng = np.random.default_rng(0)
        self._before = np.zeros((self._horizon.shift.shape[0], len(self._joints)))
        self.refuge: Refuges | None = None
        self.pressed = self.threatened = False

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
        broken = bool((rows.broken > SLACK).any())
        self.threatened = bool((rows.broken > ALERT).any())
        if self.threatened:
            self._cost = np.inf
            if self.refuge is not None:
                self._cost = float(self._ways_costs(all_q, v, self.refuge)[0])
            if broken or self._cost > WORSE:
                U, changed = self._search(all_q, v, U, broken)
                if changed:
                    rows = self._look(all_q, measured, v, U, obstacles)
        self._before, self.pressed = U, bool((rows.broken > SLACK).any())
        return U, rows

    def _search(self, all_q: Array, v: Array, U: Array, broken: bool) -> tuple[Array, bool]:
        q, limits = all_q[self._joints], self._limits
        before = self._horizon.shift @ self._before
        plans = np.stack([U, before, 0.5 * (U + before)])
        X = np.concatenate([np.broadcast_to([q, v], (3, 2, len(q))), plans], axis=1)
        refuges = self._refuges(q, v)
        ways = refuges.ways(q, v, limits.acceleration, self._times[FIRST:])
        motions = np.concatenate([self._P[FIRST - 1 :] @ X, ways])
        costs = self._costs(self._trials, all_q, motions, 0.0)
        self.refuge, self._cost = self._kept(refuges, costs[3:])
        best = int(costs[:3].argmin())
        if not broken or min(self._cost, costs[best]) >= GAIN * costs[0]:
            return U, False
        return (plans[best] if costs[best] <= self._cost else self._plan(q, v, self.refuge)), True

    def escape(self, all_q: Array, v: Array, following: tuple[Array, Array]) -> Array | None:
        """Velocities ``(n,)`` on the way to the refuge, if it must be gone now.

        That is, if the refuge would be harder to reach a period on, and it would not do to stop.

        Args:
            all_q: Commanded positions of all actuated joints.
            v: ``(n,)`` commanded velocities.
            following: Positions of all joints and velocities ``(n,)`` a period on, as proposed.
        """
        if not self.threatened or self.refuge is None:
            return None
        limits, there = self._limits, following[0]
        rest = self._rest(there[self._joints], following[1])
        costs = self._ways_costs(there, following[1], self.refuge.joined(rest), limits.period)
        if costs[0] <= self._cost + WORSE:
            return None
        if costs[1] <= self._cost + WORSE:
            self.refuge = rest
            return None
        return self.refuge.velocity(all_q[self._joints], v, limits)

    def _ways_costs(self, all_q: Array, v: Array, refuges: Refuges, late: float = 0.0) -> Array:
        times = self._times[FIRST:]
        ways = refuges.ways(all_q[self._joints], v, self._limits.acceleration, times)
        return self._costs(self._few[len(refuges)], all_q, ways, late)

    def _look(
        self, all_q: Array, measured: Array, v: Array, U: Array, obstacles: Sequence[Obstacle]
    ) -> DistanceRows:
        Q = np.tile(all_q, (1 + len(self._P), 1))
        Q[0] = measured
        Q[1:, self._joints] = self._P @ np.concatenate([all_q[None, self._joints], v[None], U])
        rows = self.collision.look(Q, self._times, obstacles)
        # what is too near after the plan's end bends its end
        return replace(rows, stage=np.minimum(rows.stage, len(self._horizon.checked)))

    def _kept(self, refuges: Refuges, costs: Array) -> tuple[Refuges, float]:
        """The best refuge and its cost; the one of before unless another is clearly better."""
        best = int(costs.argmin())
        if self.refuge is not None and not costs[best] < GAIN * costs[0]:
            best = 0
        return refuges[best], float(costs[best])

    def _refuges(self, q: Array, v: Array) -> Refuges:
        """The one of before, where it comes to rest soonest, and ``DRAWS`` at random."""
        limits, rng = self._limits, self._rng
        rest = self._rest(q, v)
        w = rng.normal(size=(DRAWS, len(q)))
        w *= limits.velocity / np.abs(w).max(axis=1, keepdims=True)
        goals = q + rng.uniform(*REACH, (DRAWS, 1)) * w
        speeds = rng.uniform(SLOWEST, 1.0, (DRAWS, 1)) * limits.velocity
        drawn = rest.joined(Refuges(np.clip(goals, limits.lower, limits.upper), speeds))
        return (rest if self.refuge is None else self.refuge).joined(drawn)

    def _rest(self, q: Array, v: Array) -> Refuges:
        """Where it comes to rest soonest."""
        limits = self._limits
        return Refuges(
            (q + 0.5 * v * np.abs(v) / limits.acceleration)[None], limits.velocity[None]
        )

    def _plan(self, q: Array, v: Array, refuge: Refuges) -> Array:
        """The plan ``(K, n)`` that is nearest to the way to a refuge."""
        horizon, limits = self._horizon, self._limits
        way = refuge.ways(q, v, limits.acceleration, horizon.times)[0]
        U = self._fit @ (way - horizon.P[:, :2] @ np.stack([q, v]))
        return np.clip(U, -limits.acceleration, limits.acceleration)

    def _costs(self, bodies: Bodies, all_q: Array, q: Array, late: float) -> Array:
        """How badly each motion ``(S, C, n)`` breaks margins and ranges.

        Args:
            bodies: For as many postures.
            all_q: Positions of all actuated joints.
            q: Of the controlled ones.
            late: When the motions begin [s].
        """
        Q = np.tile(all_q, (q.shape[0] * q.shape[1], 1))
        Q[:, self._joints] = q.reshape(len(Q), -1)
        times = np.tile(self._times[FIRST:] + late, len(q))
        broken = self.collision.broken(bodies, Q, times).reshape(len(q), -1)
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
