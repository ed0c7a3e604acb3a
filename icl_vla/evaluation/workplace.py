"""One robot a process, which goes over from task to task: building one takes seconds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from icl_vla_embodiments.store import EmbodimentStore

from ..sim.families import draw
from ..sim.scene import Scene
from ..sim.task import Task
from ..sim.workcell import Workcell
from .rigs import RIGS


@cache
def workcell(home: Path, body: str) -> Workcell:
    """A robot of the store, in physics."""
    return Workcell.build(EmbodimentStore(home), body)


def at_task(home: Path, body: str, task: Task, rig: str) -> Workcell:
    """A robot at a task, looked at by a rig of cameras; the next call moves it on."""
    cell = workcell(home, body)
    cameras = RIGS[rig](cell)

    def scenes(seed: int) -> Scene:
        scene = task.sample(cell.workspace, np.random.default_rng(seed))
        return scene.with_(cameras=cameras)

    cell.lay_out(task, scenes)
    return cell


def table_task(name: str) -> Task:
    """``family:number`` as a task."""
    family, _, number = name.partition(":")
    return draw(family, int(number))
