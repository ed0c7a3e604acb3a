"""Families that policies may be trained on: scenes, experts, and what judges refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from icl_vla.runtime.loop import execute
from icl_vla.sim.driver import PyBulletDriver
from icl_vla.sim.families import TRAINED, draw
from icl_vla.sim.families.family import TableTask, spec_of
from icl_vla.sim.fixtures import LEANS, TRAVEL
from icl_vla.sim.ink import Dot
from icl_vla.sim.operator import StagedOperator
from icl_vla.sim.scene import ObjectSpec, Scene
from icl_vla.sim.workcell import Workcell
from icl_vla.sim.world import World
from icl_vla_embodiments import se3

Laid = Callable[..., Workcell]


@pytest.fixture(scope="module")
def laid(cell: Callable[[str], Workcell]) -> Laid:
    """One workcell, moved on to a scene of a task."""

    def lay(task: TableTask, seed: int) -> Workcell:
        place = cell("reach")
        place.task = task
        place.driver.scenes = lambda s: task.sample(place.workspace, np.random.default_rng(s))
        place.reset(seed)
        return place

    return lay


def task_of(family: str, **wanted: object) -> TableTask:
    """The first task of a family with these attributes."""
    tasks = (draw(family, number) for number in range(50))
    return next(t for t in tasks if all(getattr(t, k) == v for k, v in wanted.items()))


def carry_out(place: Workcell, seed: int, *, stages: int | None = None) -> None:
    """What the operator does, or its first stages of it."""
    assert isinstance(place.task, TableTask)
    operator = place.task.operator("straight", place.workspace, np.random.default_rng(seed))
    assert isinstance(operator, StagedOperator)
    while place.driver.clock() < 40.0 and (stages is None or operator.stage < stages):
        target = operator.act(place.driver, place.driver.observe(cameras=False))
        if target is None:
            return
        until = place.driver.clock() + 0.1
        execute(place.driver, place.controller, [target], [until], until)


def move(
    driver: PyBulletDriver, name: str, by: Sequence[float] = (0.0, 0.0, 0.0), turn: float = 0.0
) -> None:
    """Lay a thing elsewhere, at rest."""
    world, T = driver.world, driver.world.pose(name)
    turned = se3.quat_xyzw(se3.yaw(turn) @ T[:3, :3])
    world.client.resetBasePositionAndOrientation(
        world.bodies[name], list(T[:3, 3] + by), list(turned)
    )
    world.client.resetBaseVelocity(world.bodies[name], [0, 0, 0], [0, 0, 0])


def set_joint(driver: PyBulletDriver, name: str, value: float) -> None:
    driver.world.client.resetJointState(driver.world.bodies[name], 0, value)


@pytest.mark.parametrize("family", TRAINED)
def test_scenes_follow_from_seeds(family: str, cell: Callable[[str], Workcell]) -> None:
    workspace = cell("reach").workspace
    hashes = set()
    for number in range(3):
        task, again = draw(family, number), draw(family, number)
        assert (task.instruction, task.steps) == (again.instruction, again.steps)
        assert task.paraphrases and task.instruction not in task.paraphrases
        assert task.named <= set(task.roles)
        for seed in range(3):
            texts = [
                t.sample(workspace, np.random.default_rng(seed)).to_yaml() for t in (task, again)
            ]
            assert texts[0] == texts[1]
            hashes.add(hashlib.sha256(texts[0].encode()).hexdigest())
    assert len(hashes) == 9  # no two scenes are the same


@pytest.mark.parametrize("family", TRAINED)
@pytest.mark.parametrize(
    ("numbers", "seeds"),
    [([0], [0]), pytest.param([0, 1], [1, 2], marks=pytest.mark.slow)],
    ids=["one", "more"],
)
def test_operators_succeed_and_doing_nothing_does_not(
    numbers: list[int], seeds: list[int], family: str, laid: Laid
) -> None:
    for number in numbers:
        task = draw(family, number)
        for seed in seeds:
            place = laid(task, seed)
            assert not place.judge()
            place.reset(seed)
            carry_out(place, seed)
            assert place.judge(), f"{task.name} in scene {seed}: {task.instruction}"


def test_a_push_ends_within_a_centimetre_and_lets_go(laid: Laid) -> None:
    place = laid(task_of("push_to", side=""), 0)
    carry_out(place, 0, stages=3)  # pushed, the hand still against it
    assert place.task.there(place.driver)
    assert not place.judge()
    place.reset(0)
    carry_out(place, 0)
    assert place.judge()
    move(place.driver, place.task.thing, (0.02, 0.0, 0.0))
    assert not place.judge()


def test_side_by_side_means_on_the_right_side(laid: Laid) -> None:
    place = laid(task_of("push_to", side="left of"), 0)
    carry_out(place, 0)
    assert place.judge()
    thing, other = (place.driver.world.pose(n)[:3, 3] for n in (place.task.thing, place.task.other))
    move(place.driver, place.task.thing, (0.0, 0.015, 0.0))
    assert not place.judge()  # too far away
    move(place.driver, place.task.thing, 2 * (other - thing) - [0.0, 0.015, 0.0])
    assert not place.judge()  # the other side


def test_a_bar_has_to_point_there_to_ten_degrees_and_stay_in_place(laid: Laid) -> None:
    place = laid(draw("align", 0), 1)
    task, driver = place.task, place.driver
    bar, guide = spec_of(driver, task.bar), spec_of(driver, task.guide)
    right = guide.yaw + (np.pi / 2 if task.across else 0.0) - bar.yaw
    move(driver, task.bar, turn=right + np.deg2rad(8))
    assert place.judge()
    move(driver, task.bar, turn=np.deg2rad(7))
    assert not place.judge()
    move(driver, task.bar, turn=np.deg2rad(-15))
    assert place.judge()
    move(driver, task.bar, (0.0, 0.015, 0.0))
    assert not place.judge()


def test_a_thing_has_to_be_in_the_bowl(laid: Laid) -> None:
    place = laid(draw("place_in", 0), 0)
    carry_out(place, 0)
    assert place.judge()
    bowl = spec_of(place.driver, place.task.bowl)
    move(place.driver, place.task.thing, (0.5 * bowl.size[0] + 0.04, 0.0, 0.0))
    assert not place.judge()


def test_what_is_picked_up_has_to_stay_in_the_hand(laid: Laid) -> None:
    place = laid(draw("pick", 0), 0)
    carry_out(place, 0)
    assert place.judge()
    move(place.driver, place.task.thing, (0.0, 0.1, 0.0))  # out of the hand: it falls
    assert not place.judge()


def test_only_the_named_buttons_are_down_all_the_way(laid: Laid) -> None:
    number = next(n for n in range(50) if draw("press", n).spared)
    place = laid(draw("press", number), 0)
    carry_out(place, 0)
    assert place.judge()
    pressed, spared = place.task.wanted[0], place.task.spared[0]
    way = TRAVEL * spec_of(place.driver, pressed).size[2]
    set_joint(place.driver, pressed, 0.7 * way)
    assert not place.judge()
    set_joint(place.driver, pressed, way)
    assert place.judge()
    set_joint(place.driver, spared, TRAVEL * spec_of(place.driver, spared).size[2])
    assert not place.judge()


@pytest.mark.parametrize("opens", [True, False])
def test_lids_have_to_rest_open_or_shut(opens: bool, laid: Laid) -> None:
    place = laid(task_of("lid", opens=opens), 0)
    carry_out(place, 0)
    assert place.judge()
    set_joint(place.driver, place.task.box, 1.4 if opens else 1.75)  # falls the other way
    assert not place.judge()


def test_lids_fall_to_where_they_lean_and_buttons_stay() -> None:
    world = World()
    for begin, end in ((0.5, 0.0), (1.4, 0.0), (1.75, LEANS), (LEANS, LEANS)):
        box = ObjectSpec(
            "box", "lid", (0.1, 0.09, 0.05), (0.8, 0.1, 0.1), (0.4, 0, 0.025), joint=begin
        )
        knob = ObjectSpec(
            "knob", "button", (0.07, 0.07, 0.04), (0.1, 0.1, 0.8), (0.4, 0.3, 0.02), joint=0.01
        )
        world.reset(Scene((box, knob), {}))
        world.step(480)
        assert world.joint("box") == pytest.approx(end, abs=2e-3)
        assert world.joint("knob") == pytest.approx(0.01, abs=1e-4)
        at_rest = world.joint("box")
        world.step(240)
        assert world.joint("box") == pytest.approx(at_rest, abs=1e-5)  # it does not jitter
    world.close()


def test_ink_has_to_cover_the_path_and_nothing_else(laid: Laid) -> None:
    place = laid(task_of("follow", waits=True), 0)
    carry_out(place, 0)
    pen = place.driver.world.pen
    assert pen is not None and place.judge()
    drawn = list(pen.dots)
    pen.dots = [dot for dot in drawn if dot.seconds < 0.8]
    assert not place.judge()  # no blots
    pen.dots = [*drawn[: len(drawn) // 3], *drawn[-len(drawn) // 3 :]]
    assert not place.judge()  # a gap
    pen.dots = [*drawn, Dot(drawn[0].place + np.array([0.0, 0.05]))]
    assert not place.judge()  # a stain
    pen.dots = drawn
    assert place.judge()


def test_programs_need_all_their_parts(laid: Laid) -> None:
    task = draw("program", 0)
    assert len({name for part in task.parts for name in part.roles}) == len(task.roles)
    place = laid(task, 0)
    carry_out(place, 0)
    assert place.judge()
    pressed = next(part for part in task.parts if part.family == "press")
    set_joint(place.driver, pressed.wanted[0], 0.0)
    assert not place.judge()


def test_programs_of_the_test_are_made_of_its_tasks() -> None:
    for number in range(5):
        assert all(part.seed < 900_000 for part in draw("program", number).parts)
        assert all(part.seed >= 900_000 for part in draw("program", 900_000 + number).parts)
