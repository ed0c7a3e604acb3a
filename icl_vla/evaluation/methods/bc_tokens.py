"""Behaviour cloning from scene tokens."""

from __future__ import annotations

from .learning.imitation import Imitation


class BcTokens(Imitation):
    """The same network with the tokens that the in-context policies see, instead of pictures."""

    name = "bc_tokens"
    summary = "chunks, cloned from scene tokens"
    looks = "tokens"
    answers = "chunk"
    steps = 1200
