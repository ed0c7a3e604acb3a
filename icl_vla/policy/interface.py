"""What every policy looks like from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypedDict

from icl_vla_embodiments import ActionChunk, ActionSpace, Observation
from icl_vla_embodiments.types import Array

if TYPE_CHECKING:
    from icl_vla_retrieval import DemoBank, Demonstration


class Trace(TypedDict, total=False):
    """What explains a chunk, in ``ActionChunk.trace``; a policy tells what it has.

    Attributes:
        tokens: ``(M, 3)`` places of the things that are seen or remembered, base frame [m].
        shared_tokens: Rows of those that the demonstrations have, too.
        tokens_then: ``(K, M, 3)`` where each neighbour had them, base frame [m]; NaN for unknown.
        frames: Frame -> share in the places asked for, sum 1. Names are those of :mod:`.frames`,
            after the hand and a colon where there are several hands.
        agreement: The same, were demonstrations weighed by their agreement alone; for a policy that
            has learned to weigh them otherwise.
        correction: Largest way [m] from what demonstrations say to what is asked for.
        right: Probability that the demonstrations are of this task.
        done: Probability that the task is over.
        missed: Where a motion has come to its end: how much farther a thing is from where it should
            be than the demonstrations left it [m]; from more than 0 it begins again.
        clause: Which part of the instruction is being done, where nothing was shown: then the
            neighbours are demonstrations remembered from training.
        other_way: Dimensions of the action space that run the other way than they are described, as
            the demonstrations show; they are read so.
        knocked: Camera -> how far it is from where it was calibrated [m], and by how much turned
            [rad], as the robot and the table show; it is looked through from there.
    """

    tokens: Array
    shared_tokens: list[int]
    tokens_then: Array
    frames: dict[str, float]
    agreement: dict[str, float]
    correction: float
    right: float
    done: float
    missed: float
    clause: str
    other_way: tuple[str, ...]
    knocked: dict[str, tuple[float, float]]


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
