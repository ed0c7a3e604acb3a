"""Robots of PyBullet's data."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from ..errors import PluginError
from ..hookspecs import hookimpl

ROBOTS = {
    "panda": "franka_panda/panda.urdf",
    "iiwa": "kuka_iiwa/model.urdf",
    "xarm6": "xarm/xarm6_with_gripper.urdf",
}


def _source(name: str, file: str) -> Callable[[], Path]:
    def path() -> Path:
        found = importlib.util.find_spec("pybullet_data")
        if found is None or found.origin is None:
            raise PluginError(
                f"{name!r} comes with pybullet, which is not installed",
                remedy="pip install pybullet",
            )
        return Path(found.origin).parent / file

    return path


@hookimpl
def register_embodiments(register: Callable[..., None]) -> None:
    """Arms."""
    for name, file in ROBOTS.items():
        register(name, _source(name, file))
