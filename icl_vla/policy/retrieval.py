"""What retrieval policies share: perception, memory, correspondence, phase, the answer's form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import (
    ActionChunk,
    ActionSpace,
    Kind,
    Neighbour,
    Observation,
    ReportedError,
    SpaceState,
)
from icl_vla_embodiments.kinematics import Kinematics
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank, Demonstration
from icl_vla_retrieval.calibration import Body
from icl_vla_retrieval.manner import pace_between
from icl_vla_retrieval.phase import PhaseTracker
from icl_vla_retrieval.signs import read_as, turned_numbers

from ..perception.cameras import CameraCheck
from ..perception.memory import SceneMemory, TrackedTokens
from ..perception.tokens import Encoder
from ..runtime.mobile import BASE, drivable, slides
from .agreement import ENOUGH
from .alignment import Alignment
from .context import (
    OPEN,
    DemoContext,
    Demonstrations,
    Shown,
    find_shown,
    measures_depth,
    read_hands,
)
from .doing import LATELY, Doing, Past, Standing
from .ends import foreseen
from .forms import Form
from .frames import Correspondence, End, FrameVotes, frames_now, hand_frames
from .goal import Goal
from .identity import one_thing
from .interface import Episode, Trace
from .likeness import Compared, DistanceToDemonstrations, shared_tokens
from .manner import at_pace
from .parts import part_about

_AGAIN = 2  # times that a motion begins again
_DOUBTED = 0.05  # weight of a demonstration that does not seem to end where the others do
_LONGER = 0.5  # [s] than in any demonstration that a hand stands still, before it is told to go on


@dataclass(frozen=True)
class RetrievalConfig:
    """Constants of retrieval and vote; one set for every robot and task.

    Attributes:
        horizon: Steps in a chunk.
        noise: Standard deviation of position votes that counts as full agreement [m].
        level_noise: The same for their heights, which are surer [m].
        turn_noise: The same for rotation votes, chordal.
        sharpness: Exponent on the inverse variance.
        temperature: Cost difference by which a demonstration's weight falls to 1/e.
        radius: Distance at which a token's place starts to look different [m].
    """

    horizon: int = 8
    noise: float = 0.006
    level_noise: float = 0.002
    turn_noise: float = 0.08
    sharpness: float = 3.0
    temperature: float = 0.15
    radius: float = 0.03


class RetrievalPolicy:
    """A frozen policy that acts on retrieved motions, with the hands that were demonstrated.

    Args:
        model: Kinematics of the robot that acts; None where it is not known: then observations have
            the measured pose of each hand, and the action space speaks of hands.
        encoder: Source of scene tokens.
        config: Constants.
    """

    episode_type: ClassVar[type[RetrievalEpisode]]

    def __init__(
        self, model: Kinematics | None, encoder: Encoder, config: RetrievalConfig | None = None
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.config = config or RetrievalConfig()

    def start(
        self,
        bank: DemoBank | Sequence[Demonstration],
        instruction: str,
        action_space: ActionSpace,
    ) -> Episode:
        """Read the demonstrations of ``instruction`` and begin."""
        shown, action_space, other_way = self._as_shown(
            find_shown(bank, instruction, self.encoder), action_space
        )
        hands = read_hands(shown, self.encoder, action_space.effectors)
        if self.model is None:  # nobody has left the robot out of the pictures
            hands = {e: [c.without_robot() for c in contexts] for e, contexts in hands.items()}
        episodes = [
            self.episode_type(self, contexts, action_space, e) for e, contexts in hands.items()
        ]
        for episode in episodes:
            episode.colours_alone = not measures_depth(bank)
            episode.other_way = other_way
            episode.pace = pace_between(instruction, shown[0].demonstration.instruction)
        table = table_height(episodes[0].contexts)
        if isinstance(self.model, RobotModel) and table is not None:
            body = Body(self.model, np.asarray(self.model.neutral)[None])
            episodes[0].cameras = CameraCheck(body, table)
        return episodes[0] if len(episodes) == 1 else HandsEpisode(episodes)

    def _as_shown(
        self, shown: Sequence[Shown], space: ActionSpace
    ) -> tuple[Sequence[Shown], ActionSpace, tuple[str, ...]]:
        """What was shown and what numbers mean, where these run the other way than described."""
        names = turned_numbers(space, [s.demonstration for s in shown])
        if not names:
            return shown, space, names
        meant = space.turned(names)
        again = [
            replace(s, demonstration=read_as(meant, s.demonstration, self.model))
            if s.demonstration.action_space.dimensions == space.dimensions
            else s
            for s in shown
        ]
        return again, meant, names


class RetrievalEpisode(ABC):
    """One attempt with one hand; a subclass chooses the motion.

    Attributes:
        hands: All hands that act together, this one among them.
        ends: Where things will have been brought; None where that has to be asked again.
        others: The same demonstrations as the robot's other hands saw them, if they took part.
        pace: In terms of the demonstrated one, as words ask for; times are told by a clock that
            goes so much faster.
        other_way: Dimensions that run the other way than described, as demonstrations show.
        cameras: Tells where cameras are that were knocked; None where nobody can.
        stuck: Whether this hand stands still for longer than any demonstration does.
        colours_alone: Whether depth is guessed on the robot even where it is measured, because it
            was for the demonstrations: what is wrong in both alike does no harm.
    """

    def __init__(
        self,
        policy: RetrievalPolicy,
        contexts: Sequence[DemoContext],
        action_space: ActionSpace,
        effector: str,
    ) -> None:
        self.policy = policy
        self.contexts = Demonstrations(contexts)
        self.others: dict[str, list[DemoContext]] = {}
        self.colours_alone = False
        self.other_way: tuple[str, ...] = ()
        self.pace = 1.0
        self.cameras: CameraCheck | None = None
        beforehand(self.contexts, policy.config.radius)
        self.distance = DistanceToDemonstrations.between(self.contexts, policy.config.radius)
        self.action_space = action_space
        self.effector = effector
        self.memory = SceneMemory()
        self.tracker = PhaseTracker([len(c) for c in contexts])
        self.correspondence: Correspondence | None = None
        self.tokens: TrackedTokens | None = None
        self._last_time: float | None = None
        self._measurements: list[list[float]] = []  # time, place, opening and the one commanded
        self._last: ActionChunk | None = None
        self._index: NDArray[np.int64] | None = None
        self._again = 0
        self._leader: int | None = None
        self.ends: Sequence[End] | None = None
        self.hands: Sequence[RetrievalEpisode] = [self]
        self._past = Past()
        self._standing = Standing()
        self._longest_stand = max((c.longest_stand for c in self.contexts), default=0.0)
        self.stuck = False
        self.unlike = 0.0
        self._farthest = 0.0  # from the demonstrations, so far

    def act(self, observation: Observation) -> ActionChunk:
        """Perceive, find the moment, and let the subclass choose the motion."""
        self.check(observation)
        self.see(self.look(observation))
        return self.reached(lambda: self._act(observation))

    def _act(self, observation: Observation) -> ActionChunk:
        pointers, weights = self.follow(self.pace * observation.time, self.costs(observation))
        return self.move(observation, pointers, weights)

    def reached(self, answer: Callable[[], ActionChunk]) -> ActionChunk:
        """An answer; where it says "done" and the goal was missed, another one that begins again.

        At most :data:`_AGAIN` times. Then what was missed is first seen where it is now.
        """
        chunk = answer()
        if not chunk.done:
            return chunk
        missed = self._missed()
        if missed and self._again < _AGAIN:
            self._again += 1
            self._begin_again(missed)
            chunk = answer()
        most = max(missed.values(), default=0.0)
        return replace(chunk, trace={**chunk.trace, "missed": most})

    def _missed(self) -> dict[int, float]:
        """Things that are not where, or how, demonstrations left them, and how much too far [m]."""
        assert self.tokens is not None and self.correspondence is not None
        shared = self.correspondence.shared()
        missed = dict.fromkeys(shared, 0.0)
        for pair, off in enumerate(self.goal.missed(self.tokens.now.middles[shared]).tolist()):
            for i in self.goal.about(pair):
                missed[shared[i]] = max(missed[shared[i]], off)
        for m in [m for m in shared if m < self.correspondence.begun]:
            form = Form.of(self.contexts, self.correspondence.index[:, m])
            X, known = self.correspondence.carried(self.tokens, m)
            if form is not None and known.any():
                missed[m] = max(missed[m], form.missed(self.tokens.shown[m], X, known))
        return {m: off for m, off in missed.items() if off > 0}

    def _begin_again(self, missed: Collection[int]) -> None:
        """Begin again, with what was missed if that is a part of the task."""
        assert self.correspondence is not None
        shared = self.correspondence.shared()
        columns = [shared.index(m) for m in missed]
        part = part_about(self.contexts, self.correspondence.index[:, shared], columns)
        again = None if part is None else missed
        self.tracker.restart(part)
        self.tokens = self.memory.anchor(again)
        self.correspondence.turn(self.tokens)
        for hand in self.hands:
            hand.begin_again(again)

    def begin_again(self, things: Collection[int] | None = None) -> None:
        """Forget what has been done to some things, or to all."""
        if things is None:
            self._past = Past()
        else:
            self._past.forget(things)
        self._leader, self.ends = None, None
        self._standing = Standing()

    def look(self, observation: Observation) -> TrackedTokens:
        """What is seen, as far as it is followed."""
        if self.colours_alone:
            cameras = {n: replace(c, depth=None) for n, c in observation.cameras.items()}
            observation = replace(observation, cameras=cameras)
        elif self.cameras is not None:
            observation = self.cameras(observation)
        return self.memory.look(self.policy.encoder, observation)

    def check(self, observation: Observation) -> None:
        """Refuse what a hand cannot be moved by.

        Raises:
            ReportedError: There are no joint positions, or no measured pose where kinematics are
                not known, or no opening of a gripper.
        """
        needed = ["q" if self.policy.model is not None else f"poses.{self.effector}"]
        if grips(self.action_space, self.effector):
            needed.append(f"effectors.{self.effector}.gripper")
        missing = [channel for channel in needed if not observation.has(channel)]
        if missing:
            raise ReportedError(
                "an observation lacks what the policy needs",
                where=f"observation at {observation.time:.2f} s",
                value=missing,
                valid=needed,
            )

    def see(self, tokens: TrackedTokens) -> None:
        """Take in the scene, and find its things in the demonstrations."""
        self.tokens = tokens
        if self.correspondence is None:
            self.correspondence = Correspondence(self.contexts, tokens)
        self.correspondence.extend(tokens)

    def follow(self, time: float, costs: Sequence[Array]) -> tuple[NDArray[np.int64], Array]:
        """Frames ``(K,)`` of the demonstrations that are like now, and weights ``(K,)``.

        Args:
            time: By the demonstrations' pace [s].
            costs: Of each demonstration, as of :meth:`costs`.
        """
        advance = 0
        if self._last_time is not None:
            advance = round((time - self._last_time) * self.action_space.rate)
        self._last_time = time
        onward = all(hand.stuck for hand in self.hands)
        pointers = self.tracker.update([c[0] for c in costs], advance, onward=onward)
        self.unlike = min(float(c[1, t]) for c, t in zip(costs, pointers, strict=True))
        least = self.tracker.costs + self.tracker.strayed
        weights = several(least, self.policy.config.temperature)
        astray = np.any([end.astray for end in self._ends()], axis=0)
        weights = weights * np.where(astray, _DOUBTED, 1.0)
        return pointers, self._of_one_order(weights)

    def _of_one_order(self, weights: Array) -> Array:
        """Weights ``(K,)`` of those that do the same things in the same order, most of them.

        What was begun is kept to: between two orders a hand would go nowhere.
        """
        alike = self.alignment.alike
        support = alike @ weights
        if self._leader is not None:
            support = support * (1 + alike[self._leader])
        self._leader = int(np.argmax(support))
        weights = weights * alike[self._leader]
        return np.asarray(weights / weights.sum())

    def move(
        self, observation: Observation, pointers: NDArray[np.int64], weights: Array
    ) -> ActionChunk:
        """This hand's motion."""
        self._poses = self._measured(observation)
        tcp, opening = self._poses[self.effector], self._opening(observation)
        return self._chunk(observation, tcp, opening, pointers, weights)

    def frames(self, pointers: NDArray[np.int64], tcp: Array) -> Iterator[FrameVotes]:
        """All candidate frames now; the other hands are frames, too."""
        assert self.tokens is not None and self.correspondence is not None
        yield from frames_now(
            self.contexts, pointers, tcp, self.tokens, self.correspondence, self._ends()
        )
        for name, contexts in self.others.items():
            yield from hand_frames(name, contexts, pointers, self._poses[name])

    def _ends(self) -> Sequence[End]:
        assert self.tokens is not None and self.correspondence is not None
        if self.ends is None:
            self.ends = foreseen(self.contexts, self.tokens, self.correspondence)
        return self.ends

    def costs(self, observation: Observation) -> list[Array]:
        """How unlike the present each frame of each demonstration is: ``(2, T_k)`` each.

        First by what matters at each frame, which tells the moment; then by everything alike, which
        tells how familiar it is.
        """
        assert self.tokens is not None and self.correspondence is not None
        poses = self._measured(observation)
        shared = self.correspondence.shared()
        index = self.correspondence.index[:, shared]
        if self._index is None or not np.array_equal(index, self._index):
            self._index = index
            self.alignment = Alignment.of(self.contexts, index, self.policy.config.radius)
            self.goal = Goal.of(self.contexts, index)
            self.tracker.lay_beside(self.alignment.beside, self.alignment.unlike)
            self.ends = None
        hands = [poses[name][:3, 3] for name in self.others]
        places = np.vstack([self.tokens.now.positions[shared], *hands])
        tcp, first = poses[self.effector], self.tokens.first.middles
        time = self.pace * observation.time
        stood = self._standing.by(time, tcp, self._opening(observation))
        self.stuck = stood > _LONGER + self._longest_stand
        past = self._past.with_(self.tokens.now.middles, first, tcp[:3, 3])[shared]
        now = Compared.now(places[None], tcp[None], self._doing(observation), past[None])
        return [c[:, 0] for c in self.alignment.costs(now, self.policy.config.radius)]

    def _doing(self, observation: Observation) -> Doing:
        """By what was measured so far, and by what the last chunk told the gripper."""
        now, opening = self.pace * observation.time, self._opening(observation)
        told = opening
        if self._last is not None:
            due = round((observation.time - self._last.time) / self._last.dt) - 1
            commanded = self._last.grippers[self.effector]
            told = float(commanded[np.clip(due, 0, len(commanded) - 1)])
        place = self._measured(observation)[self.effector][:3, 3]
        if not self._measurements or self._measurements[-1][0] < now:  # else it is asked again
            self._measurements.append([now, *place, opening, told])
        while len(self._measurements) > 2 and self._measurements[1][0] <= now - LATELY:
            del self._measurements[0]
        times, x, y, z, openings, commanded = np.array(self._measurements).T
        commanded = np.append(commanded[1:], opening)  # each was due one look later
        places = np.column_stack([x, y, z])
        return Doing.along(times, places, openings, commanded).at(slice(-1, None))

    def _knocked(self) -> dict[str, tuple[float, float]]:
        """Camera -> how far it is from where it was calibrated [m], and by how much turned."""
        moved = {} if self.cameras is None else self.cameras.moved
        return {name: (camera.shift, camera.turn) for name, camera in moved.items()}

    def _measured(self, observation: Observation) -> dict[str, Array]:
        if self.policy.model is None:
            return dict(observation.poses)
        assert observation.q is not None
        return self.policy.model.poses(observation.q)

    def _opening(self, observation: Observation) -> float:
        if not observation.has(f"effectors.{self.effector}.gripper"):
            return OPEN
        return float(observation.effectors[self.effector].gripper or 0.0)

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
        trace: Trace,
        spread: Array | None = None,
    ) -> ActionChunk:
        """Wrap poses ``(H, 4, 4)`` and openings ``(H,)`` with their provenance."""
        costs = self.tracker.costs
        assert self.correspondence is not None
        shared = len(self.correspondence.shared())
        self._farthest = max(self._farthest, float(self.distance(self.unlike, shared)))
        neighbours = tuple(
            Neighbour(c.episode, int(t), float(d), float(w), float(t / max(len(c) - 1, 1)))
            for c, t, d, w in zip(self.contexts, pointers, costs, weights, strict=True)
        )
        at_end = pointers >= self.tracker.ends - 2
        done = bool(weights[at_end].sum() > 0.5)
        # in the end the attempt is judged as a whole, by where it was least like them
        if done:
            confidence = self.distance.of_attempt(self._farthest)
        else:
            confidence = self.distance.confidence(self.unlike, shared)
        poses, towards = at_pace(tcp, poses, self.pace)
        gripper = gripper[towards]
        spread = None if spread is None else spread[towards]
        dt, twists = 1 / self.action_space.rate, None
        if self.effector == BASE:
            poses, twists = drivable(tcp, poses, dt, sideways=slides(self.action_space))
        chunk = ActionChunk.from_poses(
            observation.time,
            dt,
            {self.effector: tcp},
            {self.effector: poses},
            grippers={self.effector: gripper},
            base_twists=twists,
            spread={} if spread is None else {self.effector: spread},
            confidence=np.full(len(gripper), confidence),
            neighbours=neighbours,
            trace={
                **self._things(pointers),
                "other_way": self.other_way,
                "knocked": self._knocked(),
                **trace,
            },
            done=done,
        )
        self._last = chunk
        return self.encoded(chunk, observation)

    def _things(self, pointers: NDArray[np.int64]) -> Trace:
        """What is seen, and where the demonstrations had it."""
        assert self.tokens is not None and self.correspondence is not None
        then = np.full((*self.correspondence.index.shape, 3), np.nan)
        matches = zip(then, self.contexts, pointers, self.correspondence.index, strict=True)
        for row, context, t, index in matches:
            known = index >= 0
            row[known] = context.tokens[t, index[known]]
        return {
            "tokens": self.tokens.now.positions,
            "shared_tokens": self.correspondence.shared(),
            "tokens_then": then,
        }

    def encoded(self, chunk: ActionChunk, observation: Observation) -> ActionChunk:
        """With the numbers of the action space; hands that the chunk leaves out stay."""
        openings = {e: s.gripper for e, s in observation.effectors.items() if s.gripper is not None}
        state = SpaceState(poses=self._measured(observation), q=observation.q, grippers=openings)
        native = self.action_space.encode(chunk.targets, state, self.policy.model)
        return replace(chunk, native=self.action_space.clip(native))


def beforehand(contexts: Demonstrations, radius: float) -> None:
    """Find out what demonstrations tell of each other, about the things that most of them have.

    The scene is expected to have these, too, or at least those that hands tell of; where it has
    others, the first look takes longer.
    """
    if len(contexts) < ENOUGH:
        return
    index, told = one_thing(contexts)
    shared = shared_tokens(index)
    for m in shared:
        Form.of(contexts, index[:, m])
    for some in (shared, [m for m in shared if told[m] > 0]):
        if some:
            Alignment.of(contexts, index[:, some], radius)


def several(costs: Array, temperature: float) -> Array:
    """Weights ``(K,)`` that fall with the cost, but not so that hardly anyone is left.

    On the way to a thing every demonstration is unlike the present, and the one that is least so by
    chance knows no better than the others. What they have in common shows only in
    :data:`ENOUGH` of them, so the temperature is raised until as many have a say.

    Args:
        costs: ``(K,)``.
        temperature: Difference by which a weight falls to 1/e, at least.
    """
    needed = min(ENOUGH, 0.5 * len(costs))
    off = costs - costs.min()

    def weights(temperature: float) -> Array:
        each = np.exp(-off / temperature)
        return np.asarray(each / each.sum())

    def say(temperature: float) -> float:
        return float(1 / (weights(temperature) ** 2).sum())

    low, high = temperature, max(temperature, 20 * off.max(initial=0.0))
    if say(low) >= needed:
        return weights(low)
    for _ in range(20):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if say(middle) < needed else (low, middle)
    return weights(high)


class HandsEpisode:
    """One attempt with several hands: one eye, one phase, and a motion of each hand.

    Args:
        hands: The same demonstrations as each hand saw them.
    """

    def __init__(self, hands: Sequence[RetrievalEpisode]) -> None:
        self.hands = list(hands)
        self.lead = self.hands[0]
        config = self.lead.policy.config
        contexts = {hand.effector: hand.contexts for hand in self.hands}
        for hand in self.hands:
            hand.others = {e: c for e, c in contexts.items() if e != hand.effector}
            hand.tracker, hand.hands = self.lead.tracker, self.hands
        distance = DistanceToDemonstrations.between(
            self.lead.contexts, config.radius, [hand.contexts for hand in self.hands[1:]]
        )
        for hand in self.hands:
            hand.distance = distance

    def act(self, observation: Observation) -> ActionChunk:
        """See :meth:`RetrievalEpisode.act`."""
        lead = self.lead
        for hand in self.hands:
            hand.check(observation)
        lead.see(lead.look(observation))
        return lead.reached(lambda: self._act(observation))

    def _act(self, observation: Observation) -> ActionChunk:
        lead = self.lead
        for hand in self.hands:
            hand.tokens, hand.correspondence = lead.tokens, lead.correspondence
        every = [hand.costs(observation) for hand in self.hands]
        costs = [np.sum(of_one, axis=0) for of_one in zip(*every, strict=True)]
        pointers, weights = lead.follow(lead.pace * observation.time, costs)
        for hand in self.hands:
            hand.unlike = lead.unlike
        chunks = [hand.move(observation, pointers, weights) for hand in self.hands]
        shares = {
            key: {
                f"{hand.effector}: {name}": share / len(chunks)
                for hand, chunk in zip(self.hands, chunks, strict=True)
                for name, share in chunk.trace[key].items()
            }
            for key in ("frames", "agreement")
            if key in chunks[0].trace
        }
        together = replace(
            chunks[0],
            start={e: T for c in chunks for e, T in c.start.items()},
            motions={e: T for c in chunks for e, T in c.motions.items()},
            grippers={e: x for c in chunks for e, x in c.grippers.items()},
            spread={e: x for c in chunks for e, x in c.spread.items()},
            trace={**chunks[0].trace, **shares},
        )
        return lead.encoded(together, observation)


def grips(space: ActionSpace, effector: str) -> bool:
    """Whether actions open and close a gripper there."""
    return any(d.kind is Kind.GRIPPER and d.effector == effector for d in space.dimensions)


def table_height(contexts: Sequence[DemoContext]) -> float | None:
    """Where things stood in demonstrations, in the base frame [m]; None where there were none."""
    lowest = [np.quantile(c.clouds[..., 2].min(axis=1), 0.25) for c in contexts if c.clouds.size]
    return float(np.median(lowest)) if lowest else None


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
