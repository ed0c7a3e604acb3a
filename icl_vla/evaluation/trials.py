"""Trials: the same seeds for every method, over processes, resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from icl_vla_embodiments import ReportedError

from ..perception.encoders import DEFAULT
from ..processes import spread
from ..runtime.weights import Weights
from .statistics import wilson

if TYPE_CHECKING:
    from .setting import Setting

Key = tuple[str, str, int, str, str]


@dataclass(frozen=True)
class Trial:
    """One attempt to be made.

    Attributes:
        embodiment: Name in the store.
        task: Name of a registered task.
        method: Name of a method.
        seed: Of the scene and of everything random in the attempt.
        context: Fingerprint of the demonstrations, the robot and the encoder; results of others do
            not count.
        pictures: Folder for small frames of the attempt, or None.
        film: Whether to write a film there, too.
        setting: Where it is one of a benchmark's: the cell and what is handed over in it.
        weights: Where task weights come from.
        encoder: What looks at the pictures, by name.
        said: What the method is told to do, in which manner, too; empty for the task's instruction.
    """

    embodiment: str
    task: str
    method: str
    seed: int
    context: str
    pictures: str | None = None
    film: bool = False
    setting: Setting | None = None
    weights: Weights = "equal"
    encoder: str = DEFAULT
    said: str = ""

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
        cell: Name of the benchmark's cell.
        group: Number of the task within the cell, of the set of demonstrations within the task, and
            of the episode within the set.
        other: Whether the other one of two tasks was done instead, where there are two.
        cause: Why it failed, as far as can be told.
        confidence: What the method said of itself last, 0 to 1; None where it said nothing.
        timings: Part of the program -> this machine's time [s].
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
    cell: str = ""
    group: tuple[int, int, int] = (0, 0, 0)
    other: bool | None = None
    cause: str = ""
    confidence: float | None = None
    timings: dict[str, float] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", tuple(self.group))  # JSON has lists only

    @property
    def key(self) -> Key:
        """See :attr:`Trial.key`."""
        return self.task, self.method, self.seed, self.context, self.weights


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
    bank: Path | None,
    log: ResultLog,
    *,
    workers: int,
    ray: str | None = None,
    progress: Callable[[Result], None] | None = None,
) -> None:
    """Run what the log does not hold yet, each trial in whichever process is free."""
    from .attempt import run_trial

    missing = [t for t in trials if t.key not in log.results or not _pictured(t)]
    jobs = [(t, home, bank) for t in missing]
    for result in spread(run_trial, jobs, workers, ray):
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
