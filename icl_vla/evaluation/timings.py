"""Where an episode's time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from icl_vla_embodiments import ActionChunk, Observation

from ..policy.interface import Episode
from ..sim.foreign import ForeignCell
from .workplace import Place


class Timings:
    """Processor time [s] of physics, drawing, control and policy, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, its time added up."""

        def run(*args: Any, **more: Any) -> Any:
            begin = time.process_time()
            try:
                return call(*args, **more)
            finally:
                passed = time.process_time() - begin
                self.seconds[name] = self.seconds.get(name, 0.0) + passed

        return run

    @contextmanager
    def of(self, cell: Place) -> Iterator[None]:
        """Measure a robot's physics, cameras and controller meanwhile."""
        measured = (
            *_of_world(cell),
            (cell.controller, "track", "control"),
        )
        for owner, attribute, name in measured:
            setattr(owner, attribute, self.timed(name, getattr(owner, attribute)))
        try:
            yield
        finally:
            for owner, attribute, _ in measured:
                delattr(owner, attribute)  # the class's own is found again

    def episode(self, inner: Episode) -> Episode:
        """The same episode, measured."""
        return _Timed(inner, self)

    def rounded(self) -> dict[str, float]:
        """Seconds to the millisecond."""
        return {name: round(s, 3) for name, s in sorted(self.seconds.items())}


def _of_world(cell: Place) -> list[tuple[object, str, str]]:
    """What takes time beside the controller."""
    if isinstance(cell, ForeignCell):
        return [(cell.driver.environment, "step", "physics")]
    return [(cell.driver.world, "step", "physics"), (cell.driver.world, "image", "drawing")]


class _Timed:
    def __init__(self, inner: Episode, timings: Timings) -> None:
        self._act = timings.timed("policy", inner.act)

    def act(self, observation: Observation) -> ActionChunk:
        chunk: ActionChunk = self._act(observation)
        return chunk
