"""A motion over the horizon, as tasks and limits look at it."""

from __future__ import annotations

from dataclasses import dataclass

from icl_vla_embodiments.types import Array


@dataclass(frozen=True)
class Plan:
    """A motion of the controlled joints, linear in accelerations at the horizon's knots.

    Attributes:
        X: ``(2 + K, n)`` position and velocity now, then the knots; see :class:`Horizon`.
        Q: ``(N, n_all)`` positions of all actuated joints at the stages.
        now: ``(n_all,)`` their positions now.
    """

    X: Array
    Q: Array
    now: Array
