"""Record demonstrations: of a simulated task by its scripted operator, or of any robot by hand."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from icl_vla_embodiments import Embodiment, Observation, ReportedError, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_retrieval import CameraSpec, DatasetBusy, DemoBank, Demonstration
from icl_vla_retrieval.demonstration import Value
from icl_vla_retrieval.transaction import locked
from icl_vla_wbc import ArmMpc

from ..paths import bank_path
from ..perception.encoders import DEFAULT
from ..policy.context import index_episodes
from ..processes import in_processes
from ..runtime.drivers import ReportingDriver
from ..runtime.loop import PERIOD
from ..runtime.record import record_episode
from ..runtime.session import Session
from .foreign import ForeignCell
from .workcell import Workcell, find_task
from .workspace import Workspace, hands

SCRIPTED = "scripted expert"
OPERATOR_SEED = 7_919
_cells: dict[tuple[str, str, str], Workcell] = {}  # one per process


@dataclass(frozen=True)
class Recorded:
    """One demonstration in the bank."""

    episode: int
    seed: int
    frames: int
    success: bool


def open_bank(
    base: Path, embodiment: Embodiment, cameras: Mapping[str, CameraSpec] | None = None
) -> DemoBank:
    """The robot's bank, made when there is none; ``cameras`` are the simulation's by default.

    Raises:
        RetrievalError: It was recorded with another robot.
    """
    space = embodiment.action_space()
    bank = DemoBank.open_or_create(
        bank_path(base, embodiment.name),
        embodiment=embodiment.name,
        urdf_sha256=embodiment.urdf_sha256,
        joints=embodiment.joints,
        action_space=space,
        cameras=_camera_specs(embodiment) if cameras is None else cameras,
    )
    bank.check(embodiment)
    return bank


def _camera_specs(embodiment: Embodiment) -> dict[str, CameraSpec]:
    cameras = Workspace.of(RobotModel(embodiment)).cameras()
    return {name: CameraSpec(c.height, c.width, depth=True) for name, c in cameras.items()}


def record_one(base: Path, embodiment: str, task: str, seed: int) -> Demonstration:
    """Record one demonstration in this process, kept whether it succeeds or not."""
    key = (str(base), embodiment, task)
    if key not in _cells:
        _cells[key] = Workcell.build(EmbodimentStore(base), embodiment, task)
    cell = _cells[key]
    assert cell.task is not None
    cell.reset(seed)
    operator = cell.task.expert(cell.workspace, np.random.default_rng([OPERATOR_SEED, seed]))
    driver = cell.driver
    return record_in(cell, lambda o: operator.act(driver, o), SCRIPTED, seed)


def record_in(
    cell: Workcell | ForeignCell,
    act: Callable[[Observation], TaskTarget | None],
    operator: str,
    seed: int,
    seconds: float | None = None,
) -> Demonstration:
    """What somebody does in a cell's task, with the judge's verdict, whatever that is."""
    assert cell.task is not None
    provenance: dict[str, Value] = {
        "operator": operator,
        "task": cell.task.name,
        "seed": seed,
        "recorded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    demonstration = record_episode(
        cell.driver,
        cell.model,
        cell.controller,
        act,
        cell.embodiment.action_space(),
        instruction=cell.task.instruction,
        embodiment=cell.embodiment.name,
        seconds=cell.seconds if seconds is None else seconds,
        provenance=provenance,
        audit=cell.audit,
    )
    return replace(demonstration, provenance={**provenance, "success": cell.judge()})


def record_demonstrations(
    base: Path,
    embodiment: str,
    task: str,
    seeds: Sequence[int],
    *,
    workers: int = 1,
    progress: Callable[[Recorded], None] | None = None,
) -> list[Recorded]:
    """Record the seeds that the bank does not hold yet, unfiltered and in order."""
    robot = EmbodimentStore(base).get(embodiment)
    find_task(task)
    bank = open_bank(base, robot)
    with _alone(bank, task):
        done = recorded(bank, task)
        missing = [s for s in seeds if s not in done]
        jobs = [(base, embodiment, task, s) for s in missing]
        new = in_processes(record_one, jobs, workers)
        for seed, demonstration in zip(missing, new, strict=True):
            episode = bank.append(demonstration)
            done[seed] = Recorded(
                episode, seed, len(demonstration), bool(demonstration.provenance["success"])
            )
            if progress is not None:
                progress(done[seed])
    return [done[s] for s in seeds]


def _alone(bank: DemoBank, task: str) -> AbstractContextManager[None]:
    """Two recorders would both find the same seeds missing: the second one is refused."""
    busy = DatasetBusy(
        f"another process is recording {task!r} into this bank",
        where=bank.path,
        remedy="wait until it is done, or stop it; to be quicker, give one recorder --workers 2",
    )
    return locked(bank.path / f".recording.{task}", busy)


def recorded(bank: DemoBank, task: str) -> dict[int, Recorded]:
    """Seed -> scripted demonstration of a simulated task that a bank already holds."""
    found: dict[int, Recorded] = {}
    for episode in range(len(bank)):
        demonstration = bank[episode]
        notes = demonstration.provenance
        if notes.get("task") == task and notes.get("operator") == SCRIPTED:
            seed = int(notes["seed"])
            found[seed] = Recorded(episode, seed, len(demonstration), bool(notes["success"]))
    return found


def session(
    base: Path,
    embodiment: str,
    driver: str = "pybullet",
    task: str | None = None,
    instruction: str | None = None,
    driver_options: Sequence[str] = (),
) -> Session:
    """A sitting in which a person records demonstrations.

    Args:
        base: Where robots and banks are kept.
        embodiment: Name of the robot.
        driver: ``pybullet``, with a task or an empty table, or a driver that a plugin registers.
        task: Simulated task.
        instruction: What is shown; the task's own by default.
        driver_options: ``key=value`` for the factory of a plugin's driver.

    Raises:
        UnknownName: There is no such robot, driver or task.
        ReportedError: There is neither a task nor an instruction.
        PluginError: The plugin's driver fails.
    """
    robot = EmbodimentStore(base).get(embodiment)
    words = instruction or (find_task(task).instruction if task else None)
    if words is None:
        raise ReportedError(
            "nobody has said what is shown", remedy="give --instruction '...' or --task TASK"
        )
    source = {"driver": driver, **({"task": task} if task else {})}
    if driver == "pybullet":
        cell = Workcell.build(EmbodimentStore(base), embodiment, task)
        return Session(
            driver=cell.driver,
            model=cell.model,
            controller=cell.controller,
            effector=cell.workspace.effector,
            space=robot.action_space(),
            bank=open_bank(base, robot),
            instruction=words,
            source=source,
            judge=cell.judge if cell.task else None,
        )
    machine = ReportingDriver(driver, robot, driver_options)
    model = RobotModel(robot)
    space = robot.action_space()
    observation = machine.observe()
    cameras = {
        name: CameraSpec(image.rgb.shape[0], image.rgb.shape[1], depth=image.depth is not None)
        for name, image in observation.cameras.items()
        if image.rgb is not None
    }
    return Session(
        driver=machine,
        model=model,
        controller=ArmMpc(model, hands(robot) or space.effectors[0], period=PERIOD),
        effector=space.effectors[0],
        space=space,
        bank=open_bank(base, robot, cameras),
        instruction=words,
        source=source,
    )


def index_bank(
    base: Path,
    embodiment: str,
    episodes: Sequence[int],
    *,
    encoder: str = DEFAULT,
    workers: int = 1,
    progress: Callable[[], None] | None = None,
) -> int:
    """Read the scene of each episode into tokens, kept beside the bank; how many were new."""
    jobs = [(base, embodiment, i, encoder) for i in episodes]
    new = 0
    for count in in_processes(index_one, jobs, workers):
        new += count
        if progress is not None:
            progress()
    return new


def index_one(base: Path, embodiment: str, episode: int, encoder: str) -> int:
    """Encode one episode in this process."""
    key = (str(base), embodiment, "")
    if key not in _cells:
        _cells[key] = Workcell.build(EmbodimentStore(base), embodiment)
    cell = _cells[key]
    cell.see_with(encoder)
    bank = DemoBank.open(bank_path(base, embodiment))
    return index_episodes(bank, cell.encoder, cell.workspace.effector, [episode])
