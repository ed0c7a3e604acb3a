"""Robots with two arms: where they work, how they are demonstrated, what a policy makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from icl_vla.evaluation.methods import find_method
from icl_vla.policy.frames import hand_frames
from icl_vla.policy.retrieval import HandsEpisode
from icl_vla.policy.vote import VotePolicy
from icl_vla.runtime.loop import execute
from icl_vla.sim.families import draw
from icl_vla.sim.families.handover import Handover
from icl_vla.sim.operator import Hands, Stage, StagedOperator
from icl_vla.sim.operators import Goal
from icl_vla.sim.recording import OPERATOR_SEED, record_in
from icl_vla.sim.two_armed import draw_two_armed
from icl_vla.sim.workcell import Workcell
from icl_vla_embodiments import Observation, ReportedError, SpaceState, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import Demonstration

ONE = 3  # a task in which one bar is handed over, from the first hand to the second
BOTH = 0  # one in which both are


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workcell:
    folder = tmp_path_factory.mktemp("two")
    file = folder / "two.urdf"
    file.write_text(draw_two_armed(0).urdf)
    store = EmbodimentStore(folder)
    store.add(embodiment_from_urdf(file, name="two"))
    return Workcell.build(store, "two")


def lay(place: Workcell, number: int, seed: int) -> Handover:
    task = draw("handover", number)
    assert isinstance(task, Handover)
    place.lay_out(task, lambda s: task.sample(place.workspace, np.random.default_rng(s)))
    place.reset(seed)
    return task


def shown(place: Workcell, number: int, seed: int) -> Demonstration:
    task = lay(place, number, seed)
    operator = task.expert(place.workspace, np.random.default_rng([OPERATOR_SEED, seed]))
    return record_in(place, lambda o: operator.act(place.driver, o), "straight", seed)


@pytest.fixture(scope="module")
def demonstrations(place: Workcell) -> list[Demonstration]:
    return [shown(place, ONE, 0)]


def test_neither_hand_reaches_the_other_ones_patch_and_both_reach_the_meeting(
    place: Workcell,
) -> None:
    model, (one, two) = place.model, place.workspace.hands
    assert {one.effector, two.effector} == {"right_arm", "left_arm"}
    assert one.meeting is not None and two.meeting is not None
    way = (two.meeting - one.meeting)[:3, 3]
    assert abs(way[2]) < 1e-9
    for hand, other in ((one, two), (two, one)):
        assert hand.meeting is not None
        for x, y in ((0, 0), (-1, -1), (1, 1)):
            T = se3.pose(hand.grasp, [*hand.point(x, y), 0.02])
            assert off(model, hand.effector, T) < 3e-3
            assert off(model, other.effector, T) > 0.05, (hand, x, y)
        assert off(model, hand.effector, hand.meeting) < 3e-3
        assert abs(hand.meeting[:3, 2] @ [0, 0, -1] - 1) < 1e-9  # points down


def off(model: RobotModel, effector: str, T: np.ndarray) -> float:
    """Least distance [m] of a hand from a pose over a few postures to start from."""
    rng = np.random.default_rng(0)
    low, high = np.maximum(model.lower, -np.pi), np.minimum(model.upper, np.pi)
    guesses = [model.neutral, *(rng.uniform(low, high) for _ in range(4))]
    solved = (model.inverse_kinematics({effector: T}, q) for q in guesses)
    return min(
        float(
            np.linalg.norm((model.poses(q)[effector] - T)[:3, 3])
            + 0.1 * np.linalg.norm(se3.log3(model.poses(q)[effector][:3, :3] @ T[:3, :3].T))
        )
        for q in solved
    )


def test_hands_of_one_robot_touch_each_other_and_no_hand_touches_itself(place: Workcell) -> None:
    place.reset(0)
    one, two = place.workspace.hands
    here, there = one.meeting, two.meeting
    assert here is not None and there is not None
    client, body = place.driver.world.client, place.driver.body

    def contacts(apart: float) -> int:
        T = there.copy()
        T[:3, 3] = here[:3, 3] + apart * np.array([0.0, 1.0, 0.0])
        q = place.model.inverse_kinematics(
            {one.effector: here, two.effector: T}, place.model.neutral
        )
        place.driver.place(q)
        client.performCollisionDetection()
        return len(client.getContactPoints(body, body))

    assert contacts(0.0) > 0
    assert contacts(0.4) == 0


def test_a_hand_waits_for_another_ones_stage(place: Workcell) -> None:
    lay(place, ONE, 0)
    q = place.driver.observe(cameras=False).q
    assert q is not None
    poses = place.model.poses(q)

    def shifted(effector: str, z: float) -> Goal:
        T = poses[effector].copy()
        T[2, 3] += z
        return lambda driver: T

    rng = np.random.default_rng(0)
    first = Stage(shifted("left_arm", 0.08), 0.0, tolerance=0.01, name="up")
    second = Stage(shifted("right_arm", 0.08), 0.0, after="up")
    operator = Hands(
        {
            "left_arm": StagedOperator("left_arm", [first], rng),
            "right_arm": StagedOperator("right_arm", [second], rng),
        }
    )
    heights: list[tuple[float, float]] = []
    while (target := operator.act(place.driver, place.driver.observe(cameras=False))) is not None:
        heights.append((target.poses["left_arm"][2, 3], target.poses["right_arm"][2, 3]))
        until = place.driver.clock() + 0.1
        execute(place.driver, place.controller, [target], [until], until)
    left, right = np.array(heights).T - [[poses[e][2, 3]] for e in ("left_arm", "right_arm")]
    assert (right[left < 0.06] == 0).all()
    assert left[-1] > 0.06 and right[-1] > 0.06  # a stage ends a centimetre before its goal


def test_a_handover_is_won_with_both_hands_and_not_by_standing_still(
    place: Workcell, demonstrations: Sequence[Demonstration]
) -> None:
    for d in demonstrations:
        assert d.provenance["success"]
        for e in ("right_arm", "left_arm"):
            assert np.ptp(d.commands[e][:, :3, 3], axis=0).max() > 0.3  # it went to the middle
            assert {0.0, 1.0} <= set(d.gripper_commands[e].tolist())
        held = np.stack([d.gripper_commands[e] for e in d.commands])
        assert (held == 0).all(axis=0).any()  # both hold it for a moment
    lay(place, ONE, 0)
    assert not place.judge()


def test_the_judge_wants_place_heading_and_an_open_hand(place: Workcell) -> None:
    task = lay(place, BOTH, 1)
    world = place.driver.world
    assert len(task.passes) == 2

    def put(bar: str, line: str, shift: float = 0.0, turn: float = 0.0) -> None:
        T = world.pose(line)
        height = next(o.size[2] for o in world.scene.objects if o.name == bar) / 2
        p = [T[0, 3] + shift, T[1, 3], height]
        world.client.resetBasePositionAndOrientation(
            world.bodies[bar], p, list(se3.quat_xyzw(se3.yaw(turn) @ T[:3, :3]))
        )

    (one, mark), (two, mark_2) = task.passes
    put(one, mark)
    assert not task.succeeded(place.driver)  # the other one is missing
    put(two, mark_2, turn=np.pi)  # a bar looks the same turned by half
    assert task.succeeded(place.driver)
    put(two, mark_2, shift=0.012)
    assert not task.succeeded(place.driver)
    put(two, mark_2, turn=np.deg2rad(12))
    assert not task.succeeded(place.driver)


def test_a_one_armed_robot_is_refused(place: Workcell) -> None:
    from dataclasses import replace

    alone = replace(place.workspace, partner=None)
    with pytest.raises(ReportedError, match="two arms"):
        draw("handover", ONE).sample(alone, np.random.default_rng(0))


def test_an_idle_hand_is_written_as_staying(place: Workcell) -> None:
    space = place.embodiment.action_space()
    q = place.model.neutral
    poses = place.model.poses(q)
    state = SpaceState(poses=poses, q=q, grippers={"right_arm": 1.0, "left_arm": 0.5})
    moved = poses["right_arm"].copy()
    moved[0, 3] += 0.05
    native = space.encode([TaskTarget(poses={"right_arm": moved})], state, place.model)
    read = space.decode(native, state, place.model)[0]
    np.testing.assert_allclose(read.poses["right_arm"], moved, atol=1e-9)
    np.testing.assert_allclose(read.poses["left_arm"], poses["left_arm"], atol=1e-9)
    assert read.grippers["left_arm"] == pytest.approx(0.5)


def test_another_hand_is_a_frame(demonstrations: Sequence[Demonstration]) -> None:
    """What was done beside a hand is carried to beside the hand, wherever it is now."""
    from types import SimpleNamespace

    contexts = [SimpleNamespace(tcp=d.poses["left_arm"]) for d in (*demonstrations,) * 2]
    pointers = np.array([40, 50])
    for turn in (0.0, 0.7):
        motion = se3.pose(se3.yaw(turn), np.array([0.1, -0.2, 0.05]))
        now = motion @ contexts[0].tcp[40]
        frames = list(hand_frames("left_arm", contexts, pointers, now))  # type: ignore[arg-type]
        assert all(f.valid.all() and f.outside for f in frames)
        np.testing.assert_allclose(frames[1].X[0], motion, atol=1e-6)
        for frame in frames:  # both demonstrations' hands are carried to where it is now
            there = [X @ c.tcp[t] for X, c, t in zip(frame.X, contexts, pointers, strict=True)]
            np.testing.assert_allclose([T[:3, 3] for T in there], [now[:3, 3]] * 2, atol=1e-9)


def test_the_vote_moves_both_hands_and_ends_up_where_it_was_shown(
    place: Workcell, demonstrations: Sequence[Demonstration]
) -> None:
    """In a scene that was demonstrated, the vote of that demonstration does it again."""
    task = lay(place, ONE, 0)
    policy = VotePolicy(place.model, place.encoder)
    space = place.embodiment.action_space()
    episode = policy.start([demonstrations[0]], task.instruction, space)
    assert isinstance(episode, HandsEpisode)
    chunk = episode.act(place.driver.observe())
    assert set(chunk.motions) == {"right_arm", "left_arm"}
    assert chunk.native is not None and chunk.native.shape == (len(chunk), len(space))
    lay(place, ONE, 0)
    from icl_vla.runtime.loop import run_episode

    again = policy.start([demonstrations[0]], task.instruction, space)
    place.reset(0)
    outcome = run_episode(
        place.driver, place.controller, again, seconds=place.seconds, audit=place.audit
    )
    assert outcome.reason == "done"
    assert place.judge()


def test_methods_without_eyes_take_both_hands(
    place: Workcell, demonstrations: Sequence[Demonstration], tmp_path: Path
) -> None:
    lay(place, ONE, 0)
    observation: Observation = place.driver.observe(cameras=False)
    from icl_vla.evaluation.methods.mean_trajectory import MeanTrajectoryEpisode, mean_commands

    means = {e: mean_commands(list(demonstrations), e) for e in ("right_arm", "left_arm")}
    chunk = MeanTrajectoryEpisode(place, means, 10.0).act(observation)
    assert set(chunk.motions) == set(chunk.grippers) == {"right_arm", "left_arm"}
    assert find_method("nothing").name == "nothing"


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_the_expert_wins_in_new_scenes(number: int, place: Workcell) -> None:
    for seed in (50, 51, 52):
        assert shown(place, number, seed).provenance["success"], seed
