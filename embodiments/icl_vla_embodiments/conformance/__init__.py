"""What a plugin must fulfil, as checks that the command line and a vendor's own tests run.

In a vendor's tests::

    import pytest
    from icl_vla_embodiments.conformance import cases

    @pytest.mark.parametrize("case", cases("acme_arm"), ids=str)
    def test_conformance(case):
        case()

A check returns a remark or raises :class:`ConformanceError`; :class:`Unfinished` (a stub, a licence
that nobody stated yet) is no failure, and pytest counts it as skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..embodiment import Embodiment
from ..errors import PluginError, ReportedError
from ..plugins import Factory, Plugins
from .checks import CHECKS, ConformanceError, Unfinished, check_driver, make_embodiment

__all__ = ["CHECKS", "Case", "ConformanceError", "Result", "Unfinished", "cases", "conformance"]


@dataclass(frozen=True)
class Case:
    """One check of one robot, driver or plugin; call it to run it."""

    subject: str
    check: str
    run: Callable[[], str]

    def __call__(self) -> str:
        return self.run()

    def __str__(self) -> str:
        return f"{self.subject}: {self.check}"


@dataclass(frozen=True)
class Result:
    """Outcome of a case."""

    subject: str
    check: str
    outcome: Literal["passed", "failed", "unfinished"]
    remark: str


def conformance(plugin: str | Path) -> list[Result]:
    """Run every case of a plugin, given by its name or its source folder."""
    return [_outcome(case) for case in cases(plugin)]


def _outcome(case: Case) -> Result:
    try:
        return Result(case.subject, case.check, "passed", case())
    except Unfinished as error:
        return Result(case.subject, case.check, "unfinished", str(error))
    except ReportedError as error:
        return Result(case.subject, case.check, "failed", str(error))
    except (Exception, SystemExit) as error:  # the plugin's own, of any kind
        return Result(case.subject, case.check, "failed", f"{type(error).__name__}: {error}")


def cases(plugin: str | Path) -> list[Case]:
    """All checks of a plugin.

    Args:
        plugin: Name of an installed plugin, or a package's source folder.

    Raises:
        PluginError: There is no such plugin.
    """
    found = Plugins()
    if isinstance(plugin, Path) or Path(plugin).is_dir():
        names = found.load_folder(Path(plugin))
    else:
        found.load_entry_points()
        names = [plugin]
        known = {name for name, _ in found.manager.list_name_plugin()}
        known |= {b.name for b in found.broken}
        if plugin not in known:
            raise PluginError(
                f"no plugin is called {plugin!r}",
                valid=sorted(known),
                remedy="give one of these names, or the folder of a plugin's package",
            )
    return [case for name in names for case in _cases_of(found, name)]


def _cases_of(found: Plugins, plugin: str) -> list[Case]:
    robots = {
        r.name: _Robot(r.name, r.factory)
        for r in found.registrations("register_embodiments")
        if r.plugin == plugin
    }
    drivers = {
        r.name: r.factory for r in found.registrations("register_drivers") if r.plugin == plugin
    }
    found.registrations("register_tasks")  # for what fails in it
    out = [
        Case(plugin, "loads", lambda: check_loads(found, plugin)),
        Case(plugin, "version range", lambda: check_version_range(found, plugin)),
    ]
    for name, robot in robots.items():
        for check in CHECKS:
            out.append(_robot_case(name, robot, check))
    for name, factory in drivers.items():
        driven = robots.get(name) or next(iter(robots.values()), None)
        if driven is not None:  # a driver for anybody's robot has none of its own to be tried with
            out.append(_driver_case(name, factory, driven))
    return out


class _Robot:
    """An embodiment that is made at most once, however many checks ask for it."""

    def __init__(self, name: str, factory: Factory) -> None:
        self.name, self.factory = name, factory
        self._made: Embodiment | None = None

    def make(self) -> Embodiment:
        if self._made is None:
            self._made = make_embodiment(self.name, self.factory)
        return self._made


def _robot_case(name: str, robot: _Robot, check: Callable[[Embodiment], str]) -> Case:
    title = check.__name__.removeprefix("check_").replace("_", " ")
    return Case(name, title, lambda: check(robot.make()))


def _driver_case(name: str, factory: Factory, robot: _Robot) -> Case:
    return Case(name, "driver", lambda: check_driver(factory, robot.make()))


def check_loads(found: Plugins, plugin: str) -> str:
    """It could be imported and none of its hooks failed."""
    for broken in found.broken:
        if broken.name == plugin:
            raise broken.error
    return ""


def check_version_range(found: Plugins, plugin: str) -> str:
    """Its distribution says which versions of icl-vla it is made for."""
    origin = found.origins.get(plugin)
    if origin is None or origin.distribution is None:
        return "no distribution of its own"
    if origin.requires is None and origin.distribution != "icl-vla":
        raise ConformanceError(
            f"{origin.distribution} does not say which versions of icl-vla it is made for",
            remedy='dependencies = ["icl-vla>=X.Y,<X.Z"] in its pyproject.toml',
        )
    return origin.requires or "our own"
