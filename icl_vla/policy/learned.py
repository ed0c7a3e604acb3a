"""The learned policy on a robot: retrieval and phase as ever, the network in the vote's place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionChunk, ActionSpace, Observation, ReportedError, se3
from icl_vla_embodiments.kinematics import Kinematics
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import (
    AmbiguousInstruction,
    DemoBank,
    Demonstration,
    InstructionError,
)

from ..perception.encoders import with_words
from ..perception.tokens import Encoder
from .interface import Episode, Trace
from .moment import moment_of, most_shared, side_by_side
from .pairs import names
from .retrieval import RetrievalConfig, RetrievalEpisode, RetrievalPolicy
from .vote import VotePolicy, weighted_median

if TYPE_CHECKING:
    from .relational import IclVlaPolicy

CHECKPOINTS = Path(__file__).with_name("checkpoints")


class LearnedEpisode(RetrievalEpisode):
    """An episode of :class:`LearnedPolicy`."""

    def _chunk(
        self,
        observation: Observation,
        tcp: Array,
        opening: float,
        pointers: NDArray[np.int64],
        weights: Array,
    ) -> ActionChunk:
        import torch

        assert self.tokens is not None and self.correspondence is not None
        assert isinstance(self.policy, LearnedPolicy)
        moment = moment_of(
            self.contexts,
            pointers,
            weights,
            self.tracker.costs,
            tcp,
            opening,
            self.tokens,
            self.correspondence,
            self.policy.config.horizon,
        )
        with torch.inference_mode():
            answer = self.policy.network(**side_by_side([moment]))
        position = answer.position[0].double().numpy()
        rotation = se3.project_rotation(answer.rotation[0].double().numpy())
        grip = answer.gripper[0].double().numpy()  # (H, K)
        openings = np.array(
            [weighted_median(g[:, None], w)[0] for g, w in zip(moment.gripper.T, grip, strict=True)]
        )
        known = dict(enumerate(names(most_shared(self.correspondence))))
        kept = [known.get(i, "nothing") for i in answer.frames[0].tolist()]
        trace: Trace = {
            "frames": dict(zip(kept, answer.share[0].tolist(), strict=True)),
            "agreement": dict(zip(kept, answer.agreement[0].tolist(), strict=True)),
            "correction": float(answer.correction[0].norm(dim=-1).max()),
            "right": float(torch.sigmoid(answer.right[0])),
            "done": float(torch.sigmoid(answer.done[0])),
        }
        poses = se3.pose(rotation, position)
        chunk = self._answer(observation, tcp, opening, poses, openings, pointers, weights, trace)
        return replace(chunk, done=bool(answer.done[0] > 0))


class LearnedPolicy(RetrievalPolicy):
    """A trained network behind :class:`.interface.Policy`, for one arm of one robot.

    Args:
        model: As :class:`.retrieval.RetrievalPolicy` has it; so the next one.
        encoder: Source of scene tokens, of the schema that the network was trained with.
        network: A folder, or the name of one of the package's checkpoints.

    Raises:
        ReportedError: There is no such checkpoint, or it is for other tokens.
    """

    episode_type = LearnedEpisode

    def __init__(
        self,
        model: Kinematics | None,
        encoder: Encoder,
        network: str | Path | IclVlaPolicy = "default",
    ) -> None:
        self.network = load(network) if isinstance(network, str | Path) else network
        known = self.network.config
        if known.encoder != encoder.schema:
            raise ReportedError(
                "the policy was trained with other tokens",
                value=encoder.schema,
                valid=[known.encoder],
                remedy="use the encoder that it was trained with, or train it anew",
            )
        config = RetrievalConfig(
            horizon=known.horizon,
            noise=known.noise,
            turn_noise=known.turn_noise,
            sharpness=known.sharpness,
        )
        super().__init__(model, encoder, config)

    def start(
        self,
        bank: DemoBank | Sequence[Demonstration],
        instruction: str,
        action_space: ActionSpace,
    ) -> Episode:
        """Read the demonstrations of ``instruction``, or recall some where there are none.

        Raises:
            InstructionError: It is neither shown nor like anything that was learned.
        """
        try:
            return super().start(bank, instruction, action_space)
        except AmbiguousInstruction:
            raise
        except InstructionError as unknown:
            from .by_words import ByWords

            vote = VotePolicy(self.model, with_words(self.encoder))
            try:
                return ByWords(vote).start(instruction, action_space)
            except InstructionError as strange:
                raise (unknown if len(bank) else strange) from None


@cache
def load(network: str | Path) -> IclVlaPolicy:
    """A checkpoint by its folder, or by its name in the package.

    Raises:
        ReportedError: There is none.
    """
    folder = Path(network)
    if not (folder / "config.json").exists():
        folder = CHECKPOINTS / str(network)
    if not (folder / "config.json").exists():
        packaged = sorted(p.parent.name for p in CHECKPOINTS.glob("*/config.json"))
        raise ReportedError(
            "there is no such checkpoint",
            value=str(network),
            valid=[*packaged, "a folder that `icl-vla train` has written"],
        )
    from transformers.utils import logging

    from .relational import IclVlaPolicy

    logging.disable_progress_bar()  # of reading a file of a third of a megabyte
    network_: IclVlaPolicy = IclVlaPolicy.from_pretrained(folder)
    return network_.eval()
