"""Policies that read demonstrations and never learn, as methods."""

from __future__ import annotations

from typing import ClassVar

from icl_vla_retrieval import DemoBank

from ...policy.interface import Episode
from ...policy.retrieval import RetrievalConfig, RetrievalPolicy
from ...runtime.mobile import BASE
from ...runtime.station import Station
from .method import Method


class Retrieval(Method):
    """A retrieval policy, told only what the bank says."""

    policy: ClassVar[type[RetrievalPolicy]]

    def start(self, station: Station, bank: DemoBank, instruction: str, seed: int) -> Episode:
        """See :meth:`Method.start`."""
        # things on a floor are larger than on a table, and farther apart
        wide = station.effector == BASE
        config = RetrievalConfig(noise=0.02, radius=0.12) if wide else None
        policy = self.policy(station.model, station.encoder, config)
        return policy.start(bank, instruction, bank.action_space.with_joints(bank.spec.joints))
