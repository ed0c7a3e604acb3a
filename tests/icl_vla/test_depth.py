"""Depth that is guessed: against what the simulator measures, and how the guessing is learned."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from icl_vla.evaluation.context import depthless
from icl_vla.perception.depth import DepthFromColour, at_height, depth_from_colour, rays_of
from icl_vla.perception.encoders import encoder_of
from icl_vla.perception.memory import match_in_place
from icl_vla.perception.sight import cameras_and_links, points_in_base
from icl_vla.perception.tokens import SceneTokens
from icl_vla.policy.vote import VotePolicy
from icl_vla_embodiments import Observation, ReportedError, se3


def colours_alone(observation: Observation) -> Observation:
    cameras = {n: replace(c, depth=None) for n, c in observation.cameras.items()}
    return replace(observation, cameras=cameras)


def test_rays_reach_the_height_they_are_asked_for():
    K = np.array([[90.0, 0, 47.5], [0, 90.0, 31.5], [0, 0, 1]])
    T = se3.pose(se3.exp3([2.6, 0.1, 0.2]), [0.1, -0.3, 0.8])  # looks down, askew
    rays = rays_of(K, T, 64, 96)
    assert rays.shape == (64, 96, 3)
    np.testing.assert_allclose(rays @ T[:3, 2], 1.0, atol=1e-6)  # 1 along the optical axis
    height = np.random.default_rng(0).uniform(0, 0.2, (64, 96))
    depth = at_height(height, rays, T[:3, 3])
    there = T[:3, 3] + depth[..., None] * rays
    reached = depth > 0
    assert reached.mean() > 0.9
    np.testing.assert_allclose(there[reached][:, 2], height[reached], atol=1e-6)
    up = rays_of(K, se3.pose(np.eye(3), T[:3, 3]), 64, 96)  # looks up
    assert (at_height(height, up, T[:3, 3]) == 0).all()


@pytest.mark.parametrize("seed", range(400_000, 400_003))
def test_guessed_depth_puts_things_where_they_are_and_the_robot_on_itself(cell, seed):
    there = cell("pick-place")
    observation = there.reset(seed)
    model, hulls = there.components.model, there.components.hulls
    measured, links = cameras_and_links(observation, model, hulls)
    guessed, _ = cameras_and_links(colours_alone(observation), model, hulls)
    for a, b in zip(measured, guessed, strict=True):
        P, Q = points_in_base(a, links), points_in_base(b, links)
        seen = (a.depth > 0) & (b.depth > 0) & (np.linalg.norm(P[..., :2], axis=-1) < 0.9)
        own = hulls.mask(P.reshape(-1, 3), links, 0.01).reshape(seen.shape)
        off = np.linalg.norm(P - Q, axis=-1)
        thing = seen & ~own & (P[..., 2] > 0.012)
        assert thing.sum() > 100
        assert np.median(off[thing]) < 0.02
        assert np.median(off[seen & ~own & (P[..., 2] < 0.005)]) < 0.005
        mine = np.isfinite(hulls.along(eye_of(b), pixel_rays(b), links).reshape(own.shape))
        assert hulls.mask(Q[mine], links, 0.012).mean() > 0.99
    tokens = there.components.encode(observation)
    again = there.components.encode(colours_alone(observation))
    rows, columns = match_in_place(
        tokens.features, again.features, tokens.positions, again.positions
    )
    assert len(rows) == len(tokens)
    apart = np.linalg.norm(tokens.positions[rows] - again.positions[columns], axis=1)
    assert np.median(apart) < 0.025


def eye_of(camera):
    return np.asarray(camera.T_mount_camera)[:3, 3]


def pixel_rays(camera):
    height, width = camera.rgb.shape[:2]
    return rays_of(camera.intrinsics, np.asarray(camera.T_mount_camera), height, width).reshape(
        -1, 3
    )


def enlarged(observation: Observation, f: int) -> Observation:
    """As a camera of more pixels would see it."""
    cameras = {}
    for n, c in observation.cameras.items():
        K = np.array(c.intrinsics)
        K[:2] *= f
        K[:2, 2] += 0.5 * (f - 1)
        rgb, depth = (a.repeat(f, axis=0).repeat(f, axis=1) for a in (c.rgb, c.depth))
        cameras[n] = replace(c, rgb=rgb, depth=depth, intrinsics=K)
    return replace(observation, cameras=cameras)


def not_scraps(tokens: SceneTokens) -> SceneTokens:
    """What a handful of pixels show is there in one picture and not in the next."""
    large = tokens.pixels >= 20
    return SceneTokens(*(getattr(tokens, f.name)[large] for f in fields(tokens)))


@pytest.mark.parametrize("measured", [True, False])
def test_large_pictures_show_the_same_things_in_the_same_places(cell, measured):
    there = cell("pick-place")
    observation = there.reset(400_000)
    encoder = encoder_of("learned", there.components)
    large = enlarged(observation, 4)
    if not measured:
        observation, large = colours_alone(observation), colours_alone(large)
    small, again = (not_scraps(encoder.encode(each)) for each in (observation, large))
    assert len(small) == len(again) > 1
    rows, columns = match_in_place(small.features, again.features, small.positions, again.positions)
    apart = np.linalg.norm(small.positions[rows] - again.positions[columns], axis=1)
    assert len(rows) == len(small) and apart.max() < 0.012


def test_what_measures_depth_is_believed(cell):
    there = cell("pick-place")
    observation = there.reset(400_000)
    both = {**observation.cameras, "blind": replace(observation.cameras["front"], depth=None)}
    cameras, _ = cameras_and_links(
        replace(observation, cameras=both), there.components.model, there.components.hulls
    )
    assert len(cameras) == 1 and cameras[0] is observation.cameras["front"]
    for missing in ({"cameras": {}}, {"q": None}):
        with pytest.raises(ReportedError, match="lacks what scene tokens"):
            there.components.encode(replace(colours_alone(observation), **missing))


def test_where_demonstrations_have_colours_alone_the_robot_looks_with_them_too(
    cell, bank, instructions
):
    there = cell("pick-place")
    words = instructions["pick-place"]
    shown = [bank[i] for i in bank.select(words)]
    flat = [depthless(d, np.random.default_rng(0)) for d in shown]
    observation = there.reset(400_000)
    policy = VotePolicy(there.model, there.components)
    for demos, seen in ((shown, observation), (flat, colours_alone(observation))):
        episode = policy.start(demos, words, bank.action_space)
        chunk = episode.act(observation)
        expected = there.components.encode(seen)
        np.testing.assert_array_equal(chunk.trace["tokens"], expected.positions)


def test_training_goes_on_where_it_was_and_its_weights_are_read_again(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="the extra `train` is not installed")
    from icl_vla.training.depth import train
    from icl_vla.training.encoder_recipe import DepthRecipe, TrainingStage, Variety
    from icl_vla.training.recipe import read_recipe

    first = TrainingStage(2, warmup=1)
    second = TrainingStage(2, warmup=1, scenes=Variety(held=1.0))
    recipe = DepthRecipe(pictures=4, network={"widths": [4, 8, 8]}, stages=(first, second))
    whole = train(recipe, tmp_path / "whole")
    train(replace(recipe, stages=(first,)), tmp_path / "parts")
    parts = train(recipe, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=0, atol=0)
    with pytest.raises(ReportedError, match="another recipe"):
        train(replace(recipe, stages=(second,)), tmp_path / "parts")
    saved = DepthFromColour.from_pretrained(tmp_path / "whole" / "checkpoint")
    again = DepthFromColour.from_pretrained(tmp_path / "parts" / "checkpoint")
    assert saved.schema == again.schema != depth_from_colour().schema
    assert isinstance(read_recipe("depth"), DepthRecipe)
    (tmp_path / "whole" / "checkpoint" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ReportedError, match="cannot be read"):
        DepthFromColour.from_pretrained(tmp_path / "whole" / "checkpoint")


def test_learning_lowers_the_error_and_a_held_thing_is_in_the_hand() -> None:
    pytest.importorskip("numba", reason="the extra `train` is not installed")
    from icl_vla.training.depth import errors, told
    from icl_vla.training.encoder_recipe import Variety
    from icl_vla.training.views import views

    batch = views(np.random.default_rng(99), 12, variety=Variety(held=1.0))
    rays, eye, height, own = told(batch, shy=0.0)
    seen = torch.from_numpy((batch.depth > 0) & (batch.thing >= 0))
    with torch.inference_mode():
        guessed = depth_from_colour().network(torch.from_numpy(batch.rgb), rays, eye, own)
    off = errors(guessed, height, rays)[seen].abs()
    flat = errors(torch.zeros_like(height), height, rays)[seen].abs()
    assert off.median() < 0.6 * flat.median()
    robot = torch.from_numpy(batch.robot)
    assert (~torch.isnan(own))[robot].all()  # and a margin about it, as hulls have
    assert ((~torch.isnan(own)) & ~robot).any()
