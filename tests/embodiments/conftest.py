"""Robots that come with PyBullet's data, and a way to write small ones."""

import importlib.util
import os
import sys
from pathlib import Path

import pybullet_data
import pytest

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf

DATA = Path(pybullet_data.getDataPath())
ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("ICL_VLA_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA


@pytest.fixture(scope="session")
def labels() -> Path:
    """Labels of real robots, beside the repository or where ICL_VLA_SHARED says."""
    file = SHARED / "robots" / "labels_dev.json"
    if not file.is_file():
        pytest.skip(f"the labelled robots are not here ({file})")
    return file


@pytest.fixture(scope="session")
def benchmark():
    """A script of benchmarks/ as a module."""

    def load(name: str):
        if str(ROOT / "benchmarks") not in sys.path:  # scripts import what lies beside them
            sys.path.append(str(ROOT / "benchmarks"))
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]

    return load


@pytest.fixture(scope="session")
def panda():
    return embodiment_from_urdf(DATA / "franka_panda/panda.urdf")


@pytest.fixture(scope="session")
def panda_model(panda):
    return RobotModel(panda)


@pytest.fixture
def write(tmp_path):
    """Write a robot around some XML and return the file."""

    def robot(body: str, name: str = "robot.urdf") -> Path:
        file = tmp_path / name
        file.write_text(f'<robot name="r">\n{body}\n</robot>\n')
        return file

    return robot
