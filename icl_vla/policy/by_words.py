"""Acting by words alone: remembered demonstrations, whose parts are taken by the things named.

The scene encoder was trained to see what captions say (:meth:`.network.SceneNetwork.described`), so
words choose among tokens. Remembered tokens then get the looks of those that take their parts, and
everything goes on as with demonstrations of this very scene's things: in-context all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from icl_vla_embodiments import ActionChunk, ActionSpace, Observation, ReportedError
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_retrieval.manner import manner_of

from ..perception.backbone import SceneBackbone
from ..perception.learned import LearnedEncoder
from ..perception.tokens import SceneTokens
from .context import DemoContext
from .interface import Episode, Trace
from .reader import text_encoder
from .recall import Hand, Recalled, Recollections
from .retrieval import RetrievalPolicy

COUNT = 10  # demonstrations repeated
_USUAL = 0.008  # [m] by which things of one kind differ in build anyway
_FAR_OFF = 3.0  # times as much more as usual, from which on it makes no difference
_BUILD = 0.5  # what a thing of another build loses, in cosine


class ByWords:
    """A policy that was shown nothing.

    Args:
        policy: Acts on demonstrations, with an encoder that has learned what things are called
            (:func:`~icl_vla.perception.encoders.with_words`).
        remembered: From training; None for what the package has.
    """

    def __init__(self, policy: RetrievalPolicy, remembered: Recollections | None = None) -> None:
        assert isinstance(policy.encoder, LearnedEncoder)
        assert isinstance(policy.encoder.backbone, SceneBackbone)
        self.policy, self.eyes, self.backbone = policy, policy.encoder, policy.encoder.backbone
        self.remembered = remembered or Recollections.load()

    def start(self, instruction: str, action_space: ActionSpace) -> WordsEpisode:
        """Begin what is asked for.

        Raises:
            InstructionError: It is like nothing that was learned.
            ReportedError: Nobody tells the robot's kinematics, or its hand has no gripper.
        """
        model, hulls, effector = self.policy.model, self.eyes.hulls, action_space.effectors[0]
        if not isinstance(model, RobotModel) or hulls is None:
            raise ReportedError(
                "without demonstrations the robot's hand has to be known",
                where=f"action space {action_space.name!r}",
                remedy="give the robot's URDF, or show the task",
            )
        hand = Hand.of(model, effector, hulls)
        what, pace = manner_of(instruction)
        clauses = [
            replace(recalled, motions=tuple(hand.repeats(m) for m in recalled.motions))
            for recalled in self.remembered.recall(what)
        ]
        return WordsEpisode(self, clauses, action_space, pace)


class WordsEpisode:
    """One attempt at all clauses of an instruction, one after the other."""

    def __init__(
        self,
        by_words: ByWords,
        clauses: Sequence[Recalled],
        action_space: ActionSpace,
        pace: float = 1.0,
    ) -> None:
        self.by_words, self.clauses, self.action_space = by_words, list(clauses), action_space
        self.pace = pace
        self.episodes: list[Episode] | None = None

    def act(self, observation: Observation) -> ActionChunk:
        """The next steps of the first clause that is not done."""
        if self.episodes is None:
            tokens = self.by_words.policy.encoder.encode(observation)
            self.episodes = [self._episode(tokens, recalled) for recalled in self.clauses]
        chunk = self.episodes[0].act(observation)
        if chunk.done and len(self.episodes) > 1:
            del self.episodes[0], self.clauses[0]
            chunk = replace(self.episodes[0].act(observation), done=False)
        trace = Trace(clause=self.clauses[0].clause.words, right=self.clauses[0].familiar)
        return replace(chunk, trace={**chunk.trace, **trace})

    def _episode(self, tokens: SceneTokens, recalled: Recalled) -> Episode:
        motions = cast_as(recalled, tokens, self.by_words.backbone)
        policy, effector = self.by_words.policy, self.action_space.effectors[0]
        episode = policy.episode_type(policy, motions, self.action_space, effector)
        episode.pace = self.pace
        return episode


def cast_as(recalled: Recalled, tokens: SceneTokens, backbone: SceneBackbone) -> list[DemoContext]:
    """Remembered motions whose things look like the tokens that take their parts.

    Words choose, and so does build: a token has to be as large and to lie as high as what is
    remembered, so that a lid is not taken for its box. Then those motions are repeated whose things
    are built most like these.

    Raises:
        ReportedError: Fewer things are seen than named.
    """
    things = recalled.clause.things
    if len(tokens) < len(things):
        raise ReportedError(
            "fewer things are seen than named",
            where=recalled.clause.words,
            value=len(tokens),
            valid=list(things),
        )
    then = np.stack([build(m.clouds) for m in recalled.motions])  # (K, n, 3)
    apart = np.abs(build(tokens.clouds) - then.mean(axis=0)[:, None])  # (n, M, 3)
    off = apart / (then.std(axis=0) + _USUAL)[:, None]
    unlike = np.clip((off - 1) / _FAR_OFF, 0, 1).mean(axis=-1)
    _, chosen = linear_sum_assignment(_BUILD * unlike - likeness(things, tokens, backbone))
    differ = np.linalg.norm(then - build(tokens.clouds[chosen]), axis=-1).sum(axis=1)
    alike = np.sort(np.argsort(differ, kind="stable")[:COUNT])
    return [replace(recalled.motions[k], features=tokens.features[chosen]) for k in alike]


def build(clouds: Array) -> Array:
    """``(M, 3)`` of clouds ``(M, P, 3)`` [m]: how high they lie, half how wide and how tall."""
    low, high = clouds.min(axis=1), clouds.max(axis=1)
    wide = np.linalg.norm(clouds[..., :2] - clouds[..., :2].mean(axis=1, keepdims=True), axis=-1)
    return np.stack([0.5 * (low + high)[:, 2], wide.mean(axis=1), 0.5 * (high - low)[:, 2]], axis=1)


def likeness(things: Sequence[str], tokens: SceneTokens, backbone: SceneBackbone) -> Array:
    """``(n, M)`` cosine of what words say of each thing with what each token looks like."""
    import torch

    with torch.inference_mode():
        sentences = torch.from_numpy(text_encoder()(list(things)))
        said = backbone.network.described(sentences).double().numpy()
    lengths = np.linalg.norm(tokens.features, axis=1, keepdims=True)
    return np.asarray(said @ (tokens.features / np.maximum(lengths, 1e-9)).T)
