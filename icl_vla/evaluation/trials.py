"""Trials: the same seeds for every method, over processes, resumable."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from icl_vla_embodiments import ReportedError

from ..processes import in_processes
from ..runtime.weights import Weights
from .statistics import wilson

Key = tuple[str, str, int, str, str]


@dataclass(frozen=True)
class Trial:
    """One attempt to be made.

    Attributes:
        embodiment: Name in the store.
        task: Name of a registered task.
        method: Name of a method.
        seed: Of the scene and of everything random in the attempt.
        context: Fingerprint of the demonstrations and the robot; results of others do not count.
        pictures: Folder for small frames of the attempt, or None.
        film: Whether to write a film there, too.
        weights: Where task weights come from.
    """

    embodiment: str
    task: str
    method: str
    seed: int
    context: str
    pictures: str | None = None
    film: bool = False
    weights: Weights = "equal"

    @property
    def key(self) -> Key:
        """What makes two attempts the same."""
        return self.task, self.method, self.seed, self.context, self.weights


@dataclass(frozen=True)
class Result:
    """What came of a trial.

    Attributes:
        weights: Where task weights came from.
        success: The judge's verdict.
        ended: Why the run ended.
        seconds: Of the robot's time.
        cpu_seconds: Of this machine's time.
        violations: Worst excess over position, velocity and acceleration limits (SI), 0 when none.
        levels: Controller ladder level -> ticks.
    """

    embodiment: str
    task: str
    method: str
    seed: int
    context: str
    weights: Weights = field(default="equal", kw_only=True)
    success: bool
    ended: str
    seconds: float
    cpu_seconds: float
    violations: dict[str, float]
    levels: dict[str, int]

    @property
    def key(self) -> Key:
        """See :attr:`Trial.key`."""
        return self.task, self.method, self.seed, self.context, self.weights


_cells: dict[
    tuple[str, str, str], object
] = {}  # one per process: building a workcell takes seconds


def run_trial(trial: Trial, home: Path, bank: Path) -> Result:
    """Run one trial in this process."""
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_retrieval import DemoBank

    from ..sim.workcell import Workcell
    from .film import Filmer
    from .methods import find_method

    key = (str(home), trial.embodiment, trial.task)
    if key not in _cells:
        _cells[key] = Workcell.build(EmbodimentStore(home), trial.embodiment, trial.task)
    cell = _cells[key]
    assert isinstance(cell, Workcell) and cell.task is not None
    begin = time.process_time()
    observation = cell.reset(trial.seed)
    filmer = None
    if trial.pictures is not None:
        filmer = Filmer(cell, Path(trial.pictures), film=trial.film)
    if filmer:
        filmer.begin(observation)
    outcome = find_method(trial.method).run(
        cell,
        DemoBank.open(bank),
        cell.task.instruction,
        trial.seed,
        None if filmer is None else filmer.watch,
        trial.weights,
    )
    success = cell.judge()
    if filmer:
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
    )


class ResultLog:
    """Results as JSON lines; a torn last line (a killed run) is dropped and done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[Key, Result] = {}
        if not path.exists():
            return
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            try:
                result = Result(**json.loads(line))
            except (json.JSONDecodeError, TypeError) as error:
                if number == len(lines):
                    self._rewrite()
                    return
                raise ReportedError(
                    "a result log is damaged",
                    where=f"{path}, line {number}",
                    value=line[:80],
                    remedy=f"delete {path}; the trials are then run again",
                ) from error
            self.results[result.key] = result

    def forget(self, keys: Iterable[Key]) -> None:
        """Drop results, so that they are made again."""
        for key in keys:
            self.results.pop(key, None)
        self._rewrite()

    def _rewrite(self) -> None:
        from icl_vla_embodiments.home import write_atomically

        text = "".join(json.dumps(asdict(r)) + "\n" for r in self.results.values())
        write_atomically(self.path, text)

    def add(self, result: Result) -> None:
        """Keep a result; it is on disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.results[result.key] = result


def run_trials(
    trials: Sequence[Trial],
    home: Path,
    bank: Path,
    log: ResultLog,
    *,
    workers: int,
    progress: Callable[[Result], None] | None = None,
) -> None:
    """Run what the log does not hold yet, each trial in whichever process is free."""
    missing = [t for t in trials if t.key not in log.results or not _pictured(t)]
    for result in in_processes(run_trial, [(t, home, bank) for t in missing], workers):
        log.add(result)
        if progress is not None:
            progress(result)


def _pictured(trial: Trial) -> bool:
    """Whether the pictures that a trial asks for are there."""
    if trial.pictures is None:
        return True
    folder = Path(trial.pictures)
    return (folder / "frames.npz").exists() and (not trial.film or (folder / "film.mp4").exists())


def summarise(results: Sequence[Result]) -> list[dict[str, object]]:
    """Per task and method: successes, episodes, rate and Wilson 95% interval."""
    rows: list[dict[str, object]] = []
    for task, method in dict.fromkeys((r.task, r.method) for r in results):
        cell = [r for r in results if (r.task, r.method) == (task, method)]
        wins = sum(r.success for r in cell)
        low, high = wilson(wins, len(cell))
        rows.append(
            {
                "task": task,
                "method": method,
                "successes": wins,
                "episodes": len(cell),
                "rate": round(wins / len(cell), 4),
                "interval": [round(low, 4), round(high, 4)],
                "seconds": round(sum(r.seconds for r in cell) / len(cell), 2),
                "limit_violations": sum(any(v > 1e-6 for v in r.violations.values()) for r in cell),
            }
        )
    return rows
