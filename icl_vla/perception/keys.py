"""Retrieval keys: one vector for each moment, near for moments that call for the same motion.

A set of scene tokens has no order and no fixed size, so it enters as its kernel mean embedding
(Smola et al. 2007) with random Fourier features (Rahimi & Recht 2007): squared distance of two keys
approximates the squared maximum mean discrepancy of the two sets, whatever the tokens' order. The
hand's place and short history enter through features of the same kind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import Observation
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Demonstration

from .memory import VERSION, SceneMemory, tracked_tokens
from .tokens import Encoder

HISTORY = 5  # frames between now and the past that a key remembers


class FourierFeatures:
    """``phi(x) = sqrt(2 / D) cos(W x + b)``: ``phi(x) phi(y) ~ exp(-|x - y|^2 / 2)``.

    Args:
        inputs: Size of x, in units of the kernel's width.
        outputs: ``D``.
        seed: Of ``W`` and ``b``; part of what a schema means.
    """

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._W = rng.standard_normal((inputs, outputs))
        self._b = rng.uniform(0, 2 * np.pi, outputs)

    def __call__(self, x: Array) -> Array:
        """``(..., inputs)`` to ``(..., outputs)``."""
        return np.sqrt(2 / len(self._b)) * np.cos(x @ self._W + self._b)


class MotionKeys:
    """Keys ``(384,)`` from scene tokens, the hand, the gripper and half a second of history.

    Tokens count by what they look like and where they are as seen from the hand, by horizontal
    distance and height: that part does not change when the scene is turned about the hand.

    Args:
        feature_size: ``F`` of the tokens.
    """

    size = 384

    def __init__(self, feature_size: int) -> None:
        self._tokens = FourierFeatures(feature_size + 2, 256, seed=1)
        self._hand = FourierFeatures(3, 96, seed=2)
        self._history = FourierFeatures(5, 32, seed=3)

    def __call__(
        self, features: Array, places: Array, tcp: Array, opening: Array
    ) -> NDArray[np.float32]:
        """Keys of consecutive frames.

        Args:
            features: ``(M, F)`` of the tokens.
            places: ``(T, M, 3)`` in the base frame [m].
            tcp: ``(T, 4, 4)`` measured ``T_base_ee``.
            opening: ``(T,)`` measured gripper opening.

        Returns:
            ``(T, 384)``.
        """
        hand = tcp[:, :3, 3]
        offset = places - hand[:, None]
        seen = np.stack([np.hypot(offset[..., 0], offset[..., 1]), offset[..., 2]], axis=-1)
        look = np.broadcast_to(features / 0.5, (*seen.shape[:2], features.shape[1]))
        tokens = self._tokens(np.concatenate([look, seen / 0.04], axis=-1)).sum(axis=1)
        before = np.maximum(np.arange(len(hand)) - HISTORY, 0)
        moved = (hand - hand[before]) / 0.08
        history = np.column_stack([moved, opening / 0.4, opening[before] / 0.4])
        parts = [tokens, 0.5 * self._hand(hand / 0.06), self._history(history)]
        return np.concatenate(parts, axis=1).astype(np.float32)


class SceneKeys:
    """:class:`MotionKeys` of what an encoder sees; a ``KeyEncoder``.

    Args:
        encoder: Source of tokens.
        model: Kinematics, for the hand's pose in an observation.
        effector: Whose hand.
    """

    def __init__(self, encoder: Encoder, model: RobotModel, effector: str) -> None:
        self.encoder, self.model, self.effector = encoder, model, effector
        self.schema = f"scene/{VERSION} {encoder.schema} {effector}"
        self._keys = MotionKeys(encoder.feature_size)

    def keys(self, demonstration: Demonstration) -> NDArray[np.float32]:
        """``(T, 384)``, one for each frame."""
        seen = tracked_tokens(demonstration, self.encoder)
        tcp, opening = (x[self.effector] for x in (demonstration.poses, demonstration.grippers))
        return self._keys(seen["features"], seen["tokens"], tcp, opening)

    def start(self) -> Callable[[Observation], NDArray[np.float32]]:
        """An episode's stream of keys: call it with each observation, at the bank's rate."""
        memory = SceneMemory()
        past: deque[tuple[Array, float]] = deque(maxlen=HISTORY + 1)

        def key(observation: Observation) -> NDArray[np.float32]:
            assert observation.q is not None
            tokens = memory.look(self.encoder, observation)
            opening = float(observation.effectors[self.effector].gripper or 0.0)
            past.append((self.model.poses(observation.q)[self.effector], opening))
            tcp, openings = (np.stack([p[i] for p in past]) for i in (0, 1))
            places = np.broadcast_to(tokens.now.positions, (len(past), len(tokens), 3))
            return self._keys(tokens.first.features, places, tcp, openings)[-1]

        return key
