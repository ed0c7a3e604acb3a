"""Positions of the joints themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from ..vectors import selection
from .task import Task


class Posture(Task):
    r"""Brings joints to positions: :math:`r_i = w_i (q_i - q_i^*)`.

    A weak one chooses among the postures that other tasks leave open; a strong one is a demand.

    Attributes:
        goal: ``(n_all,)`` positions of all actuated joints [rad or m].
        weights: ``(n,)`` of the controlled joints, or one number [1/rad or 1/m].
    """

    def __init__(self, goal: Array, weights: Array | float) -> None:
        self.goal, self.weights = goal, weights

    def bind(self, joints: NDArray[np.intp], stages: int, compiled: bool = True) -> None:
        """See :meth:`Task.bind`."""
        self._own = selection(joints)

    def add(self, Q: Array, squares: Array, gradient: Array) -> float:
        """See :meth:`Task.add`; nothing is left out."""
        square = np.square(self.weights)
        N, n = gradient.shape
        squares.reshape(N, n * n)[:, :: n + 1] += square
        gradient += square * (Q[:, self._own] - self.goal[self._own])
        return 0.0
