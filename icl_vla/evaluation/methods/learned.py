"""A trained network decides which retrieved motions to follow, in which frames of the scene."""

from __future__ import annotations

from icl_vla_retrieval import DemoBank

from ...policy.interface import Episode
from ...policy.learned import LearnedPolicy
from ...runtime.station import Station
from .method import Method


class Learned(Method):
    """See :mod:`icl_vla.policy.relational`; a subclass may name another checkpoint."""

    name = "learned"
    summary = "in-context policy, frozen weights"
    checkpoint = "default"

    def start(self, station: Station, bank: DemoBank, instruction: str, seed: int) -> Episode:
        """See :meth:`Method.start`."""
        policy = LearnedPolicy(station.model, station.encoder, self.checkpoint)
        return policy.start(bank, instruction, bank.action_space.with_joints(bank.spec.joints))
