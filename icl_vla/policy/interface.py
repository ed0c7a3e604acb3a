"""What every policy looks like from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from icl_vla_embodiments import ActionChunk, ActionSpace, Observation

if TYPE_CHECKING:
    from icl_vla_retrieval import DemoBank, Demonstration


class Episode(Protocol):
    """One attempt at one task.

    Phase, anchors and blending live here, so that one policy serves many clients at once.
    """

    def act(self, observation: Observation) -> ActionChunk:
        """The next steps of motion."""
        ...


class Policy(Protocol):
    """Something that acts after reading demonstrations; its weights never change."""

    def start(
        self,
        bank: DemoBank | Sequence[Demonstration],
        instruction: str,
        action_space: ActionSpace,
    ) -> Episode:
        """Begin an episode conditioned on a bank, an instruction and an action space."""
        ...
