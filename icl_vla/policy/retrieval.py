"""What retrieval policies share: perception, memory, correspondence, phase, the answer's form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments import (
    ActionChunk,
    ActionSpace,
    Neighbour,
    Observation,
    ReportedError,
    SpaceState,
)
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank, Demonstration, Familiarity
from icl_vla_retrieval.phase import PhaseTracker

from ..perception.memory import SceneMemory, TrackedTokens
from ..perception.tokens import Encoder
from .context import DemoContext, read_context
from .frames import Correspondence, matched_tokens, shared_tokens

LEFT_OUT = 3  # frames between two that calibrate the distance


@dataclass(frozen=True)
class RetrievalConfig:
    """Constants of retrieval and vote; one set for every robot and task.

    Attributes:
        horizon: Steps in a chunk.
        noise: Standard deviation of position votes that counts as full agreement [m].
        turn_noise: The same for rotation votes, chordal.
        sharpness: Exponent on the inverse variance.
        temperature: Cost difference by which a demonstration's weight falls to 1/e.
        radius: Distance at which a token's place starts to look different [m].
    """

    horizon: int = 8
    noise: float = 0.006
    turn_noise: float = 0.08
    sharpness: float = 1.5
    temperature: float = 0.15
    radius: float = 0.03


class RetrievalPolicy:
    """A frozen policy that acts on retrieved motions, for one arm of one robot.

    Args:
        model: Robot that acts (for its kinematics).
        encoder: Source of scene tokens.
        config: Constants.
    """

    episode_type: ClassVar[type[RetrievalEpisode]]

    def __init__(
        self, model: RobotModel, encoder: Encoder, config: RetrievalConfig | None = None
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.config = config or RetrievalConfig()

    def start(
        self,
        bank: DemoBank | Sequence[Demonstration],
        instruction: str,
        action_space: ActionSpace,
    ) -> RetrievalEpisode:
        """Read the demonstrations of ``instruction`` and begin."""
        effector = action_space.effectors[0]
        contexts = read_context(bank, instruction, self.encoder, effector)
        return self.episode_type(self, contexts, action_space, effector)


class RetrievalEpisode(ABC):
    """One attempt; a subclass chooses the motion."""

    def __init__(
        self,
        policy: RetrievalPolicy,
        contexts: Sequence[DemoContext],
        action_space: ActionSpace,
        effector: str,
    ) -> None:
        self.policy = policy
        self.contexts = list(contexts)
        self.distance = DistanceToDemonstrations.between(self.contexts, policy.config.radius)
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
        """How unlike the present each frame of each demonstration is."""
        assert self.tokens is not None and self.correspondence is not None
        shared = self.correspondence.shared()
        places = self.tokens.now.positions[shared]
        return [
            moment_costs(
                places[None],
                tcp[None],
                np.array([opening]),
                context,
                self.correspondence.index[k, shared],
                self.policy.config.radius,
            )[0]
            for k, context in enumerate(self.contexts)
        ]

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
        spread: Array | None = None,
    ) -> ActionChunk:
        """Wrap poses ``(H, 4, 4)`` and openings ``(H,)`` with their provenance."""
        costs = self.tracker.costs
        assert self.correspondence is not None
        shared = len(self.correspondence.shared())
        confidence = self.distance.confidence(costs.min(), shared)
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
            spread={} if spread is None else {self.effector: spread},
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


def moment_costs(
    places: Array,
    tcp: Array,
    opening: Array,
    context: DemoContext,
    index: NDArray[np.int64],
    radius: float,
) -> Array:
    """How unlike each of ``T`` moments each frame of a demonstration is: ``(T, T_k)``.

    Places of the shared tokens as seen from the hand, by horizontal distance and height, which
    do not change when the whole scene is turned; then the hand's place and the gripper.

    Args:
        places: ``(T, M, 3)`` of the shared tokens.
        tcp: ``(T, 4, 4)``.
        opening: ``(T,)``.
        context: The demonstration.
        index: ``(M,)`` its token for each shared one; -1 for none.
        radius: Distance at which a place starts to look different [m].
    """
    known = index >= 0
    hand = tcp[:, None, :3, 3]
    here = _cylindrical(places[:, known] - hand)
    then = _cylindrical(context.tokens[:, index[known]] - context.tcp[:, None, :3, 3])
    cost = np.zeros((len(tcp), len(context)))
    if known.any():
        squared = ((then - here[:, None]) ** 2).sum(-1)
        cost += (1 - np.exp(-squared / (2 * radius**2))).mean(axis=-1)
    moved = ((context.tcp[:, :3, 3] - hand) ** 2).sum(-1)
    cost += 0.3 * (1 - np.exp(-moved / (2 * radius**2)))
    return cost + np.abs(context.opening - opening[:, None])


@dataclass(frozen=True)
class DistanceToDemonstrations:
    """How far a moment lies from all demonstrations, and how far that is among themselves.

    Attributes:
        things: How many tokens a demonstration usually shares with the others.
        familiarity: Calibrated by leaving each demonstration out.
    """

    things: int
    familiarity: Familiarity

    @classmethod
    def between(cls, contexts: Sequence[DemoContext], radius: float) -> DistanceToDemonstrations:
        """From each demonstration's every :data:`LEFT_OUT` th frame and the others."""
        frames = slice(None, None, LEFT_OUT)
        found, costs = [], []
        for k, context in enumerate(contexts):
            others = [c for i, c in enumerate(contexts) if i != k]
            index = matched_tokens(context.features, others)
            shared = shared_tokens(index)
            places, tcp = context.tokens[frames, shared], context.tcp[frames]
            opening = context.opening[frames]
            nearest = [
                moment_costs(places, tcp, opening, other, row[shared], radius).min(axis=1)
                for row, other in zip(index, others, strict=True)
            ]
            if nearest:
                found.append(len(shared))
                costs.append(np.min(nearest, axis=0))
        if not costs:
            # one alone says nothing of how far apart demonstrations lie: all reads as one half
            return cls(0, Familiarity.from_left_out([np.zeros(1)]))
        usual = cls(int(np.median(found)), Familiarity(np.zeros(0)))
        distances = [usual(cost, n) for cost, n in zip(costs, found, strict=True)]
        return cls(usual.things, Familiarity.from_left_out(distances))

    def __call__(self, cost: ArrayLike, shared: int) -> Array:
        """Least cost among the demonstrations, plus the share of the usual things that is missing.

        Costs compare what is there with where it was, and say nothing of what is not there.
        """
        return np.asarray(cost) + max(0.0, 1 - shared / max(self.things, 1))

    def confidence(self, cost: float, shared: int) -> float:
        """From nearly 0 (never seen) to 1 (like the demonstrations)."""
        return self.familiarity.probability(float(self(cost, shared)))


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


def _cylindrical(offset: Array) -> Array:
    """``(..., 3)`` offsets as horizontal distance and height ``(..., 2)``."""
    return np.stack([np.hypot(offset[..., 0], offset[..., 1]), offset[..., 2]], axis=-1)
