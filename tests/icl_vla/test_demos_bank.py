"""Looking after a bank from the command line, on demonstrations recorded in physics."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icl_vla.paths import bank_path
from icl_vla.sim.recording import record_demonstrations
from icl_vla_retrieval import DemoBank, LeRobotReader

ROBOT = "panda"


@pytest.fixture
def base(home: Path, tmp_path: Path) -> Path:
    """A home of one's own with the recorded demonstrations: three of each of two tasks."""
    shutil.copytree(home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def said(icl_vla, base: Path):
    """Run ``icl-vla demos ... --json`` and read what it prints."""

    def run(*words: str | Path):
        done = icl_vla(base, "demos", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_list_and_show_tell_the_same(icl_vla, said, base: Path) -> None:
    listed = said("list", ROBOT)
    assert (listed["episodes"], listed["rate"]) == (6, 10.0)
    state = listed["columns"]["state"]
    assert [c["unit"] for c in state] == ["rad"] * 7 + ["m"]
    assert state[3]["upper"] == pytest.approx(0.0)
    meanings = [c["meaning"] for c in listed["columns"]["action"]]
    assert meanings[0] == "end-effector position of arm, absolute"
    assert meanings[-1] == "gripper opening of arm, absolute"
    assert (listed["flags"], listed["findings"]) == ([], None)
    shown = said("show", ROBOT, "--episode", "4")
    assert {k: shown[k] for k in listed} == listed
    assert [e["provenance"]["seed"] for e in shown["each"]] == [0, 1, 2] * 2
    assert said("list")[ROBOT]["frames"] == listed["frames"]
    with Image.open(shown["picture"]) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] > 600
    strip = DemoBank.open(bank_path(base, ROBOT))[4].cameras["front"].rgb[0]
    # the film strip's first picture shows the table's colour where the paper would be
    seen = pixels[int(0.22 * len(pixels)), int(0.06 * pixels.shape[1])].astype(int)
    assert np.abs(seen - np.median(strip.reshape(-1, 3), axis=0)).max() < 25
    text = icl_vla(base, "demos", "show", ROBOT).stdout
    assert "put the red cube in the blue bowl" in text
    assert "icl-vla demos lint panda" in text


def test_lint_and_fix(icl_vla, said, base: Path) -> None:
    bank = DemoBank.open(bank_path(base, ROBOT))
    d = bank[2]
    from dataclasses import replace

    from icl_vla_retrieval.lint import cut

    keep = np.concatenate([[0] * 8, np.arange(len(d))])
    bank.append(replace(cut(d, keep), times=np.arange(len(keep)) / 10.0))
    found = said("lint", ROBOT, "--no-cameras")["findings"]
    assert {(f["kind"], f["episode"]) for f in found} == {("idle", 6), ("too-few", None)}
    assert said("list", ROBOT)["findings"] == found
    table = icl_vla(base, "demos", "lint", ROBOT, "--no-cameras").stdout
    assert "frame 0 to 8" in table
    assert "--fix" in table
    fixed = said("lint", ROBOT, "--no-cameras", "--fix")
    assert fixed["fixed"] == ["episode 6: dropped 8 frames (idle)"]
    assert {f["kind"] for f in fixed["findings"]} == {"too-few"}
    bank = DemoBank.open(bank.path)
    assert [len(x) for x in bank][6] == len(d)
    assert np.array_equal(bank[6].q, d.q)
    before = DemoBank.open(bank.path.with_name(bank.history[-1]["before"]))
    assert len(before[6]) == len(d) + 8


@pytest.mark.slow
def test_lint_finds_a_moved_camera(said, base: Path) -> None:
    bank = DemoBank.open(bank_path(base, ROBOT))
    assert "calibration" not in {f["kind"] for f in said("lint", ROBOT)["findings"]}
    for file in (bank.path / "icl_vla/episodes").glob("*.json"):
        notes = json.loads(file.read_text())
        notes["cameras"]["front"]["T_mount_camera"][1][3] += 0.015
        file.write_text(json.dumps(notes))
    (found,) = [f for f in said("lint", ROBOT)["findings"] if f["kind"] == "calibration"]
    assert 10 < float(re.search(r"(\d+) mm", found["value"])[1]) < 20


def test_remove_merge_export_replay(icl_vla, said, base: Path, tmp_path: Path) -> None:
    removed = said("remove", ROBOT, "1", "3-4")
    assert removed["episodes"] == 3
    merged = said("merge", ROBOT, bank_path(base, ROBOT).with_name("panda.v1"))
    assert merged["episodes"] == 6
    bank = DemoBank.open(bank_path(base, ROBOT))
    assert [d.provenance["seed"] for d in bank] == [0, 2, 2, 1, 0, 1]
    for version, number in (("v3.0", (3, 0)), ("v2.1", (2, 1))):
        folder = tmp_path / version
        said("export", ROBOT, folder, "--format", version)
        reader = LeRobotReader(folder)
        assert reader.version == number
        assert sorted(p.name for p in folder.iterdir()) == ["data", "meta", "videos"]
        for d, episode in zip(bank, reader, strict=True):
            assert np.array_equal(episode.state, d.q)
            assert np.array_equal(episode.action, d.actions)
            assert episode.task == d.instruction
            rgb = episode.frames["observation.images.front"]()
            assert np.array_equal(rgb, d.cameras["front"].rgb)
    played = said("replay", ROBOT, "5")
    assert (played["scene"], played["violations"]) == ("push, seed 1", 0)
    assert played["success"] == bank[5].provenance["success"]
    assert played["worst"] < 1e-3  # the same scene, commands and physics
    for words, told in (
        (("remove", ROBOT, "9"), "0 to 5"),
        (("remove", ROBOT, "two"), "7-9"),
        (("show", ROBOT, "--episode", "9"), "0 to 5"),
        (("export", ROBOT, tmp_path / "v3.0"), "new folder"),
        (("merge", ROBOT, tmp_path / "v3.0"), "demos add"),
        (("record", ROBOT), "--task"),
    ):
        done = icl_vla(base, "demos", *words)
        assert done.returncode == 2, words
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_replay_of_what_has_no_scene(said, base: Path) -> None:
    """On an empty table the controller keeps the tool on the recorded way."""
    bank = DemoBank.open(bank_path(base, ROBOT))
    for file in (bank.path / "icl_vla/episodes").glob("*.json"):
        notes = json.loads(file.read_text())
        del notes["provenance"]["task"]
        file.write_text(json.dumps(notes))
    played = said("replay", ROBOT, "4")
    assert played["scene"] == "an empty table"
    assert played["success"] is None
    assert played["mean"] < 0.005


RECORD = """
import sys
from pathlib import Path
from icl_vla.sim.recording import record_demonstrations
from icl_vla_retrieval import DatasetBusy
try:
    record_demonstrations(Path(sys.argv[1]), "panda", "push", range(40, 42),
                          progress=lambda r: print(r.seed, flush=True))
except DatasetBusy as error:
    sys.exit(str(error))
"""


def test_two_recorders_do_not_record_the_same(base: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    words = [sys.executable, "-c", RECORD, str(base)]
    first = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    assert first.stdout is not None
    assert first.stdout.readline() == "40\n"
    second = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert second.returncode == 1
    assert "another process is recording 'push'" in second.stderr
    assert first.wait(timeout=60) == 0
    done = record_demonstrations(base, ROBOT, "push", range(40, 42))
    assert [r.episode for r in done] == [6, 7]
    assert len(DemoBank.open(bank_path(base, ROBOT))) == 8
