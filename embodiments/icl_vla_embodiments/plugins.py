"""Plugins: what they add, and which of them could not be loaded.

Plugins are modules named by entry points of the group ``icl_vla`` (see ``hookspecs.py``). They
are loaded at the first question, one at a time: a broken one is reported and takes nothing else
down. One that is made for another version of ours (the ``Requires-Dist`` of its distribution) is
not even imported. ``ICL_VLA_LOAD_PLUGINS`` restricts them to a comma-separated list of entry
points; empty means none.
"""

from __future__ import annotations

import logging
import os
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

import pluggy

from . import hookspecs
from .builtin import example_robots, pybullet_robots
from .errors import PluginError, ReportedError

log = logging.getLogger(__name__)
Factory = Callable[..., Any]
ENVIRONMENT = "ICL_VLA_LOAD_PLUGINS"
DISTRIBUTION = "icl-vla"


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from.

    Attributes:
        distribution: Name of the distribution that declares it.
        version: That distribution's version.
        requires: The versions of icl-vla that it is made for, as ``">=0.1,<0.2"``; None where its
            distribution does not say.
    """

    distribution: str | None = None
    version: str | None = None
    requires: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.distribution, self.version)))


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that could not be loaded, or whose hook failed."""

    name: str
    error: PluginError
    origin: Origin = Origin()


@dataclass(frozen=True)
class Registration:
    """What a plugin registered through one hook."""

    name: str
    factory: Factory
    plugin: str


class Plugins:
    """A plugin manager and the record of what failed in it."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.manager.register(pybullet_robots, "pybullet-robots")
        self.manager.register(example_robots, "example-robots")
        self.origins: dict[str, Origin] = {}
        self.broken: list[BrokenPlugin] = []

    def register(self, plugin: object, name: str | None = None) -> None:
        """Add a plugin that is no entry point (tests, notebooks).

        Raises:
            PluginError: It implements a hook that does not exist.
        """
        if self.manager.is_registered(plugin):
            return
        registered = self.manager.register(plugin, name)
        callers = self.manager.get_hookcallers(plugin) or []
        unknown = [caller.name for caller in callers if not caller.has_spec()]
        if unknown:
            self.manager.unregister(plugin)
            raise PluginError(
                f"the plugin {registered!r} implements a hook that does not exist",
                value=", ".join(unknown),
                valid=[hook.__name__ for hook in hookspecs.HOOKS],
            )

    def load(self, entry: EntryPoint, origin: Origin) -> None:
        """Import one entry point's module and register it; report it where that fails."""
        try:
            check_version(entry.name, origin)
            self.register(entry.load(), entry.name)
        except (Exception, SystemExit) as error:  # a plugin may fail in any way
            self._report(entry.name, f"cannot be loaded from {entry.value}", error, origin)
        else:
            self.origins[entry.name] = origin

    def load_entry_points(self) -> None:
        """Load every allowed entry point."""
        found = sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: entry.name)
        allowed = _allowed()
        for entry in found:
            if allowed is None or entry.name in allowed:
                self.load(entry, _origin(entry))
        installed = {entry.name for entry in found}
        for name in sorted((allowed or set()) - installed):
            error = PluginError(
                f"{ENVIRONMENT} names a plugin that is not installed", value=name, valid=installed
            )
            self._report(name, "cannot be found", error, Origin())

    def load_folder(self, folder: Path) -> list[str]:
        """Load the plugins of a package's source folder, installed or not; return their names.

        The folder goes first on ``sys.path``, so that what lies there is what is loaded.

        Raises:
            PluginError: No plugin is declared there.
        """
        file = Path(folder).resolve() / "pyproject.toml"
        try:
            project = tomllib.loads(file.read_text())["project"]
        except (OSError, ValueError, KeyError) as error:
            raise PluginError(
                "not a plugin's folder: it has no readable pyproject.toml with a [project]",
                where=file,
                value=f"{type(error).__name__}: {error}",
                remedy="icl-vla plugins new ROBOT.urdf --out FOLDER",
            ) from error
        declared = project.get("entry-points", {}).get(hookspecs.PROJECT, {})
        if not declared:
            raise PluginError(
                f"the project declares no entry point of the group {hookspecs.PROJECT!r}",
                where=file,
                remedy=f'[project.entry-points.{hookspecs.PROJECT}] name = "module"',
            )
        for place in (file.parent, file.parent / "src"):
            if place.is_dir() and str(place) not in sys.path:
                sys.path.insert(0, str(place))
        requires = made_for(project.get("dependencies", []))
        origin = Origin(project.get("name"), project.get("version"), requires)
        for name, value in declared.items():
            self.load(EntryPoint(name, value, hookspecs.PROJECT), origin)
        return list(declared)

    def registrations(self, hook: str) -> list[Registration]:
        """Everything that plugins register through one hook.

        The first to take a name keeps it; a second one is reported.
        """
        found: dict[str, Registration] = {}
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            plugin = implementation.plugin_name

            def register(name: str, factory: Factory, plugin: str = plugin) -> None:
                if not isinstance(name, str) or not name or not callable(factory):
                    raise TypeError(f"register({name!r}, {factory!r}) needs a name and a callable")
                if name in found:
                    raise ValueError(f"{name!r} is registered already, by {found[name].plugin!r}")
                found[name] = Registration(name, factory, plugin)

            try:
                implementation.function(register)
            except (Exception, SystemExit) as error:
                origin = self.origins.get(plugin, Origin())
                self._report(plugin, f"fails in {hook}", error, origin)
        return list(found.values())

    def collect(self, hook: str) -> dict[str, Factory]:
        """Name -> factory of everything that plugins register through one hook."""
        return {r.name: r.factory for r in self.registrations(hook)}

    def _report(self, name: str, what: str, error: BaseException, origin: Origin) -> None:
        reported = PluginError(
            f"the plugin {name!r} {what}",
            where=str(origin) or None,
            value=_cause(error),
            remedy=f"update or uninstall it, or leave it out of {ENVIRONMENT}",
        )
        reported.__cause__ = error
        broken = BrokenPlugin(name, reported, origin)
        if all((b.name, str(b.error)) != (name, str(reported)) for b in self.broken):
            self.broken.append(broken)
            log.warning("%s", reported)


def _cause(error: BaseException) -> str:
    """One line: ours say all they know, others their type."""
    if not isinstance(error, ReportedError):
        return f"{type(error).__name__}: {error}"
    parts = [f"{label}: {text}" for label, text in error.lines()]
    return "; ".join([error.problem, *parts])


def _allowed() -> set[str] | None:
    """Names that the environment allows; None where it allows all."""
    chosen = os.environ.get(ENVIRONMENT)
    return None if chosen is None else {n for n in map(str.strip, chosen.split(",")) if n}


def _origin(entry: EntryPoint) -> Origin:
    if entry.dist is None:
        return Origin()
    requires = made_for(entry.dist.requires or [])
    return Origin(entry.dist.name, entry.dist.version, requires)


def made_for(requirements: Iterable[str]) -> str | None:
    """The versions of icl-vla that a distribution's requirements allow; None if none names it."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # pip has refused or will refuse it; it says nothing about us
        ours = canonicalize_name(requirement.name) == DISTRIBUTION
        if ours and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            return ",".join(sorted(map(str, requirement.specifier), reverse=True)) or None
    return None


def check_version(name: str, origin: Origin) -> None:
    """Raise PluginError for a plugin that is made for another version of icl-vla.

    A source checkout that is not installed has no version, and nothing is checked.
    """
    from packaging.specifiers import SpecifierSet

    try:
        installed = version(DISTRIBUTION)
    except PackageNotFoundError:
        return
    if origin.requires is None:
        return
    if not SpecifierSet(origin.requires).contains(installed, prereleases=True):
        raise PluginError(
            f"the plugin {name!r} is made for another version of {DISTRIBUTION}",
            value=installed,
            valid=[origin.requires],
            remedy=f"pip install --upgrade {origin.distribution or name} {DISTRIBUTION}",
        )


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
    """Every plugin: where it comes from, what it adds through which hook, and what failed in it."""
    found = plugins()
    added: dict[str, dict[str, list[str]]] = {}
    for hook in hookspecs.HOOKS:
        noun = hook.__name__.removeprefix("register_")
        for registration in found.registrations(hook.__name__):
            nouns = added.setdefault(registration.plugin, {})
            nouns.setdefault(noun, []).append(registration.name)
    rows = []
    broken = list(found.broken)
    for name, plugin in found.manager.list_name_plugin():
        origin = found.origins.get(name, Origin())
        hooks = [c.name for c in found.manager.get_hookcallers(plugin) or []]
        mine = [b for b in broken if b.name == name and b.origin == origin]
        broken = [b for b in broken if b not in mine]
        rows.append(_row(name, origin, hooks, added.get(name, {}), mine))
    return rows + [_row(b.name, b.origin, [], {}, [b]) for b in broken]


def _row(
    name: str,
    origin: Origin,
    hooks: list[str],
    adds: dict[str, list[str]],
    broken: list[BrokenPlugin],
) -> dict[str, Any]:
    errors = [f"{b.error.problem}: {b.error.value}" for b in broken]
    return {
        "name": name,
        "distribution": origin.distribution,
        "version": origin.version,
        "requires": origin.requires,
        "hooks": sorted(hooks),
        "adds": adds,
        "error": "; ".join(errors) or None,
    }
