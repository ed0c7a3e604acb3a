"""Random motion: what happens by itself when a hand moves about a table."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation, ReportedError, TaskTarget, se3
from icl_vla_retrieval import DemoBank

from ...runtime.station import Station
from ...sim.workcell import Workcell
from .method import Method, chunk_of

_SPEED = 0.2  # [m/s], an operator's
_STEPS = 8
_SECONDS = 10.0  # an operator's time; then it says that it is done


class Random(Method):
    """Straight lines between random places over the patch, the gripper opening and closing."""

    name = "random"
    summary = "random lines over the table"
    sees = False

    def start(self, station: Station, bank: DemoBank, instruction: str, seed: int) -> RandomEpisode:
        """See :meth:`Method.start`."""
        if not isinstance(station, Workcell):
            raise ReportedError("random motion is for simulation only", value="random")
        return RandomEpisode(station, 1 / bank.action_space.rate, np.random.default_rng(seed))


class RandomEpisode:
    """Goes to one random place after the other."""

    def __init__(self, station: Workcell, dt: float, rng: np.random.Generator) -> None:
        self.station, self.dt, self.rng = station, dt, rng
        self.goal: TaskTarget | None = None
        self.end: float | None = None

    def _draw(self) -> TaskTarget:
        work, rng = self.station.workspace, self.rng
        x, y = work.point(*rng.uniform(-1, 1, 2))
        height = rng.uniform(0.02, work.start_height)
        turn = se3.yaw(rng.uniform(-np.pi / 4, np.pi / 4))
        return TaskTarget(
            poses={work.effector: se3.pose(turn @ work.grasp, [x, y, height])},
            grippers={work.effector: float(rng.integers(2))},
        )

    def act(self, observation: Observation) -> ActionChunk:
        """The next steps towards the present goal; a new one when it is reached."""
        assert observation.q is not None
        effector = self.station.workspace.effector
        here = self.station.model.poses(observation.q)[effector]
        self.end = observation.time + _SECONDS if self.end is None else self.end
        for _ in range(2):
            if self.goal is None:
                self.goal = self._draw()
            way = self.goal.poses[effector][:3, 3] - here[:3, 3]
            if np.linalg.norm(way) > 0.02:
                break
            self.goal = None
        assert self.goal is not None
        goal = self.goal.poses[effector]
        shares = np.minimum(
            1.0,
            _SPEED * self.dt * np.arange(1, _STEPS + 1) / max(float(np.linalg.norm(way)), 1e-6),
        )
        turn = se3.log3(goal[:3, :3] @ here[:3, :3].T)
        targets = [
            TaskTarget(
                poses={effector: se3.pose(se3.exp3(s * turn) @ here[:3, :3], p)},
                grippers=self.goal.grippers,
            )
            for s, p in zip(shares, here[:3, 3] + shares[:, None] * way, strict=True)
        ]
        done = observation.time >= self.end
        return chunk_of(self.station, observation, targets, self.dt, done=done)
