"""Drivers by name: the simulated one, and those that plugins register."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from icl_vla_embodiments import (
    Command,
    Driver,
    Embodiment,
    Observation,
    PluginError,
    ReportedError,
    UnknownName,
)
from icl_vla_embodiments.plugins import plugins, registered_drivers

from ..sim import builtin
from .driver_options import read_options

T = TypeVar("T")


def find_driver(name: str) -> Callable[..., Driver]:
    """A registered driver's factory by name.

    Raises:
        UnknownName: There is none; the message lists the known ones.
    """
    plugins().register(builtin, "simulation")
    known = registered_drivers()
    if name not in known:
        raise UnknownName("driver", name, known, remedy="icl-vla plugins list")
    return known[name]


class ReportingDriver:
    """A plugin's driver whose failures are told as such.

    Args:
        name: Of the driver.
        embodiment: What it shall move.
        options: ``key=value`` for the driver's factory.

    Raises:
        ReportedError: The options are not those of the factory.
        PluginError: From every method, and when it is made, where the driver raises anything.
    """

    def __init__(self, name: str, embodiment: Embodiment, options: Sequence[str] = ()) -> None:
        self._name = name
        factory = find_driver(name)
        given = read_options(name, factory, options)
        self._driver = self._call("cannot be made", lambda: factory(embodiment, **given))

    def _call(self, what: str, function: Callable[[], T]) -> T:
        try:
            return function()
        except ReportedError:
            raise
        except Exception as error:
            raise PluginError(
                f"the driver {self._name!r} {what}",
                value=f"{type(error).__name__}: {error}",
                remedy="is the robot switched on and connected? `icl-vla --debug ...` shows"
                " where the driver failed",
            ) from error

    def reset(self, seed: int | None = None) -> Observation:
        """See :class:`Driver`."""
        return self._call("fails in reset()", lambda: self._driver.reset(seed))

    def observe(self, *, cameras: bool = True) -> Observation:
        """See :class:`Driver`."""
        return self._call("fails in observe()", lambda: self._driver.observe(cameras=cameras))

    def command(self, command: Command, duration: float) -> None:
        """See :class:`Driver`."""
        self._call("fails in command()", lambda: self._driver.command(command, duration))

    def stop(self) -> None:
        """See :class:`Driver`."""
        self._call("fails in stop()", self._driver.stop)

    def clock(self) -> float:
        """See :class:`Driver`."""
        return self._call("fails in clock()", self._driver.clock)
