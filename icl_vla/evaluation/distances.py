"""How far a task lies from everything that a policy may have been trained on.

A task's signature is its list of steps. The distance between two tasks is the least cost of turning
one list into the other: leaving out or adding a step costs 1, exchanging one for another costs what
differs between them, at most 1 (Levenshtein 1966, with costs of parameters).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import se2
from icl_vla_embodiments.types import Array

from ..sim.families import TRAINED, draw
from ..sim.families.family import Step

PROGRAMS = 100_000  # training tasks that are drawn
VERB, ABOUT, OFFSET, TURN, CLOSED, DWELL = 0.6, 0.2, 0.3, 0.2, 0.2, 0.1
_FAR = 2.0  # openings of the gripper between two offsets that cost OFFSET


@dataclass(frozen=True)
class Nearest:
    """The trained task that is most like another.

    Attributes:
        task: ``family:number``.
        distance: To it; 0 where the steps are the same.
    """

    task: str
    distance: float


class Programs:
    """Signatures of training tasks, by length.

    Args:
        tasks: ``family:number`` of each.
        steps: Its steps.
    """

    def __init__(self, tasks: Sequence[str], steps: Sequence[Sequence[Step]]) -> None:
        self._words: dict[str, int] = {}
        self._tasks: dict[int, list[str]] = {}
        self._steps: dict[int, Array] = {}
        lengths: dict[int, list[Array]] = {}
        for task, one in zip(tasks, steps, strict=True):
            lengths.setdefault(len(one), []).append(self._encode(one))
            self._tasks.setdefault(len(one), []).append(task)
        self._steps = {n: np.stack(rows) for n, rows in lengths.items()}

    def _encode(self, steps: Sequence[Step]) -> Array:
        """``(n, 8)``: verb, about, offset (3), turn, closed, dwell."""
        rows = np.zeros((len(steps), 8))
        for row, s in zip(rows, steps, strict=True):
            verb = self._words.setdefault(s.verb, len(self._words))
            about = self._words.setdefault(s.about, len(self._words))
            row[:] = [verb, about, *s.offset, s.turn, s.closed, s.dwell]
        return rows

    def nearest(self, steps: Sequence[Step]) -> Nearest:
        """The nearest of all tasks; the first of equally near ones."""
        query = self._encode(steps)
        best = Nearest("", np.inf)
        for n in sorted(self._steps, key=lambda n: abs(n - len(query))):
            if abs(n - len(query)) >= best.distance:
                break  # every step more or less costs 1
            distances = edit_distances(query, self._steps[n])
            i = int(np.argmin(distances))
            if distances[i] < best.distance:
                best = Nearest(self._tasks[n][i], float(distances[i]))
        return best

    def __len__(self) -> int:
        return sum(len(tasks) for tasks in self._tasks.values())


def edit_distances(query: Array, programs: Array) -> Array:
    """Distances of one signature ``(m, 8)`` to many of one length ``(N, n, 8)``: ``(N,)``."""
    m, n = len(query), programs.shape[1]
    cost = [[_exchange(query[i], programs[:, j]) for j in range(n)] for i in range(m)]
    above = [np.full(len(programs), float(j)) for j in range(n + 1)]
    for i in range(m):
        row = [np.full(len(programs), float(i + 1))]
        for j in range(n):
            either = np.minimum(above[j + 1], row[j]) + 1.0
            row.append(np.minimum(either, above[j] + cost[i][j]))
        above = row
    return above[n]


def _exchange(a: Array, b: Array) -> Array:
    """Cost of step ``a`` ``(8,)`` in place of steps ``b`` ``(N, 8)``: at most 1."""
    moved = np.linalg.norm(a[2:5] - b[:, 2:5], axis=1)
    turned = np.abs(se2.wrap(a[5] - b[:, 5]))
    cost = (
        VERB * (a[0] != b[:, 0])
        + ABOUT * (a[1] != b[:, 1])
        + OFFSET * np.minimum(moved / _FAR, 1.0)
        + TURN * turned / np.pi
        + CLOSED * (a[6] != b[:, 6])
        + DWELL * (a[7] != b[:, 7])
    )
    return np.asarray(np.minimum(cost, 1.0))


def training_programs(
    count: int = PROGRAMS, say: Callable[[str], None] = lambda _: None
) -> Programs:
    """The first tasks of every family to train on, equally many of each."""
    tasks, steps = [], []
    families = list(TRAINED)
    for i in range(count):
        family, number = families[i % len(families)], i // len(families)
        task = draw(family, number)
        tasks.append(task.name)
        steps.append(task.steps)
        if i % 5000 == 0:
            say(f"drawing training tasks: {i} of {count}")
    return Programs(tasks, steps)
