"""Look-alikes: which of them a demonstration is about, told by what hands do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icl_vla.policy.agreement import ENOUGH
from icl_vla.policy.alignment import Alignment
from icl_vla.policy.context import DemoContext, Demonstrations
from icl_vla.policy.headings import carried_by_motion
from icl_vla.policy.identity import settled
from icl_vla.policy.likeness import matched_tokens
from icl_vla.policy.retrieval import beforehand, several
from icl_vla.policy.vote import begun
from icl_vla_embodiments import se3

from .test_alignment import WANTED, pressed, shown

LOOK = np.array([1.0, 0.0, 0.0])
NOTHING = np.zeros((3, 48, 3))  # of their surfaces is to be seen
BLUR = 0.12  # standard deviation of a look; distances from 0.6 on are another thing


def among_look_alikes(rng: np.random.Generator, count: int) -> list[DemoContext]:
    """Demonstrations with two things of one look, that stand in the list in any order."""
    demos = []
    for k in range(count):
        demo = shown(rng, np.linspace(0, 1, 40 + 2 * k))
        order = rng.permutation(2)
        looks = LOOK + BLUR * rng.normal(size=(2, 3))
        demos.append(
            replace(
                demo, tokens=demo.tokens[:, order], first=demo.first[order], features=looks[order]
            )
        )
    return demos


def wanted(demo: DemoContext) -> int:
    """Its token that the hand comes down on."""
    lowest = demo.tcp[:, 2, 3].argmin()
    apart = np.linalg.norm(demo.first[:, :2] - demo.tcp[lowest, :2, 3], axis=1)
    return int(apart.argmin())


@pytest.mark.parametrize("seed", range(4))
def test_hands_tell_look_alikes_apart_where_looks_do_not(seed):
    rng = np.random.default_rng(seed)
    demos = among_look_alikes(rng, 8)
    right = [wanted(d) for d in demos]
    now = LOOK + BLUR * rng.normal(size=(2, 3))
    by_looks = matched_tokens(now, demos)
    index = settled(demos, by_looks, now, NOTHING)
    # whichever of the two it is taken for now, all demonstrations speak of the same one
    one = [np.flatnonzero(index[k] == j) for k, j in enumerate(right)]
    assert all(len(o) for o in one) and len({int(o[0]) for o in one}) == 1
    mixed = [int(np.flatnonzero(by_looks[k] == j)[0]) for k, j in enumerate(right)]
    assert len(set(mixed)) == 2  # looks alone had confused them


def box(edge: float, rng: np.random.Generator) -> np.ndarray:
    """Points of a cube's upper and of one of its outer sides, somewhere on a table."""
    raster = (np.arange(7) + rng.uniform(0.2, 0.8)) / 7 - 0.5
    u = np.stack(np.meshgrid(raster, raster), axis=-1).reshape(-1, 2)
    top = np.c_[u, np.ones(len(u))]
    side = np.c_[u[:, :1], np.full((len(u), 1), -0.5), u[:, 1:] + 0.5]
    turn = se3.yaw(rng.uniform(-np.pi, np.pi))
    return edge * np.concatenate([top, side]) @ turn.T + [*rng.uniform(-0.3, 0.3, 2), 0.02]


@pytest.mark.parametrize("first", [0, 1])
def test_look_alikes_of_two_sizes_are_told_apart_by_their_forms(first):
    """10 mm in 40 do not show in looks, here as unlike as those of one thing."""
    rng = np.random.default_rng(7)
    demos = []
    for demo in among_look_alikes(rng, 8):
        forms = np.stack([box(0.05, rng), box(0.05, rng)])
        forms[wanted(demo)] = box(0.04, rng)
        demos.append(replace(demo, clouds=forms))
    for _ in range(5):
        now = LOOK + 0.5 * BLUR * rng.normal(size=(2, 3))
        forms = np.stack([box(0.05, rng), box(0.05, rng)])
        forms[first] = box(0.04, rng)
        index = settled(demos, matched_tokens(now, demos), now, forms)
        assert index[:, first].tolist() == [wanted(d) for d in demos]


def test_what_demonstrations_tell_of_each_other_is_found_out_beforehand(monkeypatch):
    rng = np.random.default_rng(4)
    demos = among_look_alikes(rng, 8)
    now = LOOK + BLUR * rng.normal(size=(2, 3))
    by_looks = matched_tokens(now, demos)
    index = settled(demos, by_looks, now, NOTHING)
    alone = Alignment.of(demos, index, 0.03)
    known = Demonstrations(demos)
    beforehand(known, 0.03)

    def again(*_):
        raise AssertionError("found out once already")

    monkeypatch.setattr("icl_vla.policy.identity._one_thing", again)
    monkeypatch.setattr("icl_vla.policy.headings._whole_shape", again)
    monkeypatch.setattr(Alignment, "_of", again)
    np.testing.assert_array_equal(settled(known, by_looks, now, NOTHING), index)
    cloud = demos[0].clouds[0]
    assert carried_by_motion(known, index[:, 0], cloud, cloud) is None  # nothing is to be seen
    for order in ([0, 1], [1, 0]):  # which thing comes first is a matter of now
        found = Alignment.of(known, index[:, order], 0.03)
        for one, other in zip(found.relevance, alone.relevance, strict=True):
            np.testing.assert_allclose(one, other[:, order])
        np.testing.assert_allclose(found.moments.seen, alone.moments.seen[:, order])
        np.testing.assert_array_equal(np.concatenate(found.beside), np.concatenate(alone.beside))


@pytest.mark.parametrize("seed", range(3))
def test_hands_tell_it_where_parts_come_in_any_order(seed):
    """Two things are pressed, either first, and a third one looks like one of them."""
    rng = np.random.default_rng(seed)
    demos, right = [], []
    for k in range(10):
        demo = pressed(rng, (0, 1) if k % 2 else (1, 0))
        place = np.append(rng.uniform(-0.25, 0.25, 2), 0.0)
        looks = np.array([LOOK, [0.0, 1.0, 0.0], LOOK]) + BLUR * rng.normal(size=(3, 3))
        order = rng.permutation(3)
        right.append(int(np.flatnonzero(order == 0)[0]))
        first = np.vstack([demo.first, place])[order]
        tokens = np.tile(first, (len(demo), 1, 1))
        demos.append(
            replace(demo, tokens=tokens, first=first, features=looks[order], clouds=NOTHING)
        )
    now = np.array([LOOK, [0.0, 1.0, 0.0], LOOK]) + BLUR * rng.normal(size=(3, 3))
    index = settled(demos, matched_tokens(now, demos), now, NOTHING)
    meant = [int(np.flatnonzero(index[k] == j)[0]) for k, j in enumerate(right)]
    assert max(meant.count(0), meant.count(2)) >= 9


def test_all_of_them_together_tell_which_it_is_now():
    rng = np.random.default_rng(3)
    demos = among_look_alikes(rng, 10)
    striped = np.array([0.0, 0.25, 0.0])  # what the wanted one has, less than BLUR hides in each
    demos = [
        replace(d, features=d.features + striped * (np.arange(2) == wanted(d))[:, None])
        for d in demos
    ]
    for first in (True, False):
        now = np.stack([LOOK + striped, LOOK][:: 1 if first else -1])
        index = settled(demos, matched_tokens(now, demos), now, NOTHING)
        column = 0 if first else 1
        assert [int(j) for j in index[:, column]] == [wanted(d) for d in demos]


def test_where_one_is_left_it_is_the_one_that_matters():
    rng = np.random.default_rng(4)
    demos = among_look_alikes(rng, 8)
    now = np.mean([d.features[1 - wanted(d)] for d in demos], axis=0)[None]  # more like the other
    index = settled(demos, matched_tokens(now, demos), now, NOTHING)
    assert [int(j) for j in index[:, 0]] == [wanted(d) for d in demos]


def test_looks_that_differ_and_few_demonstrations_are_left_alone():
    rng = np.random.default_rng(1)
    plain = [shown(rng, np.linspace(0, 1, 40)) for _ in range(5)]  # of clearly different looks
    index = matched_tokens(np.eye(2), plain)
    assert (index == [WANTED, 1 - WANTED]).all()
    np.testing.assert_array_equal(settled(plain, index, np.eye(2), NOTHING), index)
    two = among_look_alikes(rng, 2)
    index = matched_tokens(two[0].features, two)
    np.testing.assert_array_equal(settled(two, index, two[0].features, NOTHING), index)


def test_some_have_a_say_even_where_one_is_much_nearer():
    costs = np.array([0.1, 1.2, 1.3, 1.3, 1.4, 1.4, 1.5, 1.5, 1.6, 1.6])
    weights = several(costs, 0.15)
    assert 1 / (weights**2).sum() == pytest.approx(ENOUGH, abs=0.01)
    assert (np.diff(weights) <= 0).all() and weights.sum() == pytest.approx(1)
    alike = np.full(10, 0.3)
    np.testing.assert_allclose(several(alike, 0.15), 0.1)
    near = several(np.linspace(0, 0.1, 10), 0.15)  # enough of them anyhow: as ever
    np.testing.assert_allclose(near, several(np.linspace(0, 0.1, 10), 0.15))
    np.testing.assert_allclose(near[1:] / near[:-1], np.exp(-0.1 / 9 / 0.15))
    assert several(np.array([0.0, 2.0]), 0.15)[0] > 0.99  # of two, one may be it
    np.testing.assert_allclose(several(np.array([0.4]), 0.15), 1.0)


def test_what_the_hand_has_gone_is_not_gone_again():
    def at(places, turns=0.0):
        return se3.pose(se3.yaw(np.broadcast_to(turns, len(places))), places)

    def here(*place, turn=0.0):
        return se3.pose(se3.yaw(turn), np.array(place))

    places = np.array([[0.0, 0.0, 0.01 * h] for h in range(14)])
    line, same = at(places), np.zeros(14)
    assert begun(line, same, here(0.0, 0.0, 0.0)) == 0
    assert begun(line, same, here(0.0, 0.0, 0.034)) == 4  # 0.03 lies behind, 0.04 ahead
    assert begun(line, same, here(0.0, 0.0, 0.038)) == 4
    assert begun(line, same, here(0.05, 0.0, 0.034)) == 0  # aside: nothing is gone yet
    closing = np.where(np.arange(14) < 2, 1.0, 0.0)
    assert begun(line, closing, here(0.0, 0.0, 0.034)) <= 2  # fingers take their time
    # down on a button and up again: passing one place twice is no reason to leave out the bottom
    there_and_back = at(np.concatenate([places[4::-1], places[1:10]]))
    assert begun(there_and_back, same, here(0.0, 0.0, 0.031)) <= 2
    waiting = at(np.concatenate([np.zeros((6, 3)), places[:8]]))
    assert begun(waiting, same, here(0.0, 0.0, 0.0)) == 0
    # on one spot, turning: what has been turned is not turned back
    turning = at(np.zeros((14, 3)), 0.1 * np.arange(14))
    assert begun(turning, same, here(0.0, 0.0, 0.0, turn=0.34)) == 4
    assert begun(turning, same, here(0.0, 0.0, 0.0, turn=-1.0)) == 0
