"""What stands behind the optimiser: plans that are used while they last, and what follows them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from icl_vla_embodiments.types import Array

from .horizon import Horizon
from .qp import QuadraticProgram
from .solution import Solution, Step

ONE_STEP_ITERATIONS = 200  # ample for a program with one unknown a joint and bounds only


class Ladder:
    """A plan, and the rungs that follow where no new one is found.

    In this order: the program's solution, the previous plan (for a while), a one-step program,
    braking.

    Args:
        horizon: Of the plan.
        n: Number of controlled joints.
        period: Between ticks [s].
        patience: How long a plan is used after the last one was found [s].
        iterations: Limit on the solver's iterations.

    Attributes:
        U: ``(K, n)`` accelerations of the plan at the horizon's knots.
    """

    def __init__(
        self, horizon: Horizon, n: int, period: float, patience: float, iterations: int
    ) -> None:
        self._horizon, self._period = horizon, period
        self._patience, self._iterations = patience, iterations
        self.U = np.zeros((len(horizon.shift), n))
        self._age: float | None = None  # [s] since a plan was found; None: there is none

    def advance(self) -> None:
        """Look at the plan one period later."""
        self.U = self._horizon.shift @ self.U

    def forget(self) -> None:
        """Have no plan."""
        self.U[:], self._age = 0.0, None

    def decide(
        self,
        v: Array,
        program: QuadraticProgram,
        one_step: Callable[[], QuadraticProgram],
        lasts: bool = True,
    ) -> Step:
        """The highest rung that holds.

        Args:
            v: ``(n,)`` velocities now.
            program: Its solution changes the plan.
            one_step: Makes the program whose first ``n`` unknowns are velocities a period on.
            lasts: Whether the plan may be used once more, as far as others know.
        """
        solved = program.solve(self._iterations)
        if solved is not None:
            self.U = self.U + solved[0].reshape(self.U.shape)
            self._age = 0.0
            return Step("nominal", "", v + self._period * self.U[0], program, *solved)
        reason = "the solver found no plan"
        if lasts and self._age is not None and self._age + self._period <= self._patience:
            self._age += self._period
            return Step("shifted", reason, v + self._period * self.U[0])
        self.forget()
        program = one_step()
        solved = program.solve(ONE_STEP_ITERATIONS)
        if solved is not None:
            return Step("one_step", reason, solved[0][: len(v)], program, *solved)
        return self.brake(reason)

    def brake(self, reason: str) -> Step:
        """Come to rest as fast as the acceleration limits allow."""
        return Step("braking", reason, np.zeros(self.U.shape[1]))

    def solution(self, step: Step, before: Array, after: Array, seconds: float) -> Solution:
        """What a tick came to.

        Args:
            step: The rung that was used.
            before: ``(2, n)`` positions and velocities before it.
            after: The same one period on.
            seconds: CPU time it took.
        """
        horizon = self._horizon
        if step.level in ("nominal", "shifted"):
            X = np.concatenate([before, self.U])
            times, Q, V, a = horizon.times, horizon.P @ X, horizon.V @ X, horizon.A @ X
        else:
            times, Q, V = np.array([self._period]), after[:1], after[1:]
            a = (V - before[1:]) / self._period
        return Solution(
            level=step.level,
            reason=step.reason,
            times=np.concatenate([[0.0], times]),
            q=np.concatenate([before[:1], Q]),
            v=np.concatenate([before[1:], V]),
            a=a,
            seconds=seconds,
            program=step.program,
            primal=step.primal,
            multipliers=step.multipliers,
        )
