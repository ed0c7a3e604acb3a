"""A home with one robot and a few recorded demonstrations; workcells built once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pybullet_data
import pytest

from icl_vla.paths import bank_path
from icl_vla.sim.recording import index_bank, record_demonstrations
from icl_vla.sim.workcell import Workcell, find_task
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import DemoBank

ROBOT = "panda"
TASKS = ("pick-place", "push")
URDF = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three demonstrations of each task, in physics, by the scripted operator."""
    base = tmp_path_factory.mktemp("home")
    EmbodimentStore(base).add(embodiment_from_urdf(URDF))
    for task in TASKS:
        record_demonstrations(base, ROBOT, task, range(3))
    index_bank(base, ROBOT, range(6))
    return base


@pytest.fixture(scope="session")
def bank(home: Path) -> DemoBank:
    return DemoBank.open(bank_path(home, ROBOT))


@pytest.fixture(scope="session")
def instructions() -> dict[str, str]:
    """Task -> instruction."""
    return {task: find_task(task).instruction for task in TASKS}


@pytest.fixture(scope="session")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Workcell]:
    """The robot at a task."""
    store = EmbodimentStore(tmp_path_factory.mktemp("cells"))
    store.add(embodiment_from_urdf(URDF))
    built: dict[str, Workcell] = {}

    def get(task: str) -> Workcell:
        if task not in built:
            built[task] = Workcell.build(store, ROBOT, task)
        return built[task]

    return get
