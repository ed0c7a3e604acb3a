"""Intervals and tests against closed cases, and their coverage by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from icl_vla.evaluation.statistics import RESAMPLES, auroc, hierarchical, paired


def grid(values: np.ndarray) -> dict[tuple[int, int, int], float]:
    """``(tasks, sets, episodes)`` as the statistics take them."""
    return {index: float(values[index]) for index in np.ndindex(values.shape)}


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(5)
    scores, truths = rng.integers(0, 6, 40) / 5, rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[truths] for b in scores[~truths]]
    assert auroc(scores, truths) == pytest.approx(np.mean(pairs))
    assert auroc([0.3, 0.7], [True, True]) is None and auroc([], []) is None


def test_equal_numbers_have_no_spread():
    estimate = hierarchical(grid(np.full((3, 2, 4), 0.25)))
    assert (estimate.value, estimate.low, estimate.high) == (0.25, 0.25, 0.25)


def test_tasks_count_alike_however_many_episodes_they_have():
    values = {(0, 0, i): 1.0 for i in range(9)} | {(1, 0, 0): 0.0}
    assert hierarchical(values).value == 0.5
    nested = {(0, 0, 0): 1.0, (0, 1, 0): 0.0, (0, 1, 1): 0.0, (0, 1, 2): 0.0}
    assert hierarchical(nested).value == 0.5


def test_one_episode_a_task_is_the_plain_bootstrap():
    """With ``k`` ones among ``n`` tasks a resampled mean is binomial: its quantiles are known."""
    from scipy import stats

    n, k = 20, 6
    values = np.zeros((n, 1, 1))
    values[:k] = 1.0
    estimate = hierarchical(grid(values))
    low, high = stats.binom.ppf([0.025, 0.975], n, k / n) / n
    assert estimate.value == pytest.approx(k / n)
    assert abs(estimate.low - low) <= 1 / n and abs(estimate.high - high) <= 1 / n


def test_bootstrap_variance_of_three_levels():
    """Variances add up: over tasks, over sets within tasks, over episodes within sets."""
    from icl_vla.evaluation import statistics

    rng = np.random.default_rng(0)
    values = (
        rng.normal(size=(6, 3, 5)) + 2 * rng.normal(size=(6, 1, 1)) + rng.normal(size=(6, 3, 1))
    )
    T, S, E = values.shape
    of_sets = values.mean(2)
    expected = (
        of_sets.mean(1).var() / T
        + of_sets.var(axis=1).mean() / (T * S)
        + values.var(axis=2).mean() / (T * S * E)
    )
    table = statistics._nested(grid(values))
    draws = statistics._resampled(table, np.random.default_rng(1))
    # the variance of a sample variance of RESAMPLES normal draws
    assert draws.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / RESAMPLES))


def test_ragged_data_never_leave_their_own_values():
    """Sets and episodes are drawn from those that a task has, not from the padding."""
    values = {(0, 0, 0): 1.0, (1, 0, 0): 1.0, (1, 0, 1): 1.0, (1, 1, 0): 1.0, (2, 5, 7): 1.0}
    estimate = hierarchical(values)
    assert (estimate.low, estimate.high) == (1.0, 1.0)


def test_intervals_cover():
    """Of 150 experiments with tasks of different difficulty, about 95% of intervals hold it."""
    rng = np.random.default_rng(3)
    held = 0
    for i in range(150):
        difficulty = rng.beta(2, 2, size=(16, 1, 1))  # mean 1/2
        wins = (rng.random((16, 2, 4)) < difficulty).astype(float)
        estimate = hierarchical(grid(wins), seed=i)
        held += estimate.low <= 0.5 <= estimate.high
    # three standard deviations of a share of 150; nested bootstraps lean to the wide side
    assert held / 150 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 150)


def test_the_same_seed_gives_the_same_interval():
    values = grid(np.random.default_rng(0).random((5, 2, 3)))
    assert hierarchical(values, seed=4) == hierarchical(values, seed=4)
    assert hierarchical(values, seed=4) != hierarchical(values, seed=5)


def test_a_paired_difference_takes_out_what_episodes_share():
    rng = np.random.default_rng(0)
    hard = rng.random((8, 1, 6))
    better, worse = grid(hard + 0.05), grid(hard)
    difference = paired(better, worse)
    assert difference.value == pytest.approx(0.05)
    assert difference.low == pytest.approx(0.05) and difference.high == pytest.approx(0.05)
    assert difference.p == pytest.approx(2 / 2**8)  # all eight tasks on one side
    assert paired(worse, better).value == pytest.approx(-0.05)
    assert paired(worse, worse).p == 1.0


def test_only_shared_episodes_are_compared():
    a = {(0, 0, 0): 1.0, (0, 0, 1): 1.0}
    b = {(0, 0, 1): 0.0, (0, 0, 2): 0.0}
    assert paired(a, b).value == 1.0
    with pytest.raises(ValueError):
        paired({(0, 0, 0): 1.0}, {(1, 0, 0): 1.0})


def test_sign_flips_are_exact():
    d = np.array([0.5, -0.25, 0.75, 0.25])
    a = {(i, 0, 0): float(x) for i, x in enumerate(d)}
    b = {(i, 0, 0): 0.0 for i in range(4)}
    flipped = [abs(np.dot(s, d)) for s in itertools.product((-1, 1), repeat=4)]
    expected = np.mean([f >= abs(d.sum()) - 1e-12 for f in flipped])
    assert paired(a, b).p == pytest.approx(expected)


def test_flips_find_nothing_where_nothing_is():
    """Under the null a p below 5% comes in at most about 5% of experiments."""
    rng = np.random.default_rng(8)
    found = 0
    for i in range(200):
        a, b = rng.integers(0, 2, (2, 10, 1, 3)).astype(float)
        found += paired(grid(a), grid(b), seed=i).p <= 0.05
    assert found / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
