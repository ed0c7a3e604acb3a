"""The robot stands still: what a judge must never take for success."""

from __future__ import annotations

from icl_vla_embodiments import ActionChunk, Observation
from icl_vla_retrieval import DemoBank

from ...runtime.station import Station
from .method import Method, hold


class Nothing(Method):
    """Says that it is done before it began."""

    name = "nothing"
    summary = "the robot stands still"
    sees = False

    def start(
        self, station: Station, bank: DemoBank, instruction: str, seed: int
    ) -> NothingEpisode:
        """See :meth:`Method.start`."""
        return NothingEpisode(station, 1 / bank.action_space.rate)


class NothingEpisode:
    """Done at once."""

    def __init__(self, station: Station, dt: float) -> None:
        self.station, self.dt = station, dt

    def act(self, observation: Observation) -> ActionChunk:
        """Stay."""
        return hold(self.station, observation, self.dt, done=True)
