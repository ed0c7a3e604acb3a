"""``run`` and ``eval``: what the command line asks for, as functions with plain results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_retrieval import (
    AmbiguousInstruction,
    DemoBank,
    InstructionError,
    choose_instruction,
)
from icl_vla_retrieval.manner import pace_between
from icl_vla_retrieval.signs import turned_numbers

from ..paths import bank_path, run_path
from ..perception.encoders import DEFAULT, schema_of
from ..runtime.drivers import find_driver
from ..runtime.weights import Weights
from ..sim.scene import Scene
from ..sim.task import Task
from ..sim.workcell import Workcell, find_task, task_names
from .film import Filmer, contact_sheet
from .methods import METHODS, check_weights, find_method, folder_name
from .on_robot import run_on_robot
from .trials import Result, ResultLog, Trial, run_trials, summarise


def evaluate(
    base: Path,
    embodiment: str,
    *,
    tasks: Sequence[str] | None,
    methods: Sequence[str] | None,
    seeds: Sequence[int],
    workers: int = 1,
    restart: bool = False,
    encoder: str = DEFAULT,
    progress: Callable[[Result], None] | None = None,
    total: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Every method, or all that need no training, on every task in the same scenes.

    Results that are known already, from an earlier call or from ``run``, are not made again.
    """
    bank = bank_of(base, embodiment)
    chosen = [find_task(t) for t in tasks or demonstrated_tasks(bank)]
    usual = [name for name, method in METHODS.items() if not method.trains]
    names = [find_method(m).name for m in methods or usual]
    trials = [
        Trial(
            embodiment,
            task.name,
            method,
            seed,
            context_of(bank, task.instruction, encoder),
            encoder=encoder,
        )
        for seed in seeds
        for task in chosen
        for method in names
    ]
    if total is not None:
        total(len(trials))
    results = _run(base, bank, trials, workers, restart, progress)
    folder = run_path(base, embodiment)
    report = {
        "embodiment": embodiment,
        "folder": str(folder),
        "seeds": [seeds[0], seeds[-1]],
        "encoder": schema_of(encoder),
        "demonstrations": bank.summary()["instructions"],
        "results": summarise(results),
    }
    write_atomically(folder / "eval.json", json.dumps(report, indent=2) + "\n")
    return report


def understand(base: Path, embodiment: str, asked: str, method: str) -> tuple[DemoBank, str]:
    """A robot's demonstrations, and the demonstrated instruction that is meant by other words.

    A method that remembers may be asked for what was never shown.

    Raises:
        ReportedError: There are no demonstrations, and the method needs some.
        InstructionError: None is meant, or several may be.
    """
    if not find_method(method).remembers:
        bank = bank_of(base, embodiment)
        return bank, choose_instruction(asked, bank.instructions)
    shown = bank_path(base, embodiment).exists()
    bank = bank_of(base, embodiment) if shown else _nothing_shown(base, embodiment)
    try:
        return bank, choose_instruction(asked, bank.instructions)
    except AmbiguousInstruction:
        raise
    except InstructionError:
        return bank, asked


def numbers_other_way(bank: DemoBank, instruction: str) -> tuple[str, ...]:
    """Dimensions of a bank's action space that run the other way, as its demonstrations show."""
    space = bank.action_space.with_joints(bank.spec.joints)
    return turned_numbers(space, [bank[i] for i in bank.select(instruction)])


def _nothing_shown(base: Path, embodiment: str) -> DemoBank:
    """An empty bank, apart from the robot's own, which its first demonstration will make."""
    robot = EmbodimentStore(base).get(embodiment)
    return DemoBank.open_or_create(
        run_path(base, embodiment) / "nothing_shown",
        embodiment=robot.name,
        urdf_sha256=robot.urdf_sha256,
        joints=robot.joints,
        action_space=robot.action_space(),
        cameras={},
    )


def run_in_scenes(
    base: Path,
    embodiment: str,
    instruction: str,
    *,
    driver: str,
    driver_options: Sequence[str] = (),
    scene: str | None,
    method: str,
    seeds: Sequence[int],
    workers: int = 1,
    films: int = 1,
    restart: bool = False,
    weights: Weights = "equal",
    encoder: str = DEFAULT,
    progress: Callable[[Result], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """One method in new scenes, with pictures; or, with a plugin's driver, on that robot.

    The instruction is understood first (:func:`understand`); its manner is the method's to follow.
    """
    asked = instruction
    bank, instruction = understand(base, embodiment, asked, method)
    said = instruction if pace_between(asked, instruction) == 1.0 else asked
    check_weights(weights, method, bank, instruction)
    if driver != "pybullet":
        find_driver(driver)
        if scene is not None:
            raise ReportedError(
                "only simulation lays out scenes", value=scene, remedy="leave out --scene"
            )
        return run_on_robot(
            base,
            EmbodimentStore(base).get(embodiment),
            bank,
            said,
            driver=driver,
            method=method,
            seeds=seeds,
            options=driver_options,
            weights=weights,
            encoder=encoder,
            progress=note,
        )
    if driver_options:
        raise ReportedError(
            "simulation is set up by its scenes and takes no driver's options",
            where="--driver pybullet",
            value=list(driver_options),
            remedy="leave out --driver-option, or name a plugin's driver",
        )
    if scene is not None and Path(scene).suffix in (".yaml", ".yml"):
        return _run_in_file(base, embodiment, said, Path(scene), method, bank, weights, encoder)
    task = task_for(instruction, scene)
    folder = run_path(base, embodiment) / folder_name(task.name, method, weights, encoder)
    context = context_of(bank, instruction, encoder, said)
    trials = [
        Trial(
            embodiment,
            task.name,
            method,
            seed,
            context,
            pictures=str(folder / f"seed_{seed}"),
            film=i < films,
            weights=weights,
            encoder=encoder,
            said=said,
        )
        for i, seed in enumerate(seeds)
    ]
    results = _run(base, bank, trials, workers, restart, progress)
    sheet = folder / "contact_sheet.png"
    looks = [(f"seed {r.seed}", r.success, folder / f"seed_{r.seed}") for r in results]
    contact_sheet(said, looks).save(sheet)
    report = {
        "embodiment": embodiment,
        "instruction": instruction,
        "said": said,
        "weights": weights,
        "encoder": schema_of(encoder),
        "folder": str(folder),
        "judged": True,
        "results": summarise(results),
        "episodes": [{"seed": r.seed, "success": r.success, "ended": r.ended} for r in results],
        "pictures": [
            str(sheet),
            *(f"{t.pictures}/film.mp4" for t in trials if t.film),
        ],
    }
    write_atomically(folder / "run.json", json.dumps(report, indent=2) + "\n")
    return report


def _run(
    base: Path,
    bank: DemoBank,
    trials: Sequence[Trial],
    workers: int,
    restart: bool,
    progress: Callable[[Result], None] | None,
) -> list[Result]:
    """Results of all trials, made or known."""
    log = ResultLog(run_path(base, bank.embodiment) / "results.jsonl")
    if restart:
        log.forget(t.key for t in trials)
    if progress is not None:
        for trial in trials:
            if trial.key in log.results:
                progress(log.results[trial.key])
    run_trials(trials, base, bank.path, log, workers=workers, progress=progress)
    return [log.results[t.key] for t in trials]


def context_of(
    bank: DemoBank, instruction: str, encoder: str = DEFAULT, said: str | None = None
) -> str:
    """Fingerprint of what a result depends on besides the scene; ``said``: in which manner."""
    from .. import __version__

    facts = [__version__, bank.spec.urdf_sha256, bank.digest(instruction), schema_of(encoder)]
    if said is not None and said != instruction:
        facts.append(said)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _run_in_file(
    base: Path,
    embodiment: str,
    instruction: str,
    file: Path,
    method: str,
    bank: DemoBank,
    weights: Weights,
    encoder: str,
) -> dict[str, Any]:
    """One episode in a scene laid out by hand; nobody judges it."""
    cell = Workcell.build(EmbodimentStore(base), embodiment, scene=Scene.from_yaml(file))
    cell.see_with(encoder)
    folder = run_path(base, embodiment) / folder_name(file.stem, method, weights, encoder)
    filmer = Filmer(folder)
    filmer.begin(cell, cell.reset(0))
    cell.driver.after_command = filmer.look
    outcome = find_method(method).run(cell, bank, instruction, 0, filmer.hear, weights)
    filmer.finish(outcome.reason == "done")
    return {
        "embodiment": embodiment,
        "instruction": instruction,
        "weights": weights,
        "encoder": cell.encoder.schema,
        "folder": str(folder),
        "judged": False,
        "ended": f"{outcome.reason} after {outcome.seconds:.1f} s",
        "objects": {
            n: np.round(cell.driver.world.pose(n)[:3, 3], 4) for n in cell.driver.world.bodies
        },
        "pictures": [str(folder / "film.mp4")],
    }


def demonstrated_tasks(bank: DemoBank) -> list[str]:
    """Registered tasks whose instruction the bank holds."""
    known = set(bank.instructions)
    return [name for name in task_names() if find_task(name).instruction in known]


def task_for(instruction: str, name: str | None = None) -> Task:
    """The simulated task of an instruction, which may be named.

    Raises:
        ReportedError: There is none, or the one named is for another instruction.
    """
    task = find_task(name or _task_of(instruction))
    if task.instruction != instruction:
        raise ReportedError(
            f"the scenes of {task.name!r} are for another instruction",
            value=instruction,
            valid=[task.instruction],
        )
    return task


def _task_of(instruction: str) -> str:
    for name in task_names():
        if find_task(name).instruction == instruction:
            return name
    raise ReportedError(
        "no simulated task has this instruction",
        value=instruction,
        valid=[f"{n}: {find_task(n).instruction}" for n in task_names()],
        remedy="name scenes with --scene NAME, or a scene file with --scene FILE.yaml",
    )


def bank_of(base: Path, embodiment: str) -> DemoBank:
    """A robot's demonstrations.

    Raises:
        ReportedError: There are none, or they are another robot's.
    """
    robot = EmbodimentStore(base).get(embodiment)
    path = bank_path(base, embodiment)
    if not path.exists():
        raise ReportedError(
            f"{embodiment} has no demonstrations yet",
            where=path,
            remedy=f"icl-vla demos record {embodiment} --task NAME",
        )
    bank = DemoBank.open(path)
    bank.check(robot)
    return bank
