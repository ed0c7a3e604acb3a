"""A scripted operator that sees the truth: how often the task can be done at all."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation, ReportedError
from icl_vla_retrieval import DemoBank

from ...runtime.station import Station
from ...sim.foreign import ForeignCell, Operator
from ...sim.workcell import Workcell
from .method import Method, chunk_of, hold

EXPERT_SEED = 1_000_003  # an operator's dice never share a stream with the scene's


class Expert(Method):
    """The task's own operator, in the usual style."""

    name = "expert"
    summary = "scripted operator that sees the truth"
    sees = False
    sees_truth = True

    def start(self, station: Station, bank: DemoBank, instruction: str, seed: int) -> ExpertEpisode:
        """See :meth:`Method.start`."""
        rng = np.random.default_rng([EXPERT_SEED, seed])
        dt = 1 / bank.action_space.rate
        if isinstance(station, ForeignCell):
            return ExpertEpisode(station, station.operator(rng), dt)
        if not isinstance(station, Workcell) or station.task is None:
            raise ReportedError(
                "the operator needs a simulated task, as it sees the truth", value="expert"
            )
        operator, driver = station.task.expert(station.workspace, rng), station.driver
        return ExpertEpisode(station, lambda o: operator.act(driver, o), dt)


class ExpertEpisode:
    """An operator's targets, one a step."""

    def __init__(self, cell: Station, operator: Operator, dt: float) -> None:
        self.cell, self.operator, self.dt = cell, operator, dt

    def act(self, observation: Observation) -> ActionChunk:
        """The operator's next target; done when it has none."""
        target = self.operator(observation)
        if target is None:
            return hold(self.cell, observation, self.dt, done=True)
        return chunk_of(self.cell, observation, [target], self.dt)
