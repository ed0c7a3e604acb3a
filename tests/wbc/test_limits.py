from __future__ import annotations

import numpy as np
import pytest

from icl_vla_wbc.limits import ViableLimits, stopping_velocity

H = 0.02


def braking_distance(w: float, acceleration: float) -> float:
    distance = 0.0
    while w > 0:
        distance += H * w
        w -= acceleration * H
    return distance


def test_stopping_velocity_uses_the_distance_exactly(rng: np.random.Generator) -> None:
    for _ in range(300):
        distance, acceleration = rng.uniform(1e-6, 2), rng.uniform(0.1, 20)
        w = float(stopping_velocity(distance, acceleration, H))
        assert braking_distance(w, acceleration) == pytest.approx(distance, abs=1e-10)


def test_stopping_velocity_tends_to_the_continuous_law() -> None:
    assert stopping_velocity(2.0, 3.0, 1e-6) == pytest.approx(np.sqrt(2 * 3.0 * 2.0), rel=1e-5)


@pytest.fixture
def limits(rng: np.random.Generator) -> ViableLimits:
    n = 6
    lower = np.array([-np.inf, -1, -0.01, 0, -2, -0.5])
    upper = np.array([np.inf, 1, 0.01, 0.04, 2, np.inf])
    return ViableLimits(lower, upper, rng.uniform(0.2, 3, n), rng.uniform(1, 15, n), H)


def test_no_wish_can_break_a_limit(limits: ViableLimits, rng: np.random.Generator) -> None:
    q = np.clip(np.zeros(6), limits.lower, limits.upper)
    v = np.zeros(6)
    touched = np.zeros(6, dtype=bool)
    for k in range(4000):
        if k % 25 == 0:
            wish = rng.choice([-100, 100, 0.0, np.nan_to_num(rng.normal())], 6)
        q_next, v_next = limits.advance(q, v, wish)
        assert (np.abs(v_next - v) <= limits.acceleration * H + 1e-12).all()
        assert (np.abs(v_next) <= limits.velocity + 1e-12).all()
        assert (q_next >= limits.lower - 1e-12).all() and (q_next <= limits.upper + 1e-12).all()
        np.testing.assert_allclose(q_next - q, 0.5 * H * (v + v_next), atol=1e-15)
        touched |= (np.abs(q_next - limits.upper) < 1e-6) | (np.abs(q_next - limits.lower) < 1e-6)
        q, v = q_next, v_next
    assert touched[1:5].all()  # the test did drive joints to their ends


@pytest.mark.parametrize("wish", [100.0, -100.0])
def test_from_outside_it_comes_back_and_stays(limits: ViableLimits, wish: float) -> None:
    q = np.where(np.isfinite(limits.upper), limits.upper + 0.3, 0.0)
    v = np.zeros(6)
    for _ in range(1500):
        q_next, v_next = limits.advance(q, v, np.full(6, wish))
        assert (np.abs(v_next - v) <= limits.acceleration * H + 1e-12).all()
        assert (np.abs(v_next) <= limits.velocity + 1e-12).all()
        assert (q_next <= np.maximum(limits.upper, q) + 1e-9).all()
        assert (q_next >= limits.lower - 1e-9).all()
        q, v = q_next, v_next
    end = limits.upper if wish > 0 else limits.lower
    bounded = np.isfinite(limits.upper) & np.isfinite(end)
    np.testing.assert_allclose(q[bounded], end[bounded], atol=1e-9)


def test_a_moving_leash_never_breaks_the_true_limits(
    limits: ViableLimits, rng: np.random.Generator
) -> None:
    q, v = np.clip(np.zeros(6), limits.lower, limits.upper), np.zeros(6)
    for k in range(4000):
        if k % 20 == 0:
            near, wish = q + rng.normal(size=6), rng.choice([-100.0, 100.0], 6)
        q_next, v_next = limits.advance(q, v, wish, near, 0.1)
        assert (np.abs(v_next - v) <= limits.acceleration * H + 1e-12).all()
        assert (np.abs(v_next) <= limits.velocity + 1e-12).all()
        assert (q_next >= limits.lower - 1e-12).all() and (q_next <= limits.upper + 1e-12).all()
        q, v = q_next, v_next


def test_approach_arrives_without_overshoot(limits: ViableLimits) -> None:
    q, v = np.clip(np.zeros(6), limits.lower, limits.upper), np.zeros(6)
    goal = np.array([1.5, 0.9, 0.01, 0.04, -1.9, 0.7])
    side = np.sign(goal - q)
    for _ in range(1000):
        q, v = limits.advance(q, v, limits.approach(q, v, goal))
        assert (side * (goal - q) >= -1e-12).all()
    np.testing.assert_allclose(q, goal, atol=1e-12)
    np.testing.assert_allclose(v, 0, atol=1e-12)
