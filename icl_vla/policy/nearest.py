"""Retrieve and play: the baseline that any in-context policy must leave behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionChunk, ActionSpace, Observation
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank, Demonstration

from .context import read_context
from .vote import RetrievalEpisode, VotePolicy, demonstrated


class NearestPolicy(VotePolicy):
    """1-nearest-neighbour retrieve-and-play, with the same keys and phase tracking as the vote."""

    def start(
        self,
        bank: DemoBank | Sequence[Demonstration],
        instruction: str,
        action_space: ActionSpace,
    ) -> NearestEpisode:
        """Read the demonstrations of ``instruction`` and begin."""
        effector = action_space.effectors[0]
        contexts = read_context(bank, instruction, self.encoder, effector)
        return NearestEpisode(self, contexts, action_space, effector)


class NearestEpisode(RetrievalEpisode):
    """Plays what followed the nearest remembered moment, as motion relative to the hand."""

    def _chunk(
        self,
        observation: Observation,
        tcp: Array,
        opening: float,
        pointers: NDArray[np.int64],
        weights: Array,
    ) -> ActionChunk:
        k = int(np.argmin(self.tracker.costs))
        commands, gripper = demonstrated(self.contexts, pointers, self.policy.config.horizon)
        poses = commands[k].copy()
        poses[:, :3, 3] += tcp[:3, 3] - self.contexts[k].tcp[pointers[k], :3, 3]
        only = np.eye(len(weights))[k]
        return self._answer(observation, tcp, opening, poses, gripper[k], pointers, only, {})
