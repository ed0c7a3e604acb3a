"""Sets of demonstrations for the benchmark: recorded once, handed over as each cell wants it."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from icl_vla_embodiments import ActionSpace
from icl_vla_retrieval import BankCollection, CameraSpec, DemoBank, Demonstration
from icl_vla_retrieval.spec import BankSpec

from ..perception.encoders import DEFAULT, encoder_of
from ..perception.seen_joints import SeenJoints, eyes_for, told_by_seeing, with_poses
from ..policy.context import copy_tokens, index_episodes
from ..runtime.station import Station
from ..sim.foreign import ForeignCell
from ..sim.recording import OPERATOR_SEED, record_in
from ..sim.task import NoRoom
from ..sim.workcell import Workcell
from .context import CONTEXTS, respoken, without_kinematics
from .conventions import CONVENTIONS, misdescribed
from .provenance import PHYSICS, POLICIES, code_digest, fingerprint, library_versions
from .rigs import RIGS, stored
from .robots import find_robot
from .workplace import Place, at_task, table_task

SEEN = "seen_joints.npz"


@dataclass(frozen=True)
class Shown:
    """A set of demonstrations of one task, unfiltered.

    Attributes:
        body: Name of the robot.
        task: ``family:number``.
        operator: Style.
        rig: Cameras.
        seeds: Of the scenes, one a demonstration.
    """

    body: str
    task: str
    operator: str
    rig: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Handed:
    """Demonstrations as a method gets them.

    Attributes:
        shown: What they are made from; several sets for a mixed bank, the acting robot's first.
        context: Name of the context.
        convention: Name of the convention.
        count: The first so many of each set.
        number: Of the task, which conventions may be drawn by.
    """

    shown: tuple[Shown, ...]
    context: str
    convention: str
    count: int
    number: int = 0

    def banks(self) -> tuple[Handed, ...]:
        """Itself, or the banks that a mixed one consists of, as they were recorded."""
        if not CONTEXTS[self.context].mixed:
            return (self,)
        own = self.shown[0].body
        return tuple(
            # of another robot's demonstrations what counts is where its hand went
            replace(
                self,
                shown=(s,),
                context="right",
                count=len(s.seeds),
                convention=self.convention if s.body == own else "plain",
                number=0 if self.convention == "plain" or s.body != own else self.number,
            )
            for s in self.shown
        )


def benchmark_path(home: Path) -> Path:
    """Banks, results and reports of the benchmark."""
    return home / "benchmark"


def shown_path(home: Path, shown: Shown) -> Path:
    """Bank of a recorded set; another set, robot or physics has another one."""
    urdf = find_robot(home, shown.body)[1].urdf_sha256
    made = code_digest(*PHYSICS), code_digest(*POLICIES), library_versions()
    name = shown.task.replace(":", "-")
    key = fingerprint(asdict(shown), urdf, *made)
    return benchmark_path(home) / "shown" / shown.body / f"{name}-{shown.operator}-{key}"


def handed_path(home: Path, handed: Handed) -> Path:
    """Bank of what a method gets; the recorded one where it is handed over as it is."""
    (first,) = handed.shown
    whole = handed.count == len(first.seeds)
    if whole and handed.context == "right" and handed.convention == "plain":
        return shown_path(home, first)
    code = code_digest(*(f"{__package__}.{m}" for m in ("artifacts", "context", "conventions")))
    facts = [handed.context, handed.convention, handed.count, handed.number]
    key = fingerprint(shown_path(home, first).name, *facts, code)
    words = "-".join(str(f).replace(" ", "_") for f in facts)
    return benchmark_path(home) / "handed" / first.body / f"{words}-{key}"


def record_shown(
    home: Path, shown: Shown, encoder: str = DEFAULT, whole: bool = True
) -> dict[str, object]:
    """Record what is missing of a set, and read it with an encoder, in this process.

    Args:
        home: Where robots and banks are.
        shown: The set.
        encoder: As ``--encoder`` has it.
        whole: Whether a scene that the robot has no room for is an error; else the set ends there.

    Raises:
        NoRoom: The robot's patch is too small for the task.
    """
    return record_into(shown_path(home, shown), home, shown, encoder, whole)


def record_into(
    path: Path, home: Path, shown: Shown, encoder: str = DEFAULT, whole: bool = True
) -> dict[str, object]:
    """The same, into the bank at ``path``."""
    cell = at_task(home, shown.body, table_task(shown.task), shown.rig, encoder)
    assert cell.task is not None
    bank = DemoBank.open_or_create(
        path,
        embodiment=cell.embodiment.name,
        urdf_sha256=cell.embodiment.urdf_sha256,
        joints=cell.coordinates,
        action_space=cell.embodiment.action_space(),
        cameras=_cameras(cell, shown),
    )
    try:
        for seed in shown.seeds[len(bank) :]:
            bank.append(_record(cell, shown.operator, seed))
    except NoRoom:
        if whole:
            raise
    index_episodes(bank, cell.encoder, cell.effector, range(len(bank)))
    wins = sum(bool(bank[i].provenance["success"]) for i in range(len(bank)))
    return {"task": shown.task, "operator": shown.operator, "shown": len(bank), "succeeded": wins}


def _cameras(cell: Place, shown: Shown) -> dict[str, CameraSpec]:
    """As a bank keeps their pictures."""
    if isinstance(cell, Workcell):
        return stored(RIGS[shown.rig](cell))
    images = cell.reset(shown.seeds[0]).cameras.items()
    shapes = {n: i.rgb.shape for n, i in images if i.rgb is not None}
    return {n: CameraSpec(height, width, depth=True) for n, (height, width, _) in shapes.items()}


def _record(cell: Place, operator: str, seed: int) -> Demonstration:
    """One demonstration, good or bad."""
    from ..sim.families.family import TableTask

    cell.reset(seed)
    rng = np.random.default_rng([OPERATOR_SEED, seed])
    if isinstance(cell, ForeignCell):
        return record_in(cell, cell.operator(rng), cell.task.name, seed)
    task = cell.task
    assert isinstance(task, TableTask)
    acting = task.operator(operator, cell.workspace, rng)
    return record_in(cell, lambda o: acting.act(cell.driver, o), operator, seed)


def hand_over(home: Path, handed: Handed, encoder: str = DEFAULT) -> None:
    """Make the bank of what a method gets, in this process; whole or not at all."""
    path = handed_path(home, handed)
    if path.exists():
        return
    (shown,) = handed.shown
    cell = at_task(home, shown.body, table_task(shown.task), shown.rig, encoder)
    context, convention = CONTEXTS[handed.context], CONVENTIONS[handed.convention]
    true, told = spaces(cell, handed)
    source = DemoBank.open(shown_path(home, shown))
    spec: BankSpec = replace(source.spec, action_space=told)
    if context.depthless:
        spec = replace(spec, cameras={n: replace(c, depth=False) for n, c in spec.cameras.items()})
    partial = path.with_name(f".part-{os.getpid()}-{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    bank = DemoBank.of_spec(partial, spec)
    plain = handed.convention == "plain" and not context.misdescribed
    several = range(0 if context.empty else min(handed.count, len(source)))
    unseen: list[Demonstration] = []
    for i in several:
        if plain and context.change is None:
            bank.append_copy(source, i)
            continue
        d = source[i]
        as_seen = context.change is None and true.rate == d.action_space.rate
        if not plain:
            d = respoken(d, true, told, cell.model)
        if context.change is not None:
            d = context.change(d, np.random.default_rng([i, len(d)]))
        if not convention.kinematics:
            unseen.append(without_kinematics(d))
            continue
        episode = bank.append(d)
        if as_seen:  # other numbers, but the same things to see
            copy_tokens(source, i, bank, episode, cell.encoder)
    if unseen:
        seen = told_by_seeing(unseen, source.spec.joints)
        for d in unseen:
            bank.append(with_poses(d, seen))
        seen.save(partial / SEEN)
    eyes = encoder_of(encoder, eyes_for(seen)) if unseen else cell.encoder
    index_episodes(bank, eyes, cell.effector, range(len(bank)))
    partial.replace(path)


def seen_in(bank: DemoBank) -> SeenJoints | None:
    """The arm that a bank's demonstrations were seen to have, where nobody tells its kinematics."""
    file = bank.path / SEEN
    return SeenJoints.open(file) if file.exists() else None


@lru_cache(maxsize=16)
def open_handed(home: Path, handed: Handed) -> DemoBank:
    """What a method gets: a bank, or a collection of banks where tasks are mixed."""
    banks = [DemoBank.open(handed_path(home, h)) for h in handed.banks()]
    mixed = CONTEXTS[handed.context].mixed
    return BankCollection(banks, limit=handed.count) if mixed else banks[0]


def spaces(cell: Station, handed: Handed) -> tuple[ActionSpace, ActionSpace]:
    """What the robot's numbers mean, and what they are said to mean."""
    convention = CONVENTIONS[handed.convention].of(cell.embodiment, cell.effector, handed.number)
    wrong = CONTEXTS[handed.context].misdescribed
    return convention.true, misdescribed(convention.told) if wrong else convention.told
