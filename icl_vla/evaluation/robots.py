"""Robots of the benchmark: those of the home, and those drawn by a task's number."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from icl_vla_embodiments import Embodiment, ReportedError
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf

from ..sim import carts
from ..sim.bodies import KINDS, draw_body
from ..sim.workspace import Workspace

DRAWN = ("drawn", *(f"drawn_{kind}" for kind in (*KINDS, *carts.KINDS)))
"""Instead of a robot's name: every task has a body of its own, of any kind of arm or of one kind."""
_NAME = re.compile(rf"drawn(?:_({'|'.join((*KINDS, *carts.KINDS))}))?_(\d+)")
_NEXT = 10_000_000  # numbers between two draws for one name
_DRAWS = 20


def body_name(body: str, number: int) -> str:
    """Name of the robot that does a task; ``body`` may be one of :data:`DRAWN`."""
    return f"{body}_{number}" if body in DRAWN else body


def find_robot(home: Path, name: str) -> tuple[EmbodimentStore, Embodiment]:
    """A robot and where it is kept; a drawn one is made when it is first asked for.

    Drawn robots are kept beside the benchmark's results, not among the home's own.

    Raises:
        UnknownName: There is none of that name.
    """
    store = EmbodimentStore(home)
    drawn = _NAME.fullmatch(name)
    if drawn is None:
        return store, store.get(name)
    store = EmbodimentStore(home / "benchmark" / "bodies")
    if not store.folder(name).exists():
        store.add(_draw(name, drawn.group(1), int(drawn.group(2))))
    return store, store.get(name)


def _draw(name: str, kind: str | None, number: int) -> Embodiment:
    """The first body from a number on that can work on a table, as not every arm can; any cart."""
    with tempfile.TemporaryDirectory() as folder:
        if kind in carts.KINDS:
            file = Path(folder) / f"{name}.urdf"
            file.write_text(carts.draw_cart(number, kind).urdf)
            return embodiment_from_urdf(file, name=name)
        for attempt in range(_DRAWS):
            file = Path(folder) / f"{name}.urdf"
            file.write_text(draw_body(number + attempt * _NEXT, kind).urdf)
            robot = embodiment_from_urdf(file, name=name)
            try:
                Workspace.of(RobotModel(robot))
            except ReportedError:
                continue
            return robot
    raise ReportedError("no body could be drawn that works on a table", value=name)
