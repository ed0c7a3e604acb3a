"""A trained network decides which retrieved motions to follow, in which frames of the scene."""

from __future__ import annotations

import hashlib

from icl_vla_retrieval import DemoBank

from ...perception.backbone import DEFAULT as EYES
from ...perception.encoders import encoder_of
from ...policy.interface import Episode
from ...policy.learned import CHECKPOINTS, LearnedPolicy, load
from ...policy.recall import DEFAULT as WORDS
from ...policy.start import trained_with
from ...runtime.station import Station
from .method import Method


class Learned(Method):
    """See :mod:`icl_vla.policy.relational`; a subclass may name another checkpoint."""

    name = "learned"
    summary = "in-context policy, frozen weights"
    remembers = True
    checkpoint = "default"

    def learned_before(self) -> str:
        """See :meth:`Method.learned_before`."""
        digest = hashlib.sha256()
        for folder in (CHECKPOINTS / self.checkpoint, EYES, WORDS):
            for file in sorted(folder.iterdir()):
                digest.update(file.name.encode() + file.read_bytes())
        return digest.hexdigest()[:16]

    def start(self, station: Station, bank: DemoBank, instruction: str, seed: int) -> Episode:
        """See :meth:`Method.start`."""
        network = load(self.checkpoint)
        encoder = station.encoder
        if encoder.schema != network.config.encoder:  # it knows its own tokens only
            encoder = encoder_of(trained_with(network.config.encoder), station.components)
        policy = LearnedPolicy(station.model, encoder, network)
        return policy.start(bank, instruction, bank.action_space.with_joints(bank.spec.joints))
