"""The simulated tasks and the simulated driver that ship with the program, through the hook."""

from __future__ import annotations

from collections.abc import Callable

from icl_vla_embodiments import hookimpl


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


@hookimpl
def register_drivers(register: Callable[..., None]) -> None:
    """PyBullet physics."""

    def driver(*args: object, **options: object) -> object:
        from .driver import PyBulletDriver

        return PyBulletDriver(*args, **options)  # type: ignore[arg-type]

    register("pybullet", driver)
