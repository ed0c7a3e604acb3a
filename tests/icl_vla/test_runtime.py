"""The loop with a driver that integrates perfectly, the guardrail, and the audit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icl_vla.runtime.guardrail import FiniteAndNear
from icl_vla.runtime.loop import PERIOD, Audit, run_episode
from icl_vla_embodiments import (
    ActionChunk,
    Command,
    Driver,
    EffectorState,
    Observation,
    se3,
)
from icl_vla_wbc import ArmMpc

DT = 0.1  # [s] between two steps of a chunk


class Kinematic:
    """A robot whose joints are where they were told to be: no inertia, no world."""

    def __init__(self, model) -> None:
        self.model = model
        self.stopped = 0
        self.reset()

    def reset(self, seed: int | None = None) -> Observation:
        self.q = self.model.neutral.copy()
        self.v = np.zeros(self.model.n)
        self.path = [self.q]
        self._time = 0.0
        return self.observe()

    def observe(self, *, cameras: bool = True) -> Observation:
        return Observation(
            time=self._time,
            q=self.q.copy(),
            v=self.v.copy(),
            effectors={a.name: EffectorState(gripper=1.0) for a in self.model.embodiment.arms},
        )

    def command(self, command: Command, duration: float) -> None:
        if command.q is not None:
            self.q = np.asarray(command.q, dtype=float)
        if command.v is not None:
            self.v = np.asarray(command.v, dtype=float)
        self.path.append(self.q)
        self._time += duration

    def stop(self) -> None:
        self.stopped += 1
        self.v = np.zeros(self.model.n)

    def clock(self) -> float:
        return self._time


class Reach:
    """Goes straight to a pose, at most 2 cm and 0.1 rad a step; done when there."""

    def __init__(self, model, effector: str, goal: np.ndarray) -> None:
        self.model, self.effector, self.goal = model, effector, goal

    def act(self, observation: Observation) -> ActionChunk:
        here = self.model.poses(observation.q)[self.effector]
        way = self.goal[:3, 3] - here[:3, 3]
        turn = se3.log3(self.goal[:3, :3] @ here[:3, :3].T)
        steps = max(np.linalg.norm(way) / 0.02, np.linalg.norm(turn) / 0.1, 1.0)
        shares = np.minimum(np.arange(1, 9) / steps, 1.0)[:, None]
        poses = se3.pose(se3.exp3(shares * turn) @ here[:3, :3], here[:3, 3] + shares * way)
        return ActionChunk.from_poses(
            observation.time,
            DT,
            {self.effector: here},
            {self.effector: poses},
            grippers={self.effector: np.ones(8)},
            done=bool(np.linalg.norm(way) < 2e-3 and np.linalg.norm(turn) < 0.02),
        )


@pytest.fixture(scope="module")
def robot(cell):
    """Model, effector, and a controller of its own."""
    at_task = cell("pick-place")
    effector = at_task.workspace.effector
    return at_task.model, effector, ArmMpc(at_task.model, effector, period=PERIOD)


@pytest.fixture
def set_up(robot):
    """A driver, a controller at rest, and a goal 25 cm away, turned by half a radian."""
    model, effector, controller = robot
    driver = Kinematic(model)
    controller.reset(driver.observe())
    here = model.poses(driver.q)[effector]
    goal = se3.pose(se3.yaw(0.5) @ here[:3, :3], here[:3, 3] + [0.1, 0.2, -0.1])
    return driver, controller, Reach(model, effector, goal)


def test_a_goal_is_reached_inside_every_limit(set_up):
    driver, controller, episode = set_up
    assert isinstance(driver, Driver)
    audit = Audit.of(driver.model.embodiment)
    outcome = run_episode(driver, controller, episode, audit=audit)
    assert outcome.reason == "done" and driver.stopped == 1
    assert outcome.seconds == pytest.approx(driver.clock())
    there = driver.model.poses(driver.q)[episode.effector]
    assert np.linalg.norm(there[:3, 3] - episode.goal[:3, 3]) < 2e-3
    # the audit against the driver's own log of joint positions
    assert audit.violations == 0
    speed = np.abs(np.diff(driver.path, axis=0)).max(0) / PERIOD
    assert (speed <= driver.model.embodiment.array("velocity") + 1e-6).all()
    assert sum(audit.levels.values()) == len(driver.path) - 1


def test_time_runs_out(set_up):
    driver, controller, episode = set_up
    outcome = run_episode(driver, controller, episode, seconds=0.5)
    assert outcome.reason == "time is up" and driver.stopped == 1
    assert 0.5 <= outcome.seconds < 0.5 + 4 * DT + PERIOD


class Spoilt:
    """An episode some of whose chunks are spoilt."""

    def __init__(self, episode: Reach, spoil, chunks: set[int]) -> None:
        self.episode, self.spoil, self.chunks, self.count = episode, spoil, chunks, -1

    def act(self, observation: Observation) -> ActionChunk:
        self.count += 1
        chunk = self.episode.act(observation)
        return self.spoil(chunk) if self.count in self.chunks else chunk


def with_nan_pose(chunk: ActionChunk) -> ActionChunk:
    motions = {
        e: np.where(np.arange(16).reshape(4, 4) == 3, np.nan, m) for e, m in chunk.motions.items()
    }
    return replace(chunk, motions=motions)


def with_nan_gripper(chunk: ActionChunk) -> ActionChunk:
    return replace(chunk, grippers={e: np.full(len(chunk), np.nan) for e in chunk.grippers})


def with_nan_base(chunk: ActionChunk) -> ActionChunk:
    return replace(chunk, base_twists=np.full((len(chunk), 6), np.inf))


def with_leap(chunk: ActionChunk) -> ActionChunk:
    leap = se3.pose(p=[0.0, 0.0, 0.7])
    return replace(chunk, motions={e: leap @ m for e, m in chunk.motions.items()})


@pytest.mark.parametrize("spoil", [with_nan_pose, with_nan_gripper, with_nan_base])
def test_a_chunk_that_is_not_finite_stops_the_robot(set_up, spoil):
    driver, controller, episode = set_up
    outcome = run_episode(driver, controller, Spoilt(episode, spoil, {2}))
    assert outcome.reason.startswith("stopped: ") and "finite" in outcome.reason
    assert outcome.chunks == 3 and driver.stopped == 1
    assert len(driver.path) - 1 == round(2 * 4 * DT / PERIOD)  # nothing of the third was executed
    assert np.isfinite(driver.path).all()


def test_a_leap_is_asked_again_and_not_executed(set_up):
    driver, controller, episode = set_up
    outcome = run_episode(driver, controller, Spoilt(episode, with_leap, {1, 2, 3}))
    assert outcome.reason == "done"
    moved = np.abs(np.diff(driver.path, axis=0)).max() / PERIOD
    assert moved <= driver.model.embodiment.array("velocity").max() + 1e-6


def test_leaping_on_and_on_stops_the_robot(set_up):
    driver, controller, episode = set_up
    outcome = run_episode(driver, controller, Spoilt(episode, with_leap, set(range(99))))
    assert outcome.reason.startswith("stopped: ") and "leaps" in outcome.reason
    assert outcome.chunks == 6
    assert np.abs(driver.q - driver.path[0]).max() < 1e-3  # it held still meanwhile


def test_reviews_name_what_is_wrong(set_up):
    driver, _, episode = set_up
    observation = driver.observe()
    chunk = episode.act(observation)
    guardrail = FiniteAndNear()
    assert guardrail.review(chunk, observation).decision == "allow"
    for spoil, decision in ((with_nan_pose, "stop"), (with_leap, "replan")):
        review = guardrail.review(spoil(chunk), observation)
        assert review.decision == decision and episode.effector in review.reason


def audit_of(n: int = 2) -> Audit:
    """Limits: position +-1, velocity 2, acceleration 30."""
    one = np.ones(n)
    return Audit(-one, one, 2 * one, 30 * one)


@pytest.mark.parametrize(
    ("commands", "position", "velocity", "acceleration", "count"),
    [
        ([([0.5, -1.0], [0.1, -0.2]), ([1.0, 0.0], [0.5, 0.2])], 0, 0, 0, 0),
        ([([1.25, 0.0], [0.0, 0.0]), ([0.0, -1.5], [0.0, 0.0])], 0.5, 0, 0, 1),
        ([([0.0, 0.0], [2.0, -2.5]), ([0.0, 0.0], [2.0, -2.5])], 0, 0.5, 0, 1),
        ([([0.0, 0.0], [0.0, 0.5]), ([0.0, 0.0], [0.0, -0.5])], 0, 0, 1 / PERIOD - 30, 1),
        ([([0.0, 2.0], [3.0, 0.0]), ([0.0, 0.0], [-3.0, 0.0])], 1, 1, 6 / PERIOD - 30, 3),
        ([([0.0, np.nan], [0.0, 0.0])], np.inf, 0, 0, 1),
    ],
)
def test_the_audit_counts(commands, position, velocity, acceleration, count):
    audit = audit_of()
    for q, v in commands:
        audit.check(Command(q=np.array(q), v=np.array(v), level="nominal"), PERIOD)
    audit.check(Command(mode="stop", level="braking"), PERIOD)
    assert audit.position == pytest.approx(position)
    assert audit.velocity == pytest.approx(velocity)
    assert audit.acceleration == pytest.approx(acceleration)
    assert audit.violations == count
    assert audit.levels == {"nominal": len(commands), "braking": 1}
