"""One robot at one simulated task, with everything that a trial needs, built once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
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
from .workspace import Workspace, hands

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
                return laid if laid.cameras else laid.with_(cameras=workspace.cameras())
            return chosen.sample(workspace, np.random.default_rng(seed))

        return cls(
            embodiment=embodiment,
            model=model,
            effector=workspace.effector,
            driver=PyBulletDriver(model, simulation_urdf(embodiment, store.folder(name)), scenes),
            # wheels stand still, and every run of a seed is the same
            controller=ArmMpc(model, hands(embodiment), period=PERIOD, compiled=False),
            components=ComponentEncoder(model, hulls, reach=1.3 * workspace.far_corner()),
            audit=Audit.of(embodiment),
            workspace=workspace,
            task=chosen,
        )

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the numbers of a measured configuration."""
        return self.embodiment.joints

    def lay_out(self, task: Task, scenes: Callable[[int], Scene]) -> None:
        """Go over to another task and its scenes, by seed; the robot stays as it is built."""
        self.task = task
        self.driver.scenes = lambda seed: scenes(0 if seed is None else seed)

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
    """A registered task by name; ``family:number`` is one of a family's tasks.

    Raises:
        UnknownName: There is none; the message lists the known ones.
    """
    known = task_names()
    plain, _, number = name.partition(":")
    if plain not in known:
        raise UnknownName("task", name, known)
    factory = registered_tasks()[plain]
    if not number:
        task: Task = factory()
        return task
    if not number.isdigit() or not inspect.signature(factory).parameters:
        raise UnknownName("task", name, known)
    numbered: Task = factory(int(number))
    return numbered
