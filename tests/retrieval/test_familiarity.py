"""Distances that read as probabilities: right for what is like the demonstrations, in any scale."""

from __future__ import annotations

import numpy as np
import pytest

from icl_vla_retrieval import Familiarity, Retriever
from icl_vla_retrieval.familiarity import NEVER_SEEN


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
def test_probabilities_are_uniform_for_moments_of_the_same_kind(scale):
    """A conformal p-value: P(p <= a) <= a, and hardly less, whatever the distribution."""
    rng = np.random.default_rng(3)
    familiar = Familiarity.from_left_out([scale * rng.gamma(2.0, size=100) for _ in range(10)])
    p = np.array([familiar.probability(d) for d in scale * rng.gamma(2.0, size=4000)])
    for level in (0.05, 0.2, 0.5, 0.9):
        # 1000 calibration and 4000 test moments: three standard errors of both together
        error = 3 * np.sqrt(level * (1 - level) * (1 / 1000 + 1 / 4000))
        assert abs((p <= level).mean() - level) < error
    assert familiar.probability(1e9) == pytest.approx(1 / 1001)
    assert familiar.probability(0.0) == 1.0
    ordered = [familiar.probability(scale * d) for d in np.linspace(0, 20, 50)]
    assert (np.diff(ordered) <= 0).all()


def test_a_retriever_tells_what_it_has_never_seen():
    """Demonstrations are what is exchangeable, so the rate holds on average over sets of them."""
    rng = np.random.default_rng(4)
    way = np.linspace(0, 1, 30)[:, None] * rng.normal(size=16)

    def episode() -> np.ndarray:
        return way + 0.1 * rng.normal(size=16) + 0.02 * rng.normal(size=way.shape)

    def unseen(retriever: Retriever, familiar: Familiarity, keys: np.ndarray) -> float:
        return float(np.mean([not familiar.seen(retriever.query(k, 1)[0].distance) for k in keys]))

    like, unlike = [], []
    for _ in range(25):
        retriever = Retriever("made up")
        for e in range(10):
            retriever.add(e, episode())
        distances = retriever.distances_between_demonstrations()
        assert len(distances) == 300
        familiar = Familiarity.from_left_out([distances])
        like += [unseen(retriever, familiar, episode()) for _ in range(4)]
        unlike.append(unseen(retriever, familiar, episode() + 1.0))
    assert np.mean(like) < 2 * NEVER_SEEN
    assert min(unlike) == 1.0
