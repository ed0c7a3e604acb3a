"""Retrieval-based in-context learning, after RICL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icl_vla_embodiments.home import write_atomically
from icl_vla_retrieval import DemoBank

from ...runtime.station import Station
from .learning.base import base_design, check_cameras, sentence, trained, weights_digest
from .learning.episode import LearnedEpisode
from .learning.imitation import demonstrated, policy_path, shown_moments
from .method import Method

if TYPE_CHECKING:
    from .learning.in_context import RetrievalTransformer
    from .learning.moments import Moments


class Ricl(Method):
    """Four nearest frames by a frozen image embedding, a transformer, and RICL's interpolation."""

    name = "ricl"
    summary = "transformer over retrieved frames, after RICL"
    trains = True

    def learned_before(self) -> str:
        """See :meth:`Method.learned_before`."""
        return weights_digest("ricl")

    def start(self, station: Station, bank: DemoBank, instruction: str, seed: int) -> RiclEpisode:
        """See :meth:`Method.start`."""
        from .learning.in_context import RetrievalTransformer

        network = trained("ricl")
        assert isinstance(network, RetrievalTransformer)
        check_cameras(base_design(), list(bank.spec.cameras))
        known = demonstrated(bank, instruction)
        shown = _perceived(network, station, bank, known)
        space = bank.action_space
        told = {"words": sentence(known)}
        return RiclEpisode(station, network, space.rate, space.effectors[0], seed, told, shown)


def _perceived(
    network: RetrievalTransformer, station: Station, bank: DemoBank, known: str
) -> Moments:
    """All frames shown, as the frozen eyes see them; kept beside the bank."""
    from safetensors.torch import load, save

    from .learning.moments import together

    path = policy_path(bank, known, Ricl.name, weights_digest(Ricl.name))
    if not path.exists():
        moments = together(shown_moments(station, bank, known, "pictures"))
        write_atomically(path, save(network.perceive(moments)))
    return load(path.read_bytes())


class RiclEpisode(LearnedEpisode):
    """Retrieves anew for every chunk."""

    network: RetrievalTransformer

    def __init__(
        self,
        station: Station,
        network: RetrievalTransformer,
        rate: float,
        effector: str,
        seed: int,
        told: Moments,
        shown: Moments,
    ) -> None:
        super().__init__(station, network, rate, effector, seed, told)
        self.shown = shown

    def read(self, moment: Moments) -> Moments:
        """The moment, with the nearest frames."""
        return self.network.retrieve(self.network.perceive(moment), self.shown) | self.told
