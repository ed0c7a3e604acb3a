"""What can be evaluated: one entry a method; all get the same scenes and controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation, ReportedError, UnknownName
from icl_vla_retrieval import DemoBank
from icl_vla_retrieval.tightness import FEWEST

from ..policy.nearest import NearestPolicy
from ..policy.retrieval import RetrievalPolicy
from ..policy.vote import VotePolicy
from ..runtime.loop import Outcome, execute, run_episode
from ..runtime.station import Station
from ..runtime.weights import WEIGHTS, Weights
from ..sim.workcell import Workcell

Watch = Callable[[Observation, ActionChunk], None]
Runner = Callable[[Station, DemoBank, str, int, Watch | None, Weights], Outcome]

EXPERT_SEED = 1_000_003  # an operator's dice never share a stream with the scene's


@dataclass(frozen=True)
class Method:
    """A way to do a task.

    Attributes:
        name: On the command line and in reports.
        summary: One line for people.
        run: Called with a station already reset, a bank, an instruction, a seed, a watcher and
            where task weights come from.
        spreads: Whether its chunks tell how the demonstrations differ.
    """

    name: str
    summary: str
    run: Runner
    spreads: bool = False


def _policy(kind: type[RetrievalPolicy]) -> Runner:
    def run(
        cell: Station,
        bank: DemoBank,
        instruction: str,
        seed: int,
        watch: Watch | None,
        weights: Weights,
    ) -> Outcome:
        space = cell.embodiment.action_space(bank.action_space.name)
        episode = kind(cell.model, cell.encoder).start(bank, instruction, space)
        return run_episode(
            cell.driver,
            cell.controller,
            episode,
            watch=watch,
            audit=cell.audit,
            weights=weights,
        )

    return run


def _expert(
    cell: Station,
    bank: DemoBank,
    instruction: str,
    seed: int,
    watch: Watch | None,
    weights: Weights,
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
    cell: Station,
    bank: DemoBank,
    instruction: str,
    seed: int,
    watch: Watch | None,
    weights: Weights,
) -> Outcome:
    return Outcome("done", cell.driver.clock(), 0)


METHODS: Mapping[str, Method] = {
    m.name: m
    for m in (
        Method("vote", "in-context vote without learning", _policy(VotePolicy), spreads=True),
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


def check_weights(weights: Weights, method: str, bank: DemoBank, instruction: str) -> None:
    """Whether task weights can come from there.

    Raises:
        ReportedError: There is no such source, the method does not tell how demonstrations differ,
            or there are too few.
    """
    if weights not in WEIGHTS:
        raise UnknownName("source of task weights", weights, WEIGHTS)
    if weights == "equal":
        return
    if not find_method(method).spreads:
        raise ReportedError(
            f"the method {method!r} does not tell how demonstrations differ",
            where="--weights",
            value=weights,
            valid=[f"--method {m.name}" for m in METHODS.values() if m.spreads],
            remedy="choose one of these methods, or leave out --weights",
        )
    count = len(bank.select(instruction))
    if count < FEWEST:
        raise ReportedError(
            "too few demonstrations to tell how tightly each direction was held",
            where=bank.path,
            value=f"{count} of {instruction!r}",
            valid=[f"at least {FEWEST}; ten are better"],
            remedy="record more, or leave out --weights",
        )


def folder_name(place: str, method: str, weights: Weights) -> str:
    """Under which a run's record and pictures are kept; ``place`` is its scenes or its driver."""
    name = f"{place}-{find_method(method).name}"
    return name if weights == "equal" else f"{name}-{weights}-weights"
