"""Joint limits that stay satisfiable: from every state let through, the robot can still stop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import Embodiment
from icl_vla_embodiments.types import Array

from ..errors import WbcError

RECOVERY = 0.25  # share of the velocity limit that brings a joint back from outside its range


def stopping_velocity(distance: Any, acceleration: Any, period: Any) -> Any:
    r"""Largest velocity from which one stops after covering ``distance``, deciding once a period.

    With ``w`` held over this period and lowered by at most ``A h`` in each later one, the distance
    covered is :math:`h (w + (w - A h) + (w - 2 A h) + \dots)`. Solved for ``w``: with
    :math:`u = s / (A h^2)` and the whole number ``m`` of :math:`m (m + 1) / 2 \le u`,

    .. math:: w = A h \left(m + \frac{u - m (m + 1) / 2}{m + 1}\right).

    It tends to the continuous :math:`\sqrt{2 A s}` for small ``h``, and to :math:`s / h` (arrive
    in one period) for small ``s``. Plain arithmetic, so that arrays and CasADi expressions both do.

    Args:
        distance: ``s >= 0`` [m or rad].
        acceleration: ``A > 0``.
        period: ``h`` [s].
    """
    u = distance / (acceleration * period**2)
    m = ((1 + 8 * u) ** 0.5 - 1) // 2
    return acceleration * period * (m + (u - m * (m + 1) / 2) / (m + 1))


@dataclass(frozen=True)
class ViableLimits:
    """Limits of position, velocity and acceleration, for piecewise constant acceleration.

    A state is viable when braking as hard as allowed ends inside the position limits; the limits
    below keep viable states viable, so that all three limits hold for ever (Del Prete, *Joint
    position and velocity bounds in discrete-time acceleration/torque control of robot arms*, 2018).

    Attributes:
        lower: ``(n,)`` positions [rad or m]; ``-inf`` where there is no limit.
        upper: ``(n,)``.
        velocity: ``(n,)`` largest absolute velocity.
        acceleration: ``(n,)`` largest absolute acceleration.
        period: Time between commands [s].
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    period: float

    @classmethod
    def of(cls, embodiment: Embodiment, period: float) -> ViableLimits:
        """Limits of all actuated joints.

        Raises:
            WbcError: A velocity or acceleration limit is missing, or a range is empty.
        """
        for name in embodiment.joints:
            limits = embodiment.limits[name]
            rates = (limits.velocity, limits.acceleration)
            if not all(np.isfinite(rate) and rate > 0 for rate in rates):
                raise WbcError(
                    "a joint has no usable velocity or acceleration limit",
                    where=f"{embodiment.name}, joint {name}",
                    value=rates,
                    valid=("finite and positive",),
                    remedy="give it in the embodiment's limits",
                )
            if not limits.lower < limits.upper:
                raise WbcError(
                    "a joint's range is empty",
                    where=f"{embodiment.name}, joint {name}",
                    value=(limits.lower, limits.upper),
                    remedy="correct the limits, or make the joint fixed",
                )
        return cls(
            embodiment.array("lower"),
            embodiment.array("upper"),
            embodiment.array("velocity"),
            embodiment.array("acceleration"),
            period,
        )

    def subset(self, joints: NDArray[np.intp]) -> ViableLimits:
        """Limits of some of the joints."""
        return ViableLimits(
            self.lower[joints],
            self.upper[joints],
            self.velocity[joints],
            self.acceleration[joints],
            self.period,
        )

    def interval(
        self, q: Array, v: Array, near: Array | None = None, leash: Array | float = np.inf
    ) -> tuple[Array, Array]:
        """Lowest and highest velocity ``(n,)`` allowed one period from the state ``(q, v)``.

        A joint outside its range is driven back at no more than :data:`RECOVERY` of its velocity
        limit. Where limits contradict each other the acceleration limit wins.

        Args:
            q: ``(n,)`` positions.
            v: ``(n,)`` velocities.
            near: ``(n,)`` positions to come to rest within ``leash`` ``(n,)`` of, as far as the
                range goes.
            leash: See ``near``.
        """
        h, change = self.period, self._change
        lower, upper = self.lower, self.upper
        if near is not None:
            # the way it takes to stop is granted on top, so that the leash does not limit speed
            leash = leash + np.abs(v) * (np.abs(v) / (2 * self.acceleration) + h)
            lower = np.minimum(np.maximum(near - leash, self.lower), self.upper)
            upper = np.minimum(np.maximum(near + leash, self.lower), self.upper)
        ahead = 0.5 * h * v
        room = np.array([q - lower + ahead, upper - q - ahead])  # (2, n)
        inside = np.minimum(np.maximum(room, 0.0), self._enough)
        away = stopping_velocity(inside, self.acceleration, h)
        back = np.maximum(room * (2 / h), -RECOVERY * self.velocity)
        reach = np.minimum(np.where(room >= 0, away, back), self.velocity)
        low = np.minimum(np.maximum(-reach[0], v - change), v + change)
        high = np.minimum(np.maximum(reach[1], v - change), v + change)
        # coming back from above, do not run through the lower end, and vice versa
        above = room[1] < 0
        return np.where(above, low, np.minimum(low, high)), np.where(
            above, np.maximum(low, high), high
        )

    def advance(
        self,
        q: Array,
        v: Array,
        wanted: Array,
        near: Array | None = None,
        leash: Array | float = np.inf,
    ) -> tuple[Array, Array]:
        """State one period on, with the allowed velocity nearest to the wanted one."""
        low, high = self.interval(q, v, near, leash)
        w = np.minimum(np.maximum(wanted, low), high)
        return q + 0.5 * self.period * (v + w), w

    @cached_property
    def _change(self) -> Array:
        """Largest change of velocity in one period."""
        return self.acceleration * self.period

    @cached_property
    def _enough(self) -> Array:
        """Room beyond which the velocity limit is the tighter one; it keeps infinities out."""
        return self.velocity * (self.velocity / self.acceleration + 2 * self.period)

    def approach(self, q: Array, v: Array, goal: Array) -> Array:
        """Velocity one period on of the fastest way to rest at ``goal`` ``(n,)``."""
        distance = goal - q - 0.5 * self.period * v
        speed = stopping_velocity(np.abs(distance), self.acceleration, self.period)
        return np.copysign(np.minimum(speed, self.velocity), distance)


def departure(measured: Array, commanded: Array, endless: NDArray[np.bool_]) -> Array:
    """From a commanded to a measured posture ``(n,)``; endless joints are read modulo a turn."""
    difference = measured - commanded
    turns = 2 * np.pi * np.round(difference / (2 * np.pi))
    return np.asarray(difference - np.where(endless, turns, 0.0))
