"""Plugins: what they add, and which of them could not be loaded.

Plugins are modules named by entry points of the group ``icl_vla`` (see ``hookspecs.py``). They
are loaded at the first question, one at a time: a broken one is reported and takes nothing else
down. ``ICL_VLA_LOAD_PLUGINS`` restricts them to a comma-separated list of entry points; empty
means none.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from . import builtin, hookspecs
from .errors import PluginError

log = logging.getLogger(__name__)
Factory = Callable[..., Any]
ENVIRONMENT = "ICL_VLA_LOAD_PLUGINS"


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that could not be loaded, or whose hook failed."""

    name: str
    error: PluginError


class Plugins:
    """A plugin manager and the record of what failed in it."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.manager.register(builtin, "builtin robots")
        self.broken: list[BrokenPlugin] = []

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin that is no entry point (tests, notebooks)."""
        if not self.manager.is_registered(plugin):
            self.manager.register(plugin, name)

    def load_entry_points(self) -> None:
        """Load every allowed entry point."""
        for entry in _allowed():
            try:
                self.register(entry.load(), entry.name)
            except (Exception, SystemExit) as error:  # a plugin may fail in any way
                self._report(entry.name, f"cannot be loaded from {entry.value}", error)

    def collect(self, hook: str) -> dict[str, Factory]:
        """Name -> factory of everything that plugins register through one hook.

        The first to take a name keeps it; a second one is reported.
        """
        found: dict[str, Factory] = {}
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            plugin = implementation.plugin_name

            def register(name: str, factory: Factory, plugin: str = plugin) -> None:
                if not isinstance(name, str) or not name or not callable(factory):
                    raise TypeError(f"register({name!r}, {factory!r}) needs a name and a callable")
                if name in found:
                    raise ValueError(f"{name!r} is registered already")
                found[name] = factory

            try:
                implementation.function(register)
            except (Exception, SystemExit) as error:
                self._report(plugin, f"fails in {hook}", error)
        return found

    def _report(self, name: str, what: str, error: BaseException) -> None:
        reported = PluginError(
            f"the plugin {name!r} {what}",
            value=f"{type(error).__name__}: {error}",
            remedy=f"update or uninstall it, or leave it out of {ENVIRONMENT}",
        )
        reported.__cause__ = error
        if all(b.error.problem != reported.problem for b in self.broken):
            self.broken.append(BrokenPlugin(name, reported))
            log.warning("%s", reported)


def _allowed() -> list[EntryPoint]:
    found = sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name)
    chosen = os.environ.get(ENVIRONMENT)
    if chosen is None:
        return found
    names = {name.strip() for name in chosen.split(",")}
    return [entry for entry in found if entry.name in names]


@lru_cache(maxsize=1)
def plugins() -> Plugins:
    """The process's plugins, loaded at the first call."""
    loaded = Plugins()
    loaded.load_entry_points()
    return loaded


def registered_embodiments() -> dict[str, Factory]:
    """Name -> callable that returns a URDF's path or an Embodiment."""
    return plugins().collect("register_embodiments")


def registered_tasks() -> dict[str, Factory]:
    """Name -> callable that returns a simulated task."""
    return plugins().collect("register_tasks")


def registered_drivers() -> dict[str, Factory]:
    """Name -> callable that takes an embodiment and returns a Driver."""
    return plugins().collect("register_drivers")


def list_plugins() -> list[dict[str, Any]]:
    """Every plugin: name, distribution's version, the hooks it implements, and what failed."""
    found = plugins()
    for hook in hookspecs.HOOKS:
        found.collect(hook.__name__)
    versions = {e.name: e.dist.version for e in _allowed() if e.dist is not None}
    errors = {b.name: b.error.problem for b in found.broken}
    rows = []
    for name, plugin in found.manager.list_name_plugin():
        if plugin is None:
            continue
        hooks = [c.name for c in found.manager.get_hookcallers(plugin) or []]
        rows.append(
            {
                "name": name,
                "version": versions.get(name),
                "hooks": sorted(hooks),
                "error": errors.pop(name, None),
            }
        )
    rows += [
        {"name": n, "version": versions.get(n), "hooks": [], "error": e} for n, e in errors.items()
    ]
    return rows
