"""Training examples: moments of random tasks, and what an operator would have done there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval.phase import PhaseTracker

from ..policy.context import DemoContext
from ..policy.frames import Correspondence
from ..policy.moment import Moment, moment_of
from ..policy.retrieval import RetrievalConfig, moment_costs
from .programs import FAMILIES, Program
from .rollout import Rollout, World, roll_out
from .sensing import Seen, Sight, context, poses, see

if TYPE_CHECKING:
    from ..policy.relational import IclVlaPolicy

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
        family = names[int(rng.choice(len(names), p=share / share.sum()))]
        yield from task_examples(family, mixture, rng, network)


def task_examples(
    family: str,
    mixture: Mixture,
    rng: np.random.Generator,
    network: IclVlaPolicy | None = None,
) -> Iterator[Example]:
    """Examples of one random task."""
    program = FAMILIES[family](rng)
    world = _world(rng)
    sight = Sight.draw(program, rng)
    K = mixture.demonstrations
    practised = network is not None and rng.random() < mixture.practised
    rollout = roll_out(program, world, rng, K, 0 if practised else mixture.queries)
    count = rollout.hand.shape[1]
    seen = [see(rollout, n, world, sight, rng) for n in range(count)]
    contexts = [context(rollout, n, seen[n], sight, n) for n in range(K)]
    right = 1.0
    if rng.random() < mixture.wrong:
        other = FAMILIES[str(rng.choice([f for f in FAMILIES if f != family]))](rng)
        contexts, right = _contexts(other, world, rng, K), 0.0
    for k in np.flatnonzero(rng.random(K) < mixture.strays):
        contexts[k] = _idle(contexts[k]) if rng.random() < 0.5 else _elsewhere(contexts[k], rng)
    if practised:
        from .practice import practise

        assert network is not None
        known = [contexts[k] for k in rng.permutation(K)[: _how_many(K, rng)]]
        for answered in practise(
            program, world, sight, known, network, mixture.queries, mixture.every, rng
        ):
            if rng.random() < mixture.kept:
                yield Example(*answered, right=right, family=family)
        return
    for n in range(K, count):
        known = [contexts[k] for k in rng.permutation(K)[: _how_many(K, rng)]]
        for answered in _along(rollout, n, seen[n], sight, known, mixture, rng):
            yield Example(*answered, right=right, family=family)


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
    program: Program, world: World, rng: np.random.Generator, count: int
) -> list[DemoContext]:
    sight = Sight.draw(program, rng)
    rollout = roll_out(program, world, rng, count, 0)
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
    watch = Watch(contexts, H)
    t = 0
    while t < T:
        moment = watch.look(t, seen, tcp[t], float(opening[t]))
        if rng.random() < mixture.kept and not rollout.struck[t + 1 : t + H, n].any():
            ahead = np.minimum(np.arange(t, t + H), T - 1)
            yield moment, commands[ahead], gripper[ahead], float(t >= T - _SOON)
        t += mixture.every if rng.random() < 0.8 else int(rng.integers(1, 6))


class Watch:
    """Follows one scene with phase pointers, as an episode does.

    Args:
        contexts: Demonstrations.
        horizon: Steps of motion to read.
    """

    def __init__(self, contexts: Sequence[DemoContext], horizon: int) -> None:
        self._contexts, self._horizon, self._config = contexts, horizon, RetrievalConfig()
        self._tracker = PhaseTracker([len(c) for c in contexts])
        self._correspondence: Correspondence | None = None
        self._last = 0

    def look(self, t: int, seen: Seen, tcp: Array, opening: float) -> Moment:
        """The moment at frame ``t``, with the hand at ``tcp`` ``(4, 4)``."""
        tokens, config = seen.tracked(t), self._config
        if self._correspondence is None:
            self._correspondence = Correspondence(self._contexts, tokens)
        shared, index = self._correspondence.shared(), self._correspondence.index
        places, hand, grip = seen.positions[None, t, shared], tcp[None], np.array([opening])
        costs = [
            moment_costs(places, hand, grip, c, index[k, shared], config.radius)[0]
            for k, c in enumerate(self._contexts)
        ]
        pointers = self._tracker.update(costs, t - self._last)
        self._last = t
        least = self._tracker.costs
        weights = np.exp(-(least - least.min()) / config.temperature)
        weights /= weights.sum()
        return moment_of(
            self._contexts, pointers, weights, least, tcp, opening, tokens,
            self._correspondence, self._horizon,
        )  # fmt: skip
