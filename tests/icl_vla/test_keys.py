"""Retrieval keys: what they must not depend on, caching, streams, image encoders."""

from __future__ import annotations

import numpy as np
import pytest

from icl_vla.perception.image_keys import ImageKeys
from icl_vla.perception.keys import MotionKeys, SceneKeys
from icl_vla_embodiments import ReportedError, se3
from icl_vla_retrieval import bank_keys, make_example_bank, retriever_of


def motion(seed: int, T: int = 20, M: int = 4):
    """Features, places, hand poses and openings of a made-up episode."""
    rng = np.random.default_rng(seed)
    way = rng.normal(size=3) * np.linspace(0, 0.3, T)[:, None] + [0.5, 0, 0.2]
    places = np.repeat(rng.uniform(-0.3, 0.5, (1, M, 3)), T, axis=0)
    return rng.uniform(0, 2, (M, 5)), places, se3.pose(p=way), np.linspace(1, 0, T)


def test_keys_forget_the_order_of_tokens_and_turns_about_the_hand():
    keys = MotionKeys(5)
    features, places, tcp, opening = motion(0)
    first = keys(features, places, tcp, opening)
    assert first.shape == (20, 384) and first.dtype == np.float32
    order = np.random.default_rng(1).permutation(4)
    np.testing.assert_allclose(
        first, keys(features[order], places[:, order], tcp, opening), atol=1e-5
    )
    hand = tcp[:, None, :3, 3]
    turned = hand + (places - hand) @ se3.yaw(0.7).T
    np.testing.assert_allclose(first, keys(features, turned, tcp, opening), atol=1e-5)
    moved = keys(features, places + np.array([0.05, 0, 0]), tcp, opening)
    assert np.linalg.norm(first - moved, axis=1).min() > 0.1


def test_distances_approximate_the_kernel():
    """``|phi(x) - phi(y)|^2 = 2 - 2 exp(-|x - y|^2 / 2)`` to the error of 256 random features."""
    keys = MotionKeys(5)
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 500, 7)) * 0.5
    squared = ((keys._tokens(x) - keys._tokens(y)) ** 2).sum(axis=1)
    exact = 2 - 2 * np.exp(-((x - y) ** 2).sum(axis=1) / 2)
    assert np.abs(squared - exact).mean() < 2.5 / np.sqrt(256)


def test_the_nearest_key_of_another_demonstration_is_the_same_moment(cell, bank, instructions):
    """Keys of recorded demonstrations, from the pictures; streamed as on the robot."""
    at_task = cell("pick-place")
    encoder = SceneKeys(at_task.encoder, at_task.model, at_task.workspace.effector)
    retriever = retriever_of(bank, encoder)
    assert {labels.instruction for labels in retriever.labels.values()} == set(
        instructions.values()
    )
    demonstration = bank[0]
    stream = encoder.start()
    stored = bank_keys(bank, encoder, 0)
    streamed = np.stack([stream(demonstration.observation(t)) for t in range(len(demonstration))])
    # the stream sees every picture, the bank's keys every second one
    away = np.linalg.norm(stored[:, None] - stored[None], axis=-1)
    assert np.median(np.linalg.norm(streamed - stored, axis=1)) < 0.2 * np.median(away)
    others = retriever.select(instruction=demonstration.instruction)
    phases = []
    for t, key in enumerate(streamed):
        found = [n for n in others.query(key, 4, per_episode=1) if n.episode != 0]
        phases.append(abs(found[0].phase - t / len(streamed)))
    assert np.median(phases) < 0.1


def test_any_image_encoder_makes_keys_that_the_bank_keeps(tmp_path):
    """A tiny vision transformer with random weights, loaded by folder like any other."""
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    ViTModel(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    bank = make_example_bank(tmp_path / "bank", episodes=2)
    encoder = ImageKeys(tmp_path / "vit", "front")
    retriever = retriever_of(bank, encoder)
    keys = bank_keys(bank, encoder, 0)
    assert keys.shape == (len(bank[0]), 16)
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(bank[0].cameras["front"].rgb), keys, atol=1e-5)
    assert retriever.query(keys[3], 1)[0].episode == 0
    (cached,) = (bank.path / "icl_vla/keys").glob("*/episode_000000.npy")
    cached.write_bytes(cached.read_bytes()[:-4] + np.float32(7).tobytes())
    assert bank_keys(bank, encoder, 0)[-1, -1] == 7  # read, not made again
    torch.manual_seed(1)
    ViTModel(config).save_pretrained(tmp_path / "vit")
    other = ImageKeys(tmp_path / "vit", "front")
    assert other.schema != encoder.schema
    assert np.abs(bank_keys(bank, other, 0) - keys).max() > 1e-3
    with pytest.raises(ReportedError, match="no such camera"):
        ImageKeys(tmp_path / "vit", "back").keys(bank[0])
    with pytest.raises(ReportedError, match="cannot be loaded"):
        _ = ImageKeys(tmp_path / "nothing", "front").schema
