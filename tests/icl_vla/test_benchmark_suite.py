"""Suites as data, splits, distances, contexts: what needs no physics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icl_vla.evaluation.benchmark import _handed, _told_apart
from icl_vla.evaluation.context import CONTEXTS, NEUTRAL, at_rate, respoken
from icl_vla.evaluation.conventions import CONVENTIONS, REWRITTEN, misdescribed
from icl_vla.evaluation.distances import Programs, edit_distances
from icl_vla.evaluation.methods import METHODS, find_method
from icl_vla.evaluation.methods.lwr_frames import regress
from icl_vla.evaluation.methods.mean_trajectory import mean_commands
from icl_vla.evaluation.robots import find_robot
from icl_vla.evaluation.splits import (
    SHOWN_SCENES,
    TEST_NUMBERS,
    TEST_SCENES,
    shown_scene,
    splits,
    splits_sha256,
    task_number,
    trial_scene,
)
from icl_vla.evaluation.suite import Cell, Suite, find_suite, suite_names
from icl_vla.evaluation.two_tasks import TwoTasks, unlike
from icl_vla.sim.conventions import held_out
from icl_vla.sim.families import draw
from icl_vla.sim.families.family import Step
from icl_vla_embodiments import ReportedError, UnknownName, se2
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval.example import make_example

from .conftest import URDF


@pytest.mark.parametrize("name", suite_names())
def test_suites_that_ship_read_back(name, tmp_path):
    suite = find_suite(name)
    path = tmp_path / "again.yaml"
    path.write_text(suite.to_yaml())
    assert find_suite(str(path)) == suite
    assert len({cell.name for cell in suite.cells}) == len(suite.cells)
    assert {"expert", "nothing", "mean_trajectory"} <= set(suite.methods)


@pytest.mark.parametrize(
    "text",
    [
        "cells: [{family: nowhere}]\nmethods: [vote]",
        "cells: [{family: reach}]\nmethods: [nobody]",
        "cells: [{family: reach}, {family: reach}]\nmethods: [vote]",
        "cells: [{family: reach, colour: red}]\nmethods: [vote]",
        "cells: [{family: reach, context: own of two}]\nmethods: [vote]",
        "cells: [{family: reach, demonstrations: 21}]\nmethods: [vote]",
        "cells: [{family: reach, severity: 6}]\nmethods: [vote]",
        "cells: [{family: 'json:JSONDecoder'}]\nmethods: [vote]",
        "methods: [vote]",
        "- a list",
        "cells: [",
        "cells: [{family: reach}]\nmethods: [vote]\nbody: ''",
    ],
)
def test_suites_that_mean_nothing_are_refused(text, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(text if "body" in text else f"{text}\nbody: b\n")
    with pytest.raises(ReportedError):
        find_suite(str(path))


def test_unknown_suites_list_the_known_ones():
    with pytest.raises(UnknownName) as caught:
        find_suite("headlin")
    assert set(caught.value.valid) == set(suite_names())


def test_lists_in_a_suite_stand_for_every_combination(tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text(
        "body: b\ncells:\n- family: [reach, stack]\n  demonstrations: [1, 3]\n"
        "methods: [vote, nothing]\n"
        "tasks: 3\nsets: 2\nepisodes: 5\n"
    )
    suite = find_suite(str(path))
    assert {(c.family, c.demonstrations) for c in suite.cells} == {
        (f, n) for f in ("reach", "stack") for n in (1, 3)
    }
    assert suite.size == 4 * 2 * 3 * 2 * 5


def test_scenes_shown_and_scenes_tried_never_meet():
    """Over all seeds and sets that there may be, and none is a training scene."""
    shown = {shown_scene(s, g, i) for s in (0, 1, 99) for g in (0, 99) for i in range(20)}
    tried = {trial_scene(s, g, e) for s in (0, 1, 99) for g in (0, 99) for e in range(99)}
    assert len(shown) == 3 * 2 * 20 and len(tried) == 3 * 2 * 99
    assert max(shown) < TEST_SCENES <= min(tried) and min(shown) >= SHOWN_SCENES
    assert task_number(0, 0) >= TEST_NUMBERS
    assert {task_number(0, i) for i in range(9)}.isdisjoint(task_number(1, i) for i in range(9))


def test_development_has_numbers_of_its_own():
    """All of them are for training, and no two seeds share any; a suite says which it draws."""
    suite = find_suite("development")
    drawn = []
    for seed in (0, 1, 99):
        mine = suite.with_(seed=seed)
        drawn += [mine.shown_scene(g, i) for g in (0, 9) for i in range(99)]
        drawn += [mine.trial_scene(g, i) for g in (0, 9) for i in range(99)]
        assert 0 < mine.number(0) < mine.number(99) < TEST_NUMBERS
    assert len(set(drawn)) == len(drawn) and max(drawn) < SHOWN_SCENES
    assert len({suite.with_(seed=s).number(i) for s in range(99) for i in range(99)}) == 99 * 99
    with pytest.raises(UnknownName, match="development"):
        suite.with_(numbers="validation")


def test_the_splits_hash_holds_what_is_split(monkeypatch):
    before = splits_sha256()
    assert before == splits_sha256() and len(before) == 64
    train, test = splits()["train"], splits()["test"]
    assert not set(train["families"]) & set(test["families"]["held out"])
    assert not set(train["operators"]) & set(test["operators"])
    monkeypatch.setattr("icl_vla.evaluation.splits.TRAINED", {"reach": "Reach"})
    assert splits_sha256() != before


def plain_distance(a: list[Step], b: list[Step]) -> float:
    """The textbook recursion, without tables."""
    if not a or not b:
        return float(len(a) + len(b))
    x, y = a[-1], b[-1]
    moved = np.linalg.norm(np.subtract(x.offset, y.offset))
    turned = abs(se2.wrap(x.turn - y.turn))
    exchange = 0.6 * (x.verb != y.verb) + 0.2 * (x.about != y.about) + 0.3 * min(moved / 2, 1)
    exchange += 0.2 * turned / np.pi + 0.2 * (x.closed != y.closed) + 0.1 * (x.dwell != y.dwell)
    return min(
        plain_distance(a[:-1], b) + 1,
        plain_distance(a, b[:-1]) + 1,
        plain_distance(a[:-1], b[:-1]) + min(exchange, 1.0),
    )


def random_steps(rng: np.random.Generator) -> list[Step]:
    return [
        Step(
            str(rng.choice(["reach", "grasp", "place"])),
            str(rng.choice(["box", "bowl", ""])),
            tuple(rng.uniform(-1, 1, 3)),
            float(rng.uniform(-3, 3)),
            bool(rng.integers(2)),
            bool(rng.integers(2)),
        )
        for _ in range(rng.integers(1, 5))
    ]


def test_the_nearest_program_is_brute_forces():
    rng = np.random.default_rng(0)
    known = [random_steps(rng) for _ in range(60)]
    programs = Programs([f"t:{i}" for i in range(60)], known)
    for _ in range(12):
        steps = random_steps(rng)
        every = [plain_distance(steps, other) for other in known]
        nearest = programs.nearest(steps)
        assert nearest.distance == pytest.approx(min(every))
        assert every[int(nearest.task[2:])] == pytest.approx(min(every))
    assert programs.nearest(known[7]).distance == 0.0
    assert len(programs) == 60


def test_edit_distances_of_nothing_in_common():
    a, b = np.zeros((2, 8)), np.zeros((1, 3, 8))
    a[:, 0], b[..., 0], a[:, 1], b[..., 1], a[:, 6] = 1, 2, 3, 4, 1
    assert edit_distances(a, b) == pytest.approx([3.0])


@pytest.mark.parametrize("family", ["reach", "stack", "place_in"])
def test_two_tasks_in_one_scene(family):
    from icl_vla.sim.workspace import Workspace
    from icl_vla_embodiments.robot_model import RobotModel

    workspace = Workspace.of(RobotModel(embodiment_from_urdf(URDF)))
    number = unlike((family, 3), "reach", 503)
    first, second = (TwoTasks((family, 3), ("reach", number), counts=i) for i in (0, 1))
    looks = [{look.color for look in part.roles.values()} for part in first.parts]
    assert not looks[0] & looks[1]
    for seed in range(3):
        scene = first.sample(workspace, np.random.default_rng(seed))
        names = {o.name for o in scene.objects}
        assert {*first.parts[0].roles, *first.parts[1].roles} <= names
        # whichever counts, it is the same scene
        assert second.sample(workspace, np.random.default_rng(seed)) == scene
    assert first.instruction == second.instruction == NEUTRAL
    assert second.steps == second.parts[1].steps and second.swapped() is second.parts[0]


@pytest.mark.parametrize("name", ["shuffled observations", "shuffled actions"])
def test_shuffling_breaks_what_belongs_together_and_loses_nothing(name):
    d = make_example()
    change = CONTEXTS[name].change
    garbled = change(d, np.random.default_rng(0))
    seen = (
        np.allclose(garbled.q, d.q)
        and (garbled.cameras["front"].rgb == d.cameras["front"].rgb).all()
    )
    done = np.allclose(garbled.actions, d.actions)
    assert (seen, done) == ((False, True) if "observations" in name else (True, False))
    assert np.allclose(np.sort(garbled.q, axis=0), np.sort(d.q, axis=0))
    assert np.allclose(np.sort(garbled.actions, axis=0), np.sort(d.actions, axis=0))
    assert (garbled.times == d.times).all()


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_convention_that_is_told_changes_the_numbers_and_not_the_motion(name):
    d = make_example()
    # a motion that limits of the example's space do not cut
    true = REWRITTEN[name](d.action_space)
    spoken = respoken(d, true, true, None)
    assert np.allclose(spoken.commands["hand"], d.commands["hand"], atol=1e-9)
    assert np.allclose(spoken.gripper_commands["hand"], d.gripper_commands["hand"], atol=1e-9)
    # the example counts in millimetres and degrees already
    assert (name in ("plain", "units")) == np.allclose(spoken.actions, d.actions)


def test_named_conventions_tell_the_truth_unless_they_hide_it():
    robot = embodiment_from_urdf(URDF)
    arm = robot.arms[0].name
    for name, convention in CONVENTIONS.items():
        drawn = [convention.of(robot, arm, number) for number in (7, 7, 8)]
        assert drawn[0] == drawn[1]
        assert all((c.true == c.told) == ("hidden" not in name) for c in drawn)
        assert (drawn[0] != drawn[2]) == name.startswith("drawn")
        assert not drawn[0].factors or held_out(drawn[0].factors)


@pytest.mark.parametrize("rate", [5.0, 20.0])
def test_a_motion_at_another_rate_is_the_same_motion(rate):
    d = make_example()
    old = d.action_space.rate
    other = at_rate(d, rate)
    assert np.allclose(np.diff(other.times), 1 / rate) and other.action_space.rate == rate
    assert other.cameras["front"].rgb.shape[0] == len(other)
    # when a command is due: one step after its frame
    due, was_due = other.times + 1 / rate, d.times + 1 / old
    inside = (due >= was_due[0]) & (due <= was_due[-1])
    for axis in range(3):
        expected = np.interp(due, was_due, d.commands["hand"][:, axis, 3])
        got = other.commands["hand"][:, axis, 3]
        assert np.allclose(got[inside], expected[inside], atol=1e-9)
    there_and_back = at_rate(other, old)
    assert np.allclose(there_and_back.q[0], d.q[0])


def test_a_wrong_description_is_read_as_another_motion():
    d = make_example()
    told = misdescribed(d.action_space)
    assert told != d.action_space and len(told) == len(d.action_space)
    read = respoken(d, d.action_space, told, None)
    assert np.allclose(read.actions, d.actions)
    off = np.linalg.norm(read.commands["hand"][:, :3, 3] - d.commands["hand"][:, :3, 3], axis=1)
    assert off.max() > 0.01


def test_methods_have_names_and_one_line_each():
    for name, method in METHODS.items():
        assert method.name == name and method.summary and "\n" not in method.summary
    assert [n for n, m in METHODS.items() if m.sees_truth] == ["expert"]


@pytest.mark.parametrize("name", ["no.such:Thing", "json:JSONDecoder", "json:nothing"])
def test_classes_that_are_no_methods(name):
    with pytest.raises(ReportedError):
        find_method(name)


def test_a_mean_of_demonstrations_is_their_mean():
    d = make_example()
    shifted = replace(d, commands={"hand": d.commands["hand"].copy()})
    shifted.commands["hand"][:, :3, 3] += [0.02, 0.0, 0.0]
    poses, openings = mean_commands([d, shifted], "hand")
    assert np.allclose(poses[:, :3, 3], d.commands["hand"][:, :3, 3] + [0.01, 0.0, 0.0])
    assert np.allclose(poses[:, :3, :3], d.commands["hand"][:, :3, :3], atol=1e-9)
    assert set(np.unique(openings)) <= {0.0, 1.0}


def test_regression_finds_a_line_and_its_residual():
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.2, 0.2, (1, 400, 3)) * 10
    B = rng.normal(size=(3, 3))
    y = (x @ B.T)[:, :, None] + 0.3
    at = np.array([0.1, -0.2, 0.3])
    value, residual = regress(x, y, np.ones((1, 400)), at)
    assert np.allclose(value[0, 0], B @ at + 0.3, atol=2e-3)  # the ridge bends it a little
    assert residual[0, 0] < 1e-4
    noisy = y + 0.05 * rng.normal(size=y.shape)
    assert regress(x, noisy, np.ones((1, 400)), at)[1][0, 0] == pytest.approx(3 * 0.05**2, rel=0.2)


def test_a_drawn_body_is_the_tasks_own():
    cell = Cell("reach", body="drawn_arm6")
    suite = Suite("s", (cell, Cell("reach")), ("vote",), body="robot")
    names = [suite.body_of(cell, number) for number in (5, 6)]
    assert names == ["drawn_arm6_5", "drawn_arm6_6"]
    assert suite.body_of(suite.cells[1], 5) == "robot"


def test_drawn_bodies_are_kept_beside_the_results(tmp_path):
    _, robot = find_robot(tmp_path, "drawn_arm7_12")
    assert robot.name == "drawn_arm7_12" and len(robot.arms[0].joints) == 7
    assert find_robot(tmp_path, "drawn_arm7_12")[1] == robot
    assert robot.name not in EmbodimentStore(tmp_path).names()
    with pytest.raises(UnknownName):
        find_robot(tmp_path, "drawn_arm9_12")


def test_mixed_banks_tell_tasks_apart():
    """No words ask for two tasks, as many as wanted; their place tells nothing."""
    cells = tuple(Cell(f, context="mixed") for f in ("reach", "press", "stack"))
    suite = Suite("s", cells, ("vote",), body="robot", mixed_tasks=50)
    for number in (900_000, 900_001):
        tasks = _told_apart(suite, cells[1], number)
        assert ("press", number) in tasks and tasks == sorted(tasks)
        assert len(tasks) == len(set(tasks)) == 50
        words = [w for t in tasks for w in {draw(*t).instruction, *draw(*t).paraphrases}]
        assert len(set(words)) == len(words)


def test_mixed_banks_hold_what_other_cells_have_recorded(tmp_path):
    """Their tasks are not demonstrated a second time; other robots show only what is needed."""
    cells = Cell("press"), Cell("reach", context="mixed", demonstrations=3)
    suite = Suite("s", cells, ("vote",), tasks=1, body="robot", mixed_tasks=4)
    suite = suite.with_(mixed_bodies=("drawn_gantry",))
    handed = _handed(suite, cells[1], 900_000, 0)
    assert _handed(suite, cells[0], 900_000, 0).shown[0] in handed.shown
    counts = {(s.body, s.task): len(s.seeds) for s in handed.shown}
    assert len(counts) == 8 and counts.pop(("robot", "press:900000")) == 10
    assert set(counts.values()) == {3} and ("drawn_gantry_900000", "press:900000") in counts
    assert all(h.count == len(s.seeds) for h in handed.banks() for s in h.shown)


def test_cells_are_named_by_what_is_unusual():
    assert Cell("reach").name == "reach"
    cell = Cell(
        "reach", operator="keyboard", disturbance="water_drops", severity=5, demonstrations=1
    )
    assert cell.name == "reach, keyboard, water drops, severity 5, 1 shown"
    suite = Suite("s", (cell,), ("vote",), body="robot")
    assert suite.with_(seed=3).seed == 3 and suite.seed == 0
    assert draw("reach", 1).name == "reach:1"
