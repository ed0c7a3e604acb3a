"""Spread and weights from demonstrations whose tightness is known."""

from __future__ import annotations

import numpy as np
import pytest

from icl_vla_embodiments import se3
from icl_vla_retrieval.tightness import (
    PRIOR,
    Tightness,
    fused,
    joint,
    shrunk_covariance,
)

TIGHT = Tightness()
TURN = se3.from_euler_xyz([0.4, -0.7, 1.1])  # axes of a frame that lies nowhere along the base's


def covariance(sd: np.ndarray, R: np.ndarray = TURN) -> np.ndarray:
    return (R * np.square(sd)) @ R.T


def test_many_demonstrations_tell_their_spread():
    """4,000 samples: a variance is known to sqrt(2 / 4000) = 2%, three times that is allowed."""
    rng = np.random.default_rng(0)
    truth = covariance(np.array([0.03, 0.002, 0.01]))
    samples = rng.multivariate_normal([0.3, -0.2, 0.1], truth, size=(4000, 2))
    share = np.full((4000, 2), 1 / 4000)
    found = shrunk_covariance(samples, share, TIGHT.position)
    whitened = np.linalg.inv(np.linalg.cholesky(truth))
    for one in found:  # both steps of the horizon
        assert np.abs(whitened @ one @ whitened.T - np.eye(3)).max() < 0.09


def test_few_are_drawn_towards_the_prior_by_their_effective_number():
    rng = np.random.default_rng(1)
    prior = TIGHT.position**2 * np.eye(3)
    samples = rng.normal(size=(5, 3)) * 0.05
    one = np.array([0.0, 1.0, 0.0, 0.0, 0.0])  # only one counts: nothing is known of the spread
    np.testing.assert_allclose(shrunk_covariance(samples, one, TIGHT.position), prior)
    nobody = np.zeros(5)
    np.testing.assert_allclose(shrunk_covariance(samples, nobody, TIGHT.position), prior)
    # three of equal weight among five: as three alone, n - 1 of numpy's estimate beside the prior
    share = np.array([1, 1, 1, 0, 0]) / 3
    expected = (2 * np.cov(samples[:3].T) + PRIOR * prior) / (2 + PRIOR)
    np.testing.assert_allclose(
        shrunk_covariance(samples, share, TIGHT.position), expected, rtol=1e-9
    )


def test_on_average_shrinkage_keeps_spread_between_prior_and_truth():
    """Ten demonstrations, many times: expectation (9 S + 4 S0) / 13, in every direction."""
    rng = np.random.default_rng(2)
    truth = covariance(np.array([0.03, 0.001, 0.01]))
    samples = rng.multivariate_normal(np.zeros(3), truth, size=(10, 4000))
    found = shrunk_covariance(samples, np.full((10, 4000), 0.1), TIGHT.position).mean(0)
    expected = (9 * truth + PRIOR * TIGHT.position**2 * np.eye(3)) / (9 + PRIOR)
    assert np.abs(found - expected).max() < 0.03 * expected.max()


def test_factors_weigh_a_residual_by_the_inverse_covariance():
    rng = np.random.default_rng(3)
    S = joint(covariance(np.array([0.02, 0.005, 0.009])), covariance(np.array([0.3, 0.1, 0.06])))
    F = TIGHT.factors(S)
    np.testing.assert_allclose(F, F.T, atol=1e-12)
    for r in rng.normal(size=(20, 6)) * TIGHT.scale:
        weighted = F @ (r / TIGHT.scale)
        assert weighted @ weighted == pytest.approx(r @ np.linalg.solve(S, r), rel=1e-9)
    ordinary = np.diag(TIGHT.scale**2)
    np.testing.assert_allclose(TIGHT.factors(ordinary), np.eye(6), atol=1e-12)


def test_factors_are_kept_between_floor_and_ceiling_along_principal_directions():
    sd = np.array([10.0, 1e-9, TIGHT.position])
    S = joint(covariance(sd), np.zeros((3, 3)))
    F = TIGHT.factors(S)
    np.testing.assert_allclose(
        F[:3, :3], (TURN * [TIGHT.floor, TIGHT.ceiling, 1.0]) @ TURN.T, atol=1e-9
    )
    np.testing.assert_allclose(F[3:, 3:], TIGHT.ceiling * np.eye(3), atol=1e-9)
    batch = TIGHT.factors(np.stack([S, np.diag(TIGHT.scale**2)]))
    np.testing.assert_allclose(batch[0], F, atol=1e-12)


def test_frames_that_repeat_each_other_are_no_surer_and_a_tight_one_rules():
    loose, tight = covariance(np.full(3, 0.05)), covariance(np.array([0.05, 0.001, 0.05]))
    same = fused(np.stack([tight] * 4), np.full(4, 0.25))
    np.testing.assert_allclose(same, tight, rtol=1e-9)
    found = fused(np.stack([loose, tight]), np.array([0.5, 0.5]))
    values, axes = np.linalg.eigh(found)
    assert abs(axes[:, 0] @ TURN[:, 1]) > 0.9999  # tight where the tight frame is
    assert np.sqrt(values[0]) == pytest.approx(0.001 * np.sqrt(2), rel=0.01)
    unused = fused(np.stack([loose, tight]), np.array([1.0, 0.0]))
    np.testing.assert_allclose(unused, loose, rtol=1e-9)
