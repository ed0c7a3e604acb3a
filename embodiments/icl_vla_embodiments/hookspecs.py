"""Everything a plugin can add. Entry-point group: ``icl_vla``. Guide: docs/plugins.md.

A plugin is a module (or object) with functions of these names marked by :data:`hookimpl`::

    from icl_vla_embodiments import hookimpl

    @hookimpl
    def register_embodiments(register):
        register("acme_arm", lambda: Path(__file__).parent / "acme_arm.urdf")

Registering must be cheap: what is slow or heavy belongs into the factory, which is called when
somebody asks for that name.
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
def register_drivers(register: Callable[..., None]) -> None:
    """Call ``register(name, factory)``; ``factory(embodiment, **options)`` returns a Driver."""


@hookspec
def register_tasks(register: Callable[..., None]) -> None:
    """Call ``register(name, factory)``; ``factory()`` returns a simulated task."""


HOOKS: tuple[Callable[..., Any], ...] = (register_embodiments, register_drivers, register_tasks)
