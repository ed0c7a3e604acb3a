"""One robot a process, which goes over from task to task: building one takes seconds."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..perception.encoders import DEFAULT
from ..sim.families import draw
from ..sim.families.family import TableTask
from ..sim.floor import FloorCell, Mover
from ..sim.foreign import ForeignCell, ForeignTask, foreign_task
from ..sim.scene import Scene
from ..sim.task import Task
from ..sim.workcell import Workcell
from .rigs import RIGS
from .robots import find_robot

_KEPT = 4  # robots a process keeps: each has a physics client and a controller
_cells: OrderedDict[tuple[Path, str, Mover], Workcell] = OrderedDict()


Place = Workcell | ForeignCell
"""A robot where a task can be laid out and judged."""


def workcell(home: Path, body: str, mover: Mover = "arm") -> Workcell:
    """A robot in physics, at a table or on a floor; the least lately used ones are given up."""
    key = (home, body, mover)
    if key not in _cells:
        if len(_cells) == _KEPT:
            _cells.popitem(last=False)[1].driver.close()
        store, _ = find_robot(home, body)
        if mover == "arm":
            _cells[key] = Workcell.build(store, body)
        else:
            _cells[key] = FloorCell.on_floor(store, body, mover)
    _cells.move_to_end(key)
    return _cells[key]


@lru_cache(maxsize=_KEPT)
def _foreign(home: Path, body: str, name: str) -> ForeignCell:
    family, _, number = name.rpartition(":")
    return ForeignCell.build(find_robot(home, body)[1], foreign_task(family, int(number)))


def at_task(
    home: Path, body: str, task: Task | ForeignTask, rig: str, encoder: str = DEFAULT
) -> Place:
    """A robot at a task, looked at by a rig of cameras; the next call moves it on.

    Somebody else's environment has cameras of its own.
    """
    if isinstance(task, ForeignTask):
        theirs = _foreign(home, body, task.name)
        theirs.see_with(encoder)
        return theirs
    cell = workcell(home, body, task.mover if isinstance(task, TableTask) else "arm")
    cameras = RIGS[rig](cell)

    def scenes(seed: int) -> Scene:
        scene = task.sample(cell.workspace, np.random.default_rng(seed))
        return scene.with_(cameras=cameras)

    cell.lay_out(task, scenes)
    cell.see_with(encoder)
    return cell


def table_task(name: str) -> TableTask | ForeignTask:
    """``family:number``, or ``module:Class:number`` of somebody else's, as a task."""
    family, _, number = name.rpartition(":")
    return foreign_task(family, int(number)) if ":" in family else draw(family, int(number))
