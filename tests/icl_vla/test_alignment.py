"""Demonstrations beside each other: which moments go together, and which things tell them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icl_vla.policy.alignment import Alignment, same_order, warped
from icl_vla.policy.context import DemoContext
from icl_vla.policy.doing import Past, dealt_with
from icl_vla.policy.likeness import Compared, moment_costs
from icl_vla.policy.retrieval import RetrievalConfig
from icl_vla_embodiments import se3
from icl_vla_retrieval.phase import PhaseTracker

RADIUS = RetrievalConfig().radius
WANTED, ANOTHER = 0, 1


def shown(rng: np.random.Generator, pace: np.ndarray) -> DemoContext:
    """A hand that comes down on one thing and rises again, among another that stands anywhere.

    Args:
        rng: Where the things and the hand are.
        pace: ``(T,)`` progress at each frame, 0 to 1.
    """
    places = np.append(rng.uniform(-0.25, 0.25, (2, 2)), np.zeros((2, 1)), axis=1)
    begin = places[WANTED] + np.append(rng.uniform(-0.2, 0.2, 2), 0.25)
    corners = np.stack([begin, places[WANTED] + [0, 0, 0.02], places[WANTED] + [0, 0, 0.2]])
    way = np.stack([np.interp(pace, [0, 0.6, 1], c) for c in corners.T], axis=-1)
    tcp, T = se3.pose(np.eye(3), way), len(pace)
    return DemoContext(
        episode=0,
        times=0.1 * np.arange(T),
        tcp=tcp,
        opening=np.ones(T),
        commands=tcp,
        gripper=np.ones(T),
        tokens=np.tile(places, (T, 1, 1)),
        first=places,
        features=np.eye(2),
        clouds=np.zeros((2, 48, 3)),
    )


@pytest.fixture(scope="module")
def demonstrations() -> list[tuple[DemoContext, np.ndarray]]:
    """Eight, at paces that differ by up to three times within one, and their progress."""
    rng = np.random.default_rng(3)
    out = []
    for _ in range(8):
        pace = np.cumsum(rng.uniform(0.5, 1.5) * np.repeat(rng.uniform(0.5, 1.5, 6), 12))
        pace = (pace - pace[0]) / (pace[-1] - pace[0])
        out.append((shown(rng, pace), pace))
    return out


def aligned(contexts: list[DemoContext]) -> Alignment:
    return Alignment.of(contexts, np.tile([0, 1], (len(contexts), 1)), RADIUS)


def test_what_the_hand_goes_to_tells_the_moment(demonstrations):
    contexts = [c for c, _ in demonstrations]
    alignment = aligned(contexts)
    for (_, pace), share in zip(demonstrations, alignment.relevance, strict=True):
        assert np.allclose(share.sum(axis=1), 1)
        at_it = np.abs(pace - 0.6) < 0.1
        assert share[at_it, WANTED].mean() > 0.65 and share.min() > 0.2


def test_the_same_moments_go_together(demonstrations):
    """Within 5% of the way where the hand is about the thing, although it stands anywhere."""
    alignment = aligned([c for c, _ in demonstrations])
    off = []
    for k, (_, pace) in enumerate(demonstrations):
        about = np.abs(pace - 0.6) < 0.3
        for j, (_, other) in enumerate(demonstrations):
            beside = alignment.beside[k][:, j]
            assert (np.diff(beside[::3]) >= 0).all()
            off += np.abs(pace - other[beside])[about].tolist()
    assert np.mean(off) < 0.03 and np.quantile(off, 0.95) < 0.08


def textbook(costs: np.ndarray) -> list[int]:
    """The middle column beside each row ``(T, S)``, by the plain recursion."""
    total = np.full((costs.shape[0] + 1, costs.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for t, s in np.ndindex(costs.shape):
        total[t + 1, s + 1] = costs[t, s] + min(total[t, s], total[t, s + 1], total[t + 1, s])
    (t, s), along = costs.shape, []
    while (t, s) != (0, 0):
        along.append((t - 1, s - 1))
        t, s = min((t - 1, s - 1), (t - 1, s), (t, s - 1), key=lambda x: total[x])
    rows = [[s for row, s in along if row == t] for t in range(len(costs))]
    return [(min(row) + max(row)) // 2 for row in rows]


def test_warping_is_the_best_way_of_all_pairs_at_once():
    """As the textbook's recursion finds it for each, whatever stands past its ends."""
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(1, 9, (2, 6, 5))
    costs = rng.random((8, 6, 5, 8))
    beside = warped(costs, rows, columns)
    for i, (T, S) in enumerate(zip(rows.flat, columns.flat, strict=True)):
        k, j = np.unravel_index(i, rows.shape)
        assert beside[:T, k, j].tolist() == textbook(costs[:T, k, j, :S])


def test_a_thing_that_one_lacks_is_not_compared(demonstrations):
    contexts = [c for c, _ in demonstrations[:2]]
    n = len(contexts[0])
    both = Compared.shown(contexts, np.array([[0, 1], [-1, 1]]))
    costs = moment_costs(both, both, RADIUS)
    assert np.abs(np.diag(costs)).max() < 1e-12
    np.testing.assert_allclose(costs, costs.T, atol=1e-12)
    left = Compared.shown(contexts, np.array([[1], [1]]))
    expected = moment_costs(left.at(slice(n)), left.at(slice(n, None)), RADIUS)
    np.testing.assert_allclose(costs[:n, n:], expected, atol=1e-12)
    first, second = moment_costs(both, both, RADIUS, np.tile(np.eye(2)[:, None], (len(costs), 1)))
    assert np.abs(first - second)[:n, :n].max() > 1e-3
    np.testing.assert_allclose((first + second)[:n, :n] / 2, costs[:n, :n], atol=1e-5)
    np.testing.assert_allclose(first[:n, n:], expected, atol=1e-9)  # as there is nothing else


def test_one_alone_weighs_all_alike(demonstrations):
    alone = aligned([demonstrations[0][0]])
    assert np.ptp(alone.relevance[0]) == 0 and alone.unlike.shape == (1, 1)


def test_a_pointer_that_is_stuck_follows_the_others():
    """One demonstration looks wrong for a while; where the others are tells where it is."""
    T = 60
    frames = np.arange(T)
    alone, together = PhaseTracker([T] * 5), PhaseTracker([T] * 5)
    together.lay_beside([np.stack([frames] * 5, axis=1)] * 5, np.full((5, 5), 0.2))
    for now in range(0, T, 4):
        costs = [1 - np.exp(-(((frames - now) / 4) ** 2)) for _ in range(5)]
        costs[0] = np.where((frames > 20) & (frames < 45), 0.9, costs[0])
        costs[0][20] = min(costs[0][20], 0.7)
        for tracker in (alone, together):
            tracker.update(costs, 4 if now else 0)
        if now == 36:
            assert alone.pointers[0] < 25 and np.abs(alone.pointers[1:] - now).max() <= 2
            assert abs(together.pointers[0] - now) <= 4


def pressed(rng: np.random.Generator, order: tuple[int, int]) -> DemoContext:
    """A hand that comes down on two things, in an order."""
    demo = shown(rng, np.linspace(0, 1, 60))
    begin = demo.tcp[0, :3, 3]
    stops = [begin]
    for thing in order:
        over = demo.first[thing] + [0, 0, 0.15]
        stops += [over, demo.first[thing] + [0, 0, 0.02], over]
    at = np.linspace(0, len(stops) - 1, 60)
    way = [np.interp(at, np.arange(len(stops)), column) for column in np.array(stops).T]
    tcp = se3.pose(np.eye(3), np.stack(way, axis=-1))
    return replace(demo, tcp=tcp, commands=tcp)


def test_parts_in_another_order_are_told_apart():
    rng = np.random.default_rng(0)
    orders = [(0, 1), (1, 0), (0, 1), (1, 0), (0, 1), (0, 1)]
    alike = aligned([pressed(rng, order) for order in orders]).alike
    same = np.array([[a == b for b in orders] for a in orders])
    assert alike[same].min() > 0.8 and alike[~same].max() < 0.5
    np.testing.assert_array_equal(same_order(np.zeros((1, 1))), [[1.0]])
    np.testing.assert_allclose(same_order(np.full((3, 3), 0.7)), 1.0)


def test_what_has_been_done_tells_the_same_place_twice():
    """Over the first of two things the hand comes down, later it leaves: only one is to do yet."""
    rng = np.random.default_rng(1)
    demos = [pressed(rng, (0, 1)) for _ in range(2)]
    past = demos[0].past
    assert (np.diff(past[..., 1], axis=0) >= 0).all()
    first, second = (int(np.argmax(past[:, thing, 1] > 0.8)) for thing in (0, 1))
    assert first < second and past[:, :, 0].max() == 0.0  # nothing is moved
    both = Compared.shown(demos, np.tile([0, 1], (2, 1)))
    costs = moment_costs(both, both, RADIUS)
    done = replace(both, past=np.concatenate([demos[0].past[-1:]] * len(costs)))
    assert (moment_costs(done, both, RADIUS) >= costs - 1e-12)[:, :first].all()
    assert moment_costs(done, both, RADIUS)[0, 0] == pytest.approx(costs[0, 0] + 1.35, abs=0.1)


@pytest.mark.parametrize("longer", [1.8, 2.0, 2.2])
def test_half_way_along_a_longer_way_its_end_is_still_ahead(longer):
    """From one mark over another to a third: the first piece is longer than the 10 cm shown.

    Half-way it is as far to all three as demonstrations had it on the second piece.
    """
    ends = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.2, 0.0]])
    at = np.linspace(0, 2, 61)
    demo = shown(np.random.default_rng(0), at)
    way = np.stack([np.interp(at, np.arange(3), column) for column in ends.T], axis=-1)
    demo = replace(
        demo, first=ends, tokens=np.tile(ends, (len(at), 1, 1)), tcp=se3.pose(np.eye(3), way)
    )
    then = Compared.shown([demo], np.array([[0, 1, 2]]))
    first = longer * np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.05, 0.05, 0.0]])
    hand = np.linspace(first[0], 0.5 * (first[0] + first[1]), 20)
    past = dealt_with(np.tile(first, (20, 1, 1)), first, hand)[-1:]
    now = Compared.now(
        first[None], se3.pose(np.eye(3), hand[-1:]), demo.doing.at(slice(15, 16)), past
    )
    cost = moment_costs(now, then, RADIUS, far=True)[0]
    assert np.argmin(cost) < 30


def test_a_thing_that_moves_is_told_by_that_and_not_by_having_been_met():
    T = 20
    hand = np.linspace([0, 0, 0.2], [0, 0, 0.0], T)
    first = np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    tokens = np.tile(first, (T, 1, 1))
    tokens[10:, 0, 0] += 0.1
    past = dealt_with(tokens, first, hand)
    assert past[9, 0, 0] == 0.0 and past[-1, 0, 0] > 0.99
    assert past[-1, 1].max() < 0.01  # far off
    live = Past()
    np.testing.assert_allclose(
        [live.with_(tokens[t], first, hand[t]) for t in range(T)], past, atol=1e-12
    )
    more = live.with_(np.vstack([tokens[-1], [0.0, 0.0, 0.0]]), np.zeros((3, 3)), hand[-1])
    assert more.shape == (3, 2) and more[2, 1] == pytest.approx(1.0)
