"""Behaviour cloning: a network of its own for every set of demonstrations, and nothing else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from icl_vla_embodiments import ReportedError
from icl_vla_retrieval import DemoBank, choose_instruction

from ....policy.context import read_context
from ....runtime.station import Station
from ...provenance import code_digest, fingerprint, library_versions
from ..method import Method
from .episode import LearnedEpisode
from .moments import Moments, from_pictures, from_tokens, looks_of

if TYPE_CHECKING:
    from .networks import ChunkPolicy, Design

SEED = 0  # of training: the attempt's own seed must not make another policy of the demonstrations


class Imitation(Method):
    """Trained once for each set of demonstrations; the weights are kept beside the bank.

    Attributes:
        looks: At ``pictures``, or at scene ``tokens``.
        answers: With a ``chunk`` or a ``flow``.
        steps: Of training.
        rate: Highest learning rate.
    """

    trains = True
    looks: ClassVar[str]
    answers: ClassVar[str]
    steps: ClassVar[int]
    rate: ClassVar[float] = 1e-3

    def start(
        self, station: Station, bank: DemoBank, instruction: str, seed: int
    ) -> LearnedEpisode:
        """See :meth:`Method.start`."""
        known = demonstrated(bank, instruction)
        facts = [self.looks, self.answers, self.steps, self.rate]
        if self.looks == "tokens":
            facts.append(station.encoder.schema)
        path = policy_path(bank, known, self.name, *facts)
        if not path.exists():
            self._train(station, bank, known, path)
        space = bank.action_space
        network = _network(path, self.design(station, bank))
        return LearnedEpisode(station, network, space.rate, space.effectors[0], seed)

    def design(self, station: Station, bank: DemoBank) -> Design:
        """The network's."""
        from .networks import Design

        if self.looks == "pictures":
            return Design("pictures", self.answers, cameras=len(bank.spec.cameras))
        size = station.encoder.feature_size
        return Design("tokens", self.answers, ordered=True, features=size)

    def _train(self, station: Station, bank: DemoBank, instruction: str, path: Path) -> None:
        import torch

        from .fitting import Schedule, evenly, fit, save, seeded
        from .moments import together
        from .networks import ChunkPolicy

        network = seeded(lambda: ChunkPolicy(self.design(station, bank)), SEED)
        if self.looks == "tokens":
            effector = bank.action_space.effectors[0]
            contexts = read_context(bank, instruction, station.encoder, effector)
            reference = looks_of(contexts[0])
            network.reference.copy_(torch.as_tensor(reference))
            moments = together(from_tokens(contexts, reference=reference))
        else:
            moments = together(shown_moments(station, bank, instruction, self.looks))
        network.measure(moments)
        schedule = Schedule(self.steps, self.rate)
        fit(network, network.loss, evenly(moments, schedule.batch), schedule, SEED)
        save(network, path)


def demonstrated(bank: DemoBank, instruction: str) -> str:
    """The bank's instruction that is meant.

    Raises:
        ReportedError: There is no demonstration to learn from.
    """
    if not len(bank):
        raise ReportedError(
            "there is no demonstration to learn from",
            where=bank.path,
            value=instruction,
            remedy="hand over some, or use a method that needs none",
        )
    return choose_instruction(instruction, bank.instructions)


def shown_moments(
    station: Station, bank: DemoBank, instruction: str, looks: str, stride: int = 1
) -> list[Moments]:
    """Moments of each demonstration of an instruction, every ``stride``-th."""
    effector = bank.action_space.effectors[0]
    if looks == "tokens":
        return from_tokens(read_context(bank, instruction, station.encoder, effector), stride)
    return from_pictures([bank[i] for i in bank.select(instruction)], station, effector, stride)


def policy_path(bank: DemoBank, instruction: str, *facts: object) -> Path:
    """Where the weights for an instruction's demonstrations are kept, by all they depend on."""
    code = code_digest(__package__, "icl_vla.perception")
    key = fingerprint(bank.digest(instruction), instruction, code, library_versions(), *facts)
    return bank.path / "icl_vla" / "policies" / f"{facts[0]}-{key}.safetensors"


@lru_cache(maxsize=4)
def _network(path: Path, design: Design) -> ChunkPolicy:
    from .fitting import load
    from .networks import ChunkPolicy

    network = ChunkPolicy(design)
    load(network, path)
    return network
