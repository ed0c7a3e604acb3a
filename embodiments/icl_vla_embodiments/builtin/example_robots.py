"""Robots of example-robot-data, which the extra ``robots`` brings.

https://github.com/Gepetto/example-robot-data
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ..errors import PluginError
from ..hookspecs import hookimpl

FOLDER = "cmeel.prefix/share/example-robot-data/robots"  # in site-packages
ROBOTS = {
    "ur5": "ur_description/urdf/ur5_robot.urdf",
    "so101": "so_arm_description/urdf/so101.urdf",
    "z1": "z1_description/urdf/z1.urdf",
    "a1": "a1_description/urdf/a1.urdf",
    "go2": "go2_description/urdf/go2.urdf",
    "anymal": "anymal_c_simple_description/urdf/anymal.urdf",
    "tiago": "tiago_description/robots/tiago.urdf",
    "b1-z1": "b1_description/urdf/b1-z1.urdf",
    "anymal-kinova": "anymal_b_simple_description/robots/anymal-kinova.urdf",
    "talos-left-arm": "talos_data/robots/talos_left_arm.urdf",
    "baxter": "baxter_description/urdf/baxter.urdf",
}


def _source(name: str, file: str) -> Callable[[], Path]:
    def path() -> Path:
        try:
            data = distribution("example-robot-data")
        except PackageNotFoundError as error:
            raise PluginError(
                f"{name!r} comes with example-robot-data, which is not installed",
                remedy="pip install 'icl-vla[robots]'",
            ) from error
        return Path(str(data.locate_file(FOLDER))) / file

    return path


@hookimpl
def register_embodiments(register: Callable[..., None]) -> None:
    """Arms, quadrupeds, a mobile manipulator and combinations of them."""
    for name, file in ROBOTS.items():
        register(name, _source(name, file))
