"""The policy from Python: a transformers model, episodes with and without a URDF."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel

from icl_vla.policy import IclVlaPolicy
from icl_vla.policy.context import DemoContext
from icl_vla.policy.interface import Policy
from icl_vla_embodiments import Kind, ReportedError
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_retrieval import RetrievalError

from .conftest import ROBOT

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def policy() -> IclVlaPolicy:
    return IclVlaPolicy.from_pretrained("default")


@pytest.fixture(scope="module")
def example():
    """The example without a URDF, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        import act_without_urdf

        yield act_without_urdf
    for name in ("act_without_urdf", "somebody_elses_simulator"):
        sys.modules.pop(name, None)


def weights(policy: IclVlaPolicy) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in policy.state_dict().items()}


def test_it_is_a_transformers_model(policy, tmp_path):
    policy.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} >= {"config.json", "model.safetensors"}
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.to_dict() == policy.config.to_dict() | {"_name_or_path": config._name_or_path}
    for again in (AutoModel.from_pretrained(tmp_path), IclVlaPolicy.from_pretrained(tmp_path)):
        assert type(again) is IclVlaPolicy and not again.training
        assert again.config.encoder == policy.config.encoder
        kept = weights(again)
        assert kept.keys() == weights(policy).keys()
        assert all(torch.equal(kept[name], x) for name, x in weights(policy).items())
    protocol: Policy = policy  # what mypy checks, at least in name
    assert callable(protocol.start)


def test_a_bank_and_a_list_are_the_same(policy, home, bank, cell, instructions):
    """What is said is a chunk in the space's own numbers; the weights stay as they are."""
    robot = EmbodimentStore(home).get(ROBOT)
    space = robot.action_space()
    seen = cell("pick-place").reset(41)
    before = weights(policy)
    asked = instructions["pick-place"]
    chunks = [
        policy.start(shown, instruction=asked, action_space=space, embodiment=robot).act(seen)
        for shown in (bank, list(bank))
    ]
    for chunk in chunks:
        assert chunk.native.shape == (policy.config.horizon, len(space))
        assert len(chunk.targets) == len(chunk.confidence) == policy.config.horizon
        assert (chunk.native >= space.lower).all() and (chunk.native <= space.upper).all()
        shown = {bank[n.episode].instruction for n in chunk.neighbours}
        assert shown == {asked}
    # one of the two read tokens from the cache, which keeps them as they are
    assert np.abs(chunks[0].native - chunks[1].native).max() < 1e-6
    assert all(torch.equal(before[name], x) for name, x in weights(policy).items())


def test_it_acts_in_a_simulator_without_a_urdf(policy, example):
    """Five demonstrations, three scenes; the weights know arms from another simulator."""
    before = weights(policy)
    crane = example.Crane()
    demonstrations = [example.demonstrate(crane, seed) for seed in range(5)]
    won = [example.act(crane, seed, policy, demonstrations) for seed in (61, 62, 64)]
    assert sum(won) >= 2
    assert all(torch.equal(before[name], x) for name, x in weights(policy).items())

    episode = policy.start(demonstrations, example.TASK.instruction, example.SPACE)
    assert all(len(c.first) == 2 for c in episode.contexts)  # cube and mark, and not the hand
    seen = example.observe(crane.reset(seed=7)[0], 0)
    with pytest.raises(ReportedError, match="lacks") as error:
        episode.act(replace(seen, poses={}))
    assert error.value.value == [f"poses.{example.HAND}"]
    poseless = [replace(d, poses={}) for d in demonstrations]
    with pytest.raises(ReportedError, match="measured poses"):
        policy.start(poseless, example.TASK.instruction, example.SPACE)
    with pytest.raises(RetrievalError):
        policy.start(demonstrations, "juggle three chainsaws", example.SPACE)


def test_joints_need_a_robot_or_names_and_demonstrations(policy, home, bank, instructions):
    robot = EmbodimentStore(home).get(ROBOT)
    spaces = [
        s for s in robot.action_spaces if any(d.kind is Kind.JOINT_POSITION for d in s.dimensions)
    ]
    assert spaces
    with pytest.raises(ReportedError, match="kinematics"):
        policy.start([], instructions["push"], spaces[0])
    with pytest.raises(ReportedError, match="no names"):  # a gripper's joint is no action
        policy.start(list(bank), instructions["push"], spaces[0])


def test_what_sets_out_with_the_hand_is_the_robot():
    """A hand, a forearm that moves half as far; a thing at rest, one that is carried later."""
    T = 60
    way = np.zeros((T, 3))
    way[:, 0] = np.linspace(0, 0.4, T)
    tcp = np.tile(np.eye(4), (T, 1, 1))
    tcp[:, :3, 3] = way
    still = np.tile([0.3, 0.1, 0.0], (T, 1))
    carried = np.where(way[:, :1] > 0.25, way, [[0.25, 0.0, 0.0]])
    tokens = np.stack([way + np.array([0, 0, 0.1]), 0.5 * way, still, carried], axis=1)
    context = DemoContext(
        episode=0,
        times=0.1 * np.arange(T),
        tcp=tcp,
        opening=np.ones(T),
        commands=tcp,
        gripper=np.ones(T),
        tokens=tokens,
        first=tokens[0],
        features=np.arange(8.0).reshape(4, 2),
        clouds=np.zeros((4, 48, 3)),
    )
    kept = context.without_robot()
    assert np.array_equal(kept.features, context.features[2:])
    assert np.array_equal(kept.tokens, tokens[:, 2:])
    resting = replace(context, tcp=np.tile(np.eye(4), (T, 1, 1)))
    assert len(resting.without_robot().first) == 4
