"""Why an attempt failed, as far as can be told from what the hand did to which thing."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation
from icl_vla_embodiments.types import Array

from ..runtime.loop import Outcome
from ..sim.families.family import TableTask
from ..sim.workcell import Workcell
from .two_tasks import TwoTasks
from .workplace import Place

CAUSES = {
    "refused": "the method would not begin",
    "perception": "no token where the thing is",
    "choice": "the hand went to another thing",
    "reach": "the hand came near nothing",
    "grasp": "touched, but never held",
    "phase": "stopped or stuck half-way through what was shown",
    "contact": "everything was done, but not well enough",
    "unknown": "a task of which nothing can be told",
}
_NEAR = 0.035  # [m] across the table at which a hand is at a thing
_EVERY = 6  # commands between two looks
_LIFTED = 0.015  # [m]
_SEEN = 0.04  # [m] between a token and the thing that it shows
_PAINTED = ("mark", "line")


class Evidence:
    """Watches one attempt."""

    def begin(self, cell: Place, observation: Observation) -> None:
        """The robot at its task was just reset."""
        # of somebody else's environment nothing is known but its verdict
        self._cell = cell if isinstance(cell, Workcell) else None
        self._task = cell.task if isinstance(cell.task, TableTask) else None
        self._count = 0
        self._near: dict[str, float] = {}  # least distance to each thing
        self._touched: set[str] = set()
        self._held: set[str] = set()
        self._phase: float | None = None
        self._seen: bool | None = None
        self._sure: float | None = None
        self._begin: dict[str, Array] = {}
        if self._cell is not None:
            world = self._cell.driver.world
            self._begin = {name: world.pose(name)[:3, 3] for name in world.bodies}

    def _meant(self) -> str | None:
        """The thing that is handled first."""
        if self._task is None:
            return None
        parts = getattr(self._task, "parts", (self._task,))
        own = parts[self._task.counts if isinstance(self._task, TwoTasks) else 0]
        names = [n for n, look in own.roles.items() if look.shape not in _PAINTED]
        return names[0] if names else None

    def look(self) -> None:
        """Called after every command."""
        self._count += 1
        if self._cell is None or self._task is None or self._count % _EVERY:
            return
        world, driver = self._cell.driver.world, self._cell.driver
        T = driver.model.embodiment.mount.matrix @ driver.tool(self._cell.effector)
        for name in world.bodies:
            at = world.pose(name)[:3, 3]
            away = float(np.linalg.norm((T[:3, 3] - at)[:2]))
            self._near[name] = min(away, self._near.get(name, np.inf))
            if away < 3 * _NEAR and world.touching(name, driver.body):
                self._touched.add(name)
                if at[2] - self._begin[name][2] > _LIFTED:
                    self._held.add(name)

    def hear(self, observation: Observation, chunk: ActionChunk) -> None:
        """Called with every chunk."""
        if chunk.confidence is not None and len(chunk.confidence):
            self._sure = float(chunk.confidence[0])
        if chunk.neighbours:
            self._phase = sum(n.weight * n.phase for n in chunk.neighbours)
        tokens = chunk.trace.get("tokens")
        meant = self._meant()
        if self._seen is None and tokens is not None and meant in self._begin:
            self._seen = _shows(np.asarray(tokens), self._begin[meant])

    @property
    def confidence(self) -> float | None:
        """What was said last, with the outcome in view; None where nothing was."""
        return None if self._sure is None else round(self._sure, 4)

    def cause(self, outcome: Outcome) -> str:
        """One of :data:`CAUSES`."""
        if outcome.reason.startswith("refused"):
            return "refused"
        meant = self._meant()
        if meant is None or not self._near:
            return "reach" if meant is not None else "unknown"
        if self._seen is False:
            return "perception"
        if self._near.get(meant, np.inf) > _NEAR:
            others = [d for name, d in self._near.items() if name != meant]
            return "choice" if min(others, default=np.inf) < _NEAR else "reach"
        assert self._task is not None
        if any(step.closed for step in self._task.steps) and meant not in self._held:
            wrong = self._held - {meant}
            return "choice" if wrong else "grasp"
        if self._phase is not None and self._phase < 0.8:
            return "phase"
        return "contact"


def _shows(tokens: Array, place: Array) -> bool:
    """Whether one of the tokens ``(M, 3)`` is at a place."""
    return (
        bool(len(tokens)) and float(np.linalg.norm((tokens - place)[:, :2], axis=1).min()) < _SEEN
    )
