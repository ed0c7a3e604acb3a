"""The simulated tasks and the simulated driver that ship with the program, through the hook."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from icl_vla_embodiments import Driver, Embodiment, hookimpl

from .families import FAMILIES, draw

if TYPE_CHECKING:
    from .scene import Scene


@hookimpl
def register_tasks(register: Callable[..., None]) -> None:
    """Table-top tasks."""

    def pick_place() -> object:
        from .pick_place import PickPlace

        return PickPlace()

    def push() -> object:
        from .push import Push

        return Push()

    register("pick-place", pick_place)
    register("push", push)
    for family in FAMILIES:
        register(family, partial(draw, family))


@hookimpl
def register_drivers(register: Callable[..., None]) -> None:
    """PyBullet physics: a table, or an empty floor for what rolls."""

    def driver(
        embodiment: Embodiment, scenes: Callable[[int | None], Scene] | None = None
    ) -> Driver:
        """``scenes(seed)`` lays out the world, which is empty without."""
        from icl_vla_embodiments.robot_model import RobotModel
        from icl_vla_embodiments.store import EmbodimentStore
        from icl_vla_embodiments.urdf.simulation import simulation_urdf

        from .driver import PyBulletDriver
        from .scene import Scene

        urdf = simulation_urdf(embodiment, EmbodimentStore().folder(embodiment.name))
        return PyBulletDriver(RobotModel(embodiment), urdf, scenes or (lambda _: Scene((), {})))

    def wheels(embodiment: Embodiment) -> Driver:
        """Wheel motors under the robot, which is told where it is but sees nothing."""
        from icl_vla_embodiments.robot_model import RobotModel
        from icl_vla_embodiments.store import EmbodimentStore
        from icl_vla_embodiments.urdf.simulation import simulation_urdf

        from .wheeled import WheeledDriver

        urdf = simulation_urdf(embodiment, EmbodimentStore().folder(embodiment.name))
        return WheeledDriver(RobotModel(embodiment), urdf)

    def gymnasium(embodiment: Embodiment, task: str) -> Driver:
        """``module:Class`` of what was declared of somebody else's environment."""
        from icl_vla_embodiments.robot_model import RobotModel

        from .foreign import ForeignDriver, foreign_task

        return ForeignDriver(RobotModel(embodiment), foreign_task(task))

    register("pybullet", driver)
    register("gymnasium", gymnasium)
    register("pybullet-wheels", wheels)
