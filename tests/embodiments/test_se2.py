"""Motions on the floor against the rigid motions that they are."""

from __future__ import annotations

import numpy as np
import pinocchio as pin

from icl_vla_embodiments import se2, se3

RNG = np.random.default_rng(0)


def test_they_are_rigid_motions() -> None:
    a, b = RNG.uniform(-3, 3, (2, 40, 3))
    product = se2.lifted(a) @ se2.lifted(b)
    np.testing.assert_allclose(se2.lifted(se2.compose(a, b)), product, atol=1e-12)
    np.testing.assert_allclose(se2.lifted(se2.planar(product)), product, atol=1e-12)
    for x, y in zip(a, b, strict=True):
        between = se3.inverse(se2.lifted(x)) @ se2.lifted(y)
        np.testing.assert_allclose(se2.lifted(se2.between(x, y)), between, atol=1e-12)


def test_exponentials_are_pinocchios() -> None:
    for way in [*RNG.uniform(-3, 3, (40, 3)), np.array([0.3, -0.2, 0.0])]:
        twist = np.array([way[0], way[1], 0.0, 0.0, 0.0, way[2]])
        np.testing.assert_allclose(
            se2.lifted(se2.exp(way)), pin.exp6(twist).homogeneous, atol=1e-12
        )
        np.testing.assert_allclose(se2.log(se2.exp(way)), way, atol=1e-12)
