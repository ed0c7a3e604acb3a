"""Play a demonstration again, through the controller, in physics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_retrieval import Demonstration

from ..runtime.loop import execute
from .recording import open_bank, record_in
from .scene import Scene
from .workcell import Workcell, task_names


class ReplayOperator:
    """Gives what a demonstration commanded, step by step."""

    def __init__(self, demonstration: Demonstration) -> None:
        self._d = demonstration
        self._t = 0

    def act(self, observation: Observation) -> TaskTarget | None:
        """The next recorded command; None after the last."""
        t, d = self._t, self._d
        self._t += 1
        if t >= len(d):
            return None
        return TaskTarget(
            poses={e: T[t] for e, T in d.commands.items()},
            grippers={e: float(x[t]) for e, x in d.gripper_commands.items()},
        )


@dataclass(frozen=True)
class Replayed:
    """How far a replay stayed from the recording.

    Attributes:
        steps: How many commands were played.
        mean: Mean distance of the tool from its recorded place [m].
        worst: Largest distance [m].
        turn: Largest angle to the recorded orientation [rad].
        violations: How many of position, velocity and acceleration limits were exceeded.
        scene: Which scene it was played in.
        success: What the task's judge says; None without one.
    """

    steps: int
    mean: float
    worst: float
    turn: float
    violations: int
    scene: str
    success: bool | None


def record_replay(base: Path, embodiment: str, task: str, episode: int, seed: int) -> int:
    """Record a demonstration's commands anew in a scene of a task; the new episode's index."""
    store = EmbodimentStore(base)
    bank = open_bank(base, store.get(embodiment))
    bank.require(episode)
    cell = Workcell.build(store, embodiment, task)
    cell.reset(seed)
    demonstration = record_in(
        cell,
        ReplayOperator(bank[episode]).act,
        f"replay of episode {episode}",
        seed,
        seconds=len(bank[episode]) / bank.rate + 1.0,
    )
    return bank.append(demonstration)


def replay(base: Path, embodiment: str, demonstration: Demonstration) -> Replayed:
    """Play a demonstration's commands in PyBullet.

    The scene is the recorded one where its task and seed are known, else an empty table with the
    robot where the recording began.
    """
    d = demonstration
    store = EmbodimentStore(base)
    task, seed = d.provenance.get("task"), d.provenance.get("seed")
    if task in task_names() and isinstance(seed, int):
        cell = Workcell.build(store, embodiment, str(task))
        scene = f"{task}, seed {seed}"
    else:
        seed = 0
        start = {
            e: (*map(float, T[0, :3, 3]), *map(float, se3.log3(T[0, :3, :3])))
            for e, T in d.poses.items()
        }
        cell = Workcell.build(store, embodiment, scene=Scene((), {}, start=start))
        scene = "an empty table"
    cell.reset(seed)
    effector = cell.workspace.effector
    operator = ReplayOperator(d)
    dt = 1 / d.action_space.rate
    begin = cell.driver.clock()
    ways, turns = [], []
    for t in range(len(d)):
        observation = cell.driver.observe(cameras=False)
        assert observation.q is not None
        here, there = cell.model.poses(observation.q)[effector], d.poses[effector][t]
        ways.append(float(np.linalg.norm(here[:3, 3] - there[:3, 3])))
        turns.append(float(np.linalg.norm(se3.log3(here[:3, :3] @ there[:3, :3].T))))
        target = operator.act(observation)
        assert target is not None
        due = begin + (t + 1) * dt
        execute(cell.driver, cell.controller, [target], [due], due, cell.audit)
    return Replayed(
        steps=len(d),
        mean=float(np.mean(ways)),
        worst=max(ways),
        turn=max(turns),
        violations=cell.audit.violations,
        scene=scene,
        success=cell.judge() if cell.task else None,
    )
