"""Where things lie as hands' ways tell, and rotations that symmetric things leave open."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from icl_vla.policy.context import DemoContext
from icl_vla.policy.forms import Form
from icl_vla.policy.frames import FrameVotes
from icl_vla.policy.headings import carried_by_motion
from icl_vla.policy.retrieval import RetrievalConfig
from icl_vla.policy.vote import consensus
from icl_vla_embodiments import se2, se3

SIZE = np.array([0.10, 0.10, 0.05])  # [m] of a box as deep as it is wide


def view(yaw, rng, fin=True, count=48):
    """What one camera in the -x direction sees of a box, with or without a fin on its front."""
    n = 20 * count // 48
    top = np.append(rng.uniform(-0.5, 0.5, (n, 2)), np.full((n, 1), 1.0), axis=1) * SIZE
    sides = []
    for quarter in range(4):
        normal = se3.yaw(yaw + 0.5 * np.pi * quarter)[:2, 0]
        if normal[0] < -0.3:
            flat = np.stack([np.full(n, 0.5), *rng.uniform(-0.5, 0.5, (2, n))], axis=1)
            sides.append((flat * SIZE + [0, 0, 0.025]) @ se3.yaw(0.5 * np.pi * quarter).T)
    ridge = [0.045, 0, 0.065] + rng.uniform(-1, 1, (16 * count // 48, 3)) * [0.005, 0.02, 0.015]
    points = np.concatenate([top, *sides, *([ridge] if fin else [])])
    kept = points[rng.permutation(len(points))[:count]]
    return kept @ se3.yaw(yaw).T + rng.normal(0, 0.001, (len(kept), 3))


def shown(yaw, rng, fin=True, count=48):
    """A hand that comes down on the front from anywhere, and swings over to the back."""
    place = np.append(rng.uniform(-0.2, 0.2, 2), 0.0)
    start = se3.yaw(-yaw)[:2, :2] @ rng.uniform(-0.2, 0.2, 2)
    corners = np.array([[*start, 0.25], [0.05, 0, 0.08], [0.05, 0, 0.05], [-0.08, 0, 0.12]])
    way = np.concatenate([np.linspace(a, b, 14) for a, b in pairwise(corners)])
    tcp = se3.pose(np.eye(3), way @ se3.yaw(yaw).T + place)
    cloud = view(yaw, rng, fin, count)[None] + place
    first = place[None] + [0, 0, 0.025]
    still, opening = np.tile(first, (len(way), 1, 1)), np.ones(len(way))
    times, features = 0.1 * np.arange(len(way)), np.zeros((1, 3))
    return DemoContext(0, times, tcp, opening, tcp, opening, still, first, features, cloud)


def opened(angle, yaw, rng):
    """A box whose top is a lid, hinged at its back, ``angle`` [rad] from being shut."""
    box = view(yaw, rng, fin=False, count=96) @ se3.yaw(yaw)
    box = box[box[:, 2] < 0.045]
    along, across = rng.uniform(0, 1, 70), rng.uniform(-0.5, 0.5, 70)
    flat = np.stack([np.cos(angle) * along, across, np.sin(angle) * along], axis=1) * SIZE[0]
    return np.concatenate([box, flat - [0.05, 0, -0.05]]) @ se3.yaw(yaw).T


def errors(yaws, now, rng, fin=True):
    """Degrees that each demonstration's turn is off; None where nothing is told."""
    contexts = [shown(yaw, rng, fin) for yaw in yaws]
    cloud = view(now, rng, fin)
    told = carried_by_motion(contexts, np.zeros(len(yaws), dtype=int), cloud, cloud)
    if told is None:
        return None
    X, known = told
    off = (np.arctan2(X[:, 1, 0], X[:, 0, 0]) - (now - np.asarray(yaws)))[known]
    return np.rad2deg(np.abs(se2.wrap(off)))


def test_a_hand_tells_which_side_is_the_front():
    rng = np.random.default_rng(5)
    yaws = rng.uniform(-np.pi, np.pi, (16, 9))
    told = [o for o in (errors(y[:8], y[8], rng) for y in yaws) if o is not None]
    assert len(told) >= 10  # the others had no view of the fin to go by, and knew it
    # views are noisy by 1 mm over 5 cm, angles are searched in steps of 10 degrees
    assert np.median(np.concatenate(told)) < 2
    assert np.mean([np.median(o) < 6 for o in told]) >= 0.9


def test_what_a_hand_does_to_another_thing_does_not_count():
    """Here it comes as near to the box as that goes, in the first demonstrations and in others."""
    rng = np.random.default_rng(12)
    off = []
    for _ in range(6):
        *yaws, now = rng.uniform(-np.pi, np.pi, 9)
        contexts = []
        for k, yaw in enumerate(yaws):
            alone = shown(yaw, rng)
            beside = alone.first[0] + se3.yaw(rng.uniform(-np.pi, np.pi)) @ [0.17, 0, 0]
            back = (alone.first[0] - beside) / 0.17
            wander = beside + 0.07 * back + rng.normal(0, 0.015, (40, 3))
            tcp = np.concatenate([se3.pose(p=wander[: 40 * (k % 2 == 0)]), alone.tcp])
            both = np.stack([alone.first[0], beside])
            tokens = np.tile(both, (len(tcp), 1, 1))
            contexts.append(replace(alone, tcp=tcp, tokens=tokens, first=both))
        cloud = view(now, rng)
        told = carried_by_motion(contexts, np.zeros(8, dtype=int), cloud, cloud)
        if told is not None:
            X, known = told
            turned = np.arctan2(X[:, 1, 0], X[:, 0, 0])[known]
            off.append(np.median(np.abs(se2.wrap(turned - (now - np.array(yaws)[known])))))
    assert len(off) >= 4 and np.rad2deg(np.median(off)) < 4


def test_a_thing_lies_where_many_points_of_it_fit():
    """To a millimetre, although views of it have their middles elsewhere each."""
    rng = np.random.default_rng(10)
    yaws, index = rng.uniform(-np.pi, np.pi, 8), np.zeros(8, dtype=int)
    contexts = [shown(yaw, rng, count=144) for yaw in yaws]
    off = []
    for now in rng.uniform(-np.pi, np.pi, 6):
        place = np.append(rng.uniform(-0.2, 0.2, 2), 0.0)
        fine = view(now, rng, count=600) + place
        told = carried_by_motion(contexts, index, fine[::12], fine)
        if told is None:
            continue  # one side looks like another from there
        X, known = told
        for k in np.flatnonzero(known):
            front = contexts[k].first[0] + se3.yaw(yaws[k]) @ [0.05, 0, 0]
            there = place + [0, 0, 0.025] + se3.yaw(now) @ [0.05, 0, 0]
            off.append(np.linalg.norm((se3.act(X[k], front[None])[0] - there)[:2]))
    assert len(off) >= 24 and np.median(off) < 0.0015 and np.quantile(off, 0.9) < 0.003


def test_a_lid_that_stands_upright_is_not_open():
    """Demonstrations left it leaning back: that is told from any other angle."""
    rng = np.random.default_rng(11)
    contexts = []
    for yaw in rng.uniform(-np.pi, np.pi, 8):
        shut = shown(yaw, rng, count=144)
        place = shut.first[0] - [0, 0, 0.025]
        contexts.append(replace(shut, ended=opened(1.9, yaw, rng)[None] + place))
    index = np.zeros(8, dtype=int)
    form = Form.of(contexts, index)
    assert form is not None
    fine = view(0.7, rng, count=600)
    X, known = carried_by_motion(contexts, index, fine[::12], fine)

    def missed(angle):
        return form.missed(opened(angle, 0.7, rng), X, known)

    assert missed(1.9) == 0
    assert min(missed(a) for a in (0.0, 0.8, 1.5)) > 0
    assert form.missed(fine + 0.5, X, known) == 0  # another thing was taken for it
    still = [replace(c, ended=c.clouds) for c in contexts]
    assert Form.of(still, index) is None  # nothing has changed
    assert Form.of([shown(y, rng) for y in rng.uniform(-3, 3, 8)], index) is None  # nobody looked


def test_a_thing_that_looks_alike_from_all_sides_tells_nothing():
    rng = np.random.default_rng(6)
    yaws = rng.uniform(-np.pi, np.pi, (6, 8))
    assert sum(errors(y, 1.0, rng, fin=False) is not None for y in yaws) <= 1


def test_things_that_were_always_turned_alike_tell_nothing():
    rng = np.random.default_rng(7)
    assert errors(rng.uniform(-0.1, 0.1, 8), 0.5, rng) is None


def frame(name, yaw, count):
    return FrameVotes(name, se3.pose(se3.yaw(yaw), np.zeros((count, 3))), np.ones(count, bool))


@pytest.mark.parametrize("period", [np.pi, 0.5 * np.pi])
@pytest.mark.parametrize("now", [0.2, -1.0])
def test_of_equal_grasps_the_nearest_is_taken_and_none_is_averaged(period, now):
    rng = np.random.default_rng(8)
    K = 8
    yaws = rng.uniform(-np.pi, np.pi, K)  # of the thing, in each demonstration
    grasp = (yaws + 0.5 * period) % period - 0.5 * period  # of the hand: the nearest to zero
    commands = np.tile(se3.pose(se3.yaw(grasp), np.zeros((K, 3)))[:, None], (1, 4, 1, 1))
    there = 0.6  # the thing's yaw now
    frames = [frame("thing turned", there - yaws, K)]
    frames += [frame("base", np.zeros(K), K) for _ in range(4)]
    frames += [frame("another", rng.uniform(-np.pi, np.pi, K), K) for _ in range(10)]
    tcp = se3.pose(se3.yaw(now))
    said = consensus(frames, commands, np.full(K, 1 / K), tcp, RetrievalConfig()).poses
    yaw = np.arctan2(said[:, 1, 0], said[:, 0, 0])
    expected = now + (there - now + 0.5 * period) % period - 0.5 * period
    assert np.abs(np.rad2deg(yaw - expected)).max() < 1


def test_frames_that_turn_alike_count_once():
    """Wherever they hang, however many: as the one of them would that weighs most."""
    rng = np.random.default_rng(9)
    K = 8
    one, another = rng.normal(0, 0.05, K), 0.3 + rng.normal(0, 0.05, K)
    commands = np.tile(np.eye(4), (K, 4, 1, 1))

    def rotations(*frames):
        said = consensus(frames, commands, np.full(K, 1 / K), np.eye(4), RetrievalConfig())
        return said.poses[:, :3, :3]

    def hung(yaw, x, weight=1.0):
        X = se3.pose(se3.yaw(yaw), np.tile([x, 0.0, 0.0], (K, 1)))
        return FrameVotes("", X, np.ones(K, bool), weight)

    said = {w: rotations(hung(another, 0.0), hung(one, 0.0, weight=w)) for w in (0.05, 1.0, 3.0)}
    for w, alone in said.items():
        ones = [hung(one, x, v) for x, v in ((0.0, 0.01), (0.1, w), (0.2, w))]
        many = rotations(*ones, hung(another, 0.0), hung(another, 0.1))
        np.testing.assert_allclose(many, alone, atol=1e-12)
    assert np.abs(said[0.05] - said[3.0]).max() > 0.01


def test_those_that_have_turned_back_do_not_slow_down_the_others():
    K, H = 7, 8
    steps = 0.02 * np.arange(1, H + 1)
    ways = np.zeros((K, H, 3))
    ways[:4, :, 0], ways[4:, :, 0] = steps, -steps
    commands = se3.pose(np.eye(3), ways)
    said = consensus(
        [frame("base", np.zeros(K), K)], commands, np.full(K, 1 / K), np.eye(4), RetrievalConfig()
    )
    np.testing.assert_allclose(said.poses[:, 0, 3], steps, atol=1e-3)


def test_a_frame_that_only_others_know_does_not_pull_to_the_origin():
    K, H = 7, 8
    ways = np.tile([0.5, 0.1, 0.2], (K, H, 1)) + 0.02 * np.arange(H)[:, None] * [1, 0, 0]
    ways[-1] -= 0.04 * np.arange(H)[:, None] * [1, 0, 0]
    commands = se3.pose(np.eye(3), ways)
    lone = FrameVotes("lone", np.tile(np.eye(4), (K, 1, 1)), np.arange(K) == K - 1, weight=1e3)
    frames = [frame("base", np.zeros(K), K), lone]
    said = consensus(frames, commands, np.full(K, 1 / K), np.eye(4), RetrievalConfig())
    assert np.abs(said.poses[:, 1:3, 3] - [0.1, 0.2]).max() < 1e-9
