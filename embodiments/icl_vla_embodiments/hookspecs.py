"""Everything a plugin can add. Entry-point group: ``icl_vla``.

A plugin is a module (or object) with functions of these names marked by :data:`hookimpl`::

    from icl_vla_embodiments import hookimpl

    @hookimpl
    def register_embodiments(register):
        register("acme_arm", lambda: Path(__file__).parent / "acme_arm.urdf")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pluggy

PROJECT = "icl_vla"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_embodiments(register: Callable[..., None]) -> None:
    """Call ``register(name, source)``; ``source()`` returns a URDF's path or an Embodiment."""


@hookspec
def register_tasks(register: Callable[..., None]) -> None:
    """Call ``register(name, factory)``; ``factory()`` returns a simulated task."""


@hookspec
def register_drivers(register: Callable[..., None]) -> None:
    """Call ``register(name, factory)``; ``factory(embodiment, **options)`` returns a Driver."""


HOOKS: tuple[Callable[..., Any], ...] = (register_embodiments, register_tasks, register_drivers)
