"""Group axioms, round trips and derivatives of the rigid motions."""

import itertools

import numpy as np
import pinocchio as pin
import pytest

from icl_vla_embodiments import se3

RNG = np.random.default_rng(0)
EXACT = 1e-12  # a few rounding errors of double precision


def rotations(n: int = 200) -> np.ndarray:
    """Uniform rotations, and the awkward ones: none, tiny, half turns about every axis."""
    q = RNG.normal(size=(n, 4))
    special = [np.zeros(3), np.full(3, 1e-9), *np.pi * np.eye(3), *-np.pi * np.eye(3)]
    special += [np.pi * v / np.linalg.norm(v) for v in RNG.normal(size=(20, 3))]
    return np.concatenate([se3.from_quat_xyzw(q), se3.exp3(special)])


def poses(n: int = 50) -> np.ndarray:
    return se3.pose(rotations(n)[:n], RNG.normal(size=(n, 3)))


def test_rotations_are_rotations():
    R = rotations()
    assert np.allclose(R @ R.swapaxes(-1, -2), np.eye(3), atol=EXACT)
    assert np.allclose(np.linalg.det(R), 1, atol=EXACT)


def test_group_axioms():
    A, B, C = poses(), poses(), poses()
    assert np.allclose((A @ B) @ C, A @ (B @ C), atol=1e-11)
    assert np.allclose(A @ se3.inverse(A), np.eye(4), atol=EXACT)
    assert np.allclose(se3.inverse(A @ B), se3.inverse(B) @ se3.inverse(A), atol=1e-11)
    points = RNG.normal(size=(50, 7, 3))
    assert np.allclose(se3.act(A @ B, points), se3.act(A, se3.act(B, points)), atol=1e-11)


def test_exp_and_log_are_inverse():
    R = rotations()
    w = se3.log3(R)
    assert np.linalg.norm(w, axis=-1).max() <= np.pi + EXACT
    assert np.allclose(se3.exp3(w), R, atol=1e-7)  # half turns lose half the digits
    small = RNG.normal(size=(50, 3))
    small *= RNG.uniform(0, 3.1, (50, 1)) / np.linalg.norm(small, axis=1, keepdims=True)
    assert np.allclose(se3.log3(se3.exp3(small)), small, atol=1e-9)


def test_agrees_with_pinocchio():
    for w in RNG.normal(size=(20, 3)):
        assert np.allclose(se3.exp3(w), pin.exp3(w), atol=EXACT)
        assert np.allclose(se3.from_euler_xyz(w), pin.rpy.rpyToMatrix(w), atol=EXACT)
        assert np.allclose(se3.skew(w) @ w[::-1], np.cross(w, w[::-1]), atol=EXACT)


def test_exp_derivative_at_zero_is_skew():
    w, h = RNG.normal(size=3), 1e-6
    difference = (se3.exp3(h * w) - se3.exp3(-h * w)) / (2 * h)
    assert np.allclose(difference, se3.skew(w), atol=1e-9)


@pytest.mark.parametrize(
    ("there", "back"),
    [(se3.quat_xyzw, se3.from_quat_xyzw), (se3.euler_xyz, se3.from_euler_xyz)],
)
def test_coordinates_round_trip(there, back):
    R = rotations()
    assert np.allclose(back(there(R)), R, atol=1e-7)


def test_quaternions_have_a_positive_w_and_unit_length():
    q = se3.quat_xyzw(rotations())
    assert (q[..., 3] >= 0).all()
    assert np.allclose(np.linalg.norm(q, axis=-1), 1, atol=EXACT)


def test_gimbal_lock_keeps_the_rotation():
    R = se3.from_euler_xyz([0.3, np.pi / 2, -0.4])
    assert np.allclose(se3.from_euler_xyz(se3.euler_xyz(R)), R, atol=1e-7)


def test_yaw_turns_x_to_y():
    assert np.allclose(se3.yaw(np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=EXACT)


def test_mean_rotation():
    """Of rotations spread evenly about one, it is that one; a weight of one picks a member."""
    R = rotations(1)[0]
    w = RNG.normal(size=(20, 3)) * 0.3
    spread = R @ se3.exp3(np.concatenate([w, -w]))
    assert np.allclose(se3.mean_rotation(spread, np.ones(40)), R, atol=1e-9)
    assert np.allclose(se3.mean_rotation(spread, np.eye(40)[3]), spread[3], atol=1e-9)
    nearest = se3.project_rotation(R + 0.05 * RNG.normal(size=(3, 3)))
    assert np.linalg.det(nearest) == pytest.approx(1)
    assert np.allclose(nearest @ nearest.T, np.eye(3), atol=EXACT)


def test_euler_angles_at_a_quarter_turn_of_pitch():
    """Where roll and yaw are one angle: exact axis permutations, and with rounding noise."""
    for angles in itertools.product(range(4), (1, 3), range(4)):
        R = np.round(se3.from_euler_xyz(0.5 * np.pi * np.array(angles)))
        for noise in (0.0, 1e-16, 1e-10):
            noisy = R + noise * np.random.default_rng(0).normal(size=(3, 3))
            assert np.allclose(se3.from_euler_xyz(se3.euler_xyz(noisy)), R, atol=1e-7)
