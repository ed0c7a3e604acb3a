"""The benchmark: a suite's trials, planned, run over processes, resumed, summed up."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import write_atomically
from icl_vla_retrieval import DatasetBusy
from icl_vla_retrieval.transaction import locked

from ..perception.encoders import schema_of
from ..processes import spread
from ..runtime.record import LONGEST
from .context import CONTEXTS
from .demonstrations import (
    Handed,
    Shown,
    benchmark_path,
    hand_over,
    handed_path,
    record_shown,
    shown_path,
)
from .methods import find_method
from .provenance import everything, fingerprint
from .robots import body_name, find_robot
from .setting import Setting, other_number
from .splits import OTHER, splits_sha256, splits_yaml
from .suite import Cell, Suite
from .trials import Result, ResultLog, Trial, run_trials
from .workplace import table_task


@dataclass(frozen=True)
class Progress:
    """What is told while a suite runs.

    Attributes:
        stage: What is done now.
        total: Pieces of it.
        note: About the last piece; empty when a stage begins.
    """

    stage: str
    total: int
    note: str = ""


Tell = Callable[[Progress], None]


def plan(suite: Suite, home: Path, films: int = 0) -> list[Trial]:
    """All trials of a suite, those of one task together.

    Args:
        suite: What is measured.
        home: Where robots and banks are.
        films: Tasks of each cell whose first episode is filmed.
    """
    trials = []
    learned = {method: find_method(method).learned_before() for method in suite.methods}
    for cell in suite.cells:
        for task in range(suite.tasks):
            number = suite.number(task)
            for group in range(suite.sets):
                handed = _handed(suite, cell, number, group)
                context = _context(home, suite, cell, handed)
                for episode in range(suite.episodes):
                    group_ = (task, group, episode)
                    setting = Setting(cell, number, suite.rig, handed, group_, everything())
                    seed = suite.trial_scene(group, episode)
                    for method in suite.methods:
                        name = f"{cell.family}:{number}"
                        filmed = episode == 0 and group == 0 and task < films
                        filmed = filmed and ":" not in cell.family  # nobody looks on there
                        trials.append(
                            Trial(
                                suite.body_of(cell, number),
                                name,
                                method,
                                seed,
                                fingerprint(context, learned[method])
                                if learned[method]
                                else context,
                                pictures=str(_pictures(home, suite, cell, task, method, seed))
                                if filmed
                                else None,
                                film=filmed,
                                setting=setting,
                                encoder=suite.encoder,
                            )
                        )
    return trials


def _pictures(home: Path, suite: Suite, cell: Cell, task: int, method: str, seed: int) -> Path:
    words = cell.name.replace(", ", "-").replace(" ", "_")
    return benchmark_path(home) / suite.name / "films" / words / f"{task}-{seed}-{method}"


def _handed(suite: Suite, cell: Cell, number: int, group: int) -> Handed:
    """What methods are handed in a cell, for one task and one set."""
    context = CONTEXTS[cell.context]
    count = 0 if context.empty else cell.demonstrations
    body = suite.body_of(cell, number)
    bodies = [body]
    if context.mixed:
        every = _told_apart(suite, cell, number)
        bodies += [body_name(b, suite.number(0)) for b in suite.mixed_bodies]
    elif context.shows_other:
        every = [(cell.other, other_number(cell, number))]
    else:
        every = [(cell.family, number)]
    shown = tuple(
        Shown(b, f"{f}:{n}", cell.operator, suite.rig, _seeds(suite, cell, b, (f, n), group))
        for b in bodies
        for f, n in every
    )
    return Handed(shown, cell.context, cell.convention, count, number)


def _told_apart(suite: Suite, cell: Cell, number: int) -> list[tuple[str, int]]:
    """Tasks of a mixed bank, the cell's among them: no words ask for two of them.

    Their order does not tell which is the cell's.
    """
    families = sorted({c.family for c in suite.cells if c.body == cell.body})
    numbers = (suite.number(i) for i in range(OTHER))
    found = [(cell.family, number)]
    said = _wordings(*found[0])
    for other in ((family, n) for n in numbers for family in families):
        if len(found) >= suite.mixed_tasks:
            break
        words = _wordings(*other)
        if said.isdisjoint(words):
            found.append(other)
            said |= words
    return sorted(found)


def _wordings(family: str, number: int) -> set[str]:
    """All words in which a task may be asked for."""
    task = table_task(f"{family}:{number}")
    return {task.instruction, *task.paraphrases}


def _seeds(
    suite: Suite, cell: Cell, body: str, task: tuple[str, int], group: int
) -> tuple[int, ...]:
    """Scenes that a task is demonstrated in: as many as the cell that needs most of them.

    Tasks that stand in mixed banks only are shown as often as those need.
    """
    family, number = task
    kind = (family, cell.operator, body)
    alike = [c for c in suite.cells if (c.family, c.operator, suite.body_of(c, number)) == kind]
    measured = number in [suite.number(i) for i in range(suite.tasks)]
    most = max(c.demonstrations for c in (cell, *(alike if measured else ())))
    return tuple(suite.shown_scene(group, i) for i in range(most))


def _context(home: Path, suite: Suite, cell: Cell, handed: Handed) -> str:
    """Fingerprint of everything that a result depends on besides task, method and scene."""
    urdf = find_robot(home, handed.shown[0].body)[1].urdf_sha256
    shown = [shown_path(home, s).name for s in handed.shown]
    drawn = [handed.count, handed.number]
    seen = schema_of(suite.encoder)
    facts = [asdict(cell), suite.rig, seen, urdf, shown, drawn, LONGEST, splits_sha256()]
    return fingerprint(*facts, everything())


def run_suite(
    suite: Suite,
    home: Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    films: int = 1,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Run what is not known yet of a suite, and sum everything up.

    A run that was interrupted or killed goes on where it was: results and demonstrations are kept
    one by one. The results do not depend on the number of workers.

    Raises:
        DatasetBusy: Another process runs the benchmark here.
        UnknownName: A cell's robot is not there.
    """
    say = tell or (lambda _: None)
    folder = benchmark_path(home) / suite.name
    begin = time.perf_counter()
    with _alone(home):
        trials = plan(suite, home, films)
        write_atomically(folder / "splits.yaml", splits_yaml())
        write_atomically(folder / "suite.yaml", suite.to_yaml())
        shown = _prepare(trials, home, suite.encoder, workers, ray, say)
        log = ResultLog(folder / "results.jsonl")
        known = sum(t.key in log.results for t in trials)
        say(Progress("episodes", len(trials)))
        for _ in range(known):
            say(Progress("episodes", len(trials), "known"))
        started = time.perf_counter()
        run_trials(
            trials,
            home,
            None,
            log,
            workers=workers,
            ray=ray,
            progress=lambda r: say(Progress("episodes", len(trials), _line(r))),
        )
        seconds = time.perf_counter() - started
        results = [log.results[t.key] for t in trials]
    run = {
        "workers": workers,
        "ray": ray,
        "episodes": len(trials) - known,
        "seconds": round(seconds, 1),
        "seconds_in_all": round(time.perf_counter() - begin, 1),
    }
    from .summary import summarise_suite

    summary = summarise_suite(suite, results, shown) | {"run": run, "folder": str(folder)}
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    return summary


def _line(result: Result) -> str:
    return f"{result.cell} · {result.method} · {'yes' if result.success else result.ended}"


def _alone(home: Path) -> AbstractContextManager[None]:
    folder = benchmark_path(home)
    folder.mkdir(parents=True, exist_ok=True)
    busy = DatasetBusy(
        "the benchmark is already being run here",
        where=folder,
        remedy="wait until it is done, or stop it; to be quicker, give it more --workers",
    )
    return locked(folder / ".running", busy)


def _prepare(
    trials: Sequence[Trial], home: Path, encoder: str, workers: int, ray: str | None, say: Tell
) -> list[dict[str, object]]:
    """Record and hand over what trials need; what became of each set of demonstrations."""
    for stale in (benchmark_path(home) / "handed").glob("*/.part-*"):
        shutil.rmtree(stale, ignore_errors=True)
    whole = dict.fromkeys(t.setting.handed for t in trials if t.setting is not None)
    every = list(dict.fromkeys(h for handed in whole for h in handed.banks()))
    shown = list(dict.fromkeys(s for handed in every for s in handed.shown))
    own = {s for handed in whole for s in handed.shown if s.body == handed.shown[0].body}
    say(Progress("demonstrations", len(shown)))
    made = []
    # what another robot of a mixed bank has no room for, it cannot show
    jobs = [(home, s, encoder, s in own) for s in shown]
    for row in spread(record_shown, jobs, workers, ray):
        made.append(row)
        say(Progress("demonstrations", len(shown), f"{row['task']} by {row['operator']}"))
    missing = [h for h in every if not handed_path(home, h).exists()]
    say(Progress("contexts", len(missing)))
    for _ in spread(hand_over, [(home, h, encoder) for h in missing], workers, ray):
        say(Progress("contexts", len(missing), "made"))
    return made


def known_results(suite: Suite, home: Path) -> list[Result]:
    """Results of a suite that are in its log, in the plan's order.

    Raises:
        ReportedError: There is none.
    """
    log = ResultLog(benchmark_path(home) / suite.name / "results.jsonl")
    found = [log.results[t.key] for t in plan(suite, home) if t.key in log.results]
    if not found:
        raise ReportedError(
            "there are no results of this suite yet",
            where=log.path,
            remedy=f"icl-vla benchmark run {suite.name}",
        )
    return found
