"""Record a simulated task's demonstrations with its scripted operator."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from icl_vla_embodiments import Embodiment
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_retrieval import CameraSpec, DemoBank, Demonstration
from icl_vla_retrieval.demonstration import Value

from ..paths import bank_path
from ..policy.context import index_episodes
from ..processes import in_processes
from ..runtime.record import record_episode
from .workcell import Workcell, find_task

_OPERATOR_SEED = 7_919
_cells: dict[tuple[str, str, str], Workcell] = {}  # one per process


@dataclass(frozen=True)
class Recorded:
    """One demonstration in the bank."""

    episode: int
    seed: int
    frames: int
    success: bool


def open_bank(base: Path, embodiment: Embodiment) -> DemoBank:
    """The robot's bank, made when there is none.

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
        cameras=_camera_specs(embodiment),
    )
    bank.check(embodiment)
    return bank


def _camera_specs(embodiment: Embodiment) -> dict[str, CameraSpec]:
    from icl_vla_embodiments.robot_model import RobotModel

    from .workspace import Workspace

    camera = Workspace.of(RobotModel(embodiment)).camera()
    return {"front": CameraSpec(camera.height, camera.width, depth=True)}


def record_one(base: Path, embodiment: str, task: str, seed: int) -> Demonstration:
    """Record one demonstration in this process, kept whether it succeeds or not."""
    key = (str(base), embodiment, task)
    if key not in _cells:
        _cells[key] = Workcell.build(EmbodimentStore(base), embodiment, task)
    cell = _cells[key]
    assert cell.task is not None
    cell.reset(seed)
    operator = cell.task.expert(cell.workspace, np.random.default_rng([_OPERATOR_SEED, seed]))
    provenance: dict[str, Value] = {
        "operator": "scripted expert",
        "task": task,
        "seed": seed,
        "recorded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    demonstration = record_episode(
        cell.driver,
        cell.model,
        cell.controller,
        lambda observation: operator.act(cell.driver, observation),
        cell.embodiment.action_space(),
        instruction=cell.task.instruction,
        embodiment=embodiment,
        provenance=provenance,
        audit=cell.audit,
    )
    provenance["success"] = cell.judge()
    return replace(demonstration, provenance=provenance)


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
    done = recorded(bank, task)
    missing = [s for s in seeds if s not in done]
    jobs = [(base, embodiment, task, s) for s in missing]
    for seed, demonstration in zip(missing, in_processes(record_one, jobs, workers), strict=True):
        episode = bank.append(demonstration)
        done[seed] = Recorded(
            episode, seed, len(demonstration), bool(demonstration.provenance["success"])
        )
        if progress is not None:
            progress(done[seed])
    return [done[s] for s in seeds]


def recorded(bank: DemoBank, task: str) -> dict[int, Recorded]:
    """Seed -> demonstration of a simulated task that a bank already holds."""
    found: dict[int, Recorded] = {}
    for episode in range(len(bank)):
        demonstration = bank[episode]
        notes = demonstration.provenance
        if notes.get("task") == task:
            seed = int(notes["seed"])
            found[seed] = Recorded(episode, seed, len(demonstration), bool(notes["success"]))
    return found


def index_bank(
    base: Path,
    embodiment: str,
    episodes: Sequence[int],
    *,
    workers: int = 1,
    progress: Callable[[], None] | None = None,
) -> int:
    """Read the scene of each episode into tokens, kept beside the bank; how many were new."""
    jobs = [(base, embodiment, i) for i in episodes]
    new = 0
    for count in in_processes(index_one, jobs, workers):
        new += count
        if progress is not None:
            progress()
    return new


def index_one(base: Path, embodiment: str, episode: int) -> int:
    """Encode one episode in this process."""
    key = (str(base), embodiment, "")
    if key not in _cells:
        _cells[key] = Workcell.build(EmbodimentStore(base), embodiment)
    cell = _cells[key]
    bank = DemoBank.open(bank_path(base, embodiment))
    return index_episodes(bank, cell.encoder, cell.workspace.effector, [episode])
