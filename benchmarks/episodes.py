"""Episodes for the benchmarks of retrieval: recorded in simulation, and many made from those.

Recorded sets hold the truth about phase that a demonstration itself does not tell: the operator's
stage and how far it still had to go in it, from playing its seed again (physics is deterministic).

Synthetic tasks and episodes come from the recorded ones by a stated recipe, on scene tokens and
poses, before keys are made of them: another palette for each task (colour channels permuted and
scaled), and for each episode a turned and shifted scene, things displaced by 1 cm, features off by
5%, a hand that wanders smoothly by 6 mm, and a pace that drifts between 0.4 and 2 times the
demonstrated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from icl_vla.paths import bank_path
from icl_vla.policy.context import DemoContext, read_context
from icl_vla.runtime.record import record_episode
from icl_vla.sim.recording import OPERATOR_SEED, record_demonstrations
from icl_vla.sim.workcell import Workcell
from icl_vla_embodiments import se3
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import DemoBank

ROBOT = "panda"
TASKS = ("pick-place", "push")
DEVELOPMENT, HELD_OUT = 100, 600  # first seeds of the set to choose constants by, and to report by


@dataclass(frozen=True)
class Recorded:
    """A recorded demonstration of ``T`` frames and the operator's own idea of where it was.

    Attributes:
        context: What the policy reads of it.
        stage: ``(T,)`` index of the operator's stage.
        to_go: ``(T,)`` way left to the stage's goal [m].
    """

    context: DemoContext
    stage: np.ndarray
    to_go: np.ndarray


def recorded(home: Path, task: str, seeds: range) -> list[Recorded]:
    """Demonstrations of some seeds, recorded if ``home`` lacks them."""
    store = EmbodimentStore(home)
    if ROBOT not in store.names():
        import pybullet_data

        urdf = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
        store.add(embodiment_from_urdf(urdf))
    done = record_demonstrations(home, ROBOT, task, seeds)
    bank = DemoBank.open(bank_path(home, ROBOT))
    cell = Workcell.build(store, ROBOT, task)
    assert cell.task is not None
    every = read_context(
        bank, cell.task.instruction, cell.encoder, cell.workspace.effector, limit=len(bank)
    )
    contexts = {c.episode: c for c in every}
    return [_with_truth(cell, contexts[d.episode], d.seed) for d in done]


def _with_truth(cell: Workcell, context: DemoContext, seed: int) -> Recorded:
    """Play the operator's seed again and note its stages."""
    assert cell.task is not None
    cell.reset(seed)
    operator = cell.task.expert(cell.workspace, np.random.default_rng([OPERATOR_SEED, seed]))
    stage, to_go = [], []

    def act(observation):
        now = operator.stage
        target = operator.act(cell.driver, observation)
        if target is not None:
            goal = operator.stages[now].goal(cell.driver)
            hand = cell.driver.model.poses(observation.q)[operator.effector]
            stage.append(now)
            to_go.append(np.linalg.norm(goal[:3, 3] - hand[:3, 3]))
        return target

    again = record_episode(
        cell.driver,
        cell.model,
        cell.controller,
        act,
        cell.embodiment.action_space(),
        instruction="",
        embodiment=ROBOT,
    )
    if len(again) != len(context) or not np.allclose(
        again.poses[operator.effector], context.tcp, atol=1e-5
    ):
        raise RuntimeError(f"seed {seed} plays differently than it was recorded")
    return Recorded(context, np.array(stage), np.array(to_go))


def aligned(a: Recorded, b: Recorded) -> tuple[np.ndarray, np.ndarray]:
    """First and last frame of ``b`` that is the moment of each frame of ``a``: ``(T_a,)`` each.

    Dynamic time warping on the operator's stage, the way left in it and, where it waits, the share
    of the stage; none of these enters a retrieval key.
    """
    share_a, share_b = (_share(r.stage) for r in (a, b))
    cost = 10.0 * (a.stage[:, None] != b.stage[None])
    cost = cost + np.abs(a.to_go[:, None] - b.to_go[None]) / 0.05
    cost += 0.5 * np.abs(share_a[:, None] - share_b[None])
    total = np.full((cost.shape[0] + 1, cost.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i, j in np.ndindex(*cost.shape):
        total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    first, last = np.full(len(cost), cost.shape[1]), np.full(len(cost), -1)
    i, j = cost.shape[0] - 1, cost.shape[1] - 1
    while i >= 0 and j >= 0:
        first[i], last[i] = min(first[i], j), max(last[i], j)
        steps = [(total[i, j], -1, -1), (total[i, j + 1], -1, 0), (total[i + 1, j], 0, -1)]
        _, di, dj = min(steps, key=lambda s: s[0])
        i, j = i + di, j + dj
    return first, last


def _share(stage: np.ndarray) -> np.ndarray:
    """How much of its stage has passed at each frame, 0 to 1."""
    share = np.zeros(len(stage))
    for s in np.unique(stage):
        frames = np.flatnonzero(stage == s)
        share[frames] = (np.arange(len(frames)) + 0.5) / len(frames)
    return share


def at(x: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """A trajectory ``(T, ...)`` between its frames."""
    low = np.floor(frames).astype(int)
    w = (frames - low).reshape(-1, *[1] * (x.ndim - 1))
    return (1 - w) * x[low] + w * x[np.minimum(low + 1, len(x) - 1)]


@dataclass(frozen=True)
class Palette:
    """A task's looks: which colour channel becomes which, and how bright."""

    order: np.ndarray
    gain: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Palette:
        return cls(rng.permutation(3), rng.uniform(0.6, 1.5, 3))

    def paint(self, features: np.ndarray) -> np.ndarray:
        """Features ``(M, F)``, the first three of which are chromaticities."""
        out = features.copy()
        out[:, :3] = features[:, self.order] * self.gain
        return out


def perturbed(
    context: DemoContext, palette: Palette, rng: np.random.Generator
) -> tuple[DemoContext, np.ndarray]:
    """A new episode of a task, and the frames of the recorded one that its frames come from."""
    T = len(context)
    knots = rng.uniform(np.log(0.4), np.log(2.0), 4)
    pace = np.exp(np.interp(np.linspace(0, 3, 3 * T), np.arange(4), knots))
    frames = np.cumsum(pace) - pace[0]
    frames = frames[frames < T - 1]
    s = np.linspace(0, 1, len(frames))[:, None]
    waves = [rng.normal(size=3) * np.cos(2 * np.pi * (f * s + rng.random(3))) for f in (0, 0.5, 1)]
    tokens = at(context.tokens, frames)
    tokens = tokens + 0.01 * rng.normal(size=(1, *tokens.shape[1:]))
    tcp = at(context.tcp, frames).copy()
    tcp[:, :3, 3] += 0.006 * np.sum(waves, axis=0) / np.sqrt(1.5)
    G = se3.pose(se3.yaw(rng.uniform(-1, 1)), [*rng.uniform(-0.1, 0.1, 2), 0])
    features = palette.paint(context.features)
    features = features * (1 + 0.05 * rng.normal(size=features.shape))
    episode = replace(
        context,
        times=np.arange(len(frames)) * (context.times[1] - context.times[0]),
        tcp=G @ tcp,
        opening=at(context.opening, frames),
        tokens=se3.act(G, tokens),
        features=features,
    )
    return episode, frames


def many_episodes(
    contexts: dict[str, list[DemoContext]], tasks: int, episodes: int, seed: int
) -> Iterator[tuple[int, str, DemoContext, np.ndarray, DemoContext]]:
    """``episodes`` of each of ``tasks``: task, family, episode, its source frames, its source.

    A task's palette depends on its number alone, so that a later call, with other recorded
    episodes and another seed, makes unseen episodes of the same tasks.
    """
    rng = np.random.default_rng(seed)
    for task in range(tasks):
        palette = Palette.draw(np.random.default_rng([9, task]))
        family = TASKS[task % len(TASKS)]
        for _ in range(episodes):
            source = contexts[family][rng.integers(len(contexts[family]))]
            yield task, family, *perturbed(source, palette, rng), source
