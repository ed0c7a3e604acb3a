"""Encoders by name: any vision model through the same adapter, cached, refused clearly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icl_vla.cli import main
from icl_vla.cli.options import DEFAULT_ENCODER
from icl_vla.evaluation.attempt import _registered, run_trial
from icl_vla.evaluation.running import context_of
from icl_vla.evaluation.trials import Trial
from icl_vla.paths import bank_path
from icl_vla.perception.encoders import DEFAULT, encoder_of, schema_of
from icl_vla.perception.learned import LearnedEncoder
from icl_vla.perception.vision_model import VisionModel
from icl_vla.policy.context import read_context
from icl_vla.policy.learned import LearnedPolicy
from icl_vla.sim.recording import index_bank
from icl_vla.sim.workcell import Workcell
from icl_vla_embodiments import ReportedError
from icl_vla_retrieval import DemoBank

from .conftest import ROBOT


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision transformer with random weights."""
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "vit"
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = ViTConfig(**sizes, intermediate_size=32, image_size=96, patch_size=8)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": 96, "width": 96}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolutional network with random weights, whose processor cuts off edges."""
    import torch
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "resnet"
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1]}
    ResNetModel(ResNetConfig(**sizes, layer_type="basic")).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 96}, crop_pct=0.5).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("kind", "cells"), [("vit", 12), ("resnet", 28)])
def test_patches_lie_where_the_picture_shows_them(
    kind: str, cells: int, request: pytest.FixtureRequest
) -> None:
    model = VisionModel(str(request.getfixturevalue(kind)))
    plain = np.full((90, 120, 3), 90, np.uint8)
    before = model.patches(plain)
    assert before.shape[:2] == (cells, cells)
    for row, column in ((10, 100), (80, 15)):  # [px]
        spotted = plain.copy()
        spotted[row - 3 : row + 3, column - 3 : column + 3] = (250, 20, 20)
        changed = np.linalg.norm(model.patches(spotted) - before, axis=-1)
        y, x = np.unravel_index(changed.argmax(), changed.shape)
        assert abs((y + 0.5) / cells - row / 90) < 1.5 / cells
        assert abs((x + 0.5) / cells - column / 120) < 1.5 / cells


def test_a_vision_model_tells_things_apart_that_the_package_groups(
    cell: Callable[[str], Workcell], vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba", reason="the extra `train` is not installed")
    monkeypatch.setenv("ICL_VLA_HOME", str(tmp_path))
    there = cell("pick-place")
    observation = there.driver.reset(400_000)
    there.see_with("learned")
    own = there.encoder.encode(observation)
    there.see_with(str(vit))
    encoder = there.encoder
    assert isinstance(encoder, LearnedEncoder) and encoder.feature_size == 24
    tokens = encoder.encode(observation)
    assert len(tokens) == len(own) > 1  # the cube and the bowl at least, as the package groups
    np.testing.assert_allclose(tokens.positions, own.positions, atol=1e-9)
    length = np.linalg.norm(tokens.features, axis=1)
    np.testing.assert_allclose(length, encoder.backbone.scale, rtol=1e-5)
    assert np.linalg.norm(tokens.features[0] - tokens.features[1]) > 0.1
    (measured,) = (tmp_path / "encoders").glob("*.npz")
    assert encoder.schema.split()[0] == f"patches/{measured.stem}"
    there.see_with("components")
    assert there.encoder is there.components


def test_a_bank_is_read_anew_with_another_encoder_and_results_are_kept_apart(
    tmp_path: Path, home: Path, instructions: dict[str, str], cell: Callable[[str], Workcell]
) -> None:
    words = instructions["pick-place"]
    base = Path(shutil.copytree(home, tmp_path / "home"))
    bank = DemoBank.open(bank_path(base, ROBOT))
    shutil.rmtree(bank.path / "icl_vla" / "tokens")
    assert index_bank(base, ROBOT, range(6)) == 6
    assert index_bank(base, ROBOT, [0, 1], encoder="components") == 2
    assert index_bank(base, ROBOT, [0, 1, 2], encoder="components") == 1
    assert index_bank(base, ROBOT, range(6)) == 0  # those of the other encoder are still there
    plain = cell("pick-place").components
    for name in ("components", "learned"):
        encoder = encoder_of(name, plain)
        contexts = read_context(bank, words, encoder, cell("pick-place").effector)
        assert {c.features.shape[1] for c in contexts} == {encoder.feature_size}
        assert encoder.schema == schema_of(name)
    contexts_ = {context_of(bank, words, name) for name in ("components", "learned")}
    assert len(contexts_) == 2
    with pytest.raises(ReportedError, match="other tokens"):
        LearnedPolicy(plain.model, encoder_of("learned", plain))


def test_the_vote_acts_on_either_encoders_tokens(
    home: Path, bank: DemoBank, instructions: dict[str, str]
) -> None:
    assert DEFAULT_ENCODER == DEFAULT == "learned"
    station = _registered(home, ROBOT, "push")
    for name in ("components", DEFAULT):  # each trial says anew which
        context = context_of(bank, instructions["push"], name)
        trial = Trial(ROBOT, "push", "vote", 40, context, encoder=name)
        assert run_trial(trial, home, bank.path).ended == "done"
        assert station.encoder.schema == schema_of(name)
    network = Trial(ROBOT, "push", "learned", 40, "its own tokens")  # whatever the others look with
    assert run_trial(network, home, bank.path).ended in ("done", "time is up")


def test_what_is_no_encoder_is_refused(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ICL_VLA_HOME", str(home))
    with pytest.raises(ReportedError, match="cannot be loaded"):
        schema_of(str(tmp_path))
    monkeypatch.setattr(
        "sys.argv",
        ["icl-vla", "eval", ROBOT, "--task", "push", "--encoder", str(tmp_path / "nothing")],
    )
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2 and "cannot be loaded" in told.err + told.out
