"""Behaviour cloning from pictures with a flow."""

from __future__ import annotations

from .learning.imitation import Imitation


class BcFlow(Imitation):
    """The same network as the chunks', which answers by flow matching (Black et al. 2024)."""

    name = "bc_flow"
    summary = "flow matching, cloned from pictures"
    looks = "pictures"
    answers = "flow"
    steps = 500
