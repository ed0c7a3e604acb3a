"""Families that nothing is trained on: scenes, experts, judges and the physics of fixtures.

Those held out, and those near to them that may be looked at.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest

from icl_vla.evaluation.causes import Evidence
from icl_vla.runtime.loop import Outcome, execute
from icl_vla.sim.driver import PyBulletDriver
from icl_vla.sim.families import HELD_OUT, NEARBY, TRAINED, draw
from icl_vla.sim.families.clear import Clear
from icl_vla.sim.families.family import TableTask, spec_of
from icl_vla.sim.families.sweep import Sweep
from icl_vla.sim.fixtures import SLIDES, SWINGS
from icl_vla.sim.workcell import Workcell, find_task
from icl_vla.sim.workspace import Workspace
from icl_vla_embodiments import ReportedError, TaskTarget, se3
from icl_vla_embodiments.types import Array

ONE_ARMED = [f for f in (*HELD_OUT, *NEARBY) if f != "handover"]  # see test_two_arms.py
Laid = Callable[[str, int, int], tuple[Workcell, TableTask]]


@pytest.fixture(scope="module")
def laid(cell: Callable[[str], Workcell]) -> Laid:
    """One workcell, moved on to a scene of a family's task."""

    def lay(family: str, number: int, seed: int) -> tuple[Workcell, TableTask]:
        place, task = cell("stack"), draw(family, number)
        place.task = task
        place.driver.scenes = lambda s: task.sample(place.workspace, np.random.default_rng(s))
        place.reset(seed)
        return place, task

    return lay


def won_by_expert(place: Workcell, task: TableTask, seed: int) -> bool:
    operator = task.expert(place.workspace, np.random.default_rng(seed))
    while place.driver.clock() < 30.0:
        target = operator.act(place.driver, place.driver.observe(cameras=False))
        if target is None:
            break
        until = place.driver.clock() + 0.1
        execute(place.driver, place.controller, [target], [until], until)
    return place.judge()


def put(driver: PyBulletDriver, name: str, point: Array, tilt: float = 0.0) -> None:
    """Lay a thing down, at rest, turned about the world's x axis [rad]."""
    world = driver.world
    turn = se3.quat_xyzw(se3.exp3(np.array([tilt, 0.0, 0.0])) @ world.pose(name)[:3, :3])
    world.client.resetBasePositionAndOrientation(world.bodies[name], list(point), list(turn))
    world.client.resetBaseVelocity(world.bodies[name], [0, 0, 0], [0, 0, 0])


def at(driver: PyBulletDriver, name: str) -> Array:
    return driver.world.pose(name)[:3, 3].copy()


@pytest.mark.parametrize("family", ONE_ARMED)
def test_scenes_follow_from_seeds(family: str, laid: Laid) -> None:
    place, task = laid(family, 2, 5)

    def scene(number: int, seed: int) -> str:
        rng = np.random.default_rng(seed)
        return draw(family, number).sample(place.workspace, rng).to_yaml()

    assert scene(2, 5) == scene(2, 5) == place.driver.world.scene.to_yaml()
    assert len({zlib.crc32(scene(n, s).encode()) for n in (2, 3) for s in (5, 6)}) == 4
    assert task.steps and task.instruction and task.paraphrases
    assert task.instruction not in task.paraphrases
    named = {task.roles[name].color for name in task.named}
    for sentence in (task.instruction, *task.paraphrases):
        assert all(color in sentence for color in named), sentence
    assert len({draw(family, n).instruction for n in range(40)}) > 10


def test_only_held_out_families_have_the_three_mechanisms() -> None:
    found = {draw(family).mechanism for family in HELD_OUT}
    assert {"slide", "insert", "tool"} <= found
    assert {draw(family).mechanism for family in (*TRAINED, *NEARBY)} == {""}


@pytest.mark.parametrize("family", [*ONE_ARMED, "program"])
def test_why_an_attempt_failed_can_be_told_of_every_family(family: str, laid: Laid) -> None:
    place, _ = laid(family, 1, 5)
    evidence = Evidence()
    evidence.begin(place, place.driver.observe(cameras=False))
    for _ in range(10):
        evidence.look()
    assert evidence.cause(Outcome("time", 1.0, 1)) in {"reach", "choice"}  # the hand is above all


@pytest.mark.parametrize("family", ONE_ARMED)
def test_doing_nothing_loses_and_the_expert_wins(family: str, laid: Laid) -> None:
    for number in (0, 1):
        place, task = laid(family, number, 40 + number)
        assert not place.judge()
        place.reset(40 + number)
        assert won_by_expert(place, task, 7), task.instruction


@pytest.mark.slow
@pytest.mark.parametrize("family", ONE_ARMED)
def test_the_expert_wins_in_new_scenes(family: str, laid: Laid) -> None:
    for number in (4, 5):
        for seed in (50, 51):
            place, task = laid(family, number, seed)
            assert won_by_expert(place, task, 7), (task.instruction, seed)


def test_swapped_things_have_to_be_on_the_other_ones_mark(laid: Laid) -> None:
    place, task = laid("swap", 1, 3)
    driver = place.driver
    one, two = at(driver, "one"), at(driver, "two")
    there = {"one": np.array([*two[:2], one[2]]), "two": np.array([*one[:2], two[2]])}
    put(driver, "one", there["one"])
    assert not task.succeeded(driver)
    put(driver, "two", there["two"])
    assert task.succeeded(driver)
    put(driver, "one", there["one"] + np.array([0.015, 0.0, 0.0]))
    assert not task.succeeded(driver)
    put(driver, "one", there["one"], tilt=np.deg2rad(15))
    assert not task.succeeded(driver)
    put(driver, "one", there["one"])  # and now the hand holds it
    hand = se3.pose(place.workspace.grasp, there["one"])
    q = place.model.inverse_kinematics({place.workspace.effector: hand}, place.model.neutral)
    driver.place(q)
    driver.world.step(1)
    assert not task.succeeded(driver)


def test_swept_things_have_to_be_in_the_zone_and_no_other(laid: Laid) -> None:
    place, task = laid("sweep", 2, 3)
    assert isinstance(task, Sweep)
    driver = place.driver
    zone, radius = at(driver, "zone"), spec_of(driver, "zone").size[0] / 2
    height = at(driver, task.group[0])[2]

    def on_a_ring(i: int, r: float) -> Array:
        angle = 2 * np.pi * i / task.count
        return np.array([*(zone[:2] + r * np.array([np.cos(angle), np.sin(angle)])), height])

    for i, name in enumerate(task.group):
        put(driver, name, on_a_ring(i, 0.6 * radius))
    assert task.succeeded(driver)
    put(driver, task.group[0], on_a_ring(0, radius + 0.015))
    assert not task.succeeded(driver)
    put(driver, task.group[0], on_a_ring(0, 0.6 * radius))
    other = next(n for n in driver.world.bodies if n.startswith("other"))
    put(driver, other, np.array([*zone[:2], at(driver, other)[2]]))
    assert not task.succeeded(driver)


def test_a_peg_has_to_be_down_in_the_hole(laid: Laid) -> None:
    place, task = laid("insert", 0, 3)
    driver = place.driver
    block, peg = at(driver, "block"), at(driver, "peg")
    inside = np.array([*block[:2], peg[2]])
    put(driver, "peg", inside)
    assert task.succeeded(driver)
    put(driver, "peg", inside + np.array([0.0, 0.0, 0.015]))
    assert not task.succeeded(driver)
    put(driver, "peg", inside, tilt=np.deg2rad(15))
    assert not task.succeeded(driver)


def dropped(place: Workcell, aside: float) -> float:
    """How far above the table a peg comes to rest that is let go over the hole, or beside it."""
    driver = place.driver
    block, yaw = at(driver, "block"), spec_of(driver, "block").yaw
    height = spec_of(driver, "peg").size[2]
    world = driver.world
    turn = se3.quat_xyzw(se3.yaw(yaw))
    point = [block[0] + aside, block[1], spec_of(driver, "block").size[2] + height / 2 + 0.001]
    world.client.resetBasePositionAndOrientation(world.bodies["peg"], point, list(turn))
    world.step(120)
    return float(at(driver, "peg")[2] - height / 2)


def test_a_peg_falls_through_its_hole_and_not_beside_it(laid: Laid) -> None:
    for number in range(4):
        place, _ = laid("insert", number, 3)
        assert abs(dropped(place, 0.0)) < 2e-3
        place.reset(3)
        assert dropped(place, 0.006) > 5e-3  # the clearance is 1 mm to either side


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("family", ["drawer", "gate"])
def test_what_slides_or_swings_stays_where_it_is_and_has_to_be_at_its_stop(
    family: str, number: int, laid: Laid
) -> None:
    place, task = laid(family, number, 3)
    world, body = place.driver.world, place.driver.world.bodies[family]
    if family == "gate":
        way, short, still = SWINGS, 0.15, 2e-3  # [rad]
    else:
        way, short, still = SLIDES * spec_of(place.driver, family).size[0], 0.015, 5e-4  # [m]
    stop, short = (way, -short) if task.opens else (0.0, short)  # type: ignore[attr-defined]
    for offset, expected in ((0.0, True), (short, False)):
        world.client.resetJointState(body, 0, stop + offset)
        world.step(240)
        assert world.joint(family) == pytest.approx(stop + offset, abs=still)
        assert task.succeeded(place.driver) == expected


def test_a_mark_is_cleared_when_nothing_of_the_group_is_on_it(laid: Laid) -> None:
    place, task = laid("clear", 2, 3)
    assert isinstance(task, Clear)
    driver = place.driver
    zone, radius = at(driver, "zone"), spec_of(driver, "zone").size[0] / 2
    small = spec_of(driver, task.group[0]).size
    assert all(np.linalg.norm(at(driver, n)[:2] - zone[:2]) < radius for n in task.group)
    for i, name in enumerate(task.group):
        assert not task.succeeded(driver)
        angle = 2 * np.pi * i / task.count
        out = (radius + 0.5 * small[0] + 0.002) * np.array([np.cos(angle), np.sin(angle), 0.0])
        put(driver, name, np.array([*zone[:2], at(driver, name)[2]]) + out)
    assert task.succeeded(driver)


def test_most_balls_have_to_be_in_the_bowl(laid: Laid) -> None:
    place, task = laid("pour", 0, 3)
    driver = place.driver
    balls = [n for n in driver.world.bodies if n.startswith("ball")]
    bowl, cup = at(driver, "bowl"), at(driver, "cup")
    assert all(np.linalg.norm(at(driver, n)[:2] - cup[:2]) < 0.03 for n in balls)  # still in it
    for i, name in enumerate(balls):
        angle = 2 * np.pi * i / len(balls)
        ring = 0.03 * np.array([np.cos(angle), np.sin(angle), 0.0])
        put(driver, name, bowl + ring)
        assert task.succeeded(driver) == (i + 1 >= 4)
    put(driver, "bowl", bowl, tilt=np.deg2rad(15))
    assert not task.succeeded(driver)


def test_what_the_hook_draws_has_to_lie_on_the_mark(laid: Laid) -> None:
    place, task = laid("tool", 0, 3)
    driver = place.driver
    far = place.workspace.point(1.0, 0.0)[0]
    assert at(driver, "thing")[0] > far + 0.04
    mark, radius = at(driver, "mark"), spec_of(driver, "mark").size[0] / 2
    on = np.array([*mark[:2], at(driver, "thing")[2]])
    put(driver, "thing", on)
    assert task.succeeded(driver)
    put(driver, "thing", on + np.array([radius + 0.015, 0.0, 0.0]))
    assert not task.succeeded(driver)
    put(driver, "thing", on, tilt=np.deg2rad(15))
    assert not task.succeeded(driver)


def test_fingers_hold_a_thing_against_a_push_along_their_way(laid: Laid) -> None:
    place, _ = laid("stack", 0, 3)
    driver, effector = place.driver, place.workspace.effector
    point = np.array([*place.workspace.center, 0.15])
    q = place.model.inverse_kinematics(
        {effector: se3.pose(place.workspace.grasp, point)}, place.model.neutral
    )
    for gripper in place.embodiment.of_kind("gripper"):
        for joint, value in zip(gripper.joints, gripper.open, strict=True):
            q[place.embodiment.joints.index(joint)] = value
    driver.place(q)
    place.controller.reset(driver.observe(cameras=False))
    closed = TaskTarget(
        poses={effector: se3.pose(place.workspace.grasp, point)}, grippers={effector: 0.0}
    )
    body = driver.world.bodies["upper"]
    put(driver, "upper", point)
    driver.world.client.changeDynamics(body, -1, mass=0.0)  # it hangs in the air until it is held
    execute(driver, place.controller, [closed], [0.5], 0.5)
    driver.world.client.changeDynamics(body, -1, mass=0.08)
    before = at(driver, "upper")
    for _ in range(60):
        driver.world.client.applyExternalForce(
            body, -1, [0.0, 4.0, 0.0], list(at(driver, "upper")), 1
        )
        driver.world.step(1)
    assert np.linalg.norm(at(driver, "upper") - before) < 2e-3


def test_too_small_a_patch_is_refused_in_words(laid: Laid) -> None:
    place, _ = laid("sweep", 0, 3)
    real = place.workspace
    tiny = Workspace(
        real.effector, real.center, (0.05, 0.06), real.aperture, real.grasp, real.start_height
    )
    for family in ("sweep", "pour"):
        with pytest.raises(ReportedError, match="no room"):
            draw(family).sample(tiny, np.random.default_rng(0))


def test_a_family_s_tasks_have_numbers_by_which_they_are_found() -> None:
    for family in HELD_OUT:
        assert find_task(f"{family}:3").instruction == draw(family, 3).instruction
