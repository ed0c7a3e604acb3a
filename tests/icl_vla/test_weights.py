"""Task weights from demonstrations: in the loop, in a run, and where they cannot be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_vla.evaluation.methods import check_weights
from icl_vla.evaluation.running import run_in_scenes
from icl_vla.evaluation.trials import ResultLog
from icl_vla.runtime.loop import PERIOD, run_episode
from icl_vla.runtime.weights import task_weights
from icl_vla_embodiments import ActionChunk, Observation, ReportedError, UnknownName, se3
from icl_vla_retrieval import DemoBank
from icl_vla_retrieval.tightness import Tightness
from icl_vla_wbc import ArmMpc

from .conftest import ROBOT
from .test_runtime import DT, Kinematic

STEPS = 8
SCALE = Tightness().scale


class Hold:
    """Asks for one pose again and again, with a spread ``(H, 6, 6)``."""

    def __init__(self, model, effector: str, goal: np.ndarray, spread: np.ndarray | None) -> None:
        self.model, self.effector, self.goal, self.spread = model, effector, goal, spread

    def act(self, observation: Observation) -> ActionChunk:
        here = self.model.poses(observation.q)[self.effector]
        chunk = ActionChunk.from_poses(
            observation.time,
            DT,
            {self.effector: here},
            {self.effector: np.tile(self.goal, (STEPS, 1, 1))},
            grippers={self.effector: np.ones(STEPS)},
        )
        # the guardrail takes a step beyond 0.5 m for a leap
        return chunk if self.spread is None else replace(chunk, spread={self.effector: self.spread})


class Noting(ArmMpc):
    """Notes the weights that it is called with."""

    def track(self, targets, observation, *, times=None, weights=None, **more):
        self.noted.append((np.array(times), weights))
        return super().track(targets, observation, times=times, weights=weights, **more)


@pytest.fixture(scope="module")
def robot(cell):
    at_task = cell("push")
    controller = Noting(at_task.model, at_task.workspace.effector, period=PERIOD)
    controller.noted = []
    return at_task.model, controller


def spread_of(sd: np.ndarray) -> np.ndarray:
    """The same at every step, along the base's axes."""
    return np.tile(np.diag(np.square(sd)), (STEPS, 1, 1))


def errors_out_of_reach(robot, spread: np.ndarray | None) -> tuple[float, float]:
    """Where an arm ends that is asked for more than it reaches: [m], [rad]."""
    model, controller = robot
    driver = Kinematic(model)
    controller.reset(driver.observe())
    here = model.poses(driver.q)[controller.effectors[0]]
    goal = se3.pose(here[:3, :3], here[:3, 3] + [0.42, 0.0, 0.1])
    run_episode(
        driver,
        controller,
        Hold(model, controller.effectors[0], goal, spread),
        seconds=4.0,
        weights="equal" if spread is None else "demonstrations",
    )
    there = model.poses(driver.q)[controller.effectors[0]]
    turn = se3.log3(goal[:3, :3].T @ there[:3, :3])
    return float(np.linalg.norm(there[:3, 3] - goal[:3, 3])), float(np.linalg.norm(turn))


def test_where_not_all_can_be_held_the_loose_directions_give_way(robot):
    far, turned = errors_out_of_reach(robot, None)
    assert far > 0.01 and turned > 0.05, "a goal that is reached tells nothing"
    place_far, place_turned = errors_out_of_reach(robot, spread_of(SCALE * [1, 1, 1, 9, 9, 9]))
    turn_far, turn_turned = errors_out_of_reach(robot, spread_of(SCALE * [9, 9, 9, 1, 1, 1]))
    assert place_far < 0.7 * far and place_turned > turned
    assert turn_turned < 0.7 * turned and turn_far > far
    same = errors_out_of_reach(robot, spread_of(SCALE))
    assert same == pytest.approx((far, turned), abs=1e-6)


def test_the_weights_are_those_of_the_target_due_next(robot):
    model, controller = robot
    driver = Kinematic(model)
    controller.reset(driver.observe())
    controller.noted = []
    spread = np.stack([np.diag((SCALE * (1 + h)) ** 2) for h in range(STEPS)])
    goal = model.poses(driver.q)[controller.effectors[0]]
    run_episode(
        driver,
        controller,
        Hold(model, controller.effectors[0], goal, spread),
        seconds=2 * 4 * DT - 0.01,
        weights="demonstrations",
    )
    assert len(controller.noted) == round(2 * 4 * DT / PERIOD)
    for times, weights in controller.noted:
        h = int(np.flatnonzero(times > 1e-9)[0])
        (factors,) = weights.values()
        expected = max(1 / (1 + h), Tightness().floor) * np.eye(6)
        np.testing.assert_allclose(factors, expected, atol=1e-9)


def test_a_policy_that_tells_no_spread_is_refused(robot):
    model, controller = robot
    driver = Kinematic(model)
    controller.reset(driver.observe())
    goal = model.poses(driver.q)[controller.effectors[0]]
    episode = Hold(model, controller.effectors[0], goal, None)
    with pytest.raises(ReportedError, match="cannot follow the demonstrations"):
        run_episode(driver, controller, episode, weights="demonstrations")
    assert len(driver.path) == 1  # nothing has moved
    both = {"left": spread_of(SCALE), "right": spread_of(2 * SCALE)}
    factors = task_weights(replace(episode.act(driver.observe()), spread=both))
    assert factors["left"].shape == (STEPS, 6, 6)
    np.testing.assert_allclose(factors["right"], 0.5 * factors["left"], atol=1e-9)


def test_what_weights_cannot_be(home, instructions, tmp_path):
    path = tmp_path / "bank"
    shutil.copytree(home / "banks" / ROBOT, path)
    bank = DemoBank.open(path)
    push = instructions["push"]
    check_weights("equal", "nearest", bank, push)
    check_weights("demonstrations", "vote", bank, push)
    with pytest.raises(UnknownName, match="demonstrations, equal"):
        check_weights("demos", "vote", bank, push)
    for method in ("nearest", "expert", "nothing"):
        with pytest.raises(ReportedError, match="--method vote"):
            check_weights("demonstrations", method, bank, push)
    fewer = bank.remove(bank.select(push)[:1])
    with pytest.raises(ReportedError, match="too few") as caught:
        check_weights("demonstrations", "vote", fewer, push)
    assert caught.value.value == f"2 of {push!r}" and "at least 3" in caught.value.valid[0]
    check_weights("demonstrations", "vote", fewer, instructions["pick-place"])


def test_a_run_keeps_both_apart_and_says_which(home, instructions):
    """The same scene both ways: two results, two records, both within the limits."""
    reports = [
        run_in_scenes(
            home,
            ROBOT,
            instructions["push"],
            driver="pybullet",
            scene="push",
            method="vote",
            seeds=[43],
            films=0,
            weights=weights,
        )
        for weights in ("equal", "demonstrations")
    ]
    assert [r["weights"] for r in reports] == ["equal", "demonstrations"]
    assert reports[0]["folder"] != reports[1]["folder"]
    for report in reports:
        kept = json.loads((Path(report["folder"]) / "run.json").read_text())
        assert kept["weights"] == report["weights"]
    log = ResultLog(home / "runs" / ROBOT / "results.jsonl")
    results = [r for r in log.results.values() if r.seed == 43 and r.task == "push"]
    assert sorted(r.weights for r in results) == ["demonstrations", "equal"]
    assert all(v <= 1e-6 for r in results for v in r.violations.values())
    seen = [dict(np.load(Path(r["folder"]) / "seed_43/frames.npz")) for r in reports]
    assert any(not np.array_equal(seen[0][k], seen[1][k]) for k in seen[0])  # it moved otherwise
