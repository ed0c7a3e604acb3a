"""What every method provides, and how all of them are run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from icl_vla_embodiments import ActionChunk, Observation, TaskTarget
from icl_vla_retrieval import DemoBank

from ...policy.interface import Episode
from ...runtime.loop import Outcome, run_episode
from ...runtime.mobile import BASE, drivable
from ...runtime.station import Station
from ...runtime.weights import Weights

Watch = Callable[[Observation, ActionChunk], None]


class Method(ABC):
    """A way to do a task.

    Attributes:
        name: On the command line and in reports.
        summary: One line for people.
        sees: Whether it looks at pictures; they need not be drawn for one that does not.
        sees_truth: Whether it knows what no policy may know; a reference, not a competitor.
        spreads: Whether its chunks tell how the demonstrations differ.
        kinematics: Whether it needs the robot's model; where nobody tells it, it has failed.
        remembers: Whether words alone may be enough, without demonstrations.
        trains: Whether it has to be trained, for minutes; tried only where it is asked for by name.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    sees: ClassVar[bool] = True
    sees_truth: ClassVar[bool] = False
    spreads: ClassVar[bool] = False
    kinematics: ClassVar[bool] = True
    remembers: ClassVar[bool] = False
    trains: ClassVar[bool] = False

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

    def learned_before(self) -> str:
        """Fingerprint of weights that were trained before any test; empty where there are none."""
        return ""

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
            seconds=station.seconds,
            watch=watch,
            audit=station.audit,
            cameras=self.sees,
            weights=weights,
        )


def hold(station: Station, observation: Observation, dt: float, *, done: bool) -> ActionChunk:
    """One step in which the robot stays where it is."""
    assert observation.q is not None
    poses = station.model.poses(observation.q)
    states = {e: observation.effectors.get(e) for e in station.effectors}
    target = TaskTarget(
        poses={e: poses[e] for e in station.effectors},
        grippers={e: x.gripper for e, x in states.items() if x and x.gripper is not None},
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
    poses = {e: np.stack([t.poses[e] for t in targets]) for e in effectors}
    twists = [t.base_twist for t in targets]
    if BASE in poses and twists[0] is None:
        sideways = station.embodiment.base == "planar_holo"
        poses[BASE], driven = drivable(measured[BASE], poses[BASE], dt, sideways=sideways)
        twists = list(driven)
    return ActionChunk.from_poses(
        observation.time,
        dt,
        {e: measured[e] for e in effectors},
        poses,
        grippers={e: np.array([t.grippers[e] for t in targets]) for e in targets[0].grippers},
        base_twists=None
        if any(x is None for x in twists)
        else np.stack([x for x in twists if x is not None]),
        done=done,
    )
