from __future__ import annotations

from collections.abc import Callable

import casadi as ca
import numpy as np
import pytest

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import WbcError
from icl_vla_wbc.dynamics import FrameKinematics
from icl_vla_wbc.tasks import FramePose, Posture, Residual, Task

STAGES = 5
JOINTS = np.array([0, 1, 2, 4, 6])  # some of the arm's: the others stay


@pytest.fixture
def hand(robot: Callable[[str], RobotModel]) -> FramePose:
    model = robot("panda")
    return FramePose(FrameKinematics.of(model, model.tcp_id("arm")), 30.0, 10.0)


@pytest.fixture
def Q(robot: Callable[[str], RobotModel], rng: np.random.Generator) -> Array:
    return robot("panda").neutral + rng.uniform(-0.4, 0.4, (STAGES, 8))


def models(task: Task, Q: Array) -> tuple[Array, Array, Array]:
    squares, gradient = np.zeros((len(Q), len(JOINTS), len(JOINTS))), np.zeros((len(Q), 5))
    bent = task.add(Q, squares, gradient)
    return squares, gradient, np.broadcast_to(bent, len(Q))


def test_a_jacobian_is_the_residuals_derivative(hand: FramePose, Q: Array) -> None:
    hand.bind(JOINTS, STAGES)
    hand.parameter = hand.pose(Q[0] + 0.2)
    _, J = hand.linearise(Q)
    h = 1e-6
    for i, joint in enumerate(JOINTS):
        step = np.zeros(8)
        step[joint] = h
        slope = (hand.linearise(Q + step)[0] - hand.linearise(Q - step)[0]) / (2 * h)
        np.testing.assert_allclose(J[:, i], slope, atol=1e-6)


def test_the_model_of_all_stages_is_that_of_each(hand: FramePose, Q: Array) -> None:
    """The one function that is compiled, against the residuals; a matrix of factors, too."""
    hand.bind(JOINTS, STAGES)
    hand.parameter = np.stack([hand.pose(q + 0.1) for q in Q])
    hand.factors = np.array([1.0, 2.0, 0.0, 1.0, 0.5, 1.0])
    together = models(hand, Q)
    r, J = hand.linearise(Q)
    np.testing.assert_allclose(together[0], J @ J.transpose(0, 2, 1), atol=1e-9)
    np.testing.assert_allclose(together[1], np.einsum("kij,kj->ki", J, r), atol=1e-9)
    errors = np.linalg.norm(r[:, :3], axis=1), np.linalg.norm(r[:, 3:], axis=1)
    np.testing.assert_allclose(together[2], 30 * errors[0] + 5 * errors[1], atol=1e-9)
    hand.factors = np.diag(hand.factors)
    for mine, matrix in zip(together, models(hand, Q), strict=True):
        np.testing.assert_allclose(mine, matrix, atol=1e-9)


def test_a_residual_is_derived(rng: np.random.Generator) -> None:
    q, s = ca.SX.sym("q", 8), ca.SX.sym("s", 2)
    task = Residual(q, ca.vertcat(q[0] * q[1] - s[0], ca.sin(q[3]) + s[1]), s, weights=[2.0, 3.0])
    task.bind(JOINTS, STAGES)
    Q = rng.normal(size=(STAGES, 8))
    task.parameter = np.array([0.5, -0.2])
    r, J = task.linearise(Q)
    np.testing.assert_allclose(r[:, 0], 2 * (Q[:, 0] * Q[:, 1] - 0.5))
    np.testing.assert_allclose(J[:, 0, 0], 2 * Q[:, 1])
    np.testing.assert_allclose(J[:, :, 1], 0)  # the fourth joint is not among the controlled
    with pytest.raises(WbcError, match="weights"):
        Residual(q, q[0], weights=-1.0)


def test_a_posture_pulls_each_joint_by_its_weight(Q: Array) -> None:
    task = Posture(np.zeros(8), np.array([1.0, 2.0, 0.0, 1.0, 1.0]))
    task.bind(JOINTS, STAGES)
    squares, gradient, bent = models(task, Q)
    np.testing.assert_allclose(squares, np.broadcast_to(np.diag([1, 4, 0, 1, 1.0]), squares.shape))
    np.testing.assert_allclose(gradient, Q[:, JOINTS] * [1, 4, 0, 1, 1])
    assert not bent.any()
