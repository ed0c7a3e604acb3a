"""One trial, from the empty table to the verdict."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import NoReturn, Protocol, cast

import numpy as np

from icl_vla_embodiments import (
    ActionChunk,
    ActionSpace,
    Driver,
    Observation,
    ReportedError,
    SpaceState,
    TaskTarget,
)
from icl_vla_embodiments.kinematics import Kinematics
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank

from ..perception.seen_joints import eyes_for
from ..policy.interface import Episode
from ..runtime.loop import Outcome, run_episode
from ..runtime.station import Station
from ..sim.driver import PyBulletDriver
from ..sim.workcell import Workcell
from .causes import Evidence
from .context import CONTEXTS, NEUTRAL
from .conventions import CONVENTIONS
from .demonstrations import open_handed, seen_in, spaces
from .disturbances import DisturbedDriver, disturbance
from .film import Filmer
from .methods import find_method
from .methods.method import Method
from .provenance import everything
from .setting import Setting
from .timings import Timings
from .trials import Result, Trial
from .two_tasks import TwoTasks
from .workplace import Place, at_task


@cache
def _registered(home: Path, embodiment: str, task: str) -> Workcell:
    """A robot at a registered task, one a process: building one takes seconds."""
    return Workcell.build(EmbodimentStore(home), embodiment, task)


class Witness(Protocol):
    """Watches a trial."""

    def begin(self, cell: Place, observation: Observation) -> None:
        """The robot at its task was just reset, and this is seen."""

    def hear(self, observation: Observation, chunk: ActionChunk) -> None:
        """The policy answered."""

    def look(self) -> None:
        """The robot has carried out a command."""


def run_trial(
    trial: Trial, home: Path, bank: Path | None = None, witness: Witness | None = None
) -> Result:
    """Run one trial in this process.

    Args:
        trial: What is tried.
        home: Where robots and the benchmark's banks are.
        bank: Demonstrations, for a trial that is not of a benchmark.
        witness: Who else watches.
    """
    setting = trial.setting
    if setting is None:
        assert bank is not None
        cell: Place = _registered(home, trial.embodiment, trial.task)
        cell.see_with(trial.encoder)
    else:
        _check_code(setting)
        cell = at_task(home, trial.embodiment, setting.task(), setting.rig, trial.encoder)
    assert cell.task is not None
    begin = time.process_time()
    timings = Timings()
    cell.driver.after_command = None
    with timings.of(cell):
        observation = cell.reset(trial.seed)
        evidence, filmer = Evidence(), None
        witnesses: list[Witness] = [evidence]
        if trial.pictures is not None and isinstance(cell, Workcell):
            filmer = Filmer(Path(trial.pictures), film=trial.film)
            witnesses.append(filmer)
        if witness is not None:
            witnesses.append(witness)
        for each in witnesses:
            each.begin(cell, observation)

        def look() -> None:
            for each in witnesses:
                each.look()

        def watch(observation: Observation, chunk: ActionChunk) -> None:
            for each in witnesses:
                each.hear(observation, chunk)

        cell.driver.after_command = look
        method = find_method(trial.method)
        demonstrations = open_handed(home, setting.handed) if setting else _open(bank)
        try:
            station = _known(cell, method, trial, demonstrations)
            asked = trial.said or _asked(cell, setting)
            episode = method.start(station, demonstrations, asked, trial.seed)
            if setting is not None:
                true, told = spaces(cell, setting.handed)
                episode = Spoken(
                    episode, cell.model, true if method.sees_truth else told, true, station.model
                )
            elif not method.kinematics:  # it deals in the numbers themselves
                space = demonstrations.action_space
                episode = Spoken(episode, cell.model, space, space)
            episode = timings.episode(episode)
            outcome = run_episode(
                _disturbed(cell, setting, trial.seed),
                cell.controller,
                episode,
                seconds=cell.seconds,
                watch=watch,
                audit=cell.audit,
                cameras=method.sees,
                weights=trial.weights,
            )
        except ReportedError as error:
            if setting is None:
                raise
            outcome = Outcome(f"refused: {error.problem}", cell.driver.clock(), 0)
        cell.driver.after_command = None if filmer is None else filmer.look
        success, other = verdict(cell)
        if filmer is not None:
            filmer.finish(success)
    audit = cell.audit
    return Result(
        trial.embodiment,
        trial.task,
        trial.method,
        trial.seed,
        trial.context,
        success=success,
        ended=outcome.reason,
        seconds=round(outcome.seconds, 3),
        cpu_seconds=round(time.process_time() - begin, 3),
        violations={
            "position": audit.position,
            "velocity": audit.velocity,
            "acceleration": audit.acceleration,
        },
        levels=dict(sorted(audit.levels.items())),
        weights=trial.weights,
        cell="" if setting is None else setting.cell.name,
        group=(0, 0, 0) if setting is None else setting.group,
        other=other,
        cause="" if success else evidence.cause(outcome),
        confidence=evidence.confidence,
        timings=timings.rounded(),
    )


def _check_code(setting: Setting) -> None:
    """Whether this process runs what was planned.

    Raises:
        ReportedError: The code was changed meanwhile, or another machine has other code.
    """
    here = everything()
    if here != setting.code:
        raise ReportedError(
            "this process does not run the code that the benchmark was planned with",
            where=platform.node(),
            value=here,
            valid=[setting.code],
            remedy="use one version of everything on all machines, and start the suite again",
        )


def _known(cell: Place, method: Method, trial: Trial, demonstrations: DemoBank) -> Station:
    """The robot as a method may know it: as told, or as demonstrations show it.

    Raises:
        ReportedError: The method needs kinematics that neither tells.
    """
    setting = trial.setting
    told = setting is None or CONVENTIONS[setting.cell.convention].kinematics
    if told or method.sees_truth:
        return cell
    parts = {f.name: getattr(cell, f.name) for f in fields(Station) if f.init}
    if not method.kinematics:
        return Station(**parts | {"model": _Withheld(), "components": _Withheld()})
    seen = seen_in(demonstrations)
    if seen is None:
        raise ReportedError("the method needs the robot's kinematics, which nobody tells or shows")
    station = Station(**parts | {"model": seen, "components": eyes_for(seen)})
    station.see_with(trial.encoder)
    return station


class _Withheld:
    """What nobody tells a method."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ReportedError("the robot's kinematics are not told here", value=name)


def _asked(cell: Place, setting: Setting | None) -> str:
    """What is asked for: in the words shown, in others, or in some that say nothing."""
    task = cell.task
    assert task is not None
    if setting is None:
        return task.instruction
    context = CONTEXTS[setting.cell.context]
    if context.shows_other:
        return NEUTRAL
    others = getattr(task, "paraphrases", ())
    what = str(others[0]) if context.paraphrased and others else task.instruction
    return f"{context.manner} {what}".strip()


def verdict(cell: Place) -> tuple[bool, bool | None]:
    """Whether the task was done, and the other one where there are two."""
    success = cell.judge()
    task = cell.task
    if not isinstance(task, TwoTasks) or not isinstance(cell, Workcell):
        return success, None
    cell.task = task.swapped()
    try:
        return success, cell.judge()
    finally:
        cell.task = task


def _open(bank: Path | None) -> DemoBank:
    assert bank is not None
    return DemoBank.open(bank)


def _disturbed(cell: Place, setting: Setting | None, seed: int) -> Driver:
    """The robot as the policy finds it."""
    struck = []
    if setting is not None and setting.cell.disturbance != "none":
        struck.append(disturbance(setting.cell.disturbance, setting.cell.severity))
    context = CONTEXTS[setting.cell.context] if setting is not None else None
    if context is not None and context.colourless:
        struck.append(disturbance("greyscale", 5))
    if context is not None and context.depthless:
        struck.append(disturbance("no depth"))
    if not struck:
        return cell.driver
    if not isinstance(cell, Workcell):
        raise ReportedError("somebody else's environment cannot be disturbed", where=cell.task.name)
    driver = cell.driver
    for one in struck:  # what is disturbed can stand in for the driver
        driver = cast(PyBulletDriver, DisturbedDriver(driver, one, seed))
    return driver


class Spoken:
    """An episode whose motion reaches the robot as numbers, in the robot's own convention.

    Args:
        inner: Says where to go.
        model: Kinematics.
        told: The action space as it was described.
        true: What the numbers mean to the robot.
        known: Kinematics as they are known to who says where to go; None for the true ones.
    """

    def __init__(
        self,
        inner: Episode,
        model: RobotModel,
        told: ActionSpace,
        true: ActionSpace,
        known: Kinematics | None = None,
    ) -> None:
        self.inner, self.model, self.told, self.true = inner, model, told, true
        self.known = model if known is None else known

    def act(self, observation: Observation) -> ActionChunk:
        """What the robot understands of the inner episode's chunk."""
        chunk = self.inner.act(observation)
        assert observation.q is not None
        state = SpaceState(
            poses=self.model.poses(observation.q),
            q=observation.q,
            grippers={
                e: s.gripper for e, s in observation.effectors.items() if s.gripper is not None
            },
        )
        if chunk.native is None:
            seen = replace(state, poses=self.known.poses(observation.q))
            native = self.told.clip(self.told.encode(chunk.targets, seen, self.known))
        else:  # what it says itself counts: it may have read another meaning from demonstrations
            native = self.true.clip(chunk.native)
        effectors = list(chunk.motions) or list(self.true.effectors)
        heard = self.true.decode(native, state, self.model)
        poses = {e: np.stack([t.poses[e] for t in heard]) for e in effectors}
        return ActionChunk.from_poses(
            chunk.time,
            chunk.dt,
            {e: state.poses[e] for e in effectors},
            poses,
            grippers={e: np.array([t.grippers[e] for t in heard]) for e in heard[0].grippers},
            base_twists=None if heard[0].base_twist is None else _stacked(heard),
            spread=chunk.spread,
            confidence=chunk.confidence,
            native=native,
            neighbours=chunk.neighbours,
            trace=chunk.trace,
            done=chunk.done,
        )


def _stacked(targets: Sequence[TaskTarget]) -> Array:
    """Velocities of the base ``(H, 6)``."""
    return np.array([t.base_twist for t in targets])
