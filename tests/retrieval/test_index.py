"""Approximate and exact search agree, selections hold what they should, and stores reopen whole."""

from __future__ import annotations

import numpy as np
import pytest

from icl_vla_retrieval import EpisodeLabels, KeyIndexError, KeySchemaError, Retriever
from icl_vla_retrieval.index import FLAT, KeyIndex, choose_kind

SIZE = 48


def trajectories(episodes: int, frames: int, seed: int) -> list[np.ndarray]:
    """Smooth random paths in a space of few true dimensions, as keys of episodes are."""
    rng = np.random.default_rng(seed)
    lift = np.random.default_rng(1).normal(size=(8, SIZE)) / np.sqrt(8)
    steps = 0.15 * rng.normal(size=(episodes, frames, 8))
    paths = rng.normal(size=(episodes, 1, 8)) + steps.cumsum(axis=1)
    return list((np.tanh(paths) @ lift).astype(np.float32))


@pytest.fixture(scope="module")
def keys() -> np.ndarray:
    return np.concatenate(trajectories(300, 100, seed=2))


@pytest.fixture(scope="module", params=["hnsw", "ivfpq"])
def index(request: pytest.FixtureRequest, keys: np.ndarray) -> KeyIndex:
    return KeyIndex.build(keys, request.param)


def recall(index: KeyIndex, truth: KeyIndex, queries: np.ndarray) -> float:
    pairs = [(index.nearest(q, 10)[1], truth.nearest(q, 10)[1]) for q in queries]
    return float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in pairs]))


def test_approximate_kinds_find_the_nearest_and_their_exact_distances(index, keys):
    queries = np.concatenate(trajectories(3, 40, seed=3))
    exact = KeyIndex.build(keys, "flat")
    assert recall(index, exact, queries) >= (0.95 if index.kind == "hnsw" else 0.8)
    for q in queries[:10]:
        squared, rows = index.nearest(q, 10)
        true = ((keys[rows].astype(float) - q) ** 2).sum(axis=1)
        np.testing.assert_allclose(squared, true, rtol=1e-4, atol=1e-6)  # float32
        assert (np.diff(squared) >= 0).all()


@pytest.mark.parametrize("share", [0.01, 0.8])  # compared exactly; searched with a filter
def test_a_restricted_index_finds_the_nearest_of_what_is_left(index, keys, share):
    rows = np.flatnonzero(np.random.default_rng(4).random(len(keys)) < share)
    assert (len(rows) <= FLAT) == (share < 0.5)
    part = index.only(rows)
    queries = np.concatenate(trajectories(2, 30, seed=5))
    for q in queries:
        _, found = part.nearest(q, 10)
        assert np.isin(found, rows).all() and len(found) == 10
        nearest = rows[((keys[rows] - q) ** 2).sum(axis=1).argmin()]
        assert found[0] == nearest or share > 0.5
    exact = KeyIndex.build(keys, "flat").only(rows)
    assert recall(part, exact, queries) >= (1.0 if share < 0.5 else 0.8)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivfpq"])
def test_a_stored_retriever_answers_as_before(tmp_path, kind):
    episodes = trajectories(60, 50, seed=6)
    before = Retriever("made up, version 1")
    for e, keys in enumerate(episodes):
        before.add(e, keys, labels=EpisodeLabels("arm", "pose", ("left", "right")[e % 2], "here"))
    before.build(kind)
    before.save(tmp_path / "store")
    after = Retriever.open(tmp_path / "store")
    assert (after.schema, after.kind, len(after)) == (before.schema, kind, 3000)
    assert after.labels == before.labels
    for q in np.concatenate(trajectories(2, 20, seed=7)):
        assert after.query(q, 6) == before.query(q, 6)
    with pytest.raises(KeySchemaError):
        after.query(q, 1, schema="made up, version 2")
    with pytest.raises(KeyIndexError, match="cannot be stored"):
        after.save(tmp_path / "store")


def test_a_damaged_store_is_refused(tmp_path):
    retriever = Retriever("made up")
    retriever.add(0, trajectories(1, 300, seed=8)[0])
    retriever.build("hnsw")
    retriever.save(tmp_path / "store")
    search = tmp_path / "store/search.faiss"
    whole = search.read_bytes()
    keys = tmp_path / "store/keys.npy"
    for path, content in (
        (search, b""),
        (search, whole[: len(whole) // 2]),
        (keys, keys.read_bytes()[:100]),
        (tmp_path / "store/retriever.json", b'{"format": 7}'),
        (tmp_path / "store/retriever.json", b"[]"),
    ):
        kept = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(KeyIndexError) as caught:
            Retriever.open(tmp_path / "store")
        assert caught.value.where == str(tmp_path / "store")
        path.write_bytes(kept)
    assert len(Retriever.open(tmp_path / "store")) == 300
    with pytest.raises(KeyIndexError):
        Retriever.open(tmp_path / "nothing")


def test_selection_by_label():
    episodes = trajectories(12, 40, seed=9)
    retriever = Retriever("made up")
    for e, keys in enumerate(episodes):
        labels = EpisodeLabels(
            embodiment=("arm", "other")[e % 2], instruction=("up", "down", "on")[e % 3]
        )
        retriever.add(e, keys, labels=labels)
    for q in episodes[5][::9]:
        found = retriever.select(embodiment="arm", instruction="down").query(q, 12)
        assert {n.episode for n in found} == {4, 10}
        assert len(found) == 4  # two of each
        assert {n.episode % 3 for n in retriever.select(instruction="on").query(q, 9)} == {2}
        assert retriever.query(q, 1)[0].episode == 5
    assert retriever.select(instruction="sideways").query(q, 3) == ()
    assert retriever.select(source="").query(q, 9) == retriever.query(q, 9)


def test_an_episode_added_later_is_found():
    episodes = trajectories(3, 50, seed=10)
    retriever = Retriever("made up")
    for e, keys in enumerate(episodes):
        retriever.add(e, keys)
        (nearest,) = retriever.query(keys[7], 1)
        assert (nearest.episode, nearest.step, nearest.distance) == (e, 7, 0.0)


@pytest.mark.parametrize(
    ("count", "kind"), [(1_400, "flat"), (FLAT, "flat"), (10**6, "hnsw"), (10**8, "ivfpq")]
)
def test_the_kind_follows_from_the_size_and_is_said(count, kind):
    chosen, reason = choose_kind(count, 384)
    assert chosen == kind
    assert f"{count:,} keys" in reason
