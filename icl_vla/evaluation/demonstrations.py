"""Sets of demonstrations for the benchmark: recorded once, handed over as each cell wants it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_retrieval import DemoBank, Demonstration
from icl_vla_retrieval.spec import BankSpec

from ..policy.context import index_episodes
from ..sim.operators import find_operator
from ..sim.recording import OPERATOR_SEED, record_in
from ..sim.workcell import Workcell
from .context import CONTEXTS, respoken
from .conventions import CONVENTIONS, misdescribed
from .provenance import PHYSICS, POLICIES, code_digest, fingerprint, library_versions
from .rigs import RIGS, stored
from .workplace import at_task, table_task, workcell


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
        shown: What they are made from; several sets for a mixed bank.
        context: Name of the context.
        convention: Name of the convention.
        count: The first so many of each set.
    """

    shown: tuple[Shown, ...]
    context: str
    convention: str
    count: int


def benchmark_path(home: Path) -> Path:
    """Banks, results and reports of the benchmark."""
    return home / "benchmark"


def shown_path(home: Path, shown: Shown) -> Path:
    """Bank of a recorded set; another set, robot or physics has another one."""
    urdf = EmbodimentStore(home).get(shown.body).urdf_sha256
    made = code_digest(*PHYSICS), code_digest(*POLICIES), library_versions()
    name = shown.task.replace(":", "-")
    key = fingerprint(asdict(shown), urdf, *made)
    return benchmark_path(home) / "shown" / shown.body / f"{name}-{shown.operator}-{key}"


def handed_path(home: Path, handed: Handed) -> Path:
    """Bank of what a method gets; the recorded one where it is handed over as it is."""
    first = handed.shown[0]
    whole = handed.count == len(first.seeds) and len(handed.shown) == 1
    if whole and handed.context == "right" and handed.convention == "plain":
        return shown_path(home, first)
    recorded = [shown_path(home, s).name for s in handed.shown]
    code = code_digest("icl_vla.evaluation.context", "icl_vla.evaluation.conventions")
    key = fingerprint(recorded, handed.context, handed.convention, handed.count, code)
    words = "-".join([handed.context.replace(" ", "_"), handed.convention, str(handed.count)])
    return benchmark_path(home) / "handed" / first.body / f"{words}-{key}"


def record_shown(home: Path, shown: Shown) -> dict[str, object]:
    """Record what is missing of a set, in this process."""
    cell = at_task(home, shown.body, table_task(shown.task), shown.rig)
    assert cell.task is not None
    path = shown_path(home, shown)
    bank = DemoBank.open_or_create(
        path,
        embodiment=cell.embodiment.name,
        urdf_sha256=cell.embodiment.urdf_sha256,
        joints=cell.embodiment.joints,
        action_space=cell.embodiment.action_space(),
        cameras=stored(RIGS[shown.rig](cell)),
    )
    for seed in shown.seeds[len(bank) :]:
        bank.append(_record(cell, shown.operator, seed))
    index_episodes(bank, cell.encoder, cell.workspace.effector, range(len(bank)))
    wins = sum(bool(bank[i].provenance["success"]) for i in range(len(bank)))
    return {"task": shown.task, "operator": shown.operator, "shown": len(bank), "succeeded": wins}


def _record(cell: Workcell, operator: str, seed: int) -> Demonstration:
    """One demonstration, good or bad."""
    from ..sim.families.family import TableTask

    task = cell.task
    assert isinstance(task, TableTask)
    cell.reset(seed)
    rng = np.random.default_rng([OPERATOR_SEED, seed])
    style = find_operator(operator)
    acting = style(cell.workspace.effector, task.stages(cell.workspace, rng), rng)
    return record_in(cell, lambda o: acting.act(cell.driver, o), operator, seed)


def hand_over(home: Path, handed: Handed) -> None:
    """Make the bank of what a method gets, in this process; whole or not at all."""
    path = handed_path(home, handed)
    if path.exists():
        return
    cell = workcell(home, handed.shown[0].body)
    context = CONTEXTS[handed.context]
    true, told = spaces(cell, handed)
    sources = [DemoBank.open(shown_path(home, s)) for s in handed.shown]
    spec: BankSpec = replace(sources[0].spec, action_space=told)
    partial = path.with_name(f".part-{os.getpid()}-{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    bank = DemoBank.of_spec(partial, spec)
    plain = handed.convention == "plain" and not context.misdescribed
    count = 0 if context.empty else handed.count
    for source in _told_apart(sources):
        for i in range(min(count, len(source))):
            if plain and context.change is None:
                bank.append_copy(source, i)
                continue
            d = source[i]
            if not plain:
                d = respoken(d, true, told, cell.model)
            if context.change is not None:
                d = context.change(d, np.random.default_rng([i, len(d)]))
            bank.append(d)
    index_episodes(bank, cell.encoder, cell.workspace.effector, range(len(bank)))
    partial.replace(path)


def _told_apart(banks: Sequence[DemoBank]) -> Iterable[DemoBank]:
    """Banks of different instructions: two tasks may be asked for in the same words."""
    seen: set[str] = set()
    for bank in banks:
        if not seen & set(bank.instructions):
            yield bank
        seen |= set(bank.instructions)


def spaces(cell: Workcell, handed: Handed) -> tuple:
    """What the robot's numbers mean, and what they are said to mean."""
    convention = CONVENTIONS[handed.convention]
    own = cell.embodiment.action_space()
    true = convention.true(own)
    told = true if convention.told is None else convention.told(own)
    return true, misdescribed(told) if CONTEXTS[handed.context].misdescribed else told
