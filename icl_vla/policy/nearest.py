"""Retrieve and play: the baseline that any in-context policy must leave behind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionChunk, Observation
from icl_vla_embodiments.types import Array

from .retrieval import RetrievalEpisode, RetrievalPolicy, demonstrated


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


class NearestPolicy(RetrievalPolicy):
    """1-nearest-neighbour retrieve-and-play, with the same keys and phase tracking as the vote."""

    episode_type = NearestEpisode
