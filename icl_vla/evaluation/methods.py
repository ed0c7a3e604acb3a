"""What can be evaluated: one entry a method; all get the same scenes and controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation, ReportedError, UnknownName
from icl_vla_retrieval import DemoBank

from ..policy.nearest import NearestPolicy
from ..policy.retrieval import RetrievalPolicy
from ..policy.vote import VotePolicy
from ..runtime.loop import Outcome, execute, run_episode
from ..runtime.station import Station
from ..sim.workcell import Workcell

Watch = Callable[[Observation, ActionChunk], None]
Runner = Callable[[Station, DemoBank, str, int, Watch | None], Outcome]

EXPERT_SEED = 1_000_003  # an operator's dice never share a stream with the scene's


@dataclass(frozen=True)
class Method:
    """A way to do a task.

    Attributes:
        name: On the command line and in reports.
        summary: One line for people.
        run: Called with a station already reset, a bank, an instruction, a seed and a watcher.
    """

    name: str
    summary: str
    run: Runner


def _policy(kind: type[RetrievalPolicy]) -> Runner:
    def run(
        cell: Station, bank: DemoBank, instruction: str, seed: int, watch: Watch | None
    ) -> Outcome:
        space = cell.embodiment.action_space(bank.action_space.name)
        episode = kind(cell.model, cell.encoder).start(bank, instruction, space)
        return run_episode(cell.driver, cell.controller, episode, watch=watch, audit=cell.audit)

    return run


def _expert(
    cell: Station, bank: DemoBank, instruction: str, seed: int, watch: Watch | None
) -> Outcome:
    if not isinstance(cell, Workcell) or cell.task is None:
        raise ReportedError(
            "the operator needs a simulated task, as it sees the truth", value="expert"
        )
    operator = cell.task.expert(cell.workspace, np.random.default_rng([EXPERT_SEED, seed]))
    dt = 1 / bank.action_space.rate
    steps = 0
    while cell.driver.clock() < 30.0:
        target = operator.act(cell.driver, cell.driver.observe(cameras=False))
        if target is None:
            return Outcome("done", cell.driver.clock(), steps)
        now = cell.driver.clock()
        execute(cell.driver, cell.controller, [target], [now + dt], now + dt, cell.audit)
        steps += 1
    return Outcome("time is up", cell.driver.clock(), steps)


def _nothing(
    cell: Station, bank: DemoBank, instruction: str, seed: int, watch: Watch | None
) -> Outcome:
    return Outcome("done", cell.driver.clock(), 0)


METHODS: Mapping[str, Method] = {
    m.name: m
    for m in (
        Method("vote", "in-context vote without learning", _policy(VotePolicy)),
        Method("nearest", "1-NN retrieve-and-play", _policy(NearestPolicy)),
        Method("expert", "scripted operator that sees the truth", _expert),
        Method("nothing", "the robot stands still", _nothing),
    )
}


def find_method(name: str) -> Method:
    """A method by name.

    Raises:
        UnknownName: There is none; the message lists the known ones.
    """
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    return METHODS[name]
