"""One robot at one simulated task, with everything that a trial needs, built once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import UnknownName
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.plugins import plugins, registered_tasks
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf.simulation import simulation_urdf
from icl_vla_wbc import ArmMpc

from ..perception.components import ComponentEncoder
from ..runtime.loop import PERIOD, Audit
from ..runtime.station import Station
from . import builtin
from .driver import PyBulletDriver
from .scene import Scene
from .task import Task
from .workspace import Workspace

_HOLD = 1.0  # [s] that success must last
_SETTLE = 2.0  # [s] in which that second must begin
_STILL = 0.01  # [m/s] below which a thing counts as still


@dataclass
class Workcell(Station):
    """A station in simulation: its driver lays out scenes, and a task can be judged."""

    driver: PyBulletDriver
    workspace: Workspace
    task: Task | None

    @classmethod
    def build(
        cls, store: EmbodimentStore, name: str, task: str | None = None, scene: Scene | None = None
    ) -> Workcell:
        """Set up a robot from the store for a registered task, or for one scene.

        Raises:
            UnknownName: No such embodiment or task; the message lists the known ones.
        """
        embodiment = store.get(name)
        chosen = None if task is None else find_task(task)

        model, hulls = RobotModel(embodiment), LinkHulls(embodiment)
        workspace = Workspace.of(model, hulls)

        def scenes(seed: int | None) -> Scene:
            if scene is not None or chosen is None:
                laid = scene if scene is not None else Scene((), {})
                front = {"front": workspace.camera()}
                return laid if laid.cameras else laid.with_(cameras=front)
            return chosen.sample(workspace, np.random.default_rng(seed))

        return cls(
            embodiment=embodiment,
            model=model,
            effector=workspace.effector,
            driver=PyBulletDriver(model, simulation_urdf(embodiment, store.folder(name)), scenes),
            controller=ArmMpc(model, workspace.effector, period=PERIOD),  # wheels stand still
            encoder=ComponentEncoder(model, hulls, reach=1.3 * workspace.far_corner()),
            audit=Audit.of(embodiment),
            workspace=workspace,
            task=chosen,
        )

    def judge(self) -> bool:
        """Whether the task's goal holds, with everything still, for a whole second.

        The robot stands still meanwhile. The second must begin within two seconds: a thing that was
        dropped may rock before it rests.
        """
        if self.task is None:
            return False
        world = self.driver.world
        self.driver.stop()
        held = 0  # ticks of 1/60 s
        for _ in range(round((_SETTLE + _HOLD) * 60)):
            world.step(4)
            still = all(world.speed(name) < _STILL for name in world.bodies)
            held = held + 1 if still and self.task.succeeded(self.driver) else 0
            if held >= round(_HOLD * 60):
                return True
        return False


def task_names() -> list[str]:
    """Names of all registered tasks, the built-in ones included."""
    plugins().register(builtin, "simulation")
    return list(registered_tasks())


def find_task(name: str) -> Task:
    """A registered task by name.

    Raises:
        UnknownName: There is none; the message lists the known ones.
    """
    known = task_names()
    if name not in known:
        raise UnknownName("task", name, known)
    task: Task = registered_tasks()[name]()
    return task
