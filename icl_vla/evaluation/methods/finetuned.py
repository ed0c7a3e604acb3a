"""A multi-task network fine-tuned on the demonstrations."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from icl_vla_retrieval import DemoBank

from ...runtime.station import Station
from ..provenance import code_digest
from .learning.base import (
    base_design,
    check_cameras,
    make_network,
    sentence,
    trained,
    weights_digest,
)
from .learning.episode import LearnedEpisode
from .learning.imitation import SEED, demonstrated, policy_path, shown_moments
from .method import Method

if TYPE_CHECKING:
    from .learning.moments import Moments
    from .learning.networks import ChunkPolicy

STEPS = 400  # of each schedule; with the last training six times as many in all
SCHEDULES = ((3e-4, False), (1e-3, False), (1e-4, False), (1e-3, True), (3e-4, True))
"""Highest learning rate, and whether the eyes are left as they are."""
_HELD_BACK = 5  # one demonstration in so many


class FineTuned(Method):
    """The schedule with the least loss on held-back demonstrations, then trained on all of them.

    Without a demonstration the multi-task network acts as it is.
    """

    name = "finetuned"
    summary = "multi-task network, fine-tuned: best of five schedules"
    trains = True

    def learned_before(self) -> str:
        """See :meth:`Method.learned_before`."""
        return weights_digest("base")

    def start(
        self, station: Station, bank: DemoBank, instruction: str, seed: int
    ) -> LearnedEpisode:
        """See :meth:`Method.start`."""
        base = trained("base")
        check_cameras(base_design(), list(bank.spec.cameras))
        network = base
        if len(bank):
            instruction = demonstrated(bank, instruction)
            facts = [self.learned_before(), code_digest(__name__)]
            path = policy_path(bank, instruction, self.name, *facts)
            if not path.exists():
                self._train(base, station, bank, instruction, path)
            network = _network(path)
        space = bank.action_space
        told = {"words": sentence(instruction)}
        return LearnedEpisode(station, network, space.rate, space.effectors[0], seed, told)

    def _train(
        self, base: ChunkPolicy, station: Station, bank: DemoBank, instruction: str, path: Path
    ) -> None:
        from .learning.fitting import save
        from .learning.moments import together

        words = sentence(instruction)
        each = [
            m | {"words": words.expand(len(m["state"]), -1)}
            for m in shown_moments(station, bank, instruction, "pictures")
        ]
        save(_tuned(base, together(each), best_schedule(base, each)), path)


def best_schedule(base: ChunkPolicy, each: list[Moments]) -> tuple[float, bool]:
    """The one of :data:`SCHEDULES` after which held-back demonstrations are foretold best."""
    import torch

    from .learning.fitting import one_thread
    from .learning.moments import together

    kept = [m for i, m in enumerate(each) if i % _HELD_BACK != _HELD_BACK - 1]
    held_back = [m for i, m in enumerate(each) if i % _HELD_BACK == _HELD_BACK - 1]
    if not held_back:
        return SCHEDULES[0]
    losses = []
    for schedule in SCHEDULES:
        network = _tuned(base, together(kept), schedule)
        with torch.inference_mode(), one_thread():
            losses.append(float(network.loss(together(held_back))))
    return SCHEDULES[losses.index(min(losses))]


def _tuned(base: ChunkPolicy, moments: Moments, schedule: tuple[float, bool]) -> ChunkPolicy:
    """A copy of the base, trained on."""
    from .learning.augment import elsewhere
    from .learning.fitting import Schedule, evenly, fit

    network = copy.deepcopy(base)
    rate, blind = schedule
    assert network.eyes is not None
    network.eyes.requires_grad_(not blind)
    chosen = Schedule(STEPS, rate)
    draw = elsewhere(evenly(moments, chosen.batch))
    fit(network, network.loss, draw, chosen, SEED)
    return network


@lru_cache(maxsize=2)
def _network(path: Path) -> ChunkPolicy:
    from .learning.fitting import load

    network = make_network("base")
    load(network, path)
    return network
