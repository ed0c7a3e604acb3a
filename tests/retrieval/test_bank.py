"""A bank gives back what was put in, is a LeRobot dataset, and knows its robot."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icl_vla_embodiments import ActionSpace, Embodiment, ReportedError
from icl_vla_retrieval import (
    BankError,
    BankMismatch,
    CameraSpec,
    CameraTrack,
    DatasetError,
    DemoBank,
    DemonstrationError,
    make_example,
    make_example_bank,
)


def test_round_trip(tmp_path: Path) -> None:
    written = [make_example(seed, frames=12 + 7 * seed) for seed in range(3)]
    bank = make_example_bank(tmp_path / "bank")
    assert [bank.append(d) for d in written] == [0, 1, 2]
    bank = DemoBank.open(bank.path)
    assert (len(bank), bank.repairs, bank.rate) == (3, (), 10.0)
    assert bank.action_space == written[0].action_space
    for before, after in zip(written, bank, strict=True):
        assert np.array_equal(after.q, before.q.astype(np.float32))
        assert np.array_equal(after.actions, before.actions.astype(np.float32))
        assert np.array_equal(after.times, before.times)
        for channel in ("poses", "commands", "grippers", "gripper_commands"):
            a, b = getattr(after, channel), getattr(before, channel)
            assert list(a) == list(b) == ["hand"]
            assert np.array_equal(a["hand"], b["hand"]), channel
        assert (after.instruction, after.embodiment) == (before.instruction, before.embodiment)
        assert after.provenance == before.provenance
        seen, was = after.cameras["front"], before.cameras["front"]
        assert np.array_equal(seen.intrinsics, was.intrinsics)
        assert np.array_equal(seen.T_mount_camera, was.T_mount_camera)
        assert seen.mount is None
        assert np.array_equal(np.round(seen.depth * 1000), np.round(was.depth * 1000))
        assert (seen.depth == 0).any()
        # H.264 at crf 18 with halved colour resolution: about 2 of 255 on these pictures
        error = np.abs(seen.rgb[:, None].astype(int) - was.rgb[None]).mean(axis=(2, 3, 4))
        assert error.shape == (len(before), len(before))
        assert np.array_equal(error.argmin(axis=1), np.arange(len(before)))  # no frame is shifted
        assert error.diagonal().max() < 4.0
        image = after.observation(5).cameras["front"]
        assert np.array_equal(image.rgb, seen.rgb[5])
        assert np.array_equal(image.depth, seen.depth[5])
    assert bank[-1].instruction == written[-1].instruction
    with pytest.raises(IndexError):
        bank[3]


def test_is_a_lerobot_dataset(tmp_path: Path, check_lerobot_rules) -> None:
    bank = make_example_bank(tmp_path / "bank")
    assert check_lerobot_rules(bank.path) == 0
    for seed in range(4):
        bank.append(make_example(seed, frames=5 + seed))
        assert check_lerobot_rules(bank.path) == seed + 1


def test_has_the_columns_that_lerobot_writes(tmp_path: Path, samples: Path) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=1)
    real = samples / "v30_multichunk"  # one camera, six joints, six actions
    for file in ("meta/episodes/chunk-000/file-000.parquet", "data/chunk-000/file-000.parquet"):
        theirs, ours = pq.read_schema(real / file), pq.read_schema(bank.path / file)
        # our action has seven numbers, theirs six; the types agree otherwise
        types = {f.name: str(f.type).replace("[7]", "[6]") for f in ours}
        assert types == {f.name: str(f.type) for f in theirs}
        assert ours.names == theirs.names
    theirs = json.loads((real / "meta/info.json").read_text())
    ours = json.loads((bank.path / "meta/info.json").read_text())
    assert list(ours) == list(theirs)
    assert list(ours["features"]) == list(theirs["features"])
    for key, feature in theirs["features"].items():
        assert ours["features"][key].keys() == feature.keys()
        assert ours["features"][key]["dtype"] == feature["dtype"]
    theirs = json.loads((real / "meta/stats.json").read_text())
    ours = json.loads((bank.path / "meta/stats.json").read_text())
    for key, stats in theirs.items():
        assert ours[key].keys() == stats.keys()
        for name, value in stats.items():
            assert np.ndim(ours[key][name]) == np.ndim(value), (key, name)


def test_statistics_are_those_of_all_frames(tmp_path: Path) -> None:
    demonstrations = [make_example(seed, frames=10 + 10 * seed) for seed in range(3)]
    bank = make_example_bank(tmp_path / "bank")
    for d in demonstrations:
        bank = DemoBank.open(bank.path)  # each append by a bank that was opened anew
        bank.append(d)
    stats = json.loads((bank.path / "meta/stats.json").read_text())
    actions = np.concatenate([d.actions for d in demonstrations]).astype(np.float32)
    for name, expected in (
        ("mean", actions.mean(axis=0, dtype=float)),
        ("std", actions.std(axis=0, dtype=float)),
        ("q01", np.quantile(actions.astype(float), 0.01, axis=0)),
        ("max", actions.max(axis=0)),
    ):
        assert np.allclose(stats["action"][name], expected, rtol=1e-9)
    assert stats["action"]["count"] == [len(actions)]
    pixels = np.concatenate([d.cameras["front"].rgb for d in demonstrations]) / 255.0
    image = stats["observation.images.front"]
    assert np.allclose(np.ravel(image["mean"]), pixels.mean(axis=(0, 1, 2)))
    assert np.allclose(np.ravel(image["std"]), pixels.std(axis=(0, 1, 2)))


def test_instructions(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=3)
    right, back = "carry the disc to the right", "bring the disc back"
    assert bank.instructions == (right, back)
    assert (bank.select(right), bank.select(back), bank.select("sing")) == ([0, 2], [1], [])
    assert bank.select() == [0, 1, 2]
    summary = json.loads(json.dumps(bank.summary()))
    assert summary["instructions"] == {right: 2, back: 1}
    assert (summary["episodes"], summary["frames"], summary["seconds"]) == (3, 60, 6.0)
    assert ActionSpace.parse(summary["action_space"]) == bank.action_space


def test_append_is_cheap(tmp_path: Path) -> None:
    camera = CameraSpec(120, 160, depth=True)
    bank = DemoBank.create(
        tmp_path / "bank",
        embodiment="example_arm",
        urdf_sha256="0" * 64,
        joints=[f"joint{i}" for i in range(1, 7)],
        action_space=make_example().action_space,
        cameras={"front": camera},
    )
    demonstration = make_example(frames=100, camera=camera)
    bank.append(demonstration)  # imports and first use
    spent = []
    for _ in range(3):
        start = time.process_time()
        bank.append(demonstration)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.5, spent


def test_refuses_another_robot(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=1)
    good = make_example()
    space = good.action_space
    slower = replace(space, rate=5.0)
    track = good.cameras["front"]
    for other, words in (
        (replace(good, embodiment="other_arm"), ["example_arm", "other_arm"]),
        (replace(good, action_space=slower), ["10.0 Hz", "5.0 Hz"]),
        (replace(good, q=good.q[:, :5]), ["6 joints, not 5"]),
        (replace(good, cameras={}), ["front 48x64 with depth", "none"]),
        (replace(good, cameras={"front": CameraTrack(track.frames)}), ["front 48x64"]),
        (replace(good, cameras={"front": track, "wrist": track}), ["wrist"]),
    ):
        with pytest.raises(BankMismatch) as caught:
            bank.append(other)
        assert all(word in str(caught.value) for word in words), str(caught.value)
        assert caught.value.remedy
    assert len(DemoBank.open(bank.path)) == 1


def robot(bank: DemoBank, **changes: object) -> Embodiment:
    fields = {
        "name": "example_arm",
        "urdf": "",
        "urdf_path": Path("robot.urdf"),
        "urdf_sha256": "0" * 64,
        "family": "arm",
        "base": "fixed",
        "groups": (),
        "joints": bank.spec.joints,
        "limits": {},
        "action_spaces": (bank.action_space,),
    }
    return Embodiment(**{**fields, **changes})


def test_check_names_what_differs(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank")
    bank.check(robot(bank))
    dims = bank.action_space.dimensions
    flipped = replace(bank.action_space, dimensions=(replace(dims[0], sign=-1), *dims[1:]))
    for changes, word in (
        ({"name": "other_arm"}, "other_arm"),
        ({"joints": (*bank.spec.joints[1:], "wheel")}, "wheel"),
        ({"urdf_sha256": "f" * 64}, "ffffffffffff"),
        ({"action_spaces": (flipped,)}, "1. x"),
    ):
        with pytest.raises(BankMismatch, match=word):
            bank.check(robot(bank, **changes))


def test_refuses_numbers_that_cannot_be_true(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank")
    good = make_example()
    broken = good.actions.copy()
    broken[7, 2] = np.nan
    with pytest.raises(DemonstrationError, match="first frame 7"):
        bank.append(replace(good, actions=broken))
    with pytest.raises(DemonstrationError, match=r"30\.00 Hz"):
        bank.append(replace(good, times=good.times / 3))
    short = CameraTrack.from_arrays(good.cameras["front"].rgb[:9], good.cameras["front"].depth[:9])
    with pytest.raises(DemonstrationError, match="does not fit"):
        bank.append(replace(good, cameras={"front": short}))
    assert len(bank) == 0


def test_far_and_broken_depth_is_no_return(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank")
    good = make_example()
    depth = good.cameras["front"].depth.copy()
    depth[0, 0, :5] = [np.nan, np.inf, -1.0, 70.0, 65.535]
    track = CameraTrack.from_arrays(good.cameras["front"].rgb, depth)
    bank.append(replace(good, cameras={"front": track}))
    stored = bank[0].cameras["front"].depth[0, 0, :5]
    assert np.allclose(stored, [0, 0, 0, 0, 65.535], atol=1e-5)


def test_no_cameras_and_one_joint(tmp_path: Path, check_lerobot_rules) -> None:
    good = make_example()
    bank = DemoBank.create(
        tmp_path / "bank",
        embodiment="example_arm",
        urdf_sha256="0" * 64,
        joints=["lift"],
        action_space=good.action_space,
    )
    bank.append(replace(good, q=good.q[:, :1], cameras={}))
    check_lerobot_rules(bank.path)
    assert np.array_equal(bank[0].q, good.q[:, :1].astype(np.float32))


def test_create_and_open_say_what_is_wrong(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=1)
    with pytest.raises(BankError, match="folder of its own"):
        make_example_bank(bank.path)
    spec = {
        "embodiment": "example_arm",
        "urdf_sha256": "0" * 64,
        "joints": bank.spec.joints,
        "action_space": bank.action_space,
    }
    again = DemoBank.open_or_create(bank.path, cameras=bank.spec.cameras, **spec)
    assert len(again) == 1
    with pytest.raises(BankMismatch, match="other cameras"):
        DemoBank.open_or_create(bank.path, cameras={}, **spec)
    assert len(DemoBank.open_or_create(tmp_path / "new", **spec)) == 0
    with pytest.raises(BankError, match="even height and width"):
        DemoBank.create(tmp_path / "odd", cameras={"front": CameraSpec(49, 64)}, **spec)
    with pytest.raises(BankError, match="camera's name"):
        DemoBank.create(tmp_path / "up", cameras={"../up": CameraSpec(48, 64)}, **spec)
    description = bank.path / "icl_vla/bank.json"
    whole = description.read_text()
    for text in (whole[:50], whole.replace('"schema": 1', '"schema": 9'), '{"schema": 1}'):
        description.write_text(text)
        with pytest.raises(ReportedError) as error:
            DemoBank.open(bank.path)
        assert error.value.where == str(description)
    description.write_text(whole)
    (bank.path / "icl_vla/episodes/episode_000000.npz").unlink()
    with pytest.raises(DatasetError, match="missing"):
        bank[0]


@pytest.mark.parametrize(("name", "version"), [("v30_video", "v3.0"), ("v21_video", "v2.1")])
def test_a_dataset_is_no_bank(samples: Path, name: str, version: str) -> None:
    with pytest.raises(BankError, match=version) as caught:
        DemoBank.open(samples / name)
    assert "demos add" in (caught.value.remedy or "")


def test_a_bank_that_may_only_be_read(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=1)
    (bank.path / ".lock").unlink()
    bank.path.chmod(0o555)
    try:
        if os.access(bank.path, os.W_OK):
            pytest.skip("this user may write everywhere")
        assert len(DemoBank.open(bank.path)) == 1
    finally:
        bank.path.chmod(0o755)
