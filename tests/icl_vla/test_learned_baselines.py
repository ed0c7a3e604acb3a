"""Learned baselines: they learn what can be learned, the same each time, and once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icl_vla.evaluation.methods import METHODS
from icl_vla.evaluation.methods.bc_chunks import BcChunks
from icl_vla.evaluation.methods.bc_tokens import BcTokens
from icl_vla.evaluation.methods.finetuned import SCHEDULES, best_schedule
from icl_vla.evaluation.methods.learning import base as trained_before
from icl_vla.evaluation.methods.learning.augment import moved
from icl_vla.evaluation.methods.learning.fitting import Schedule, evenly, fit, save, seeded
from icl_vla.evaluation.methods.learning.in_context import (
    GraphPolicy,
    RetrievalTransformer,
    shown_ways,
)
from icl_vla.evaluation.methods.learning.moments import (
    HORIZON,
    MOTION,
    SIDE,
    THINGS,
    motions,
    poses,
    things,
)
from icl_vla.evaluation.methods.learning.networks import (
    WORDS,
    ChunkPolicy,
    Design,
    PictureTokens,
    rest,
)
from icl_vla.evaluation.methods.learning.priming import draw_plain, draw_retrieved, draw_shown
from icl_vla_embodiments import ReportedError, se3
from icl_vla_retrieval import DemoBank

TASK = "pick-place"
FEATURES = Design("tokens", "chunk").features + 3  # of a token, and how far it was moved


class QuickTokens(BcTokens):
    """Trained for a moment."""

    steps = 3


class QuickPictures(BcChunks):
    """Trained for a moment."""

    steps = 2


def toy(count: int, seed: int) -> dict[str, torch.Tensor]:
    """The hand is to go to the one of two things that has the first feature."""
    rng = torch.Generator().manual_seed(seed)
    positions = torch.zeros(count, THINGS, 3)
    positions[:, :2] = torch.rand(count, 2, 3, generator=rng) * 0.4 - 0.2
    features = torch.zeros(count, THINGS, FEATURES)
    features[:, 0, 0] = features[:, 1, 1] = 1
    state = torch.zeros(count, 10)
    state[:, :3] = torch.rand(count, 3, generator=rng) * 0.4 - 0.2
    state[:, 3] = state[:, 7] = 1
    share = torch.linspace(1 / HORIZON, 1, HORIZON).view(1, -1, 1)
    motion = rest().repeat(count, HORIZON, 1)
    motion[..., :3] += share * (positions[:, :1] - state[:, None, :3])
    flags = (state[:, None, :2] > 0).float().repeat(1, HORIZON, 1)
    there = (torch.arange(THINGS) < 2).repeat(count, 1)
    return {
        "state": state,
        "motion": motion,
        "flags": flags,
        "positions": positions,
        "features": features,
        "there": there,
    }


def drawn(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Pictures of two cameras and a sentence, all at random."""
    rng = torch.Generator().manual_seed(seed)
    made = {k: x for k, x in toy(count, seed).items() if k in ("state", "motion", "flags")}
    made["pictures"] = torch.rand(count, 2, 6, SIDE, SIDE, generator=rng).half()
    return made | {"words": torch.rand(1, WORDS, generator=rng).expand(count, -1)}


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_motion_is_undone_to_the_commands():
    rng = np.random.default_rng(0)
    T = se3.pose(se3.exp3(rng.normal(size=(30, 3))), rng.normal(size=(30, 3)))
    commands = np.roll(T, -1, axis=0)
    commands[-1] = T[-1]
    motion, flags = motions(T, commands, (np.arange(30) < 12).astype(float))
    for t in (0, 7, 29):
        due = np.minimum(np.arange(t, t + HORIZON), 29)
        np.testing.assert_allclose(poses(motion[t], T[t]), commands[due], atol=1e-12)
        assert (flags[t, :, 0] == (due < 12)).all()
    assert (flags[:, 0, 1] == (np.arange(30) >= 28)).all()


@pytest.mark.parametrize("answers", ["chunk", "flow"])
def test_goes_to_the_thing_that_was_shown(answers):
    shown, new = toy(256, 0), toy(64, 1)
    network = seeded(lambda: ChunkPolicy(Design("tokens", answers, layers=1, dropout=0.0)), 0)
    network.measure(shown)
    fit(network, network.loss, evenly(shown, 32), Schedule(150, 3e-3), 0)
    motion, flags = network.act(new, torch.Generator().manual_seed(0))
    missed = (motion - new["motion"])[:, -1, :3].norm(dim=-1).median()
    way = (new["motion"][:, -1, :3]).norm(dim=-1).median()
    assert missed < 0.3 * way  # measured: 0.13 (chunk), 0.20 (flow) after 4 s
    assert ((flags > 0.5) == (new["flags"] > 0.5)).float().mean() > 0.9


def test_things_keep_their_places_whatever_their_order():
    rng = np.random.default_rng(0)
    reference = np.eye(FEATURES - 3)[:4]
    now = rng.normal(size=(6, 5, 3))
    looks = np.concatenate([reference + 0.05, [[5.0] * (FEATURES - 3)]])  # the last is a stranger
    order = np.array([3, 4, 0, 2, 1])
    made = things(now[:, order], now[0, order], looks[order], reference)
    np.testing.assert_array_equal(made["positions"][:, :4], now[:, :4])
    assert made["there"][:, :4].all() and not made["there"][:, 4:].any()
    nothing = things(np.zeros((1, 0, 3)), np.zeros((0, 3)), np.zeros((0, FEATURES - 3)), reference)
    assert not nothing["there"].any() and nothing["features"].shape == (1, THINGS, FEATURES)


def test_a_moment_elsewhere_asks_for_the_same_motion_turned():
    batch = toy(8, 0)
    batch["features"][..., -3:] = torch.rand(8, THINGS, 3)
    angle, shift = torch.linspace(-2, 2, 8), torch.rand(8, 3)
    beside = 0.01 * torch.randn(8, 3)
    made = moved(batch, angle, shift, beside)
    goal = made["state"][:, :3] + made["motion"][:, -1, :3]  # still the thing's place
    torch.testing.assert_close(goal, made["positions"][:, 0], atol=1e-5, rtol=0)
    back = moved(made, -angle, -shift, torch.zeros(8, 3))
    told = batch["features"]
    torch.testing.assert_close(back["features"], told, atol=1e-5, rtol=0)
    torch.testing.assert_close(back["motion"][..., 3:], batch["motion"][..., 3:], atol=1e-5, rtol=0)
    rng = torch.Generator().manual_seed(0)
    points = torch.rand(8, 2, 6, 4, 4, generator=rng)
    seen = moved(batch | {"pictures": points}, angle, shift, beside)["pictures"]
    pixel = batch | {"positions": points[:, :, 3:, 1, 2], "features": points[:, :, 3:, 0, 0]}
    torch.testing.assert_close(
        seen[:, :, 3:, 1, 2], moved(pixel, angle, shift, beside)["positions"]
    )
    torch.testing.assert_close(seen[:, :, :3], points[:, :, :3])


def test_training_is_the_same_each_time():
    made = []
    for _ in range(2):
        torch.manual_seed(np.random.default_rng().integers(1000))  # whatever was drawn before
        network = seeded(lambda: ChunkPolicy(Design("tokens", "flow", layers=1)), 3)
        fit(network, network.loss, evenly(toy(64, 0), 8), Schedule(4, 1e-3), 3)
        made.append(network)
    assert same(*made)


def test_keypoints_lie_on_what_they_look_at():
    eyes = PictureTokens().eval()
    pictures = torch.zeros(1, 1, 6, SIDE, SIDE)
    axis = torch.linspace(-0.5, 0.5, SIDE)
    pictures[0, 0, 3], pictures[0, 0, 4] = axis[None], axis[:, None]
    with torch.no_grad():
        positions, _ = eyes(pictures)
        middle = positions[0].mean(0)
        moved, _ = eyes(pictures + torch.tensor([0, 0, 0, 0, 0, 0.3]).view(1, 1, 6, 1, 1))
    assert positions[0, :, :2].abs().max() < 0.5 and middle[:2].norm() < 0.1
    assert torch.allclose(moved[..., 2], torch.tensor(0.3), atol=1e-5)  # points are taken as told


@pytest.mark.parametrize("method", [QuickTokens, QuickPictures])
def test_is_trained_once_for_a_set_of_demonstrations(method, cell, bank, instructions):
    station = cell(TASK)
    observation = station.reset(11)
    asked = instructions[TASK]
    chunk = method().start(station, bank, asked, 0).act(observation)
    (path,) = (bank.path / "icl_vla/policies").glob(f"{method.name}-*.safetensors")
    first, when = path.read_bytes(), path.stat().st_mtime_ns
    again = method().start(station, bank, asked, 0).act(observation)
    assert path.stat().st_mtime_ns == when
    path.unlink()
    method().start(station, bank, asked, 0)
    assert path.read_bytes() == first  # worker counts and resumption change nothing
    hand = station.effector
    assert len(chunk) == HORIZON and np.isfinite(chunk.motions[hand]).all()
    np.testing.assert_array_equal(chunk.motions[hand], again.motions[hand])
    assert set(np.unique(chunk.grippers[hand])) <= {0.0, 1.0}


@pytest.mark.parametrize("name", ["finetuned", "ricl", "instant"])
def test_refuses_without_what_it_starts_from(name, cell, bank, instructions, tmp_path, monkeypatch):
    monkeypatch.setenv("ICL_VLA_HOME", str(tmp_path))
    with pytest.raises(ReportedError, match="has not been trained"):
        METHODS[name].start(cell(TASK), bank, instructions[TASK], 0)


def test_instant_acts_and_refuses_an_empty_bank(cell, bank, instructions, tmp_path, monkeypatch):
    monkeypatch.setenv("ICL_VLA_HOME", str(tmp_path))
    network = seeded(lambda: trained_before.make_network("instant"), 0)
    assert METHODS["instant"].learned_before() == ""
    save(network, trained_before.weights_path("instant"))
    assert len(METHODS["instant"].learned_before()) == 64  # results with it have a key of their own
    station = cell(TASK)
    episode = METHODS["instant"].start(station, bank, instructions[TASK], 0)
    chunk = episode.act(station.reset(11))
    assert np.isfinite(chunk.motions[station.effector]).all()
    nobody = DemoBank.of_spec(tmp_path / "empty", bank.spec)
    for method in ("instant", "bc_tokens"):
        with pytest.raises(ReportedError, match="no demonstration"):
            METHODS[method].start(station, nobody, instructions[TASK], 0)


def test_retrieval_is_of_other_demonstrations_and_interpolates():
    network = seeded(lambda: RetrievalTransformer(trained_before.base_design()), 0)
    tasks = [[drawn(6, 10 * t + d) for d in range(3)] for t in range(2)]
    network.measure(draw_plain(tasks, 8)(torch.Generator()))
    batch = draw_retrieved(network, tasks, 16)(torch.Generator().manual_seed(0))
    assert torch.isfinite(network.loss(batch))
    own = [m["state"][:, :3] for task in tasks for m in task]
    for state, near in zip(batch["state"], batch["near_state"], strict=True):
        mine = next(o for o in own if (o == state[:3]).all(1).any())
        assert not any((mine == n[:3]).all(1).any() for n in near)
    batch["distance"] = torch.zeros(16)  # as near as can be: what followed there is played
    motion, _ = network.eval().act(batch, torch.Generator())
    torch.testing.assert_close(motion, batch["near_motion"][:, 0], atol=1e-5, rtol=0)


def test_waypoints_are_of_other_demonstrations():
    each = [{k: x[:20] for k, x in toy(40, d).items()} for d in range(5)]
    batch = draw_shown([each], 16)(torch.Generator().manual_seed(0))
    for state, ways in zip(batch["state"], batch["way_state"], strict=True):
        mine = next(m["state"] for m in each if (m["state"] == state).all(1).any())
        assert not any((mine == w).all(1).any() for w in ways.flatten(0, 1))
    network = seeded(lambda: GraphPolicy(Design("tokens", "flow", layers=1)), 0).eval()
    alone = {k: x[:1] for k, x in batch.items() if not k.startswith("way_")}
    told = [network.act(alone | shown_ways(e), torch.Generator().manual_seed(0))[0]
            for e in (each[:3], each[2:])]  # fmt: skip
    assert (told[0] - told[1]).abs().max() > 1e-4  # what was shown is read
    assert told[0].shape == (1, HORIZON, MOTION)


def test_fine_tuning_chooses_by_what_was_held_back(monkeypatch):
    from icl_vla.evaluation.methods import finetuned

    tried = []

    def tuned(base, moments, schedule):
        tried.append((schedule, len(moments["state"])))
        network = seeded(lambda: trained_before.make_network("base"), 0).eval()
        if schedule == SCHEDULES[3]:
            fit(network, network.loss, evenly(each[4], 4), Schedule(2, 1e-3), 0)
        return network

    each = [drawn(4, d) for d in range(5)]
    monkeypatch.setattr(finetuned, "_tuned", tuned)
    assert (
        best_schedule(seeded(lambda: trained_before.make_network("base"), 0), each)
        == (SCHEDULES[3])
    )
    assert tried == [(s, 16) for s in SCHEDULES]
