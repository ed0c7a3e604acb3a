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
from .refuge import Refuges

DRAWS = 12  # refuges drawn in a tick, half of them near the last one
SLOWEST = 0.3  # way to one, as a share of the velocity limits
REACH = (0.2, 1.5)  # [s] away at full speed, where they are drawn anywhere
NEIGHBOURHOOD = 0.3  # [rad or m]; deviation of those near the last one
PLANS = 4  # that are compared
GAIN = 0.5  # what replaces a plan or a refuge must lower the cost to this share
HEADWAY = 0.04  # [s] in which an obstacle may come nearer than is known, as ways are seen roughly
SLIGHT = 0.1  # share of a margin that may be missing anywhere
CLEAR = 0.01  # cost of a way that is clear enough
NOISE = 1e-3  # cost by which a way may seem worse from one tick to the next
SLACK = 0.25  # share of a margin that a plan may break before others are tried
ALERT = -1.0  # share of a margin that may be missing before a refuge is needed
WORST = 3.0  # margins; deeper than this is not worse
SOON = 0.3  # [s]; what happens this late counts half, for much can be done until then
LOOKS = (
    0.0,
    0.05,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.65,
    0.8,
    1.0,
    1.25,
    1.5,
    1.75,
    2.0,
    2.5,
    3.0,
)  # [s]
BEYOND = 10.0  # cost of each rad or m outside the joints' range


class Avoidance:
    r"""Looks ahead along a plan and, where it leads too near to something, for a way round.

    Linearised distances show only which way is better next to the present plan: an arm that yields
    step by step to what pushes it ends stretched, at its limits or against itself, and a whole step
    may overshoot. Where a motion leads is therefore rolled out, for three seconds, and told by the
    missing share of the margin :math:`b_k` of the worst pair at time :math:`t_k`:

    .. math:: \sum_k \frac{\tau}{\tau + t_k} \min(\max(b_k - b_0, 0), b_{max})^2

    *Refuges.* While anything is near, one way out is known at all times: a posture to rest at and
    the way there (:class:`Refuges`), both clear. Where the one at hand is not, others are drawn,
    anew in each tick. The program's command is followed only as long as the refuge can still be
    reached afterwards, or the arm could just stop; otherwise it is the moment to go there. So the
    arm does not get where every way ends in a collision (Fraichard and Asama, *Inevitable collision
    states: a step towards safer robots?*, 2004), as far as obstacles move on as they do.

    *Plans.* A plan that breaks a margin clearly gives way to the cheapest of these: the one that it
    was made from, one half way back to that, and the way to the refuge. Where a plan ends must be a
    safe place to stop, too: that posture is looked at again :attr:`SafetyConfig.stay` after its
    end.

    Args:
        collision: Made for as many postures as there are :func:`moments`.
        horizon: Stages and knots.
        limits: Of the controlled joints.
        joints: ``(n,)`` their indices.
        config: Settings.

    Attributes:
        collision: Distances.
        pressed: Whether the plan last returned breaks a margin clearly.
        threatened: Whether a refuge was needed when it was last looked.
        refuge: The way out, if one was ever needed.
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
        self._looks = np.array(LOOKS)
        self._urgency = SOON / (SOON + self._looks[1:])
        now = np.eye(1, horizon.P.shape[1])
        seen = [min(round(t / config.dt), len(horizon.times)) for t in LOOKS]
        self._seen = np.concatenate([now, horizon.P])[seen]
        self._fit = np.linalg.pinv(horizon.P[:, 2:], rcond=1e-2)
        self._bodies = {
            count: collision.bodies.without_jacobians(count * len(LOOKS))
            for count in (1, PLANS, DRAWS + 1)
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
        self.threatened = broken or (len(obstacles) > 0 and bool((rows.broken > ALERT).any()))
        if self.threatened:
            self._choose_refuge(all_q, v)
            if broken:
                better = self._better(all_q, v, U)
                if better is not None:
                    U = better
                    rows = self._look(all_q, measured, v, U, obstacles)
        self._before, self.pressed = U, bool((rows.broken > SLACK).any())
        return U, rows

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
        limits, (there, speed) = self._limits, following
        enough = max(self._cost + NOISE, CLEAR)
        if self._ways_costs(there, speed, self.refuge, limits.period)[0] <= enough:
            return None
        rest = self._rest(there[self._joints], speed)
        if self._ways_costs(there, speed, rest, limits.period)[0] <= enough:
            self.refuge = rest
            return None
        return self.refuge.velocity(all_q[self._joints], v, limits)

    def _look(
        self, all_q: Array, measured: Array, v: Array, U: Array, obstacles: Sequence[Obstacle]
    ) -> DistanceRows:
        Q = np.tile(all_q, (1 + len(self._P), 1))
        Q[0] = measured
        Q[1:, self._joints] = self._P @ np.concatenate([all_q[None, self._joints], v[None], U])
        rows = self.collision.look(Q, self._times, obstacles)
        # what is too near after the plan's end bends its end
        return replace(rows, stage=np.minimum(rows.stage, len(self._horizon.checked)))

    def _choose_refuge(self, all_q: Array, v: Array) -> None:
        """Keep the refuge while the way there is clear; else look for a clearly better one."""
        q = all_q[self._joints]
        kept = self._rest(q, v) if self.refuge is None else self.refuge
        self.refuge, self._cost = kept, float(self._ways_costs(all_q, v, kept)[0])
        if self._cost <= CLEAR:
            return
        others = self._rest(q, v).joined(self._drawn(q, kept))
        costs = self._ways_costs(all_q, v, others)
        best = int(costs.argmin())
        if costs[best] < GAIN * self._cost:
            self.refuge, self._cost = others[best], float(costs[best])

    def _drawn(self, q: Array, kept: Refuges) -> Refuges:
        """``DRAWS`` refuges: half of them anywhere, half of them near another one."""
        limits, rng, half = self._limits, self._rng, DRAWS // 2
        w = rng.normal(size=(DRAWS, len(q)))
        w *= limits.velocity / np.abs(w).max(axis=1, keepdims=True)
        goals = q + rng.uniform(*REACH, (DRAWS, 1)) * w
        goals[:half] = kept.goals + rng.normal(0.0, NEIGHBOURHOOD, (half, len(q)))
        speeds = rng.uniform(SLOWEST, 1.0, (DRAWS, 1)) * limits.velocity
        return Refuges(np.clip(goals, limits.lower, limits.upper), speeds)

    def _better(self, all_q: Array, v: Array, U: Array) -> Array | None:
        """A plan ``(K, n)`` that costs clearly less, if there is one."""
        q, before = all_q[self._joints], self._horizon.shift @ self._before
        plans = np.stack([U, before, 0.5 * (U + before), self._plan(q, v)])
        X = np.concatenate([np.broadcast_to([q, v], (PLANS, 2, len(q))), plans], axis=1)
        costs = self._costs(all_q, self._seen @ X)
        best = int(costs.argmin())
        return plans[best] if costs[best] < GAIN * costs[0] else None

    def _rest(self, q: Array, v: Array) -> Refuges:
        """Where it comes to rest soonest."""
        limits = self._limits
        return Refuges((q + 0.5 * v * np.abs(v) / limits.acceleration)[None], limits.velocity[None])

    def _plan(self, q: Array, v: Array) -> Array:
        """The plan ``(K, n)`` that is nearest to the way to the refuge."""
        assert self.refuge is not None
        horizon, limits = self._horizon, self._limits
        way = self.refuge.ways(q, v, limits.acceleration, horizon.times)[0]
        U = self._fit @ (way - horizon.P[:, :2] @ np.stack([q, v]))
        return np.clip(U, -limits.acceleration, limits.acceleration)

    def _ways_costs(self, all_q: Array, v: Array, refuges: Refuges, late: float = 0.0) -> Array:
        """How badly the ways to refuges ``(S,)`` break margins; see :meth:`_costs`."""
        a = self._limits.acceleration
        return self._costs(all_q, refuges.ways(all_q[self._joints], v, a, self._looks), late)

    def _costs(self, all_q: Array, q: Array, late: float = 0.0) -> Array:
        """How badly each motion ``(S, C, n)`` breaks margins and ranges.

        Args:
            all_q: Positions of all actuated joints.
            q: Of the controlled ones.
            late: When the motions begin [s].
        """
        Q = np.tile(all_q, (*q.shape[:2], 1))
        Q[..., self._joints] = q
        broken = self.collision.broken(self._bodies[len(q)], Q, self._looks + late, HEADWAY)
        outside = np.maximum(self._limits.lower - q, q - self._limits.upper)
        beyond = np.maximum(outside, 0.0).sum(axis=(1, 2))
        cost: Array = np.clip(broken - SLIGHT, 0.0, WORST) ** 2 @ self._urgency + BEYOND * beyond
        return cost


def moments(horizon: Horizon, config: MpcConfig) -> tuple[Array, Array]:
    """When distances are looked at, ``(1 + C,)`` from now on [s], and the ``C`` stages then."""
    stay = np.asarray(config.safety.stay, dtype=float)
    times = np.concatenate([[0.0], horizon.times[horizon.checked], horizon.times[-1] + stay])
    last = np.full(len(stay), len(horizon.times) - 1)
    return times, np.concatenate([horizon.checked, last])
