from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from icl_vla_embodiments import Observation
from icl_vla_wbc import Sphere
from icl_vla_wbc.limits import ViableLimits
from icl_vla_wbc.refuge import Refuges

A = np.array([5.0, 8.0, 3.0])
V = np.array([2.0, 3.0, 1.5])


def drawn(rng: np.random.Generator, count: int) -> tuple[Refuges, np.ndarray, np.ndarray]:
    goals = rng.uniform(-2, 2, (count, 3))
    speeds = rng.uniform(0.3, 1.0, (count, 1)) * V
    return Refuges(goals, speeds), rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 3) * V


def test_ways_keep_the_limits_and_end_at_rest_at_their_goals(rng: np.random.Generator) -> None:
    times = np.linspace(0.0, 8.0, 4001)
    h = times[1]
    for _ in range(20):
        refuges, q, v = drawn(rng, 10)
        ways = refuges.ways(q, v, A, times)
        assert np.abs(ways[:, 0] - q).max() < 1e-12
        np.testing.assert_allclose(ways[:, -1], refuges.goals, atol=1e-9)
        speed = np.diff(ways, axis=1) / h
        np.testing.assert_allclose(speed[:, 0], np.tile(v, (10, 1)), atol=2 * A.max() * h)
        assert (np.abs(np.diff(speed, axis=1)) / h <= A * (1 + 1e-6) + 1e-6).all()
        fastest = np.maximum(refuges.speeds, np.abs(v))  # too fast at first: it slows down
        assert (np.abs(speed) <= fastest[:, None] + 1e-9).all()


def test_no_way_is_faster(rng: np.random.Generator) -> None:
    """Time to a goal from rest, against the closed form of the fastest double integrator."""
    goal = np.array([[1.3]])
    times = np.linspace(0, 5, 50001)
    for speed in (0.4, 10.0):
        way = Refuges(goal, np.array([[speed]])).ways(np.zeros(1), np.zeros(1), A[:1], times)
        taken = times[np.argmax(np.abs(way[0, :, 0] - 1.3) < 1e-6)]
        reached = speed**2 / A[0] <= 1.3
        least = 1.3 / speed + speed / A[0] if reached else 2 * np.sqrt(1.3 / A[0])
        assert taken == pytest.approx(least, abs=2e-3)


def test_the_rest_of_a_way_is_the_same_way(rng: np.random.Generator) -> None:
    """So a refuge that was checked once is still reached as it was then."""
    refuges, q, v = drawn(rng, 8)
    times = np.linspace(0.0, 3.0, 61)
    eps = 1e-6
    for at in (0.1, 0.37, 0.9):
        there = refuges.ways(q, v, A, np.array([at - eps, at, at + eps]))
        speed = (there[:, 2] - there[:, 0]) / (2 * eps)
        for s in range(len(refuges)):
            rest = refuges[s].ways(there[s, 1], speed[s], A, times)[0]
            np.testing.assert_allclose(rest, refuges[s].ways(q, v, A, times + at)[0], atol=2e-5)


def test_commands_follow_the_way(rng: np.random.Generator) -> None:
    """The velocities commanded each period stay near what was rolled out."""
    h = 1 / 60
    wide = np.full(3, 10.0)
    limits = ViableLimits(-wide, wide, V, A, h)
    for _ in range(20):
        refuges, q, v = drawn(rng, 1)
        way = refuges.ways(q, v, A, h * np.arange(1, 241))[0]
        for k in range(240):
            q, v = limits.advance(q, v, refuges.velocity(q, v, limits))
            assert np.abs(q - way[k]).max() < 0.06


def test_it_leaves_before_it_is_cornered(benchmark: Callable[[str], ModuleType]) -> None:
    """A command after which the refuge could not be reached any more is not followed."""
    module = benchmark("safety")
    robot = module.Arm.load("xarm6")
    controller, e = robot.controller, robot.controller.effectors[0]
    avoidance = controller._distances._avoidance
    q = robot.start.copy()
    T = robot.model.poses(q)[e]
    ball = Sphere(T[:3, 3] + [0.0, 0.22, 0.0], 0.08, np.array([0.0, -0.3, 0.0]))
    controller.reset(Observation(0.0, q=q))
    still = np.zeros((controller.config.knots, len(q)))
    avoidance.around(q, q, np.zeros_like(q), still, [ball])
    assert avoidance.threatened and avoidance.refuge is not None
    assert avoidance._cost <= 0.01  # there is a way out
    # straight at the ball, at full speed
    toward = np.linalg.lstsq(robot.model.jacobian(q, e)[:3], [0.0, 1.0, 0.0], rcond=None)[0]
    v = toward * (controller._own_limits.velocity / np.abs(toward)).min()
    refuge = avoidance.refuge
    leaves = avoidance.escape(q, np.zeros_like(q), (q + 0.1 * v, v))
    assert leaves is not None and avoidance.refuge is refuge
    np.testing.assert_array_equal(
        leaves, refuge.velocity(q, np.zeros_like(q), controller._own_limits)
    )
