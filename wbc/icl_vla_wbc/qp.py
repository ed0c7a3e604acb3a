"""A dense quadratic program with hard bounds and soft rows, and the proof that it was solved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import daqp
import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

SOFTNESS = 1e-6  # DAQP's rho_soft
NEAR = 0.05  # of a row's range; rows nearer to a bound than that count from the start
_NONE: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
EQUAL, SOFT = 5, 8  # DAQP's flags of an equality, and of a row that may be violated


@dataclass(frozen=True)
class KktResiduals:
    """How far a point is from optimal; all three are zero at the solution.

    Attributes:
        primal: Largest violation of a hard row, or of a soft row beyond what its price buys.
        dual: Largest entry of the Lagrangian's gradient, relative to the largest of its terms.
        complementarity: Largest product of a multiplier and the slack of its row, same scale.
    """

    primal: float
    dual: float
    complementarity: float


@dataclass(frozen=True)
class QuadraticProgram:
    r"""Minimise :math:`\tfrac12 x^T H x + g^T x` with ``lower <= (x, C x) <= upper``.

    The bounds on ``x`` are hard; the rows of ``C`` are soft. A soft row :math:`c_i` may be
    violated by :math:`e_i` at the price :math:`e_i^2 / (2 \rho\, c_i H^{-1} c_i^T)`, with
    :math:`\rho` = :data:`SOFTNESS` (DAQP scales every row to unit length in the metric of ``H``).

    Attributes:
        H: ``(n, n)`` positive definite.
        g: ``(n,)``.
        C: ``(m, n)``; ``m`` may be 0.
        lower: ``(n + m,)``.
        upper: ``(n + m,)``.
        kinds: DAQP's flags of the rows, see :func:`row_kinds`; None to have them made.
    """

    H: Array
    g: Array
    C: Array
    lower: Array
    upper: Array
    kinds: NDArray[np.intc] | None = None

    def solve(self, iterations: int) -> tuple[Array, Array] | None:
        """Primal ``(n,)`` and dual ``(n + m,)`` solution, or None where the solver found none.

        Most rows are far from their bounds and stay so, yet making them ready is most of a dense
        solver's work. Those that are far at ``x = 0`` are left out until a solution breaks them;
        one that breaks none solves the whole program.
        """
        n = len(self.g)
        if not len(self.C):
            return self._solve(_NONE, iterations)
        low, high = self.lower[n:], self.upper[n:]
        counts = np.minimum(high, -low) < NEAR * (high - low)  # (m,)
        while True:
            solved = self._solve(counts.nonzero()[0], iterations)
            if solved is None:
                return None
            rows = self.C @ solved[0]
            room = np.minimum(high - rows, rows - low)
            least = room.min()
            if math.isnan(least):
                return None  # DAQP passes over a bound that is not a number
            if least >= 0:
                return solved
            broken = room < 0
            broken[counts] = False  # a soft row that counts and is broken has paid for it
            if not broken.any():
                return solved
            counts |= broken

    def _solve(self, rows: NDArray[np.intp], iterations: int) -> tuple[Array, Array] | None:
        """The same where only these rows count; the multipliers of the others are zero."""
        n, m, k = len(self.g), len(self.C), len(rows)
        kinds = row_kinds(n, m) if self.kinds is None else self.kinds
        # often no row counts: then nothing is copied
        some = np.concatenate([np.arange(n), n + rows]) if k else slice(n)
        x, _, flag, info = daqp.solve(
            self.H,
            self.g,
            self.C[rows] if k else self.C[:0],
            self.upper[some],
            self.lower[some],
            kinds[: n + k],
            iter_limit=iterations,
            rho_soft=SOFTNESS,
        )
        found = info["lam"]
        if flag <= 0 or not math.isfinite(x @ x + found @ found):
            return None
        multipliers = np.zeros(n + m)
        multipliers[some] = found
        return x, multipliers

    def residuals(self, x: Array, multipliers: Array) -> KktResiduals:
        """Karush-Kuhn-Tucker residuals of a primal-dual point (multipliers > 0 at upper bounds)."""
        n = len(self.g)
        scale = max(1.0, float(np.abs(self.g).max()), float(np.abs(multipliers).max()))
        gradient = self.H @ x + self.g + multipliers[:n] + self.C.T @ multipliers[n:]
        rows = np.concatenate([x, self.C @ x])
        bought = np.zeros_like(rows)
        if len(self.C):
            metric = np.einsum("ij,ji->i", self.C, np.linalg.solve(self.H, self.C.T))
            bought[n:] = SOFTNESS * metric * multipliers[n:]
        kept = rows - bought
        outside = np.maximum(kept - self.upper, self.lower - kept)
        slack = np.where(multipliers > 0, self.upper - kept, kept - self.lower)
        active = multipliers != 0
        products = np.abs(multipliers[active] * slack[active])
        return KktResiduals(
            primal=max(0.0, float(outside.max())),
            dual=float(np.abs(gradient).max()) / scale,
            complementarity=float(products.max(initial=0.0)) / scale,
        )


def row_kinds(n: int, m: int) -> NDArray[np.intc]:
    """DAQP's ``sense``: ``n`` hard bounds, then ``m`` soft rows."""
    return np.repeat(np.array([0, SOFT], dtype=np.intc), [n, m])
