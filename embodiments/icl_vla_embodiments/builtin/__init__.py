"""Robots that come with PyBullet's data, registered as any vendor's would be."""

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


def _source(file: str) -> Callable[[], Path]:
    def path() -> Path:
        found = importlib.util.find_spec("pybullet_data")
        if found is None or found.origin is None:
            raise PluginError(
                "pybullet_data is not installed", value=file, remedy="pip install pybullet"
            )
        return Path(found.origin).parent / file

    return path


@hookimpl
def register_embodiments(register: Callable[..., None]) -> None:
    """The robots above."""
    for name, file in ROBOTS.items():
        register(name, _source(file))
