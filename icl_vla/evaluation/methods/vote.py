"""Retrieved motions vote in the frames of the scene."""

from __future__ import annotations

from ...policy.vote import VotePolicy
from .retrieval import Retrieval


class Vote(Retrieval):
    """See :mod:`icl_vla.policy.vote`."""

    name = "vote"
    summary = "in-context vote without learning"
    spreads = True
    policy = VotePolicy
