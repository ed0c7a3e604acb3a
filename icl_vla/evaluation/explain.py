"""Why the policy did that: a run lived through again and remembered.

A run follows from its scene's seed, so nothing has to be recorded while it is made. What explains a
look is in the chunk that answered it (:class:`icl_vla.policy.interface.Trace`): one reading serves
every policy, and what a policy does not tell is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation, ReportedError
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank

from ..perception.encoders import DEFAULT
from ..policy.frames import thing_of
from .attempt import run_trial
from .methods import find_method
from .running import context_of, task_for, understand
from .trials import Result, Trial
from .workplace import Place


@dataclass(frozen=True)
class Look:
    """What the policy saw, and what it answered."""

    observation: Observation
    chunk: ActionChunk

    @property
    def effector(self) -> str | None:
        """The first hand that is moved."""
        return next(iter(self.chunk.motions), None)

    @property
    def confidence(self) -> float | None:
        """Of the first step, 0 to 1."""
        return None if self.chunk.confidence is None else float(self.chunk.confidence[0])

    @property
    def opening(self) -> float | None:
        """Of the gripper, asked for next, 0 to 1."""
        asked = self.chunk.grippers.get(self.effector or "")
        return None if asked is None else float(asked[0])

    @cached_property
    def shares(self) -> dict[str, float]:
        """Thing, base or hand -> share in the places asked for, the largest first."""
        return by_thing(self.chunk.trace.get("frames", {}))

    @property
    def leader(self) -> str:
        """What has the largest share; empty where nothing is told."""
        return next(iter(self.shares), "")

    def path(self) -> Array:
        """``(H + 1, 3)`` from where the hand is, as asked for [m, base frame]."""
        e = self.effector
        assert e is not None
        asked = [t.poses[e][:3, 3] for t in self.chunk.targets]
        return np.array([self.chunk.start[e][:3, 3], *asked])

    def due(self) -> Array:
        """``(H + 1,)`` when [s]."""
        return np.asarray(self.chunk.time + self.chunk.dt * np.arange(len(self.chunk) + 1))


@dataclass(frozen=True)
class Account:
    """A run, look by look.

    Attributes:
        result: How it ended.
        instruction: What was asked for.
        model: The robot.
        bank: What it was shown.
        looks: In order.
        times: ``(N,)`` of the commands [s].
        poses: Effector -> ``(N, 4, 4)`` measured ``T_base_ee`` after each.
        openings: Effector -> ``(N,)`` measured.
    """

    result: Result
    instruction: str
    model: RobotModel
    bank: DemoBank
    looks: tuple[Look, ...]
    times: Array
    poses: Mapping[str, Array]
    openings: Mapping[str, Array]

    def look(self, step: int | None) -> int:
        """The look that is meant: by its number, or the least confident one.

        Raises:
            ReportedError: There is none of this number.
        """
        if step is None:
            sure = [1.0 if x.confidence is None else x.confidence for x in self.looks]
            return int(np.argmin(sure))
        if not 0 <= step < len(self.looks):
            raise ReportedError(
                "the run has no such look",
                where="--step",
                value=step,
                valid=[f"0 to {len(self.looks) - 1}"],
            )
        return step

    def until(self, step: int) -> float:
        """When the next look replaced this one's answer [s]."""
        later = self.looks[step + 1 : step + 2]
        return later[0].observation.time if later else float(self.times[-1])

    def executed(self, effector: str, times: Array) -> Array:
        """Where a hand was at these times: ``(n, 3)`` [m, base frame]."""
        p = self.poses[effector][:, :3, 3]
        return np.stack([np.interp(times, self.times, p[:, i]) for i in range(3)], axis=1)


class _Memory:
    """A witness that keeps everything."""

    def begin(self, cell: Place, observation: Observation) -> None:
        self._cell = cell
        self.looks: list[Look] = []
        self.moments: list[Observation] = []
        self.look()

    def hear(self, observation: Observation, chunk: ActionChunk) -> None:
        self.looks.append(Look(observation, chunk))

    def look(self) -> None:
        self.moments.append(self._cell.driver.observe(cameras=False))


def relive(
    base: Path,
    embodiment: str,
    asked: str,
    *,
    scene: str | None,
    method: str,
    seed: int,
    encoder: str = DEFAULT,
) -> Account:
    """The run that ``icl-vla run`` makes of the same words, watched closely.

    Raises:
        ReportedError: There is no such robot, task or method, or nothing was demonstrated.
        InstructionError: Nothing like this was demonstrated.
    """
    bank, instruction = understand(base, embodiment, asked, method)
    task = task_for(instruction, scene)
    name = find_method(method).name
    context = context_of(bank, instruction, encoder)
    trial = Trial(embodiment, task.name, name, seed, context, encoder=encoder)
    memory = _Memory()
    result = run_trial(trial, base, bank.path, memory)
    cell, seen = memory._cell, memory.moments
    poses = [cell.model.poses(o.q) for o in seen if o.q is not None]
    openings = {
        e: np.array([o.effectors[e].gripper for o in seen], dtype=float) for e in seen[0].effectors
    }
    return Account(
        result=result,
        instruction=instruction,
        model=cell.model,
        bank=bank,
        looks=tuple(memory.looks),
        times=np.array([o.time for o in seen]),
        poses={e: np.stack([p[e] for p in poses]) for e in poses[0]},
        openings=openings,
    )


def by_thing(frames: Mapping[str, float]) -> dict[str, float]:
    """Shares of frames added up by what they hang on, the largest first."""
    found: dict[str, float] = {}
    for name, share in frames.items():
        row = thing_of(name)
        what = name.split(": ")[-1] if row is None else f"thing {row}"
        found[what] = found.get(what, 0.0) + share
    return dict(sorted(found.items(), key=lambda item: -item[1]))
