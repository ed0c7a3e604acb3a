"""Behaviour cloning from pictures with chunks, after ACT."""

from __future__ import annotations

from .learning.imitation import Imitation


class BcChunks(Imitation):
    """A transformer that answers with a chunk under an L1 loss (Zhao et al. 2023).

    Without the variational part: it models how people differ, and on scripted demonstrations it
    made no difference in ACT's own ablation.
    """

    name = "bc_chunks"
    summary = "ACT-like chunks, cloned from pictures"
    looks = "pictures"
    answers = "chunk"
    steps = 500
