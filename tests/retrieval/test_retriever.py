"""The nearest remembered moments, against brute force."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from icl_vla_retrieval import KeySchemaError, Retriever

SCHEMA = "mean token, version 1"


def brute_force(
    keys: dict[int, np.ndarray], key: np.ndarray, k: int, cap: int
) -> list[tuple[float, int, int]]:
    """(distance, episode, step) of the nearest frames under the cap, in float64."""
    distances = {e: np.linalg.norm(rows.astype(float) - key, axis=1) for e, rows in keys.items()}
    nearest = [(d[t], e, int(t)) for e, d in distances.items() for t in np.argsort(d)[:cap]]
    return sorted(nearest)[:k]


@pytest.mark.parametrize(("k", "cap"), [(1, 1), (8, 2), (5, 100), (40, 3), (1000, 1000)])
def test_equals_brute_force(k: int, cap: int) -> None:
    rng = np.random.default_rng(k)
    # episodes 0..9 in tight clusters, so that the cap has to skip many frames of one
    keys = {
        e: (rng.normal(size=32) + 0.05 * rng.normal(size=(rng.integers(20, 200), 32))).astype("f4")
        for e in range(10)
    }
    retriever = Retriever(SCHEMA)
    for e, rows in keys.items():
        retriever.add(e, rows)
    for _ in range(20):
        key = (keys[int(rng.integers(10))][3] + 0.1 * rng.normal(size=32)).astype("f4")
        found = retriever.query(key, k, schema=SCHEMA, per_episode=cap)
        expected = brute_force(keys, key, k, cap)
        assert len(found) == len(expected)
        assert len({(n.episode, n.step) for n in found}) == len(found)
        assert max(Counter(n.episode for n in found).values()) <= cap
        # the very frames, but for ties within FAISS's float32
        true = [np.linalg.norm(keys[n.episode][n.step].astype(float) - key) for n in found]
        assert np.allclose(true, [d for d, _, _ in expected], rtol=1e-5)
        assert np.allclose([n.distance for n in found], true, rtol=1e-5)
        assert np.isclose(sum(n.weight for n in found), 1.0)
        assert all(n.phase == n.step / (len(keys[n.episode]) - 1) for n in found)


def test_refuses_other_keys() -> None:
    retriever = Retriever(SCHEMA)
    assert retriever.query(np.zeros(4), 3) == ()
    retriever.add(0, np.eye(4))
    with pytest.raises(KeySchemaError) as caught:
        retriever.query(np.zeros(4), 1, schema="mean token, version 2")
    assert caught.value.value == "mean token, version 2"
    assert caught.value.valid == (SCHEMA,)
    for episode, keys in ((1, np.eye(5)), (0, np.eye(4)), (2, np.full((3, 4), np.nan))):
        with pytest.raises(KeySchemaError):
            retriever.add(episode, keys)
    with pytest.raises(KeySchemaError, match="wrong size"):
        retriever.query(np.zeros(3), 1)
    with pytest.raises(KeySchemaError):
        retriever.add(3, np.eye(4), schema="another")
    assert len(retriever) == 4
