"""How sure a success rate is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from icl_vla_embodiments.types import Array


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson score interval of a binomial share, 95% by default (Wilson 1927).

    Returns:
        Lower and upper bound, 0 to 1; (0, 1) without trials.
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    spread = 1 + z**2 / trials
    middle = (share + z**2 / (2 * trials)) / spread
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / spread
    return max(0.0, middle - half), min(1.0, middle + half)


def auroc(scores: ArrayLike, truths: ArrayLike) -> float | None:
    """Chance that something true scores higher than something false; ties count half.

    Args:
        scores: ``(n,)``.
        truths: ``(n,)`` booleans.

    Returns:
        None where all are true or none is.
    """
    true = np.asarray(truths, dtype=bool)
    count = int(true.sum()) * int((~true).sum())
    if not count:
        return None
    ranks = rankdata(scores)[true].sum() - true.sum() * (true.sum() + 1) / 2
    return float(ranks / count)


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        value: The mean.
        low: Lower bound of the 95% interval.
        high: Upper bound.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """A paired difference of two means.

    Attributes:
        p: Chance of a difference this large if the two were alike: exact or sampled sign flips of
            whole tasks.
    """

    p: float = 1.0


Group = tuple[int, int, int]  # task, set of demonstrations, episode
RESAMPLES = 4_000
_EXACT = 12  # tasks up to which all sign flips are tried


def hierarchical(values: Mapping[Group, float], seed: int = 0) -> Estimate:
    """Mean over tasks of means over sets of means over episodes, with a bootstrap interval.

    Tasks are drawn with replacement, then sets within each, then episodes within each set, since
    episodes with one set's demonstrations are alike (Saravanan et al. 2020).

    Args:
        values: One number an episode.
        seed: Of the resampling.
    """
    table = _nested(values)
    draws = _resampled(table, np.random.default_rng(seed))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(_mean(table), float(low), float(high))


def paired(a: Mapping[Group, float], b: Mapping[Group, float], seed: int = 0) -> Difference:
    """``a - b`` over the episodes that both have.

    Args:
        a: One number an episode.
        b: The same of another method, in the same episodes.
        seed: Of resampling and flips.

    Raises:
        ValueError: They share no episode.
    """
    both = sorted(set(a) & set(b))
    if not both:
        raise ValueError("two methods share no episode")
    table = _nested({group: a[group] - b[group] for group in both})
    rng = np.random.default_rng(seed)
    low, high = np.quantile(_resampled(table, rng), [0.025, 0.975])
    return Difference(_mean(table), float(low), float(high), _sign_flips(table, rng))


def _nested(values: Mapping[Group, float]) -> list[list[Array]]:
    """Numbers by task and set."""
    tasks: dict[int, dict[int, list[float]]] = {}
    for task, group, episode in sorted(values):
        tasks.setdefault(task, {}).setdefault(group, []).append(values[task, group, episode])
    return [[np.array(x) for x in groups.values()] for groups in tasks.values()]


def _mean(table: list[list[Array]]) -> float:
    return float(np.mean([np.mean([x.mean() for x in groups]) for groups in table]))


def _resampled(table: list[list[Array]], rng: np.random.Generator) -> Array:
    """``(RESAMPLES,)`` means of data drawn anew on all three levels."""
    tasks = len(table)
    sets = np.array([len(groups) for groups in table])
    most = int(sets.max())
    episodes = np.zeros((tasks, most), dtype=int)
    values = np.zeros((tasks, most, max(len(x) for groups in table for x in groups)))
    for i, groups in enumerate(table):
        for j, x in enumerate(groups):
            episodes[i, j] = len(x)
            values[i, j, : len(x)] = x
    shape = (RESAMPLES, tasks)
    task = rng.integers(tasks, size=shape)  # (B, T)
    group = (rng.random((*shape, most)) * sets[task][..., None]).astype(int)  # (B, T, S)
    task = np.broadcast_to(task[..., None], group.shape)
    count = episodes[task, group]
    pick = (rng.random((*group.shape, values.shape[2])) * count[..., None]).astype(int)
    drawn = values[task[..., None], group[..., None], pick]
    used = np.arange(values.shape[2]) < count[..., None]
    of_set = np.where(used, drawn, 0.0).sum(-1) / count
    used = np.arange(most) < sets[task[..., 0]][..., None]
    of_task = np.where(used, of_set, 0.0).sum(-1) / used.sum(-1)
    return np.asarray(of_task.mean(-1))


def _sign_flips(table: list[list[Array]], rng: np.random.Generator) -> float:
    """Share of sign flips of the tasks' means that give a mean at least as far from 0."""
    means = np.array([np.mean([x.mean() for x in groups]) for groups in table])
    if len(means) <= _EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(means))))
    else:
        signs = rng.choice([-1.0, 1.0], size=(RESAMPLES, len(means)))
        signs[0] = 1.0  # the one observed
    flipped = np.abs((signs * means).mean(axis=1))
    return float((flipped >= abs(means.mean()) - 1e-12).mean())
