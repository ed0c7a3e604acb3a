from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pinocchio as pin
import pybullet_data
import pytest

from icl_vla_embodiments import Embodiment, FrameSpec, Group, JointLimits, Mimic
from icl_vla_embodiments.robot_model import RobotModel

ROBOTS = {
    "panda": ("franka_panda/panda.urdf", "panda_joint", "panda_grasptarget", "panda_finger_joint1"),
    "iiwa": ("kuka_iiwa/model.urdf", "lbr_iiwa", "lbr_iiwa_link_7", None),
    "xarm": ("xarm/xarm6_robot.urdf", "joint", "link6", None),
}
NEUTRAL = {
    "panda": (0.0, -0.4, 0.0, -2.0, 0.0, 1.7, 0.7),
    "iiwa": (0.0, 0.5, 0.0, -1.3, 0.0, 1.2, 0.0),
    "xarm": (0.0, -0.6, -0.8, 0.0, 1.4, 0.0),
}


def hand_made(name: str) -> Embodiment:
    """An arm of pybullet_data, its fields written down by hand."""
    file, prefix, tip, finger = ROBOTS[name]
    path = Path(pybullet_data.getDataPath()) / file
    model = pin.buildModelFromUrdf(str(path))
    arm = tuple(n for n in model.names if n.startswith(prefix))
    joints = (*arm, finger) if finger else arm
    limits = {}
    for joint in joints:
        i = model.getJointId(joint)
        iq, iv = model.joints[i].idx_q, model.joints[i].idx_v
        speed = float(model.velocityLimit[iv])
        limits[joint] = JointLimits(
            float(model.lowerPositionLimit[iq]),
            float(model.upperPositionLimit[iq]),
            speed,
            float(model.effortLimit[iv]),
            4 * speed,
        )
    groups = [Group("arm", "arm", arm, model.frames[1].name, tip)]
    mimic: tuple[Mimic, ...] = ()
    if finger:
        groups.append(
            Group(
                "hand", "gripper", (finger,), tip, tip, effector="arm", closed=(0.0,), open=(0.04,)
            )
        )
        mimic = (Mimic("panda_finger_joint2", finger),)
    text = path.read_text()
    return Embodiment(
        name=name,
        urdf=text,
        urdf_path=path,
        urdf_sha256=hashlib.sha256(text.encode()).hexdigest(),
        family="arm",
        base="fixed",
        groups=tuple(groups),
        joints=joints,
        limits=limits,
        mimic=mimic,
        neutral=dict(zip(arm, NEUTRAL[name], strict=True)),
        tcp={"arm": FrameSpec.at(tip)},
    )


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Machine code that controllers have made lies in no user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ICL_VLA_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def robot() -> Callable[[str], RobotModel]:
    made: dict[str, RobotModel] = {}

    def get(name: str) -> RobotModel:
        if name not in made:
            made[name] = RobotModel(hand_made(name))
        return made[name]

    return get


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def benchmark() -> Callable[[str], ModuleType]:
    """A script of benchmarks/wbc as a module."""

    def load(name: str) -> ModuleType:
        module = f"benchmark_{name}"
        if module not in sys.modules:
            folder = Path(__file__).parents[2] / "benchmarks" / "wbc"
            if str(folder) not in sys.path:  # scripts import what lies beside them
                sys.path.append(str(folder))
            spec = importlib.util.spec_from_file_location(module, folder / f"{name}.py")
            assert spec is not None and spec.loader is not None
            sys.modules[module] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[module])
        return sys.modules[module]

    return load
