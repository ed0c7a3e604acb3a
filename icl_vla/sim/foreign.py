"""Simulators that others wrote: a gymnasium-style environment as a driver and a task.

gymnasium itself is not needed: whatever has its ``reset`` and ``step`` will do. What such an
environment does not say of itself is declared by hand, in one class (``docs/evaluation.md``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import (
    Command,
    Embodiment,
    Observation,
    ReportedError,
    SpaceState,
    TaskTarget,
)
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_wbc import ArmMpc

from ..perception.components import ComponentEncoder
from ..runtime.loop import PERIOD, Audit
from ..runtime.station import Station
from .workspace import horizontal_reach

Operator = Callable[[Observation], TaskTarget | None]
_SETTLE, _HOLD = 2.0, 1.0  # [s] in which a second of success must begin, and that second


class Environment(Protocol):
    """What is asked of an environment: gymnasium's two calls."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode: what is seen, and more about it."""
        ...

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One action: what is seen then, reward, terminated, truncated, more."""
        ...


class ForeignTask(ABC):
    """One task in somebody's environment, and what has to be said of it by hand.

    The actions of ``step`` are those of the embodiment's default action space, at its rate.

    Args:
        number: Which task, where there are several.

    Attributes:
        name: Unique, by number.
        instruction: What is asked for.
        paraphrases: The same in other words.
    """

    paraphrases: ClassVar[tuple[str, ...]] = ()
    instruction: str

    def __init__(self, number: int = 0) -> None:
        self.number = number
        kind = type(self)
        self.name = f"{kind.__module__}:{kind.__qualname__}:{number}"

    @abstractmethod
    def make(self) -> Environment:
        """The environment; made once a process."""

    @abstractmethod
    def observation(self, seen: Any, info: dict[str, Any]) -> Observation:
        """What the environment shows, in our words; its time does not count.

        Needed are ``q``, the openings of grippers, and cameras with rgb, depth, intrinsics and
        pose.
        """

    @abstractmethod
    def succeeded(self, info: dict[str, Any]) -> bool:
        """Whether the goal holds at this moment."""

    def operator(self, environment: Environment, rng: np.random.Generator) -> Operator:
        """Somebody who sees the truth and does the task; None as a target when it is done.

        Raises:
            ReportedError: Nobody does: demonstrations come from elsewhere.
        """
        raise ReportedError("nobody demonstrates this task", where=self.name)


class ForeignDriver:
    """An environment as a robot.

    A command is what the controller wants the joints to be; it reaches the environment as an action
    of its own space, one a step of the environment.

    Args:
        model: The robot in it.
        task: What was declared of it.

    Attributes:
        info: The environment's, of its last step.
        after_command: Called after every command.
    """

    def __init__(self, model: RobotModel, task: ForeignTask) -> None:
        self.model, self.task = model, task
        self.space = model.embodiment.action_space()
        self.environment = task.make()
        self.after_command: Callable[[], None] | None = None
        self.info: dict[str, Any] = {}
        self._seen: Observation | None = None
        self._last: Command | None = None
        self._time, self._steps = 0.0, 0

    def reset(self, seed: int | None = None) -> Observation:
        """Begin an episode."""
        seen, self.info = self.environment.reset(seed=seed)
        self._seen = self.task.observation(seen, self.info)
        self._time, self._steps, self._last = 0.0, 0, None
        return self.observe()

    def observe(self, *, cameras: bool = True) -> Observation:
        """What was seen after the last step."""
        if self._seen is None:
            return self.reset()
        return replace(self._seen, time=self._time, cameras=self._seen.cameras if cameras else {})

    def command(self, command: Command, duration: float) -> None:
        """Step the environment as often as falls due."""
        self._last = command
        self._time += duration
        while (self._steps + 1) / self.space.rate <= self._time + 1e-9:
            self._step(command)
        if self.after_command is not None:
            self.after_command()

    def _step(self, command: Command) -> None:
        seen = self.observe(cameras=False)
        assert seen.q is not None
        q = seen.q if command.q is None else command.q
        openings = {e: s.gripper for e, s in seen.effectors.items() if s.gripper is not None}
        target = TaskTarget(
            poses=self.model.poses(q), posture=q, grippers={**openings, **self._asked(command)}
        )
        state = SpaceState(poses=self.model.poses(seen.q), q=seen.q, grippers=openings)
        native = self.space.clip(self.space.encode([target], state, self.model))[0]
        shown, _, _, _, self.info = self.environment.step(native.astype(np.float32))
        self._seen = self.task.observation(shown, self.info)
        self._steps += 1

    def _asked(self, command: Command) -> dict[str, float]:
        """Openings that a command asks for, outright or as joint positions of the fingers."""
        found = dict(command.grippers)
        if command.q is None:
            return found
        joints = self.model.embodiment.joints
        for gripper in self.model.embodiment.of_kind("gripper"):
            closed, opened = np.array(gripper.closed), np.array(gripper.open)
            here = command.q[[joints.index(j) for j in gripper.joints]]
            span = float((opened - closed) @ (opened - closed))
            if span > 0:
                share = float((here - closed) @ (opened - closed)) / span
                found.setdefault(gripper.effector, float(np.clip(share, 0.0, 1.0)))
        return found

    def stop(self) -> None:
        """Ask for what is measured; grippers keep what was last asked of them."""
        seen = self.observe(cameras=False)
        held = {} if self._last is None else self._asked(self._last)
        self._last = Command(q=seen.q, grippers=held)

    def idle(self) -> None:
        """One step of the environment without any motion."""
        seen = self.observe(cameras=False)
        held = {} if self._last is None else self._asked(self._last)
        self._step(Command(q=None, grippers=held or {}))
        assert seen.q is not None
        self._time = self._steps / self.space.rate

    def clock(self) -> float:
        """Simulated seconds since :meth:`reset`."""
        return self._time

    def close(self) -> None:
        """Free the environment, where it can be freed."""
        free = getattr(self.environment, "close", None)
        if free is not None:
            free()


@dataclass
class ForeignCell(Station):
    """A robot in an environment, which also judges."""

    driver: ForeignDriver
    task: ForeignTask

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the numbers of a measured configuration."""
        return self.embodiment.joints

    def operator(self, rng: np.random.Generator) -> Operator:
        """The task's own."""
        return self.task.operator(self.driver.environment, rng)

    @classmethod
    def build(cls, embodiment: Embodiment, task: ForeignTask) -> ForeignCell:
        """Set up a robot in a task's environment.

        Raises:
            ReportedError: The robot has no arm.
        """
        if not embodiment.arms:
            raise ReportedError(
                "policies move arms, and this robot has none", where=embodiment.name
            )
        model, hulls = RobotModel(embodiment), LinkHulls(embodiment)
        effector = embodiment.arms[0].name
        return cls(
            embodiment=embodiment,
            model=model,
            effector=effector,
            driver=ForeignDriver(model, task),
            # every run of a seed is the same
            controller=ArmMpc(model, effector, period=PERIOD, compiled=False),
            components=ComponentEncoder(
                model, hulls, reach=1.3 * horizontal_reach(model, effector)
            ),
            audit=Audit.of(embodiment),
            task=task,
        )

    def judge(self) -> bool:
        """Whether the task's goal holds for a whole second while the robot does nothing."""
        driver = self.driver
        driver.stop()
        rate = driver.space.rate
        held = 0
        for _ in range(round((_SETTLE + _HOLD) * rate)):
            driver.idle()
            held = held + 1 if self.task.succeeded(driver.info) else 0
            if held >= round(_HOLD * rate):
                return True
        return False


def foreign_task(name: str, number: int = 0) -> ForeignTask:
    """A task by ``module:Class``.

    Raises:
        ReportedError: There is no such module or class, or it is no such task.
    """
    module, _, kind = name.partition(":")
    try:
        made = getattr(import_module(module), kind)(number)
    except (ImportError, AttributeError, TypeError) as error:
        raise ReportedError("a task cannot be found", value=name, remedy=str(error)) from error
    if not isinstance(made, ForeignTask):
        raise ReportedError("this is no task", value=name, valid=["a subclass of ForeignTask"])
    return made
