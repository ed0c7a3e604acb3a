"""The vote's symmetries on made-up demonstrations, phase tracking, an episode in physics."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

from icl_vla.perception.memory import TrackedTokens
from icl_vla.perception.tokens import CLOUD, SceneTokens
from icl_vla.policy.context import DemoContext
from icl_vla.policy.doing import Standing
from icl_vla.policy.frames import Correspondence, FrameVotes, frames_now
from icl_vla.policy.interface import Episode, Policy
from icl_vla.policy.likeness import DistanceToDemonstrations
from icl_vla.policy.nearest import NearestPolicy
from icl_vla.policy.retrieval import RetrievalConfig, demonstrated
from icl_vla.policy.vote import VotePolicy, consensus
from icl_vla.runtime.loop import run_episode
from icl_vla_embodiments import ActionChunk, Observation, ReportedError, SpaceState, se3
from icl_vla_retrieval import Familiarity, RetrievalError
from icl_vla_retrieval.phase import PhaseTracker
from icl_vla_retrieval.tightness import PRIOR, Tightness

LOOKS = 3.0 * np.eye(2)  # features of two things that nobody takes for each other
DOWN = np.diag([1.0, -1.0, -1.0])
CONFIG = RetrievalConfig()


def discs(places: np.ndarray, turn: float = 0.0) -> np.ndarray:
    """Surfaces ``(M, CLOUD, 3)`` of round things 4 cm wide."""
    angles = np.linspace(0, 2 * np.pi, CLOUD, endpoint=False) + turn
    ring = 0.02 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=-1)
    return places[:, None] + ring


def scene(places: np.ndarray) -> TrackedTokens:
    """Two things at ``places`` ``(2, 3)``, where they have been since the beginning."""
    count = len(places)
    tokens = SceneTokens(
        places, LOOKS[:count], np.full((count, 3), 0.04), discs(places), np.full(count, 200.0)
    )
    return TrackedTokens(tokens, tokens, np.ones(count, dtype=bool))


def frame_of(places: np.ndarray) -> np.ndarray:
    """At the first thing, x towards the second: a frame that only the two together define."""
    way = places[1] - places[0]
    return se3.pose(se3.yaw(np.arctan2(way[1], way[0])), places[0])


def motion(T: int = 30) -> np.ndarray:
    """``(T, 4, 4)`` in a task frame: a curve from above and aside down to the origin, turning."""
    s = np.linspace(0, 1, T)[:, None]
    p = np.array([0.12, 0.05, 0.15]) * (1 - s) + np.array([0, 0.03, 0]) * np.sin(np.pi * s)
    return se3.pose(se3.yaw(0.6 * s[:, 0]) @ DOWN, p)


def demonstration(k: int, places: np.ndarray, hand: np.ndarray) -> DemoContext:
    """A hand's way ``(T, 4, 4)`` among things that stand still; commands are one step ahead."""
    ahead = np.concatenate([hand[1:], hand[-1:]])
    T = len(hand)
    return DemoContext(
        episode=k,
        times=0.1 * np.arange(T),
        tcp=hand,
        opening=np.ones(T),
        commands=ahead,
        gripper=np.linspace(1, 0, T).round(),
        tokens=np.repeat(places[None], T, axis=0),
        first=places,
        features=LOOKS,
        clouds=discs(places, turn=0.1 * k),
    )


def places_at_random(rng: np.random.Generator) -> np.ndarray:
    first = np.array([*rng.uniform([0.35, -0.25], [0.65, 0.25]), 0.02])
    angle, distance = rng.uniform(-np.pi, np.pi), rng.uniform(0.15, 0.3)
    return np.stack([first, first + distance * np.array([np.cos(angle), np.sin(angle), 0])])


def agreement(demos, now: TrackedTokens, tcp: np.ndarray, step: int = 10):
    """What the vote comes to, and the frames that took part."""
    pointers = np.full(len(demos), step)
    match = Correspondence(demos, now)
    frames = list(frames_now(demos, pointers, tcp, now, match))
    commands, _ = demonstrated(demos, pointers, CONFIG.horizon)
    weights = np.full(len(demos), 1 / len(demos))
    return consensus(frames, commands, weights, tcp, CONFIG), frames


def vote(demos, now: TrackedTokens, tcp: np.ndarray, step: int = 10):
    """Poses ``(H, 4, 4)``, and each frame's share by name."""
    agreed, frames = agreement(demos, now, tcp, step)
    return agreed.poses, dict(zip([f.name for f in frames], agreed.shares, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_the_vote_finds_the_frame_and_moves_with_the_scene(seed):
    """The chunk is what an operator would do in this scene; a moved scene moves the chunk.

    The only frame that does not move along is the base's. Demonstrations scattered by 0.1 m leave
    it a share of (0.006 / 0.1)^3 = 2e-4 of its 0.3 m distance: well below a millimetre.
    """
    rng = np.random.default_rng(seed)
    way = motion()
    scenes = [places_at_random(rng) for _ in range(8)]
    demos = [demonstration(k, p, frame_of(p) @ way) for k, p in enumerate(scenes)]
    here = places_at_random(rng)
    tcp = frame_of(here) @ way[10]
    expected = frame_of(here) @ way[11 : 11 + CONFIG.horizon]
    poses, _ = vote(demos, scene(here), tcp)
    assert np.abs(poses[:, :3, 3] - expected[:, :3, 3]).max() < 2e-3
    turned = np.swapaxes(poses[:, :3, :3], 1, 2) @ expected[:, :3, :3]
    assert np.linalg.norm(se3.log3(turned), axis=-1).max() < 0.03

    shift = [*rng.uniform(-0.1, 0.1, 2), 0.0]
    G = se3.pose(se3.yaw(rng.uniform(-np.pi, np.pi)), shift)
    moved, _ = vote(demos, scene(se3.act(G, here)), G @ tcp)
    assert np.abs(moved[:, :3, 3] - (G @ poses)[:, :3, 3]).max() < 2e-3
    turned = np.swapaxes(moved[:, :3, :3], 1, 2) @ (G @ poses)[:, :3, :3]
    assert np.linalg.norm(se3.log3(turned), axis=-1).max() < 0.03


def test_a_demonstration_that_shows_nothing_takes_no_part():
    """Its things are unknown; the others decide as if it were not there, but for its place."""
    rng = np.random.default_rng(3)
    way = motion()
    scenes = [places_at_random(rng) for _ in range(6)]
    demos = [demonstration(k, p, frame_of(p) @ way) for k, p in enumerate(scenes)]
    blind = demonstration(6, scenes[0][:0], way)
    blind = replace(blind, features=LOOKS[:0], clouds=discs(scenes[0][:0]))
    here = places_at_random(rng)
    tcp = frame_of(here) @ way[10]
    poses, _ = vote([*demos, blind], scene(here), tcp)
    expected = frame_of(here) @ way[11 : 11 + CONFIG.horizon]
    assert np.abs(poses[:, :3, 3] - expected[:, :3, 3]).max() < 2e-3
    _, frames = agreement([*demos, blind], scene(here), tcp)
    hung = [f for f in frames if f.name.startswith("token")]
    assert hung and not any(f.valid[-1] for f in hung)
    assert all(f.valid[:-1].any() for f in hung)


@pytest.mark.parametrize("ruler", [0, 1])
def test_the_frame_in_which_demonstrations_agree_rules(ruler):
    """Motions hang on one thing only; the other, and the base, are scattered."""
    rng = np.random.default_rng(7)
    way = motion()
    scenes = [places_at_random(rng) for _ in range(8)]
    demos = [demonstration(k, p, se3.pose(p=p[ruler]) @ way) for k, p in enumerate(scenes)]
    here = places_at_random(rng)
    poses, shares = vote(demos, scene(here), se3.pose(p=here[ruler]) @ way[10])
    expected = se3.pose(p=here[ruler]) @ way[11 : 11 + CONFIG.horizon]
    assert np.abs(poses[:, :3, 3] - expected[:, :3, 3]).max() < 2e-3
    own = sum(s for name, s in shares.items() if name.startswith(f"token {ruler} "))
    assert own > 0.95
    assert sum(shares.values()) == pytest.approx(1)


def test_a_frame_that_one_demonstration_alone_has_does_not_rule():
    """One agrees with itself, however wrong; eight that nearly agree are right."""
    rng = np.random.default_rng(9)
    way = np.tile(motion(), (8, 1, 1, 1))[:, 10 : 10 + CONFIG.horizon]
    scatter = se3.pose(p=0.008 * rng.normal(size=(8, 3)))
    wrong = np.tile(se3.pose(p=[0.2, 0.0, 0.0]), (8, 1, 1))
    frames = [
        FrameVotes("right", scatter, np.ones(8, dtype=bool)),
        FrameVotes("far", se3.pose(p=0.1 * rng.normal(size=(8, 3))), np.ones(8, dtype=bool)),
        FrameVotes("wrong", wrong, np.arange(8) == 0),
        FrameVotes("none", wrong, np.zeros(8, dtype=bool)),
    ]
    agreed = consensus(frames, way, np.full(8, 1 / 8), way[0, 0], CONFIG)
    assert np.linalg.norm((agreed.poses - way[0])[:, :3, 3], axis=-1).max() < 0.01


def test_the_base_rules_where_only_the_base_explains():
    rng = np.random.default_rng(8)
    way = se3.pose(p=[0.5, 0.1, 0.0]) @ motion()
    demos = [demonstration(k, places_at_random(rng), way) for k in range(8)]
    poses, shares = vote(demos, scene(places_at_random(rng)), way[10])
    assert np.abs(poses[:, :3, 3] - way[11:19, :3, 3]).max() < 2e-3
    assert max(shares, key=shares.__getitem__) == "base"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("loose", "free"), [(0, 2), (1, 2), (2, 0)])
def test_known_tightness_is_found_in_the_frame_where_people_had_it(seed, loose, free):
    """Twelve people vary one direction by 3 cm and one turn by 0.25 rad, seen from two things.

    Found as stated: (11 S + 4 S0) / 15 of what these twelve really did, along the frame's axes as
    the pair lies now, not along the base's. Other frames take part, so within a third.
    """
    rng = np.random.default_rng([seed, loose])
    way = motion()
    sd = np.full(6, 1e-4)
    sd[loose], sd[3 + free] = 0.03, 0.25
    offsets = sd * rng.normal(size=(12, 6))
    offsets[:, 3:] = np.clip(offsets[:, 3:], -0.5, 0.5)  # more were another grasp
    demos = []
    for k, x in enumerate(offsets):
        places = places_at_random(rng)
        hand = way.copy()
        hand[:, :3, :3] = se3.exp3(x[3:]) @ way[:, :3, :3]
        hand[:, :3, 3] += x[:3]
        demos.append(demonstration(k, places, frame_of(places) @ hand))
    here = places_at_random(rng)
    frame = frame_of(here)
    agreed, _ = agreement(demos, scene(here), frame @ way[10])
    axes = np.kron(np.eye(2), frame[:3, :3])  # the pair's axes, for places and turns
    for spread in agreed.spread:
        np.testing.assert_allclose(spread, spread.T, atol=1e-12)
        assert np.linalg.eigvalsh(spread).min() > 0
        in_frame = axes.T @ spread @ axes
        found = np.sqrt(np.diagonal(in_frame))
        scale = Tightness().scale
        did = np.sqrt((11 * offsets.var(axis=0, ddof=1) + PRIOR * scale**2) / (11 + PRIOR))
        assert found[loose] == pytest.approx(did[loose], rel=0.33)
        assert found[3 + free] == pytest.approx(did[3 + free], rel=0.33)
        others = np.delete(np.arange(6), [loose, 3 + free])
        assert (found[others] < 0.75 * scale[others]).all()
        principal = np.linalg.eigh(spread[:3, :3])[1][:, -1]
        assert abs(principal @ frame[:3, loose]) > np.cos(0.1)


def test_another_grasp_is_not_a_loose_one():
    """Half grasp a quarter turn aside: what either half does is tight all the same."""
    turns = np.where(np.arange(12) < 6, 0.0, np.pi / 2)
    commands = se3.pose(se3.yaw(turns) @ DOWN)[:, None]
    frame = FrameVotes("only", np.tile(np.eye(4), (12, 1, 1)), np.ones(12, dtype=bool))
    agreed = consensus([frame], commands, np.full(12, 1 / 12), se3.pose(DOWN), CONFIG)
    assert np.sqrt(np.diagonal(agreed.spread[0])[3:]).max() < CONFIG.turn_noise


@pytest.mark.parametrize("first", [2, 3, 4])
def test_equal_grasps_a_quarter_turn_apart_are_never_averaged(first):
    """``first`` of 6 demonstrations grasp one way, the rest across: one of the two wins."""
    turns = np.where(np.arange(6) < first, 0.0, np.pi / 2)
    commands = se3.pose(se3.yaw(turns) @ DOWN)[:, None]
    frame = FrameVotes("only", np.tile(np.eye(4), (6, 1, 1)), np.ones(6, dtype=bool))
    for now in (0.0, np.pi / 2):
        tcp = se3.pose(se3.yaw(now) @ DOWN)
        poses = consensus([frame], commands, np.full(6, 1 / 6), tcp, CONFIG).poses
        R = poses[0, :3, :3] @ DOWN.T
        angle = np.arctan2(R[1, 0], R[0, 0])
        to_either = min(abs(angle), abs(angle - np.pi / 2))
        assert to_either < 0.02
        if first == 3:  # a tie: the one that needs the least turning
            assert abs(angle - now) < 0.02


@pytest.mark.parametrize("few", [1, 3])
def test_of_two_ends_that_a_thing_is_held_by_the_nearer_one_is_kept_to(few):
    """A hand does not turn round because more have come from the other end."""
    rng = np.random.default_rng(few)
    demos = []
    for k in range(10):
        places, turned = places_at_random(rng), se3.pose(se3.yaw(np.pi * (k < few)))
        hand = frame_of(places) @ motion() @ se3.pose(turned[:3, :3])
        demos.append(demonstration(k, places, hand))
    places = places_at_random(rng)
    meant = frame_of(places) @ motion()
    for side in (0.0, np.pi):
        tcp = meant[10] @ se3.pose(se3.yaw(side))
        poses, _ = vote(demos, scene(places), tcp)
        cosine = 0.5 * (np.einsum("hij,ij->h", poses[:, :3, :3], tcp[:3, :3]) - 1)
        assert cosine.min() > 0.8


def test_one_frame_that_explains_the_turns_beats_many_that_half_do():
    """Seen from the line all turn alike; seen from others the two that count most, by chance."""
    weights = np.array([0.39, 0.38, 0.1, 0.05, 0.04, 0.04])
    shown = np.radians([62.0, 59.0, -40.0, 80.0, -75.0, 20.0])
    commands = se3.pose(se3.yaw(shown) @ DOWN)[:, None]
    votes = [np.zeros(6)]
    votes += [np.array([40.0, 41.0, 110.0, 180.0, -70.0, -20.0]) + off for off in (-3, 0, 3)]
    frames = [
        FrameVotes(f"{i}", se3.pose(se3.yaw(np.radians(vote) - shown)), np.ones(6, dtype=bool))
        for i, vote in enumerate(votes)
    ]
    R = consensus(frames, commands, weights, se3.pose(DOWN), CONFIG).poses[0, :3, :3] @ DOWN.T
    assert abs(np.degrees(np.arctan2(R[1, 0], R[0, 0]))) < 3


def test_what_is_being_moved_is_no_landmark():
    """A thing that a hand pushes goes with the hand, and so do the frames that hang on it alone."""
    rng = np.random.default_rng(0)
    demos = []
    for k in range(6):
        places = places_at_random(rng)
        hand = frame_of(places) @ motion()
        demo = demonstration(k, places, hand)
        tokens = demo.tokens.copy()
        tokens[15:, 0] += 0.02 * np.arange(15)[:, None] * [1.0, 0.0, 0.0]
        demos.append(replace(demo, tokens=tokens))
    now = scene(places_at_random(rng))
    match = Correspondence(demos, now)
    for step, moves in ((5, False), (22, True)):
        frames = frames_now(demos, np.full(6, step), np.eye(4), now, match)
        weight = {f.name: f.weight for f in frames}
        assert (weight["token 0 now"] < 0.1) == moves
        assert weight["token 0 first"] == weight["token 1 now"] == 1.0
        assert weight["token 1 now towards 0 now"] == 1.0


def test_one_demonstration_is_enough_in_its_own_scene():
    rng = np.random.default_rng(9)
    here = places_at_random(rng)
    hand = frame_of(here) @ motion()
    demo = demonstration(0, here, hand)
    poses, _ = vote([demo], scene(here), hand[10])
    assert np.abs(poses - hand[11:19]).max() < 1e-6
    elsewhere, _ = vote([demo], scene(places_at_random(rng)), hand[10])
    R = elsewhere[:, :3, :3]
    assert np.isfinite(elsewhere).all()
    np.testing.assert_allclose(R @ np.swapaxes(R, 1, 2), np.tile(np.eye(3), (8, 1, 1)), atol=1e-9)


def there_and_back(T: int = 101) -> np.ndarray:
    """``(T, 3)``: down to the table, a circle there, and up again 2.5 cm aside.

    Seen from the way down, as an observer with an error of 2.5 cm sees it, the way up looks more
    like the way down: only a pointer tells them apart.
    """
    s = np.linspace(0, 1, T)
    height = 0.3 * np.maximum(0, np.abs(2 * s - 1) - 0.2)
    turn = 2 * np.pi * np.clip((s - 0.4) / 0.2, 0, 1)
    aside = 0.025 * (s > 0.6)
    return np.stack([0.08 * (1 - np.cos(turn)), 0.08 * np.sin(turn) - aside, height], axis=-1)


def costs_of(path: np.ndarray, here: np.ndarray) -> np.ndarray:
    return 1 - np.exp(-((path - here) ** 2).sum(-1) / (2 * 0.03**2))


def at(path: np.ndarray, frame: float) -> np.ndarray:
    """The path between its frames."""
    frames = np.arange(len(path))
    return np.array([np.interp(frame, frames, path[:, i]) for i in range(path.shape[1])])


@pytest.mark.parametrize("pace", [0.5, 1.0, 2.0])
def test_the_pointer_follows_a_replay_at_another_pace(pace):
    """Asked every second frame, as after two executed steps; right to 5% of the demonstration."""
    path = there_and_back()
    tracker = PhaseTracker([len(path)])
    worst = confused = 0.0
    for tick in range(0, int((len(path) - 1) / pace), 2):
        frame = pace * tick
        error = [0.0, 0.025 * (frame > 60), 0.0]
        cost = costs_of(path, at(path, frame) + error)
        tracker.update([cost], advance=2 if tick else 0)
        worst = max(worst, abs(tracker.phases[0] - frame / 100))
        confused = max(confused, abs(int(np.argmin(cost)) - frame) / 100)
    assert worst <= 0.05
    assert confused > 0.3, "a global nearest neighbour must fail here, or the test is too easy"


@pytest.mark.parametrize("jump", [(80, 20), (20, 80)])
def test_the_pointer_finds_its_way_after_a_jump(jump):
    """Something was knocked over: the present lies elsewhere in the demonstration."""
    path = np.stack([np.linspace(0, 1, 101), np.zeros(101)], axis=-1)
    tracker = PhaseTracker([101])
    for frame in range(0, jump[0] + 1, 4):
        tracker.update([costs_of(path, path[frame])], advance=4 if frame else 0)
    assert abs(tracker.pointers[0] - jump[0]) <= 2
    for _ in range(3):  # its patience
        tracker.update([costs_of(path, path[jump[1]])], advance=0)
    assert abs(tracker.phases[0] - jump[1] / 100) <= 0.05


def test_a_pointer_that_waits_is_told_to_go_on():
    """Between the present and what comes next lies what is unlike the present."""
    cost = np.where(np.abs(np.arange(101) - 20) < 3, 0.0, 0.3)
    tracker = PhaseTracker([101])
    for frame in range(0, 21, 4):
        tracker.update([np.abs(np.arange(101) - frame) / 100], advance=4 if frame else 0)
    for _ in range(20):
        tracker.update([cost], advance=4)
    assert abs(tracker.pointers[0] - 20) < 3
    before = tracker.pointers[0]
    for k in range(1, 4):
        tracker.update([cost], advance=4, onward=True)
        assert 4 * k <= tracker.pointers[0] - before <= 10 * k
    for _ in range(40):
        tracker.update([cost], advance=4, onward=True)
    assert tracker.pointers[0] == 100


def test_standing_still_is_told_by_place_turn_and_fingers():
    hand = Standing()
    assert hand.by(1.0, np.eye(4), 1.0) == 0.0
    assert hand.by(1.4, se3.pose(p=[0.003, 0.0, 0.0]), 1.0) == pytest.approx(0.4)
    assert hand.by(1.8, se3.pose(se3.yaw(0.1)), 1.0) == 0.0
    assert hand.by(2.2, se3.pose(se3.yaw(0.1)), 0.5) == 0.0
    assert hand.by(3.0, se3.pose(se3.yaw(0.1)), 0.52) == pytest.approx(0.8)


def test_confidence_reads_as_a_probability():
    """Nearly uniform over left-out moments, low where a thing is missing, undecided for one."""
    rng = np.random.default_rng(11)
    scenes = [places_at_random(rng) for _ in range(9)]
    demos = [demonstration(k, p, frame_of(p) @ motion()) for k, p in enumerate(scenes)]
    distance = DistanceToDemonstrations.between(demos, CONFIG.radius)
    assert distance.things == 2
    own = [distance.confidence(d, shared=2) for d in distance.familiarity.distances]
    assert 0.45 < np.mean(own) < 0.6
    worst = distance.familiarity.distances[-1]
    assert distance.confidence(worst + 0.01, shared=2) < 0.05
    assert distance.confidence(0.0, shared=2) == 1.0
    assert distance.confidence(0.0, shared=0) == distance.confidence(1.0, shared=2)
    alone = DistanceToDemonstrations.between(demos[:1], CONFIG.radius)
    assert alone.confidence(0.3, shared=2) == 0.5
    farthest = distance.straying.distances
    assert len(farthest) == len(demos) and farthest[-1] == worst


def test_an_attempt_is_judged_by_its_own_demonstrations_and_by_what_others_usually_differ_by():
    rng = np.random.default_rng(11)
    usual = Familiarity.from_left_out([rng.lognormal(np.log(0.67), 0.29, 10)])
    some = DistanceToDemonstrations(2, usual, usual)
    own = [some.of_attempt(d) for d in usual.distances]
    assert own == sorted(own, reverse=True) and 0.4 < np.mean(own) < 0.65
    far = [some.of_attempt(d) for d in (0.0, 0.67, 1.3, 3.0)]
    assert far[0] == 1.0 and 0.4 < far[1] < 0.6 and far[2] < 0.1 and far[3] < 0.03
    # where demonstrations differ more than usual, straying as far means less
    varied = replace(some, straying=Familiarity(1.5 * usual.distances))
    assert all(varied.of_attempt(d) > some.of_attempt(d) for d in (0.8, 1.0))


def test_policies_fit_the_interface():
    for policy in (VotePolicy, NearestPolicy):
        wanted = inspect.signature(Policy.start).parameters
        assert list(inspect.signature(policy.start).parameters) == list(wanted)


def test_an_episode_in_physics(cell, bank, instructions):
    """In the scene of a demonstration: finite, inside the limits, done, and successful."""
    cell = cell("pick-place")
    cell.reset(1)
    space = cell.embodiment.action_space(bank.action_space.name)
    instruction = instructions["pick-place"]
    policy: Policy = VotePolicy(cell.model, cell.encoder)
    episode: Episode = policy.start(bank, instruction, space)
    seen = []
    outcome = run_episode(
        cell.driver,
        cell.controller,
        episode,
        watch=lambda observation, chunk: seen.append((observation, chunk)),
        audit=cell.audit,
    )
    assert outcome.reason == "done"
    assert seen[-1][1].done and not seen[0][1].done
    assert outcome.chunks == len(seen) > 5
    (effector,) = space.effectors
    for observation, chunk in seen:
        assert len(chunk) == CONFIG.horizon
        assert chunk.native.shape == (CONFIG.horizon, len(space))
        for array in (chunk.native, chunk.confidence, *chunk.motions.values()):
            assert np.isfinite(array).all()
        assert (chunk.native >= space.lower).all() and (chunk.native <= space.upper).all()
        assert ((chunk.confidence >= 0) & (chunk.confidence <= 1)).all()
        assert set(np.unique(chunk.grippers[effector])) <= {0.0, 1.0}  # never averaged
        assert sum(n.weight for n in chunk.neighbours) == pytest.approx(1)
        assert {n.episode for n in chunk.neighbours} == set(bank.select(instruction))
        # the native vectors say the same as the motions
        state = SpaceState(
            poses=cell.model.poses(observation.q),
            q=observation.q,
            grippers={effector: observation.effectors[effector].gripper},
        )
        for said, meant in zip(
            space.decode(chunk.native, state, cell.model), chunk.targets, strict=True
        ):
            np.testing.assert_allclose(said.poses[effector], meant.poses[effector], atol=1e-6)
    phases = [n.phase for n in seen[-1][1].neighbours if n.weight > 0.2]
    assert min(phases) > 0.9
    assert cell.judge()
    assert cell.audit.violations == 0


@pytest.mark.parametrize(("manner", "pace"), [("slowly", 0.5), ("very gently", 0.35)])
def test_a_manner_changes_the_pace_and_nothing_else(cell, bank, instructions, manner, pace):
    at_task = cell("pick-place")

    def run(words: str) -> tuple[float, float, bool]:
        fastest, last = 0.0, None

        def watch(observation: Observation, chunk: ActionChunk) -> None:
            nonlocal fastest, last
            place = at_task.model.poses(observation.q)[at_task.effector][:3, 3]
            if last is not None:
                way = np.linalg.norm(place - last[1]) / (observation.time - last[0])
                fastest = max(fastest, float(way))
            last = observation.time, place

        at_task.reset(1)
        policy = VotePolicy(at_task.model, at_task.encoder)
        episode = policy.start(bank, words, bank.action_space)
        outcome = run_episode(
            at_task.driver, at_task.controller, episode, seconds=60.0, watch=watch
        )
        return outcome.seconds, fastest, at_task.judge()

    usual, fast, _ = run(instructions["pick-place"])
    longer, slow, done = run(f"{manner} {instructions['pick-place']}")
    assert done
    assert usual / longer == pytest.approx(pace, rel=0.2)
    assert slow < 1.5 * pace * fast  # nor does it go in jerks


def test_one_policy_serves_two_episodes_at_once(cell, bank, instructions):
    """Interleaved episodes answer as they would alone: nothing is kept in the policy."""
    observations = {}
    for task in ("pick-place", "push"):
        at_task = cell(task)
        first = at_task.reset(2)
        observations[task] = [first, replace(first, time=0.4), replace(first, time=0.8)]
    space = at_task.embodiment.action_space(bank.action_space.name)
    alone = {}
    for task, views in observations.items():
        policy = VotePolicy(at_task.model, at_task.encoder)
        episode = policy.start(bank, instructions[task], space)
        alone[task] = [episode.act(view).native for view in views]
    policy = VotePolicy(at_task.model, at_task.encoder)
    episodes = {task: policy.start(bank, instructions[task], space) for task in observations}
    for i in range(3):
        for task, views in observations.items():
            np.testing.assert_array_equal(episodes[task].act(views[i]).native, alone[task][i])
    assert np.abs(alone["push"][0] - alone["pick-place"][0]).max() > 1e-3


@pytest.mark.parametrize("kind", [VotePolicy, NearestPolicy])
def test_an_unknown_instruction_lists_the_known_ones(cell, bank, instructions, kind):
    cell = cell("pick-place")
    space = cell.embodiment.action_space(bank.action_space.name)
    for source in (bank, [bank[0], bank[3]]):
        with pytest.raises(RetrievalError) as caught:
            kind(cell.model, cell.encoder).start(source, "make coffee", space)
        assert set(caught.value.valid) == set(instructions.values())
        assert caught.value.value == "make coffee" and caught.value.remedy


def test_an_observation_without_joints_is_refused(cell, bank, instructions):
    cell = cell("pick-place")
    space = cell.embodiment.action_space(bank.action_space.name)
    observation = cell.reset(0)
    episode = VotePolicy(cell.model, cell.encoder).start(bank, instructions["pick-place"], space)
    for bad in (replace(observation, q=None), replace(observation, effectors={})):
        with pytest.raises(ReportedError, match="gripper"):
            episode.act(bad)
