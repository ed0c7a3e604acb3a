"""One demonstration, or two: what is near to where a hand acts is what it acts on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from icl_vla.policy.acts import Act, acts_of
from icl_vla.policy.agreement import ENOUGH
from icl_vla.policy.aim import aimed
from icl_vla.policy.context import DemoContext
from icl_vla.policy.frames import Correspondence, frames_now
from icl_vla.policy.retrieval import RetrievalConfig, demonstrated
from icl_vla.policy.vote import consensus
from icl_vla_embodiments import se3

from .test_policy import DOWN, LOOKS, discs, places_at_random, scene

CONFIG = RetrievalConfig(horizon=8)


def way(*points: tuple[np.ndarray, int]) -> np.ndarray:
    """Straight from point to point ``(3,)``, so many frames each: ``(T, 4, 4)``."""
    parts = [points[0][0][None]]
    for (start, _), (end, count) in pairwise(points):
        parts.append(start + np.linspace(0, 1, count + 1)[1:, None] * (end - start))
    return se3.pose(DOWN, np.concatenate(parts))


def shown(
    hand: np.ndarray,
    places: np.ndarray,
    fingers: np.ndarray | float = 0.0,
    tokens: np.ndarray | None = None,
) -> DemoContext:
    """A hand's way ``(T, 4, 4)``; commands are two frames ahead of it."""
    T = len(hand)
    opening = np.broadcast_to(fingers, T).astype(float)
    return DemoContext(
        episode=0,
        times=0.1 * np.arange(T),
        tcp=hand,
        opening=opening,
        commands=hand[np.minimum(np.arange(T) + 2, T - 1)],
        gripper=opening,
        tokens=np.repeat(places[None], T, axis=0) if tokens is None else tokens,
        first=places,
        features=LOOKS,
        clouds=discs(places),
    )


def above(place: np.ndarray, height: float) -> np.ndarray:
    return np.append(place[:2], height)


def told(
    demos: list[DemoContext], now: np.ndarray, frame: int, *, guess: bool = True
) -> np.ndarray:
    """Places ``(H, 3)`` that the vote sends a hand to, from that frame on."""
    tokens, pointers = scene(now), np.full(len(demos), frame)
    match = Correspondence(demos, tokens)
    commands, _ = demonstrated(demos, pointers, CONFIG.horizon)
    frames = list(frames_now(demos, pointers, np.eye(4), tokens, match))
    if guess:
        frames = aimed(frames, demos, pointers, match.index, CONFIG.horizon)
    weights = np.full(len(demos), 1 / len(demos))
    return consensus(frames, commands, weights, np.eye(4), CONFIG).poses[:, :3, 3]


def grasp(places: np.ndarray, at: int) -> DemoContext:
    """Comes down to a thing, closes on it, and carries it a hand's breadth aside."""
    thing = places[at]
    aside = above(thing + np.array([0.0, 0.08, 0.0]), 0.2)
    start = np.array([0.3, 0.0, 0.3])
    hand = way((start, 0), (above(thing, 0.2), 8), (thing, 6), (thing, 4), (aside, 8), (aside, 4))
    tokens = np.repeat(places[None], len(hand), axis=0)
    tokens[18:, at] = hand[18:, :3, 3]
    return shown(hand, places, (np.arange(len(hand)) < 15).astype(float), tokens)


def traced(places: np.ndarray) -> DemoContext:
    """A hand comes down on one thing, stands, and goes along a line to the other."""
    one, other = places
    high = above(one, 0.25)
    return shown(
        way((high, 0), (one, 8), (one, 6), (other, 12), (other, 6), (above(other, 0.25), 8)), places
    )


def test_what_a_demonstration_does_is_found() -> None:
    places = np.array([[0.5, 0.1, 0.02], [0.6, -0.2, 0.02]])
    closes = 15
    acts = acts_of(grasp(places, 0))
    assert acts[0] == Act(closes)
    assert len(acts) == 3  # and the thing begins to move, and ceases: held, so not pushed
    assert not any(act.push for act in acts)
    assert 17 <= acts[1].frame <= 20
    assert 24 <= acts[2].frame <= 27
    stands = [act.frame for act in acts_of(traced(places))]
    assert set(range(9, 14)) <= set(stands)
    assert set(range(27, 32)) <= set(stands)
    assert not any(16 <= frame <= 24 for frame in stands)  # on its way from one to the other


def test_what_moves_in_no_grip_is_pushed() -> None:
    places = np.array([[0.5, 0.1, 0.02], [0.6, -0.2, 0.02]])
    behind, end = places[0] - [0.04, 0, 0], places[0] + [0.11, 0, 0]
    hand = way((above(behind, 0.3), 0), (behind, 10), (end, 15), (above(end, 0.3), 8))
    tokens = np.repeat(places[None], len(hand), axis=0)
    tokens[:, 0, 0] = np.maximum.accumulate(np.maximum(places[0, 0], hand[:, 0, 3] + 0.04))
    acts = acts_of(shown(hand, places, tokens=tokens))
    assert [act.push for act in acts] == [True, True]
    assert abs(acts[0].frame - 10) <= 2
    assert abs(acts[1].frame - 25) <= 2


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at", [0, 1])
def test_one_demonstration_of_a_grasp_leads_to_that_thing(seed: int, at: int) -> None:
    """Wherever both things are: the one that fingers closed on, not the other, nor the place."""
    rng = np.random.default_rng(seed)
    demo, now = grasp(places_at_random(rng), at), places_at_random(rng)
    assert np.linalg.norm(told([demo], now, 14)[0] - now[at]) < 0.004
    agreement = told([demo], now, 14, guess=False)[0]
    assert np.linalg.norm(agreement - now[at]) > 0.01  # which is why a guess is needed


@pytest.mark.parametrize("seed", range(6))
def test_one_demonstration_of_a_line_leads_straight_from_thing_to_thing(seed: int) -> None:
    """However the line is turned and however long it is: at most 5 mm beside it."""
    rng = np.random.default_rng(seed)
    demo, now = traced(places_at_random(rng)), places_at_random(rng)
    along = (now[1] - now[0]) / np.linalg.norm(now[1] - now[0])
    for frame in range(9, 27, 2):
        steps = told([demo], now, frame)[:, :2] - now[0, :2]
        beside = steps[:, 0] * along[1] - steps[:, 1] * along[0]
        assert np.abs(beside).max() < 0.005, frame
    assert np.linalg.norm(told([demo], now, 26)[0] - now[1]) < 0.004


def test_demonstrations_that_are_enough_are_left_to_agree() -> None:
    rng = np.random.default_rng(0)
    demos = [grasp(places_at_random(rng), 0) for _ in range(ENOUGH)]
    tokens, pointers = scene(places_at_random(rng)), np.full(ENOUGH, 5)
    match = Correspondence(demos, tokens)
    frames = list(frames_now(demos, pointers, np.eye(4), tokens, match))
    assert aimed(frames, demos, pointers, match.index, CONFIG.horizon) == frames
    fewer = demos[:-1]
    match = Correspondence(fewer, tokens)
    frames = list(frames_now(fewer, pointers[:-1], np.eye(4), tokens, match))
    after = aimed(frames, fewer, pointers[:-1], match.index, CONFIG.horizon)
    assert all(np.shape(f.weight) == (ENOUGH - 1, CONFIG.horizon) for f in after)
