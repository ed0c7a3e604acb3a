"""Training examples: moments of random tasks, and what an operator would have done there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval.phase import PhaseTracker

from ..perception.memory import TrackedTokens
from ..policy.alignment import Alignment
from ..policy.context import DemoContext
from ..policy.doing import Doing, Past
from ..policy.frames import Correspondence
from ..policy.likeness import Compared
from ..policy.moment import Moment, moment_of
from ..policy.retrieval import RetrievalConfig
from .programs import FAMILIES
from .rollout import RATE, Job, Rollout, World, roll_out
from .sensing import Seen, Sight, context, poses, see

if TYPE_CHECKING:
    from ..policy.relational import IclVlaPolicy

_TOGETHER = 12  # tasks that are rolled out side by side
_SOON = 2  # frames to the end from which on a task counts as done


@dataclass(frozen=True)
class Example:
    """A moment and its answer.

    Attributes:
        moment: What is known.
        poses: ``(H, 4, 4)`` that the operator commanded.
        gripper: ``(H,)``.
        done: Whether nothing is left to do.
        right: Whether most demonstrations are of this task.
        family: Of the task.
    """

    moment: Moment
    poses: Array
    gripper: Array
    done: float
    right: float
    family: str


@dataclass(frozen=True)
class Mixture:
    """What examples are drawn from.

    Attributes:
        families: Family -> its share.
        demonstrations: At most; how many there are is drawn from 1 on.
        queries: Scenes tried with the same demonstrations.
        every: Steps between two looks.
        wrong: Share of tasks whose demonstrations are all of another task.
        strays: Share of demonstrations, in other tasks, that are of another task or idle.
        kept: Share of the moments that become examples: many tasks teach more than many moments.
        practised: Share of tasks in which a network acts, where there is one.
        horizon: Steps of an answer.
    """

    families: dict[str, float]
    demonstrations: int = 10
    queries: int = 3
    every: int = 4
    wrong: float = 0.08
    strays: float = 0.03
    kept: float = 0.5
    practised: float = 0.0
    horizon: int = 8


def examples(mixture: Mixture, seed: int, network: IclVlaPolicy | None = None) -> Iterator[Example]:
    """Endless; the same for the same seed and the same network, which acts in some scenes."""
    rng = np.random.default_rng(seed)
    names = list(mixture.families)
    share = np.array([mixture.families[n] for n in names], dtype=float)
    while True:
        drawn = rng.choice(len(names), _TOGETHER, p=share / share.sum())
        yield from task_examples([names[i] for i in drawn], mixture, rng, network)


def task_examples(
    families: Sequence[str],
    mixture: Mixture,
    rng: np.random.Generator,
    network: IclVlaPolicy | None = None,
) -> Iterator[Example]:
    """Examples of random tasks, one of each family that is named."""
    K = mixture.demonstrations
    shown = [_task(family, mixture, rng, network) for family in families]
    rollouts = roll_out([task.job for task in shown], rng)
    for family, task, rollout in zip(families, shown, rollouts, strict=True):
        contexts = _contexts(task, rollout, K, rng)
        right = 1.0
        if rng.random() < mixture.wrong:
            other = _task(str(rng.choice([f for f in FAMILIES if f != family])), mixture, rng)
            job = replace(other.job, world=task.job.world, queries=0)
            (elsewhere,) = roll_out([job], rng)
            contexts, right = _contexts(replace(other, job=job), elsewhere, K, rng), 0.0
        for k in np.flatnonzero(rng.random(K) < mixture.strays):
            contexts[k] = _idle(contexts[k]) if rng.random() < 0.5 else _elsewhere(contexts[k], rng)
        for answered in _answered(task, rollout, contexts, mixture, rng, network):
            yield Example(*answered, right=right, family=family)


@dataclass(frozen=True)
class _Task:
    job: Job
    sight: Sight


def _task(
    family: str, mixture: Mixture, rng: np.random.Generator, network: IclVlaPolicy | None = None
) -> _Task:
    """A random one; without queries, the network acts."""
    program = FAMILIES[family](rng)
    practised = network is not None and rng.random() < mixture.practised
    queries = 0 if practised else mixture.queries
    job = Job(program, _world(rng), mixture.demonstrations, queries)
    return _Task(job, Sight.draw(program, rng))


def _answered(
    task: _Task,
    rollout: Rollout,
    contexts: list[DemoContext],
    mixture: Mixture,
    rng: np.random.Generator,
    network: IclVlaPolicy | None,
) -> Iterator[tuple[Moment, Array, Array, float]]:
    """Moments of a task's queries, or of the network's own tries, and what is right there."""
    job, sight, K = task.job, task.sight, len(contexts)
    if not job.queries:
        from .practice import practise

        assert network is not None
        known = [contexts[k] for k in rng.permutation(K)[: _how_many(K, rng)]]
        job = replace(job, demonstrations=0, queries=mixture.queries)
        for answered in practise(job, sight, known, network, mixture.every, rng):
            if rng.random() < mixture.kept:
                yield answered
        return
    for n in range(K, len(job)):
        known = [contexts[k] for k in rng.permutation(K)[: _how_many(K, rng)]]
        seen = see(rollout, n, job.world, sight, rng)
        yield from _along(rollout, n, seen, sight, known, mixture, rng)


def _how_many(most: int, rng: np.random.Generator) -> int:
    """Usually many; one or two now and then."""
    return most if rng.random() < 0.4 else int(rng.integers(1, most + 1))


def _world(rng: np.random.Generator) -> World:
    scale = float(rng.uniform(0.8, 1.25))
    others = tuple(
        (float(s), float(s), float(s)) for s in rng.uniform(0.8, 1.3, int(rng.integers(1, 4)))
    )
    return World(0.04 * scale, (0.158 * scale, 0.25 * scale), others)


def _contexts(
    task: _Task, rollout: Rollout, count: int, rng: np.random.Generator
) -> list[DemoContext]:
    world, sight = task.job.world, task.sight
    return [context(rollout, n, see(rollout, n, world, sight, rng), sight, n) for n in range(count)]


def _idle(shown: DemoContext) -> DemoContext:
    """A demonstration in which nothing is done."""
    still = np.broadcast_to(shown.tcp[0], shown.tcp.shape)
    return replace(
        shown,
        tcp=still,
        commands=still,
        opening=np.full_like(shown.opening, shown.opening[0]),
        gripper=np.full_like(shown.gripper, shown.gripper[0]),
        tokens=np.broadcast_to(shown.tokens[0], shown.tokens.shape),
    )


def _elsewhere(shown: DemoContext, rng: np.random.Generator) -> DemoContext:
    """A demonstration whose motion has nothing to do with its things: another scene's."""
    away = se3.pose(se3.yaw(float(rng.uniform(-np.pi, np.pi))), rng.normal(0, 0.08, 3) * [1, 1, 0])
    middle = se3.pose(p=shown.tcp[0, :3, 3])
    X = middle @ away @ se3.inverse(middle)
    return replace(shown, tcp=X @ shown.tcp, commands=X @ shown.commands)


def _along(
    rollout: Rollout,
    n: int,
    seen: Seen,
    sight: Sight,
    contexts: list[DemoContext],
    mixture: Mixture,
    rng: np.random.Generator,
) -> Iterator[tuple[Moment, Array, Array, float]]:
    """Moments of a query's scene, tracked as an episode tracks them."""
    T, H = len(seen.positions), mixture.horizon
    tcp, opening = poses(rollout.hand[:T, n], sight), rollout.opening[:T, n]
    commands, gripper = poses(rollout.command[:T, n], sight), rollout.gripper[:T, n]
    watch = Watch(contexts, H, seen.tracked(0))
    steps = np.where(rng.random(T) < 0.8, mixture.every, rng.integers(1, 6, T))
    times = np.cumsum(np.append(0, steps))
    times = times[times < T]
    kept = rng.random(len(times)) < mixture.kept
    doing = Doing.along(np.arange(T) / RATE, tcp[:, :3, 3], opening, gripper)
    costs = watch.costs(seen.positions[times], tcp[times], doing.at(times))
    for i, t in enumerate(times):
        watch.go_on(int(t), [cost[i] for cost in costs])
        if kept[i] and not rollout.struck[t + 1 : t + H, n].any():
            ahead = np.minimum(np.arange(t, t + H), T - 1)
            moment = watch.moment(seen.tracked(t), tcp[t], float(opening[t]))
            yield moment, commands[ahead], gripper[ahead], float(t >= T - _SOON)


class Watch:
    """Follows one scene with phase pointers, as an episode does.

    Args:
        contexts: Demonstrations.
        horizon: Steps of motion to read.
        tokens: Of the scene's beginning.
    """

    def __init__(
        self, contexts: Sequence[DemoContext], horizon: int, tokens: TrackedTokens
    ) -> None:
        self._contexts, self._horizon, self._config = contexts, horizon, RetrievalConfig()
        self._tracker = PhaseTracker([len(c) for c in contexts])
        self._correspondence = Correspondence(contexts, tokens)
        index = self._correspondence.index[:, self._correspondence.shared()]
        self._alignment = Alignment.of(contexts, index, self._config.radius)
        self._tracker.lay_beside(self._alignment.beside, self._alignment.unlike)
        self._first, self._past = tokens.first.positions, Past()
        self._pointers = np.zeros(len(contexts), dtype=int)
        self._last = 0

    def costs(self, places: Array, tcp: Array, doing: Doing) -> list[Array]:
        """How unlike ``T`` moments each demonstration's frames are: ``(T, T_k)`` each.

        They follow on those that were asked for before.

        Args:
            places: ``(T, M, 3)`` of the tokens.
            tcp: ``(T, 4, 4)``.
            doing: At these moments.
        """
        shared = self._correspondence.shared()
        hand = tcp[:, :3, 3]
        rows = zip(places, hand, strict=True)
        past = np.stack([self._past.with_(p, self._first, h) for p, h in rows])
        now = Compared.now(places[:, shared], tcp, doing, past[:, shared])
        return [c[0] for c in self._alignment.costs(now, self._config.radius)]

    def go_on(self, t: int, costs: Sequence[Array]) -> None:
        """Move the pointers to frame ``t``, whose costs are ``(T_k,)`` each."""
        self._pointers = self._tracker.update(costs, t - self._last)
        self._last = t

    def moment(self, tokens: TrackedTokens, tcp: Array, opening: float) -> Moment:
        """The moment that the pointers are at, with the hand at ``tcp`` ``(4, 4)``."""
        least = self._tracker.costs + self._tracker.strayed
        weights = np.exp(-(least - least.min()) / self._config.temperature)
        return moment_of(
            self._contexts, self._pointers, weights / weights.sum(), self._tracker.costs, tcp,
            opening, tokens, self._correspondence, self._horizon,
        )  # fmt: skip
