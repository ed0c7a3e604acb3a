"""The mean of the demonstrations is played, whatever the scene: what needs no eyes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation, TaskTarget, se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank, Demonstration, choose_instruction

from ...runtime.station import Station
from .method import Method, chunk_of

_STEPS = 8


class MeanTrajectory(Method):
    """Commands averaged after all demonstrations were stretched to one length."""

    name = "mean_trajectory"
    summary = "mean of the demonstrations, replayed blindly"
    sees = False

    def start(
        self, station: Station, bank: DemoBank, instruction: str, seed: int
    ) -> MeanTrajectoryEpisode:
        """See :meth:`Method.start`."""
        known = choose_instruction(instruction, bank.instructions)
        shown = [bank[i] for i in bank.select(known)]
        hands = [e for e in bank.action_space.effectors if all(e in d.commands for d in shown)]
        means = {e: mean_commands(shown, e) for e in hands}
        return MeanTrajectoryEpisode(station, means, bank.action_space.rate)


class MeanTrajectoryEpisode:
    """Plays each effector's poses ``(T, 4, 4)`` and openings ``(T,)`` by the clock."""

    def __init__(
        self, station: Station, means: Mapping[str, tuple[Array, Array]], rate: float
    ) -> None:
        self.station, self.means, self.rate = station, means, rate
        self.length = min(len(openings) for _, openings in means.values())
        self.begin: float | None = None

    def act(self, observation: Observation) -> ActionChunk:
        """The steps that are due."""
        self.begin = observation.time if self.begin is None else self.begin
        t = round((observation.time - self.begin) * self.rate)
        rows = np.minimum(np.arange(t, t + _STEPS), self.length - 1)
        targets = [
            TaskTarget(
                poses={e: poses[i] for e, (poses, _) in self.means.items()},
                grippers={e: float(openings[i]) for e, (_, openings) in self.means.items()},
            )
            for i in rows
        ]
        done = t >= self.length + 2
        return chunk_of(self.station, observation, targets, 1 / self.rate, done=done)


def mean_commands(shown: list[Demonstration], effector: str) -> tuple[Array, Array]:
    """Commanded poses ``(T, 4, 4)`` and openings ``(T,)``; ``T`` is the median length.

    Positions are averaged, rotations by the chordal mean; the gripper takes the median.
    """
    length = int(np.median([len(d) for d in shown]))
    rows = [np.linspace(0, len(d) - 1, length).round().astype(int) for d in shown]
    T = np.stack([d.commands[effector][r] for d, r in zip(shown, rows, strict=True)])
    openings = np.stack([d.gripper_commands[effector][r] for d, r in zip(shown, rows, strict=True)])
    R = se3.project_rotation(T[..., :3, :3].mean(axis=0))
    return se3.pose(R, T[..., :3, 3].mean(axis=0)), np.median(openings, axis=0).round()
