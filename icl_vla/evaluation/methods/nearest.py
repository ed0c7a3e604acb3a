"""What followed the nearest remembered moment is played."""

from __future__ import annotations

from ...policy.nearest import NearestPolicy
from .retrieval import Retrieval


class Nearest(Retrieval):
    """See :mod:`icl_vla.policy.nearest`."""

    name = "nearest"
    summary = "1-NN retrieve-and-play"
    policy = NearestPolicy
