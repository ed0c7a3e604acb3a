"""In-context imitation with a flow over relative motions, after Instant Policy."""

from __future__ import annotations

from icl_vla_embodiments import ReportedError
from icl_vla_retrieval import DemoBank

from ...perception.components import ComponentEncoder
from ...runtime.station import Station
from .learning.base import trained, weights_digest
from .learning.episode import LearnedEpisode
from .learning.imitation import demonstrated, shown_moments
from .method import Method


class Instant(Method):
    """Waypoints of the first three demonstrations, scene tokens, and a flow."""

    name = "instant"
    summary = "graph of demonstrated waypoints and a flow, after Instant Policy"
    trains = True

    def learned_before(self) -> str:
        """See :meth:`Method.learned_before`."""
        return weights_digest("instant")

    def start(
        self, station: Station, bank: DemoBank, instruction: str, seed: int
    ) -> LearnedEpisode:
        """See :meth:`Method.start`."""
        from .learning.in_context import shown_ways

        network = trained("instant")
        if network.design.features != station.encoder.feature_size:
            raise ReportedError(
                "the baseline was trained with another encoder's tokens",
                where="--encoder",
                value=station.encoder.schema,
                valid=[ComponentEncoder.schema],
                remedy="--encoder components",
            )
        known = demonstrated(bank, instruction)
        told = shown_ways(shown_moments(station, bank, known, "tokens"))
        space = bank.action_space
        return LearnedEpisode(station, network, space.rate, space.effectors[0], seed, told)
