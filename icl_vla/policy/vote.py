"""A policy without learning: retrieved motions, carried over into this scene, vote.

Each demonstration offers the commands that followed the moment most like now. Each candidate frame
(``frames.py``) carries all of them over; where the demonstrations then agree, that frame explains
the motion. The consensus weighs frames by inverse variance, so the cube's frame rules on the way to
the cube, the bowl's on the way to the bowl, without anybody naming either. This is
task-parameterised regression (Calinon 2016) with retrieval for the phase and SE(3) transport.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import (
    ActionChunk,
    ActionSpace,
    Neighbour,
    Observation,
    ReportedError,
    SpaceState,
    se3,
)
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank, Demonstration
from icl_vla_retrieval.phase import PhaseTracker

from ..perception.memory import SceneMemory, TrackedTokens
from ..perception.tokens import Encoder
from .context import DemoContext, read_context
from .frames import Correspondence, FrameVotes, frames_now


@dataclass(frozen=True)
class VoteConfig:
    """Constants of the vote; one set for every robot and task.

    Attributes:
        horizon: Steps in a chunk.
        noise: Standard deviation of position votes that counts as full agreement [m].
        turn_noise: The same for rotation votes, chordal.
        sharpness: Exponent on the inverse variance.
        temperature: Cost difference by which a demonstration's weight falls to 1/e.
        radius: Distance at which a token's place starts to look different [m].
        seen_cost: Mean retrieval cost that reads as confidence one half.
    """

    horizon: int = 8
    noise: float = 0.006
    turn_noise: float = 0.08
    sharpness: float = 1.5
    temperature: float = 0.15
    radius: float = 0.03
    seen_cost: float = 0.8


class VotePolicy:
    """The vote, for one arm of one robot.

    Args:
        model: Robot that acts (for its kinematics).
        encoder: Source of scene tokens.
        config: Constants.
    """

    def __init__(
        self, model: RobotModel, encoder: Encoder, config: VoteConfig | None = None
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.config = config or VoteConfig()

    def start(
        self,
        bank: DemoBank | Sequence[Demonstration],
        instruction: str,
        action_space: ActionSpace,
    ) -> RetrievalEpisode:
        """Read the demonstrations of ``instruction`` and begin."""
        effector = action_space.effectors[0]
        contexts = read_context(bank, instruction, self.encoder, effector)
        return VoteEpisode(self, contexts, action_space, effector)


class RetrievalEpisode(ABC):
    """What retrieval policies share: perception, memory, correspondence and phase."""

    def __init__(
        self,
        policy: VotePolicy,
        contexts: Sequence[DemoContext],
        action_space: ActionSpace,
        effector: str,
    ) -> None:
        self.policy = policy
        self.contexts = list(contexts)
        self.action_space = action_space
        self.effector = effector
        self.memory = SceneMemory()
        self.tracker = PhaseTracker([len(c) for c in contexts])
        self.correspondence: Correspondence | None = None
        self.tokens: TrackedTokens | None = None
        self._last_time: float | None = None

    def act(self, observation: Observation) -> ActionChunk:
        """Perceive, find the moment, and let the subclass choose the motion."""
        if not observation.has("q") or not observation.has(f"effectors.{self.effector}.gripper"):
            raise ReportedError(
                "the policy needs joint positions and the gripper's opening",
                value=f"observation at {observation.time:.2f} s",
            )
        assert observation.q is not None
        tcp = self.policy.model.poses(observation.q)[self.effector]
        opening = float(observation.effectors[self.effector].gripper or 0.0)
        self.tokens = self.memory.update(self.policy.encoder.encode(observation))
        if self.correspondence is None:
            self.correspondence = Correspondence(self.contexts, self.tokens)
        self.correspondence.extend(self.tokens)
        advance = 0
        if self._last_time is not None:
            advance = round((observation.time - self._last_time) * self.action_space.rate)
        self._last_time = observation.time
        pointers = self.tracker.update(self._costs(tcp, opening), advance)
        costs = self.tracker.costs
        weights = np.exp(-(costs - costs.min()) / self.policy.config.temperature)
        return self._chunk(observation, tcp, opening, pointers, weights / weights.sum())

    def _costs(self, tcp: Array, opening: float) -> list[Array]:
        """How unlike the present each frame of each demonstration is.

        Places of the shared tokens as seen from the hand, by horizontal distance and height, which
        do not change when the whole scene is turned; then the hand's place and the gripper.
        """
        assert self.tokens is not None and self.correspondence is not None
        radius = self.policy.config.radius
        shared = self.correspondence.shared()
        here = _cylindrical(self.tokens.now.positions[shared] - tcp[:3, 3])
        out = []
        for k, context in enumerate(self.contexts):
            index = self.correspondence.index[k, shared]
            known = index >= 0
            then = _cylindrical(context.tokens[:, index[known]] - context.tcp[:, None, :3, 3])
            squared = ((then - here[known]) ** 2).sum(-1)
            cost = np.zeros(len(context))
            if known.any():
                cost += (1 - np.exp(-squared / (2 * radius**2))).mean(axis=1)
            moved = ((context.tcp[:, :3, 3] - tcp[:3, 3]) ** 2).sum(-1)
            cost += 0.3 * (1 - np.exp(-moved / (2 * radius**2)))
            out.append(cost + np.abs(context.opening - opening))
        return out

    @abstractmethod
    def _chunk(
        self,
        observation: Observation,
        tcp: Array,
        opening: float,
        pointers: NDArray[np.int64],
        weights: Array,
    ) -> ActionChunk:
        """The motion, from pointers ``(K,)`` and weights ``(K,)`` of the demonstrations."""

    def _answer(
        self,
        observation: Observation,
        tcp: Array,
        opening: float,
        poses: Array,
        gripper: Array,
        pointers: NDArray[np.int64],
        weights: Array,
        trace: dict[str, object],
    ) -> ActionChunk:
        """Wrap poses ``(H, 4, 4)`` and openings ``(H,)`` with their provenance."""
        costs = self.tracker.costs
        confidence = 1 / (1 + np.exp(4 * (costs.min() / self.policy.config.seen_cost - 1)))
        neighbours = tuple(
            Neighbour(c.episode, int(t), float(d), float(w), float(t / max(len(c) - 1, 1)))
            for c, t, d, w in zip(self.contexts, pointers, costs, weights, strict=True)
        )
        at_end = np.array([t >= len(c) - 2 for c, t in zip(self.contexts, pointers, strict=True)])
        chunk = ActionChunk.from_poses(
            observation.time,
            1 / self.action_space.rate,
            {self.effector: tcp},
            {self.effector: poses},
            grippers={self.effector: gripper},
            confidence=np.full(len(gripper), confidence),
            neighbours=neighbours,
            trace=trace,
            done=bool(weights[at_end].sum() > 0.5),
        )
        state = SpaceState(
            poses={self.effector: tcp}, q=observation.q, grippers={self.effector: opening}
        )
        native = self.action_space.encode(chunk.targets, state, self.policy.model)
        return replace(chunk, native=self.action_space.clip(native))


class VoteEpisode(RetrievalEpisode):
    """An episode of :class:`VotePolicy`."""

    def _chunk(
        self,
        observation: Observation,
        tcp: Array,
        opening: float,
        pointers: NDArray[np.int64],
        weights: Array,
    ) -> ActionChunk:
        assert self.tokens is not None and self.correspondence is not None
        config = self.policy.config
        commands, gripper = demonstrated(self.contexts, pointers, config.horizon)
        frames = list(frames_now(self.contexts, pointers, tcp, self.tokens, self.correspondence))
        poses, shares = consensus(frames, commands, weights, tcp, config)
        openings = weighted_median(gripper, weights)  # a gripper is never averaged
        trace: dict[str, object] = {
            "frames": {f.name: float(s) for f, s in zip(frames, shares, strict=True)},
            "shared_tokens": self.correspondence.shared(),
            "tokens": self.tokens.now.positions,
        }
        return self._answer(observation, tcp, opening, poses, openings, pointers, weights, trace)


def demonstrated(
    contexts: Sequence[DemoContext], pointers: NDArray[np.int64], horizon: int
) -> tuple[Array, Array]:
    """Commands that followed each pointer: poses ``(K, H, 4, 4)`` and openings ``(K, H)``."""
    steps = [
        np.minimum(np.arange(t, t + horizon), len(c) - 1)
        for c, t in zip(contexts, pointers, strict=True)
    ]
    poses = np.stack([c.commands[s] for c, s in zip(contexts, steps, strict=True)])
    gripper = np.stack([c.gripper[s] for c, s in zip(contexts, steps, strict=True)])
    return poses, gripper


def weighted_median(values: Array, weights: Array) -> Array:
    """Median over the first axis: ``(K, H)`` with weights ``(K,)`` to ``(H,)``."""
    order = np.argsort(values, axis=0, kind="stable")
    mass = np.cumsum(weights[order], axis=0)
    middle = np.argmax(mass >= 0.5 * weights.sum(), axis=0)
    picked = np.take_along_axis(order, middle[None], axis=0)
    return np.take_along_axis(values, picked, axis=0)[0]


def consensus(
    frames: Sequence[FrameVotes],
    commands: Array,
    weights: Array,
    tcp: Array,
    config: VoteConfig,
) -> tuple[Array, Array]:
    """Fuse all frames' votes, step by step.

    Positions: with ``mu_f`` and ``s_f^2`` the weighted mean and variance of frame ``f``'s votes,
    ``x = sum_f a_f mu_f / sum_f a_f`` and ``a_f = (s_f^2 + noise^2)^-sharpness``. Rotations: the
    same with chordal variance, after votes far from the best supported one are dropped (equal
    grasps of a square disagree by quarter turns and must not be averaged).

    Args:
        frames: ``F`` frames.
        commands: ``(K, H, 4, 4)`` demonstrated.
        weights: ``(K,)`` of the demonstrations.
        tcp: ``(4, 4)`` measured pose, which breaks ties between equal grasps.
        config: Constants.

    Returns:
        Poses ``(H, 4, 4)`` and each frame's mean share ``(F,)`` in the positions.
    """
    votes = np.stack([f.X[:, None] @ commands for f in frames])  # (F, K, H, 4, 4)
    share = weights * np.stack([f.valid for f in frames])  # (F, K)
    known = share.sum(axis=1)
    share = share / np.maximum(known, 1e-9)[:, None]
    prior = np.array([f.weight for f in frames]) * known

    p = votes[..., :3, 3]
    mean = np.einsum("fk,fkhi->fhi", share, p)
    variance = np.einsum("fk,fkhi->fh", share, (p - mean[:, None]) ** 2)
    alpha = prior[:, None] * (variance + config.noise**2) ** -config.sharpness
    alpha /= alpha.sum(axis=0)
    position = np.einsum("fh,fhi->hi", alpha, mean)

    turned, support = _one_mode(votes[..., :3, :3], share, tcp[:3, :3], config.turn_noise)
    beta = prior[:, None] * (1 - support + config.turn_noise**2) ** -config.sharpness
    rotation = se3.mean_rotation(turned, beta)
    return se3.pose(rotation, position), alpha.mean(axis=1)


def _one_mode(R: Array, share: Array, now: Array, noise: float) -> tuple[Array, Array]:
    """Each frame's best supported rotation at each step, and how well it is supported.

    Args:
        R: Votes ``(F, K, H, 3, 3)``.
        share: ``(F, K)``.
        now: ``(3, 3)`` present rotation.
        noise: Chordal width of agreement.

    Returns:
        ``(F, H, 3, 3)`` rotations and ``(F, H)`` support, 0 to 1.
    """
    width = (3 * noise) ** 2
    dot = np.einsum("fkhij,flhij->fhkl", R, R)  # trace of R_k^T R_l
    near = np.exp(-(3 - dot) / width)  # 3 - trace = 2 (1 - cos(angle))
    support = np.einsum("fhkl,fl->fhk", near, share)
    # of equally good grasps, the one that needs the least turning
    turning = 3 - np.einsum("fkhij,ij->fhk", R, now)
    best = np.argmax(support - 0.05 * turning - 2.0 * (share[:, None] <= 0), axis=-1)  # (F, H)
    chosen = np.take_along_axis(near, best[..., None, None], axis=-1)[..., 0]  # (F, H, K)
    weight = chosen * share[:, None]
    mean = se3.project_rotation(np.einsum("fhk,fkhij->fhij", weight, R) + 1e-9 * np.eye(3))
    return mean, np.take_along_axis(support, best[..., None], axis=-1)[..., 0]


def _cylindrical(offset: Array) -> Array:
    """``(..., 3)`` offsets as horizontal distance and height ``(..., 2)``."""
    return np.stack([np.hypot(offset[..., 0], offset[..., 1]), offset[..., 2]], axis=-1)
