"""When to step: asked to move or off balance, and how fast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .dynamics import FloatingDynamics
from .gait import Gait
from .reference import BodyReference
from .stance import Stance

STILL = 0.02  # [m/s, rad/s] below which a commanded velocity means: stand
BALANCE = 0.5  # share of the support's half-width that the capture point may use while standing
STRIDE = 0.4  # of the standing height: half the way that the body goes over a standing foot
FASTEST = 2.0  # times its own pace that a gait is hurried to keep that
RAMP = 0.04  # [s] in which a foot takes up and gives away its load


class Stepping:
    """A gait's clock, which runs while the robot walks.

    Attributes:
        gait: The schedule.
        walking: Whether the clock runs.
        clock: [s], in the gait's time.
        pace: How much faster than its own the gait runs.
        landed: ``(F,)`` feet that met the ground before their time.
    """

    def __init__(self, stance: Stance, gait: Gait, walks: bool, period: float) -> None:
        self._stance, self._walks, self._period = stance, walks, period
        self.gait = gait
        self.walking, self.clock, self.pace, self._calm = False, 0.0, 1.0, 0.0
        self.landed = np.zeros(len(stance.legs), dtype=bool)

    def choose(self, d: FloatingDynamics, reference: BodyReference, twist: Array) -> None:
        """Walk when asked or off balance; stand again when calm with all feet down."""
        if not self._walks:
            return
        asked = bool((np.abs(twist[[0, 1, 5]]) > STILL).any())
        if asked or self._unsteady(d, reference):
            self._calm = 0.0
            if not self.walking:
                self.walking, self.clock = True, 0.0
        elif self.walking:
            self._calm += self._period
            settled = self._calm > self.gait.period and np.abs(reference.velocity).max() < STILL
            if settled and self.gait.stands(self.clock).all():
                self.walking = False
        self.pace = self._hurry(d) if self.walking else 1.0

    def _unsteady(self, d: FloatingDynamics, reference: BodyReference) -> bool:
        """Whether the capture point is far from where it is in the neutral posture."""
        stance = self._stance
        capture = d.com[:2] + d.com_velocity[:2] * np.sqrt(stance.height / 9.81)
        off = reference.R[:2, :2].T @ (capture - d.points[:, :2].mean(axis=0)) - stance.lean
        return bool((np.abs(off) > BALANCE * stance.half).any())

    def _hurry(self, d: FloatingDynamics) -> float:
        """A pace at which no leg is stretched while the body goes over its standing foot."""
        speed = float(np.hypot(*d.com_velocity[:2]))
        pace = speed * self.gait.stance_time / (2 * STRIDE * self._stance.height)
        return min(max(1.0, pace), FASTEST)

    def contacts(self) -> NDArray[np.bool_]:
        """``(F,)`` feet that stand: those scheduled, and those that met the ground early."""
        if not self.walking:
            return np.ones(len(self.landed), dtype=bool)
        scheduled = self.gait.stands(self.clock)
        self.landed &= ~scheduled
        return scheduled | self.landed

    def schedule(self, times: NDArray[np.floating]) -> NDArray[np.bool_]:
        """``(N, F)`` feet that will stand after some times."""
        if not self.walking:
            return np.ones((len(times), len(self.landed)), dtype=bool)
        return self.gait.stands(self.clock + self.pace * times)

    def advance(self, period: float) -> None:
        """Let the clock run, if it does."""
        if self.walking:
            self.clock += self.pace * period

    @property
    def swing_time(self) -> float:
        """[s] at the present pace."""
        return self.gait.swing_time / self.pace

    @property
    def stance_time(self) -> float:
        """[s] at the present pace."""
        return self.gait.stance_time / self.pace

    def swings(self) -> Array:
        """``(F,)`` share of the swing that is over; below 0 for a foot that should stand."""
        gait = self.gait
        return np.asarray((gait.phases(self.clock) - gait.duty) / (1 - gait.duty))

    def fresh(self) -> NDArray[np.bool_]:
        """``(F,)`` feet that have just come down and may still slide a little."""
        if not self.walking:
            return np.zeros(len(self.landed), dtype=bool)
        return np.asarray(self.gait.phases(self.clock) < 0.15)

    def bearing(self, d: FloatingDynamics) -> Array:
        """``(C,)`` largest normal forces [N]: a foot takes its load and gives it away bit by bit.

        Actuators that act late would otherwise drop the body at each change of feet.
        """
        gait = self.gait
        share = np.ones(len(self.landed))
        if self.walking and gait.duty < 1:
            phases = gait.phases(self.clock)
            edge = np.minimum(phases, gait.duty - phases) * gait.period
            share = np.where(phases < gait.duty, np.clip(edge / RAMP, 0.02, 1.0), 1.0)
        return np.asarray(2.0 * d.mass * 9.81 * share[d.owner])
