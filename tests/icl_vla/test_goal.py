"""What demonstrations were for, and beginning again where it was missed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icl_vla.evaluation.disturbances import DisturbedDriver, disturbance
from icl_vla.perception.memory import SceneMemory
from icl_vla.perception.tokens import SceneTokens
from icl_vla.policy.context import DemoContext
from icl_vla.policy.doing import Doing
from icl_vla.policy.goal import BASE, Goal
from icl_vla.policy.parts import part_about
from icl_vla.policy.vote import VotePolicy
from icl_vla.runtime.loop import run_episode
from icl_vla_embodiments import se3
from icl_vla_retrieval.phase import PhaseTracker

from .test_alignment import shown

THING, DISH, OTHER = range(3)


def carried(rng: np.random.Generator, to: np.ndarray) -> DemoContext:
    """A thing is brought to a place as seen from a dish, and another one stands about."""
    demo = shown(rng, np.linspace(0, 1, 30))
    places = np.append(rng.uniform(-0.3, 0.3, (3, 2)), np.full((3, 1), 0.02), axis=1)
    ends = places.copy()
    ends[THING] = places[DISH] + to + rng.normal(0, 0.002, 3)
    tokens = np.linspace(places, ends, 30) + rng.normal(0, 0.001, (30, 3, 3))
    return replace(demo, tokens=tokens, first=places, features=np.eye(3))


def around(rng: np.random.Generator) -> np.ndarray:
    """Six centimetres off, anywhere about."""
    turn = rng.uniform(-np.pi, np.pi)
    return 0.06 * np.array([np.cos(turn), np.sin(turn), 0.0])


@pytest.mark.parametrize("seed", range(3))
def test_what_all_end_with_and_did_not_begin_with_is_the_goal(seed):
    rng = np.random.default_rng(seed)
    demos = [carried(rng, around(rng)) for _ in range(8)]
    index = np.tile(np.arange(3), (8, 1))
    index[2, THING] = -1  # not seen there
    goal = Goal.of(demos, index)
    assert sorted(map(tuple, goal.pairs)) == [(DISH, THING)]
    np.testing.assert_allclose(goal.place[0, 0], [0.06, 0.0, 0.0], atol=0.004)
    now = demos[2].tokens[-1]
    assert not goal.missed(now).any()
    turned = now.copy()  # it may lie on any side
    turned[THING, :2] = now[DISH, :2] + [0.0, 0.06]
    assert not goal.missed(turned).any()
    left = demos[2].tokens[0]
    far = np.linalg.norm(left[THING, :2] - left[DISH, :2]) - 0.06
    assert goal.missed(left)[0] == pytest.approx(abs(far) - goal.within[0, 0], abs=0.006)


@pytest.mark.parametrize("seed", range(3))
def test_what_always_lies_on_one_side_is_missed_on_another(seed):
    rng = np.random.default_rng(seed)
    demos = [carried(rng, np.array([0.06, 0.0, 0.0])) for _ in range(8)]
    goal = Goal.of(demos, np.tile(np.arange(3), (8, 1)))
    now = demos[0].tokens[-1]
    assert not goal.missed(now).any()
    change = np.median([np.linalg.norm(d.tokens[0, THING] - d.tokens[-1, THING]) for d in demos])
    for share in (-0.6, 0.6):  # of what was changed
        off = now.copy()
        off[THING, 1] += share * change
        assert goal.missed(off).any()
        near = now.copy()
        near[THING, 1] += share / 6 * change  # too little to do it all over
        assert not goal.missed(near).any()


def test_what_is_lifted_is_higher_than_it_was_and_what_stands_still_is_no_goal():
    rng = np.random.default_rng(3)
    demos = [shown(rng, np.linspace(0, 1, 30)) for _ in range(6)]
    index = np.tile(np.arange(2), (6, 1))
    assert not len(Goal.of(demos, index).pairs)
    lifted = []
    for demo in demos:
        tokens = demo.tokens.copy()
        tokens[15:, 0, 2] += rng.uniform(0.08, 0.12)
        lifted.append(replace(demo, tokens=tokens))
    goal = Goal.of(lifted, index)
    assert (THING, BASE) in map(tuple, goal.pairs)
    assert not goal.missed(lifted[0].tokens[-1]).any()
    assert not goal.missed(lifted[0].tokens[-1] + [0, 0, 0.05]).any()  # and higher still
    assert goal.missed(lifted[0].tokens[0]).any()
    assert not len(Goal.of(lifted[:2], index[:2]).pairs)  # two may agree by chance
    assert not len(Goal.of(lifted, index[:, :0]).pairs)


def test_fingers_that_were_told_to_close_and_stopped_hold_something():
    times = 0.1 * np.arange(6)
    places = np.zeros((6, 3))
    told = np.array([1.0, 0, 0, 0, 0, 0])

    def held(*opening: float) -> float:
        return float(Doing.along(times, places, np.array(opening), told).holds[-1])

    assert held(1, 1, 0.7, 0.45, 0.45, 0.45) > 0.99  # something
    assert held(1, 1, 0.6, 0.2, 0.0, 0.0) == 0  # nothing
    assert held(1, 1, 1, 1, 1, 1) == 0  # nothing is as wide as all that
    assert held(1, 1, 0.6, 0.2, 0.05, 0.05) > 0.7  # a thin thing


@pytest.mark.parametrize("like", [1, 39])
def test_the_pointers_begin_again(like):
    """Although the hand may still stand as in the end."""
    ramp = np.abs(np.arange(40)[:, None] - np.arange(40)) / 40
    tracker = PhaseTracker([40])
    for t in range(40):
        tracker.update([ramp[t]], 1)
    assert tracker.pointers[0] == 39
    tracker.restart()
    assert tracker.update([ramp[like]], 1)[0] <= 4


def test_a_part_is_gone_through_from_its_beginning_and_no_further():
    """Although the hand stands where the part ended, or where another one did."""
    ramp = np.abs(np.arange(40)[:, None] - np.arange(40)) / 40
    tracker = PhaseTracker([40, 40])
    for t in range(40):
        tracker.update([ramp[t]] * 2, 1)
    tracker.restart((np.array([10, 12]), np.array([20, 24])))
    for t in (39, 19, 39):
        begun = tracker.update([ramp[t]] * 2, 1)
        assert (begun >= [10, 12]).all() and (begun < [20, 24]).all()
    tracker.restart((np.array([10, 12]), np.array([20, 24])))
    assert (tracker.update([ramp[20]] * 2, 1) <= [14, 16]).all()
    for t in range(10, 40):
        ended = tracker.update([ramp[t]] * 2, 1)
    np.testing.assert_array_equal(ended, [19, 23])
    assert (tracker.update([ramp[39]] * 2, 4, onward=True) == [19, 23]).all()


def test_the_part_about_a_thing_lies_between_those_about_others():
    """A hand that is near one thing after the other, in either order."""
    away = np.array([0.0, 0.0, 0.5])
    things = np.array([[0.3, 0.0, 0.0], [-0.3, 0.0, 0.0]])

    def near(*order, apart=20):
        tcp = np.tile(se3.pose(p=away), (60, 1, 1))
        for i, m in enumerate(order):
            tcp[10 + apart * i : 20 + apart * i, :3, 3] = things[m]
        tokens = np.tile(things, (60, 1, 1))
        opening = np.ones(60)
        return DemoContext(
            0, 0.1 * np.arange(60), tcp, opening, tcp, opening, tokens, things, np.zeros((2, 3)),
            np.zeros((2, 48, 3)),
        )  # fmt: skip

    index = np.array([[0, 1], [0, 1]])
    begin, end = part_about([near(0, 1), near(1, 0)], index, [0])
    np.testing.assert_array_equal(begin, [0, 20])
    assert 20 < end[0] < 30 and end[1] == 60
    assert part_about([near(0, 1), near(1, 0)], index, [0, 1]) is None
    assert part_about([near(0), near(0)], index, [0]) is None
    at_once = near(0, 1, apart=10)  # one after the other, without leaving them
    assert part_about([at_once, at_once], index, [0]) is None


def test_things_are_first_seen_where_they_are_now():
    memory = SceneMemory()
    look = SceneTokens(
        positions=np.zeros((1, 3)),
        features=np.ones((1, 2)),
        extents=np.full((1, 3), 0.04),
        clouds=np.zeros((1, 48, 3)),
        pixels=np.array([50]),
    )
    memory.update(look)
    memory.update(replace(look, positions=look.positions + 0.1, clouds=look.clouds + 0.1))
    tracked = memory.anchor()
    np.testing.assert_allclose(tracked.first.positions, 0.1)
    np.testing.assert_allclose(tracked.first.clouds, 0.1)
    np.testing.assert_allclose(tracked.first.features, look.features)
    memory.update(replace(look, positions=look.positions + 0.2, clouds=look.clouds + 0.2))
    np.testing.assert_allclose(memory.anchor([]).first.positions, 0.1)
    np.testing.assert_allclose(memory.anchor([0]).first.positions, 0.2)


def test_a_missed_grasp_is_made_good(cell, bank, instructions):
    """In physics: the first time that fingers close they open again, and the thing stays behind."""
    cell = cell("pick-place")
    cell.reset(1)
    space = cell.embodiment.action_space(bank.action_space.name)
    episode = VotePolicy(cell.model, cell.encoder).start(bank, instructions["pick-place"], space)
    openings, phases = [], []

    def watch(observation, chunk):
        (opening,) = [s.gripper for s in observation.effectors.values()]
        openings.append(opening)
        phases.append(np.median([n.phase for n in chunk.neighbours]))

    driver = DisturbedDriver(cell.driver, disturbance("missed"), 0)
    run_episode(driver, cell.controller, episode, seconds=30.0, watch=watch)
    back = np.flatnonzero(np.diff(phases) < -0.1)
    assert len(back) == 1 and openings[back[0] + 1] > 0.9  # the thing is not in them
    assert cell.judge()
