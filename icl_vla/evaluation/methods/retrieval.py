"""Policies that read demonstrations and never learn, as methods."""

from __future__ import annotations

from typing import ClassVar

from icl_vla_retrieval import DemoBank

from ...policy.interface import Episode
from ...policy.retrieval import RetrievalPolicy
from ...runtime.station import Station
from .method import Method


class Retrieval(Method):
    """A retrieval policy, told only what the bank says."""

    policy: ClassVar[type[RetrievalPolicy]]

    def start(self, station: Station, bank: DemoBank, instruction: str, seed: int) -> Episode:
        """See :meth:`Method.start`."""
        policy = self.policy(station.model, station.encoder)
        return policy.start(bank, instruction, bank.action_space.with_joints(bank.spec.joints))
