from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import ArmMpc, GovernorConfig, MpcConfig
from icl_vla_wbc.horizon import Horizon

PERIOD = 0.01  # [s]
AHEAD = 0.05 * np.arange(21)  # [s]
LOOSE = GovernorConfig(2.0, 8.0, 50.0, 200.0, 0.5, 1.5)


@pytest.mark.parametrize("knots", range(2, 21))
def test_every_knot_acts_on_a_stage(knots: int) -> None:
    """Otherwise a knot costs nothing until the horizon moves on and it suddenly acts."""
    horizon = Horizon(20, knots, 0.05, PERIOD)
    assert (horizon.A[:, 2:].max(axis=0) > 0.5).all()
    np.testing.assert_allclose(horizon.A[:, 2:].sum(axis=1), 1.0, atol=1e-12)
    assert np.linalg.cond(horizon.A[:, 2:]) < 20


def test_states_follow_the_accelerations(rng: np.random.Generator) -> None:
    """Condensed positions and velocities equal a step-by-step integration."""
    horizon = Horizon(20, 7, 0.05, PERIOD)
    q, v, U = 0.3, -0.8, rng.normal(size=7)
    X = np.concatenate([[q, v], U])
    for k, a in enumerate(horizon.A @ X):
        q, v = q + 0.05 * v + 0.5 * 0.05**2 * a, v + 0.05 * a
        assert abs(q - horizon.P[k] @ X) < 1e-12 and abs(v - horizon.V[k] @ X) < 1e-12


def figure(T: Array, t: float) -> Array:
    """A figure of 10 x 15 x 20 cm and 0.36 rad at 0.4 Hz, from ``T``."""
    a = 2 * np.pi * 0.4 * t
    offset = np.array([0.05 * np.sin(2 * a), 0.15 * np.sin(a), 0.1 * (1 - np.cos(a))])
    turn = np.array([0.3 * np.sin(a), 0.2 * np.sin(a), 0.0])
    return se3.pose(T[:3, :3] @ se3.exp3(turn), T[:3, 3] + offset)


@pytest.mark.parametrize(
    ("knots", "bound_mm"), [(2, 40.0), (4, 4.0), (7, 0.7), (10, 0.7), (20, 0.7)]
)
def test_the_figure_is_tracked_with_any_number_of_knots(
    robot: Callable[[str], RobotModel], knots: int, bound_mm: float
) -> None:
    """Few knots cut corners; none diverges."""
    e = robot("panda").embodiment
    limits = {j: replace(limit, acceleration=15.0) for j, limit in e.limits.items()}
    model = RobotModel(e.with_(limits=limits))
    controller = ArmMpc(model, config=MpcConfig(knots=knots, governor=LOOSE), period=PERIOD)
    q, T = model.neutral, model.poses(model.neutral)["arm"]
    controller.reset(Observation(0.0, q=q))
    errors = []
    for k in range(250):
        targets = [TaskTarget(poses={"arm": figure(T, PERIOD * k + s)}) for s in AHEAD]
        command = controller.track(targets, Observation(0.0, q=q), times=AHEAD)
        assert command.q is not None and command.level == "nominal"
        q = command.q
        due = figure(T, PERIOD * (k + 1))
        errors.append(1e3 * np.linalg.norm((model.poses(q)["arm"] - due)[:3, 3]))
    assert np.sqrt(np.mean(np.square(errors[60:]))) <= bound_mm
