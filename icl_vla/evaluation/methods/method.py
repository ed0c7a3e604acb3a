"""What every method provides, and how all of them are run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from icl_vla_embodiments import ActionChunk, Observation, TaskTarget
from icl_vla_retrieval import DemoBank

from ...policy.interface import Episode
from ...runtime.loop import Outcome, run_episode
from ...runtime.station import Station
from ...runtime.weights import Weights

Watch = Callable[[Observation, ActionChunk], None]
SECONDS = 30.0  # [s] that every method has


class Method(ABC):
    """A way to do a task.

    Attributes:
        name: On the command line and in reports.
        summary: One line for people.
        sees: Whether it looks at pictures; they need not be drawn for one that does not.
        sees_truth: Whether it knows what no policy may know; a reference, not a competitor.
        spreads: Whether its chunks tell how the demonstrations differ.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    sees: ClassVar[bool] = True
    sees_truth: ClassVar[bool] = False
    spreads: ClassVar[bool] = False

    @abstractmethod
    def start(self, station: Station, bank: DemoBank, instruction: str, seed: int) -> Episode:
        """Begin an attempt.

        Args:
            station: The robot, already reset; its ``model`` and ``encoder`` are for everybody.
            bank: Demonstrations; their action space is what the robot's is said to be.
            instruction: What is asked for.
            seed: Of everything random in the attempt.

        Raises:
            ReportedError: It cannot work with these demonstrations.
        """

    def run(
        self,
        station: Station,
        bank: DemoBank,
        instruction: str,
        seed: int,
        watch: Watch | None = None,
        weights: Weights = "equal",
    ) -> Outcome:
        """One attempt from a station that was just reset."""
        return run_episode(
            station.driver,
            station.controller,
            self.start(station, bank, instruction, seed),
            seconds=SECONDS,
            watch=watch,
            audit=station.audit,
            cameras=self.sees,
            weights=weights,
        )


def hold(station: Station, observation: Observation, dt: float, *, done: bool) -> ActionChunk:
    """One step in which the robot stays where it is."""
    assert observation.q is not None
    poses = station.model.poses(observation.q)
    effector = station.effector
    opening = observation.effectors[effector].gripper
    target = TaskTarget(
        poses={effector: poses[effector]},
        grippers={} if opening is None else {effector: opening},
    )
    return chunk_of(station, observation, [target], dt, done=done)


def chunk_of(
    station: Station,
    observation: Observation,
    targets: list[TaskTarget],
    dt: float,
    *,
    done: bool = False,
) -> ActionChunk:
    """Task targets as a chunk that answers an observation."""
    import numpy as np

    assert observation.q is not None
    measured = station.model.poses(observation.q)
    effectors = list(targets[0].poses)
    twists = [t.base_twist for t in targets]
    return ActionChunk.from_poses(
        observation.time,
        dt,
        {e: measured[e] for e in effectors},
        {e: np.stack([t.poses[e] for t in targets]) for e in effectors},
        grippers={e: np.array([t.grippers[e] for t in targets]) for e in targets[0].grippers},
        base_twists=None
        if any(x is None for x in twists)
        else np.stack([x for x in twists if x is not None]),
        done=done,
    )
