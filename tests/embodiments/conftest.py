"""Robots that come with PyBullet's data, and a way to write small ones."""

from pathlib import Path

import pybullet_data
import pytest

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf

DATA = Path(pybullet_data.getDataPath())


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA


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
