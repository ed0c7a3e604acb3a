"""The control loop: observe, act, review, track."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from icl_vla_embodiments import (
    ActionChunk,
    Command,
    Driver,
    Embodiment,
    Observation,
    ReportedError,
    TaskTarget,
)
from icl_vla_embodiments.types import Array

from ..policy.interface import Episode
from .guardrail import FiniteAndNear, Guardrail
from .weights import Weights, task_weights

PERIOD = 1 / 60  # [s] of control


class Controller(Protocol):
    """Task-frame targets to commands; see ``icl_vla_wbc``."""

    def reset(self, observation: Observation) -> None:
        """Start from the measured state."""
        ...

    def track(
        self,
        targets: Sequence[TaskTarget],
        observation: Observation,
        *,
        times: ArrayLike | None = None,
        weights: ArrayLike | Mapping[str, ArrayLike] | None = None,
    ) -> Command:
        """Command for the next period."""
        ...


@dataclass
class Audit:
    """Worst departures from the joint limits over a run, and which ladder levels were used.

    Attributes:
        position: Largest excess over a position limit [rad or m]; 0 when none.
        velocity: The same for commanded velocities.
        acceleration: The same for commanded accelerations.
        levels: Controller level -> number of ticks.
    """

    lower: Array
    upper: Array
    max_velocity: Array
    max_acceleration: Array
    position: float = 0.0
    velocity: float = 0.0
    acceleration: float = 0.0
    levels: dict[str, int] = field(default_factory=dict)
    _v: Array | None = None

    @classmethod
    def of(cls, embodiment: Embodiment) -> Audit:
        """An audit against an embodiment's limits."""
        return cls(
            embodiment.array("lower"),
            embodiment.array("upper"),
            embodiment.array("velocity"),
            embodiment.array("acceleration"),
        )

    def check(self, command: Command, period: float) -> None:
        """Take one command into account."""
        self.levels[command.level] = self.levels.get(command.level, 0) + 1
        if command.q is not None:
            over = np.maximum(command.q - self.upper, self.lower - command.q)
            self.position = max(self.position, _worst(over))
        if command.v is not None:
            excess = np.abs(command.v) - self.max_velocity
            self.velocity = max(self.velocity, _worst(excess))
            if self._v is not None:
                acceleration = np.abs(command.v - self._v) / period
                excess = acceleration - self.max_acceleration
                self.acceleration = max(self.acceleration, _worst(excess))
            self._v = command.v.copy()

    @property
    def violations(self) -> int:
        """How many of position, velocity and acceleration were ever exceeded (beyond 1e-6)."""
        return sum(x > 1e-6 for x in (self.position, self.velocity, self.acceleration))


def _worst(excess: Array) -> float:
    """The largest; what is not a number is beyond every limit."""
    return float(np.nan_to_num(excess, nan=np.inf, posinf=np.inf).max(initial=0.0))


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    reason: str
    seconds: float
    chunks: int


def execute(
    driver: Driver,
    controller: Controller,
    targets: Sequence[TaskTarget],
    due: Sequence[float],
    until: float,
    audit: Audit | None = None,
    weights: Mapping[str, Array] | None = None,
) -> None:
    """Track timed targets until the driver's clock reads ``until`` [s].

    Of ``weights``, effector -> factors ``(H, 6, 6)`` on its residual at each target, those of the
    target that is due next hold; None: all are 1.
    """
    while driver.clock() < until - 1e-9:
        observation = driver.observe(cameras=False)
        times = np.asarray(due) - driver.clock()
        factors = None
        if weights is not None:
            due_next = min(int(np.searchsorted(times, 1e-9)), len(targets) - 1)
            factors = {effector: F[due_next] for effector, F in weights.items()}
        command = controller.track(targets, observation, times=times, weights=factors)
        if audit is not None:
            audit.check(command, PERIOD)
        driver.command(command, PERIOD)


def run_episode(
    driver: Driver,
    controller: Controller,
    episode: Episode,
    *,
    seconds: float = 20.0,
    replan: int = 4,
    guardrail: Guardrail | None = None,
    watch: Callable[[Observation, ActionChunk], None] | None = None,
    audit: Audit | None = None,
    cameras: bool = True,
    weights: Weights = "equal",
) -> Outcome:
    """Let a policy act until it says it is done, a guardrail stops it, or time is up.

    Args:
        driver: The robot, already reset.
        controller: Already reset with the driver's observation.
        episode: The policy's episode.
        seconds: Time allowed on the driver's clock.
        replan: Steps of each chunk to execute before asking for the next; all of a shorter one.
        guardrail: Reviews every chunk.
        watch: Called with every observation and the chunk that answered it.
        audit: Collects limit violations.
        cameras: Whether the policy gets pictures; in simulation they take time to draw.
        weights: ``demonstrations`` holds each direction as tightly as they did (:mod:`.weights`).

    Raises:
        ReportedError: The weights are to follow the demonstrations, and the policy does not tell
            how these differ.
    """
    guardrail = guardrail or FiniteAndNear()
    begin = driver.clock()
    chunks = 0
    asked_again = 0
    while driver.clock() - begin < seconds:
        observation = driver.observe(cameras=cameras)
        chunk = episode.act(observation)
        chunks += 1
        if watch is not None:
            watch(observation, chunk)
        review = guardrail.review(chunk, observation)
        asked_again = asked_again + 1 if review.decision == "replan" else 0
        if review.decision == "stop" or asked_again > 5:
            driver.stop()
            return Outcome(f"stopped: {review.reason}", driver.clock() - begin, chunks)
        if chunk.done:
            driver.stop()
            return Outcome("done", driver.clock() - begin, chunks)
        now = driver.clock()
        chunk = review.chunk
        if review.decision == "replan":
            hold = [TaskTarget(poses=dict(chunk.start))]
            execute(driver, controller, hold, [now + chunk.dt], now + chunk.dt, audit)
            continue
        due = [now + (h + 1) * chunk.dt for h in range(len(chunk))]
        steps = min(replan, len(chunk))
        if not steps:
            raise ReportedError(
                "the policy answered with no motion",
                value=f"chunk at {chunk.time:.2f} s",
                remedy="decode native numbers with the action space they belong to",
            )
        factors = task_weights(chunk) if weights == "demonstrations" else None
        execute(driver, controller, chunk.targets, due, now + steps * chunk.dt, audit, factors)
    driver.stop()
    return Outcome("time is up", driver.clock() - begin, chunks)
