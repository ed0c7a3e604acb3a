"""What the model does not know: a wrench (payload, a push), and how much the ground holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .config import LegConfig
from .dynamics import FloatingDynamics
from .forces import GRAVITY

SLIP = 0.25  # [m/s] of a standing foot


class WrenchEstimator:
    r"""Momentum observer at the centre of mass.

    With the centroidal momentum :math:`h` and the contact forces of the last tick,

    .. math:: \hat w = K \left(h - h_0 - \int (\textstyle\sum f + m g + \hat w)\, dt\right),

    which follows the true wrench with the time constant :math:`1 / K` (De Luca et al., *Collision
    detection and safe reaction with the DLR-III lightweight manipulator arm*, 2006).

    Attributes:
        wrench: ``(6,)`` force [N] and torque [N m] at the centre of mass, world axes.
    """

    def __init__(self, gain: float, period: float, mass: float) -> None:
        self._gain, self._period, self._mass = gain, period, mass
        self.wrench = np.zeros(6)
        self._predicted: Array | None = None

    def update(self, dynamics: FloatingDynamics, forces: Array, late: bool = False) -> Array:
        """The wrench after a tick in which ``forces`` ``(C, 3)`` were meant to act.

        A ``late`` tick teaches nothing: what acted meanwhile is not known.
        """
        h = dynamics.momentum
        if self._predicted is None or late:
            self._predicted = h - self.wrench / self._gain
        self.wrench = self._gain * (h - self._predicted)
        limit = self._mass * 9.81 * np.array([0.5] * 3 + [0.1] * 3)
        self.wrench = np.clip(self.wrench, -limit, limit)
        self._predicted = h - self.wrench / self._gain  # what was clipped is not kept for later
        rate = self.wrench.copy()
        rate[:3] += forces.sum(axis=0) + self._mass * GRAVITY
        arms = se3.skew(dynamics.points - dynamics.com)
        rate[3:] += (arms @ forces[:, :, None]).sum(axis=0)[:, 0]
        self._predicted = self._predicted + self._period * rate
        return self.wrench


class TorqueEstimator:
    r"""What acts on joints that are not legs': a load in the hand or on the torso, a push.

    The accelerations :math:`\dot u^*` that the whole-body program foresaw for the last tick are set
    against the measured ones, and the rest is integrated:

    .. math:: \hat \tau \mathrel{+}= K\,dt \left[M \Delta u / dt - (M + A) \dot u^*\right]_{j}

    with the armature :math:`A` with which it was foreseen: without it what the armature asks too
    much would be taken for a load, and the estimate would swing.
    The base's rows have their own estimate, the whole external wrench (:class:`WrenchEstimator`);
    a force at a hand is the sum of both, :math:`J^T F`, so nothing is counted twice.

    Attributes:
        torques: ``(n,)`` [N m], 0 for other joints.
    """

    def __init__(
        self,
        gain: float,
        period: float,
        columns: NDArray[np.intp],
        efforts: Array,
        armature: Array,
    ) -> None:
        self._gain, self._period, self._columns = gain, period, columns
        self._largest, self._armature = 0.5 * efforts, armature
        self.torques = np.zeros(len(efforts))
        self._velocity: Array | None = None

    def update(self, d: FloatingDynamics, acceleration: Array | None) -> Array:
        """The torques after a tick that foresaw ``acceleration`` ``(6 + n,)``; None: unknown."""
        if self._velocity is not None and acceleration is not None and len(self._columns):
            missing = (d.u - self._velocity) / self._period - acceleration
            rows = self._columns - 6
            torques = d.M[self._columns] @ missing
            torques -= self._armature[rows] * acceleration[self._columns]
            gained = self._gain * self._period * torques
            largest = self._largest[rows]
            self.torques[rows] = np.clip(self.torques[rows] + gained, -largest, largest)
        self._velocity = d.u
        return self.torques


class FrictionObserver:
    """Believes in less friction where a loaded foot slides, slowly in more again.

    Attributes:
        friction: Coefficient that is believed.
    """

    def __init__(self, config: LegConfig, period: float) -> None:
        self._config, self._period = config, period
        self.friction = config.friction

    def update(self, d: FloatingDynamics, forces: Array, pressed: NDArray[np.bool_]) -> None:
        """Watch the points that are ``pressed`` ``(C,)`` to the ground by ``forces`` ``(C, 3)``."""
        loaded = pressed & (forces[:, 2] > 0.05 * d.mass * 9.81)
        speed = np.hypot(d.point_velocities[:, 0], d.point_velocities[:, 1])
        sliding = loaded & (speed > SLIP)
        if sliding.any():
            f = forces[sliding]
            held = float((np.hypot(f[:, 0], f[:, 1]) / f[:, 2]).max())
            believed = max(self._config.least_friction, 0.9 * held)
            self.friction += 10 * self._period * min(0.0, believed - self.friction)
        else:
            self.friction = min(self._config.friction, self.friction + 0.02 * self._period)
