"""Where a benchmark's trial takes place: its cell, its scene, and what is handed over."""

from __future__ import annotations

from dataclasses import dataclass

from ..sim.foreign import ForeignTask
from ..sim.task import Task
from .context import CONTEXTS
from .demonstrations import Handed
from .splits import OTHER
from .suite import Cell
from .two_tasks import TwoTasks, unlike
from .workplace import table_task


@dataclass(frozen=True)
class Setting:
    """What a trial depends on besides method and scene.

    Attributes:
        cell: The condition.
        number: Of the task within its family.
        rig: Cameras.
        handed: Demonstrations.
        group: See :class:`icl_vla.evaluation.trials.Result`.
        code: Fingerprint of what is to run, as :func:`.provenance.everything` tells it.
    """

    cell: Cell
    number: int
    rig: str
    handed: Handed
    group: tuple[int, int, int]
    code: str

    def task(self) -> Task | ForeignTask:
        """The task, alone or beside another one."""
        context = CONTEXTS[self.cell.context]
        if not context.two_tasks:
            return table_task(f"{self.cell.family}:{self.number}")
        return TwoTasks(
            (self.cell.family, self.number),
            (self.cell.other, other_number(self.cell, self.number)),
            counts=int(context.shows_other),
        )


def other_number(cell: Cell, number: int) -> int:
    """Which task of the other family stands beside a task."""
    return unlike((cell.family, number), cell.other, number + OTHER)
