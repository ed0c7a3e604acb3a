"""Kernel-weighted nearest neighbours on raw keys: what imitation does without any geometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionChunk, Observation, se3
from icl_vla_embodiments.types import Array

from ...policy.retrieval import RetrievalEpisode, RetrievalPolicy, demonstrated
from ...policy.vote import weighted_median
from .retrieval import Retrieval

NEIGHBOURS = 12  # frames, of all demonstrations together
_HAND = 0.03  # [m] at which the hand's place starts to look different
_THING = 0.05  # [m] the same for the things'
_OPENING = 0.25


class KnnEpisode(RetrievalEpisode):
    """Mean of the commands that followed the nearest frames, in the base frame.

    With keys ``z = (hand / r_h, things / r_t, opening / r_o)`` and ``d_i = |z - z_i|``, frames are
    weighted by ``exp(-(d_i^2 - min d^2) / 2)`` (Nadaraya 1964, over the nearest frames only).
    """

    def _chunk(
        self,
        observation: Observation,
        tcp: Array,
        opening: float,
        pointers: NDArray[np.int64],
        weights: Array,
    ) -> ActionChunk:
        squared = [self._squared(k, tcp, opening) for k in range(len(self.contexts))]
        owner = np.concatenate([np.full(len(s), k) for k, s in enumerate(squared)])
        frame = np.concatenate([np.arange(len(s)) for s in squared])
        every = np.concatenate(squared)
        near = np.argsort(every, kind="stable")[:NEIGHBOURS]
        share = np.exp(-0.5 * (every[near] - every[near[0]]))
        share /= share.sum()
        chosen = [self.contexts[k] for k in owner[near]]
        commands, gripper = demonstrated(chosen, frame[near], self.policy.config.horizon)
        position = np.einsum("k,khi->hi", share, commands[..., :3, 3])
        rotation = se3.mean_rotation(
            commands[..., :3, :3], np.tile(share[:, None], commands.shape[1])
        )
        of_demonstration: Array = np.bincount(
            owner[near], weights=share, minlength=len(self.contexts)
        ).astype(float)
        best = np.array([int(np.argmin(s)) for s in squared])
        return self._answer(
            observation,
            tcp,
            opening,
            se3.pose(rotation, position),
            weighted_median(gripper, share),
            best,
            of_demonstration,
            {},
        )

    def _squared(self, k: int, tcp: Array, opening: float) -> Array:
        """Squared key distance of each frame of a demonstration ``(T,)``."""
        assert self.tokens is not None and self.correspondence is not None
        context = self.contexts[k]
        hand = ((context.tcp[:, :3, 3] - tcp[:3, 3]) ** 2).sum(-1) / _HAND**2
        grip = (context.opening - opening) ** 2 / _OPENING**2
        shared = np.array(self.correspondence.shared(), dtype=int)
        index = self.correspondence.index[k, shared]
        known = index >= 0
        if not known.any():
            return np.asarray(hand + grip)
        here = self.tokens.now.positions[shared[known]]
        then = context.tokens[:, index[known]]
        things = ((then - here) ** 2).sum(-1).mean(-1) / _THING**2
        return np.asarray(hand + grip + things)


class KnnPolicy(RetrievalPolicy):
    """See :class:`KnnEpisode`."""

    episode_type = KnnEpisode


class Knn(Retrieval):
    """Weighted nearest neighbours."""

    name = "knn"
    summary = "kernel-weighted nearest neighbours on raw keys"
    policy = KnnPolicy
