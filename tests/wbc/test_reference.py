from __future__ import annotations

import numpy as np
import pytest

from icl_vla_embodiments import se3
from icl_vla_wbc import GovernorConfig, WbcError
from icl_vla_wbc.reference import Governor, TargetPath

H = 1 / 60
STAGES = 0.05 * np.arange(1, 21)
IDENTITY = np.array([0.0, 0, 0, 0, 0, 0, 1])
FREE = GovernorConfig(linear_lead=100, angular_lead=100)


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(se3.log3(a[:3, :3].T @ b[:3, :3])))


def matrix(state: np.ndarray) -> np.ndarray:
    return se3.pose(se3.from_quat_xyzw(state[3:7]), state[:3])


def follow_jump(T: np.ndarray, config: GovernorConfig, ticks: int) -> tuple[np.ndarray, np.ndarray]:
    """States ``(ticks + 1, 4, 4)`` and the last preview, arm always at the reference."""
    governor = Governor(config, H, STAGES)
    path = TargetPath(np.zeros(1), T[None])
    states = [matrix(governor.state)]
    for _ in range(ticks):
        stages = governor.follow(path, governor.state[:7].copy())
        states.append(matrix(governor.state))
    return np.array(states), stages


@pytest.mark.parametrize("turn", [0.0, 1.0, 3.0, np.pi])
def test_a_jump_is_followed_within_speed_and_acceleration(turn: float) -> None:
    config = FREE
    T = se3.pose(se3.exp3(np.array([0.6, -0.48, 0.64]) * turn), np.array([0.5, -0.3, 0.4]))
    states, stages = follow_jump(T, config, 240)
    v = np.diff(states[:, :3, 3], axis=0) / H
    R = states[:, :3, :3]
    w = se3.log3(R[1:] @ R[:-1].transpose(0, 2, 1)) / H
    for rate, speed, acceleration in (
        (v, config.linear_speed, config.linear_acceleration),
        (w, config.angular_speed, config.angular_acceleration),
    ):
        assert np.linalg.norm(rate, axis=1).max() <= speed + 1e-9
        change = np.diff(rate, axis=0, prepend=0) / H
        assert np.linalg.norm(change, axis=1).max() <= acceleration * (1 + 1e-6) + 1e-6
    # exp3 has half the digits at the end of a half turn, hence 1e-7
    assert np.abs(states[-1] - T).max() < 1e-7
    assert np.abs(matrix(stages[-1]) - T).max() < 1e-7
    distance = np.linalg.norm(states[:, :3, 3] - T[:3, 3], axis=1)
    assert (np.diff(distance) <= 1e-12).all()  # never past the target and back


def test_a_path_inside_the_limits_passes_unchanged(rng: np.random.Generator) -> None:
    times = np.arange(0, 40) * 0.05
    steps = np.array(
        [
            se3.pose(se3.exp3(w), 0.005 * u)
            for w, u in zip(
                rng.uniform(-0.04, 0.04, (40, 3)), rng.normal(size=(40, 3)).clip(-1, 1), strict=True
            )
        ]
    )
    poses = [np.eye(4)]
    for step in steps[1:]:
        poses.append(poses[-1] @ step)
    path = TargetPath(times, np.array(poses))
    stages = Governor(FREE, H, STAGES).follow(path, IDENTITY)
    for k, stage in enumerate(stages, start=1):
        np.testing.assert_allclose(matrix(stage), poses[k], atol=1e-9)


def test_path_interpolates_on_lines_and_geodesics(rng: np.random.Generator) -> None:
    A = se3.pose(se3.exp3(rng.normal(size=3)), rng.normal(size=3) * 0.01)
    w = np.array([0.05, -0.1, 0.07])
    B = se3.pose(se3.exp3(w) @ A[:3, :3], A[:3, 3] + [0.01, 0.02, 0.0])
    governor = Governor(FREE, H, STAGES)
    start = np.concatenate([A[:3, 3], se3.quat_xyzw(A[:3, :3])])
    governor.reset(start)
    stages = governor.follow(TargetPath(np.array([0.0, 0.5]), np.array([A, B])), start)
    share = 0.3  # stage 3 of 10
    expected = se3.pose(se3.exp3(share * w) @ A[:3, :3], A[:3, 3] + share * (B - A)[:3, 3])
    np.testing.assert_allclose(matrix(stages[2]), expected, atol=1e-9)
    np.testing.assert_allclose(matrix(stages[-1]), B, atol=1e-9)  # held after the last


def test_a_path_too_fast_is_cut_and_caught_up_with() -> None:
    there = se3.pose(p=np.array([1.0, 0, 0]))
    governor = Governor(FREE, H, STAGES)
    for k in range(180):
        remaining = np.array([0.0, 0.1]) - k * H
        path = TargetPath(remaining, np.array([np.eye(4), there]))
        before = governor.state[:3].copy()
        governor.follow(path, governor.state[:7].copy())
        assert np.linalg.norm(governor.state[:3] - before) <= FREE.linear_speed * H + 1e-9
    np.testing.assert_allclose(governor.state[:3], [1, 0, 0], atol=1e-6)


def test_the_reference_does_not_run_away_from_a_stuck_arm() -> None:
    config = GovernorConfig()
    governor = Governor(config, H, STAGES)
    path = TargetPath(
        np.zeros(1), se3.pose(se3.exp3(np.array([0, 0, 3.0])), np.array([2.0, 0, 0]))[None]
    )
    for _ in range(300):
        governor.follow(path, IDENTITY)
    lead = config.linear_lead + config.linear_acceleration * H**2
    turn = config.angular_lead + config.angular_acceleration * H**2
    assert 0.9 * config.linear_lead < np.linalg.norm(governor.state[:3]) <= lead + 1e-9
    assert angle_between(np.eye(4), matrix(governor.state)) <= turn + 1e-9


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_limits_must_be_positive(value: float) -> None:
    with pytest.raises(WbcError, match="positive"):
        GovernorConfig(linear_speed=value)
