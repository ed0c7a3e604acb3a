"""The wrench that the model does not know: payload, a push, a slope under a wrong model."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .dynamics import FloatingDynamics
from .forces import GRAVITY


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

    def update(self, dynamics: FloatingDynamics, forces: Array) -> Array:
        """The wrench after a tick in which ``forces`` ``(C, 3)`` were meant to act."""
        h = dynamics.momentum
        if self._predicted is None:
            self._predicted = h.copy()
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
