"""What the controller planned in one tick, and how good the plan is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from icl_vla_embodiments.types import Array

from .qp import KktResiduals, QuadraticProgram

Level = Literal["nominal", "shifted", "one_step", "refuge", "braking"]


@dataclass(frozen=True)
class Step:
    """What one rung of the ladder proposes.

    Attributes:
        level: The rung.
        reason: Why no higher one; empty at the highest.
        velocity: ``(n,)`` of the controlled joints one period on.
        program: The quadratic program behind it, if one was solved.
        primal: Its solution.
        multipliers: Its dual solution.
    """

    level: Level
    reason: str
    velocity: Array
    program: QuadraticProgram | None = None
    primal: Array | None = None
    multipliers: Array | None = None


@dataclass(frozen=True)
class Solution:
    """Result of one tick.

    Attributes:
        level: Step of the ladder that was used: the MPC's plan, the previous plan moved on in
            time, a one-step QP, the way to a refuge, or braking.
        reason: Why it was not the first step; empty where it was.
        times: ``(N + 1,)`` [s] from now.
        q: ``(N + 1, n)`` planned positions of the arm's joints.
        v: ``(N + 1, n)`` planned velocities.
        a: ``(N, n)`` planned accelerations, each held to the next time.
        seconds: CPU time of the calling thread.
        program: The quadratic program that was solved, if one was.
        primal: Its solution.
        multipliers: Its dual solution.
    """

    level: Level
    reason: str
    times: Array
    q: Array
    v: Array
    a: Array
    seconds: float
    program: QuadraticProgram | None = None
    primal: Array | None = None
    multipliers: Array | None = None

    def residuals(self) -> KktResiduals | None:
        """KKT residuals of the program that was solved; None where none was."""
        if self.program is None or self.primal is None or self.multipliers is None:
            return None
        return self.program.residuals(self.primal, self.multipliers)
