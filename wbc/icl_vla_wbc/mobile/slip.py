"""What a base does beyond or short of what its wheels were told, estimated and made up for."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments.types import Array

from .drive import Drive

SLIP_TIME = 0.4  # [s] of the low-pass


class Slip:
    r"""A disturbance observer on the drive's velocities.

    With :math:`w` sent and :math:`\hat w` measured, :math:`\tau \dot d = \hat w - w - d`, and what
    is planned is sent as :math:`w - d`. The correction never turns a velocity round nor more than
    doubles it, so that nothing creeps at rest, and keeps the drive's limits.

    Args:
        drive: The base; steering is not corrected.
        period: Time between calls [s].

    Attributes:
        estimate: ``(n,)`` in units of the drive's velocities.
    """

    def __init__(self, drive: Drive, period: float) -> None:
        self._drive, self._share = drive, min(period / SLIP_TIME, 1.0)
        self._change = period * drive.acceleration
        self.reset()

    def reset(self) -> None:
        """Forget everything; the base is at rest."""
        self.estimate, self._sent = np.zeros(self._drive.n), np.zeros(self._drive.n)

    def observe(self, base_twist: object) -> None:
        """Take a measured velocity ``(6,)`` of the base into account, where there is one."""
        if base_twist is None:
            return
        twist = np.asarray(base_twist, dtype=float)
        if twist.shape != (6,) or not np.isfinite(twist).all():
            return
        corrected = self._drive.corrected
        measured = self._drive.centre_twist(twist)[list(corrected)]
        k = len(corrected)
        self.estimate[:k] += self._share * (measured - self._sent[:k] - self.estimate[:k])

    def correct(self, w: Array) -> Array:
        """Velocities to send ``(n,)`` for those planned."""
        bound = np.abs(w)
        wanted = w - np.minimum(np.maximum(self.estimate, -bound), bound)
        limit, last, change = self._drive.velocity, self._sent, self._change
        low, high = np.maximum(last - change, -limit), np.minimum(last + change, limit)
        self._sent = np.minimum(np.maximum(wanted, low), high)
        return self._sent
