"""Robots of the benchmark: those of the home, and those drawn by a task's number."""

from __future__ import annotations

import re
import tempfile
from functools import lru_cache
from pathlib import Path

from icl_vla_embodiments import Embodiment, ReportedError
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_embodiments.yaml_io import SUFFIX

from ..sim import carts, two_armed
from ..sim.bodies import KINDS, draw_body
from ..sim.workspace import Workspace
from .provenance import code_digest

_KINDS = (*KINDS, *carts.KINDS, *two_armed.KINDS)
DRAWN = ("drawn", *(f"drawn_{kind}" for kind in _KINDS))
"""Instead of a robot's name: every task has a body of its own, an arm or of the named kind."""
_NAME = re.compile(rf"drawn(?:_({'|'.join(_KINDS)}))?_(\d+)")
_DRAWING = tuple(
    f"icl_vla.sim.{m}" for m in ("bodies", "carts", "two_armed", "two_hands", "workspace")
)
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
    drawn = _NAME.fullmatch(name)
    if drawn is None:
        root = home
    else:
        root = home / "benchmark" / "bodies" / code_digest(*_DRAWING)[:12]
        store = EmbodimentStore(root)
        if not store.folder(name).exists():
            store.add(_draw(name, drawn.group(1), int(drawn.group(2))))
    folder = EmbodimentStore(root).folder(name)
    files = folder.glob(f"*{SUFFIX}") if folder.exists() else ()
    return _read(root, name, max((f.stat().st_mtime_ns for f in files), default=0))


@lru_cache(maxsize=1024)
def _read(root: Path, name: str, changed: int) -> tuple[EmbodimentStore, Embodiment]:
    """A robot of a store, read again when its file has changed (``changed``: when, [ns])."""
    store = EmbodimentStore(root)
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
            two = kind in two_armed.KINDS
            drawn = (two_armed.draw_two_armed if two else draw_body)(number + attempt * _NEXT, kind)
            file.write_text(drawn.urdf)
            robot = embodiment_from_urdf(file, name=name)
            try:
                workspace = Workspace.of(RobotModel(robot))
            except ReportedError:
                continue
            if len(workspace.hands) == 1 + two:
                return robot
    raise ReportedError("no body could be drawn that works on a table", value=name)
