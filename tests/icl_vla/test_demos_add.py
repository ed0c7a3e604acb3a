"""Bringing demonstrations in from the command line, as a user does."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybullet_data
import pytest

from icl_vla.paths import bank_path
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import DemoBank, LeRobotReader

URDF = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("ICL_VLA_SHARED", ROOT.parent / "shared"))
T = 40


@pytest.fixture
def base(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    EmbodimentStore(home).add(embodiment_from_urdf(URDF))
    return home


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three episodes without names, stamps or instruction, in degrees, a gripper of 0 and 1."""
    home = tmp_path / "mine"
    home.mkdir()
    robot = embodiment_from_urdf(URDF)
    lower, upper = (robot.array(end)[:7] for end in ("lower", "upper"))
    rng = np.random.default_rng(5)
    s = np.linspace(0, 1, T)[:, None]
    for i in range(3):
        a, b = lower + rng.uniform(0.2, 0.8, (2, 7)) * (upper - lower)
        q = a + (3 * s**2 - 2 * s**3) * (b - a)
        follow = np.concatenate([q[2:], q[-1:], q[-1:]])
        grip = (s > 0.5).astype(float)
        np.savez(
            home / f"episode_{i}.npz",
            joints=np.degrees(np.column_stack([q])),
            hand=grip,
            action=np.column_stack([np.degrees(follow), grip]),
            cam_high=np.full((T, 24, 32, 3), 40 * i, np.uint8),
        )
    return home


@pytest.fixture
def add(base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``icl-vla demos add ROBOT ...`` in this process: exit code, what it prints, what it says."""
    from icl_vla.cli import main

    def run(*words: str | Path, robot: str = "panda") -> tuple[int, str, str]:
        monkeypatch.setenv("ICL_VLA_HOME", str(base))
        monkeypatch.setattr(sys, "argv", ["icl-vla", "demos", "add", robot, *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        done = capsys.readouterr()
        # error blocks are folded to the terminal's width
        said = " ".join(done.err.replace("│", " ").split())
        return int(end.value.code or 0), done.out, said

    return run


@pytest.fixture
def added(add) -> Callable[..., dict]:
    def run(*words: str | Path, robot: str = "panda") -> dict:
        code, out, said = add(*words, "--json", robot=robot)
        assert code == 0, said
        return json.loads(out)

    return run


def settled() -> list[str]:
    joints = [f"panda_joint{k}" for k in range(1, 8)]
    return [
        *("--map", f"joints={','.join(joints)}"),
        *("--map", "hand=gripper"),
        *("--map", f"action={','.join([*joints, 'gripper'])}"),
        *("--unit", "joints=deg"),
        *("--unit", "hand.0=0..1"),
        *("--rate", "20"),
        *("--camera", "cam_high=front"),
        *("--instruction", "close the drawer"),
    ]


def test_what_is_not_known_is_flagged_and_options_settle_it(added, base, folder) -> None:
    doubtful = added(folder, "--dry-run")
    fields = {f["field"] for f in doubtful["flags"]}
    assert {"joints", "gripper", "rate"} <= fields
    assert doubtful["added"] == []
    assert not bank_path(base, "panda").exists()
    # each flag says how to settle it: taking them all at their word leaves none
    words = [w for f in doubtful["flags"] if f["settle"] for w in f["settle"].split(" ", 1)]
    (left,) = added(folder, "--dry-run", *words)["flags"]
    assert "measured opening is not recorded" in left["question"]

    found = added(folder, *settled())
    assert found["flags"] == []
    assert (found["added"], found["episodes"], found["frames"]) == ([0, 1, 2], 3, 3 * T)
    assert (found["rate"], found["instructions"]) == (20.0, ["close the drawer"])
    columns = found["recordings"][0]["columns"]
    assert [(c["meaning"], c["unit"]) for c in columns["joints"]] == [
        (f"measured joint position of panda_joint{k}", "deg") for k in range(1, 8)
    ]
    assert columns["hand"][0]["meaning"] == "measured gripper opening of arm"
    assert columns["action"][0]["meaning"] == "joint position of panda_joint1, absolute"
    bank = DemoBank.open(bank_path(base, "panda"))
    model = RobotModel(EmbodimentStore(base).get("panda"))
    for i, d in enumerate(bank):
        raw = np.load(folder / f"episode_{i}.npz")
        assert np.abs(d.q[:, :7] - np.radians(raw["joints"])).max() < 1e-6
        assert np.array_equal(d.grippers["arm"], raw["hand"][:, 0])
        assert np.array_equal(d.gripper_commands["arm"], raw["action"][:, 7])
        q = model.neutral.copy()
        q[:7] = np.radians(raw["action"][10, :7])
        assert np.abs(d.commands["arm"][10] - model.T_base_frame(q, "arm")).max() < 1e-5
        assert list(d.cameras) == ["front"]
        assert abs(int(d.cameras["front"].rgb.mean()) - 40 * i) <= 2
        assert np.allclose(np.diff(d.times), 0.05)
        assert d.instruction == "close the drawer"

    again = added(folder, *settled())
    assert (again["added"], len(DemoBank.open(bank.path))) == ([], 3)
    other = added(folder, *settled(), "--instruction", "push it shut")
    assert other["added"] == [3, 4, 5]


def test_text_shows_what_was_understood_before_anything_is_kept(icl_vla, add, base, folder) -> None:
    done = icl_vla(base, "demos", "add", "panda", folder, *settled())
    assert done.returncode == 0
    assert "3 episodes, 120 frames at 20 Hz" in done.stdout
    assert "3 demonstrations kept" in done.stdout
    assert "icl-vla demos lint panda" in done.stdout
    assert "?" not in done.stdout
    code, out, said = add(folder, "--rate", "20")
    assert code == 2  # the bank's camera is called front
    assert "--camera RECORDED=BANK" in said
    assert "? gripper of 'action.7'" in out
    assert "its measured opening is not recorded" in out
    assert "not used: hand" in out


def test_a_person_at_a_terminal_is_asked(base: Path, folder: Path) -> None:
    """Return takes what is proposed; a wrong answer is explained and asked again."""
    master, slave = pty.openpty()
    words = ["demos", "add", "panda", str(folder), "--rate", "20"]
    path = os.pathsep.join(p for p in sys.path if p)
    extra = {
        "PYTHONPATH": path,
        "ICL_VLA_HOME": str(base),
        "COLUMNS": "300",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", "from icl_vla.cli import main; main()", *words]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, **extra}
    )
    os.close(slave)
    said, read, asked = "", 0, 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            said += os.read(master, 4096).decode(errors="replace")
        except OSError:  # the other end is closed
            break
        if said[read:].rstrip().endswith("]:"):
            os.write(master, b"elbow\n" if asked == 0 else b"\n")
            read, asked = len(said), asked + 1
    assert process.wait(10) == 0, said
    assert asked == 3  # the order, the order again, which end of the gripper is open
    assert "'joints' has 7 numbers" in said
    assert "3 demonstrations kept" in said
    bank = DemoBank.open(bank_path(base, "panda"))
    (left,) = {d.provenance["unanswered"] for d in bank}
    assert left == "gripper: its measured opening is not recorded, taken to be at rest"


@pytest.mark.parametrize(
    ("words", "message", "valid"),
    [
        (["NOWHERE"], "no such file or folder", ""),
        (["EMPTY"], "no demonstrations are found here", "meta/info.json"),
        (["TEXT"], "no demonstrations are found here", "folder of .npz or .csv"),
        (["PICKLE"], "cannot be read", ""),
        (["FOLDER", "--map", "joint=state"], "no such column", "joints (7)"),
        (["FOLDER", "--map", "joints=elbow"], "'joints' has 7 numbers", "state"),
        (["FOLDER", "--map", "joints.0=elbow"], "no such joint", "panda_joint1"),
        (["FOLDER", "--unit", "joints=furlong"], "not a unit", "deg"),
        (["FOLDER", "--rate", "-3"], "not a rate", "2000"),
        (["FOLDER", "--camera", "top=front"], "no such camera", "cam_high"),
        (["FOLDER", "--map", "joints"], "needs a name and a value", "COLUMN=VALUE"),
    ],
)
def test_refusals(add, base, folder, tmp_path, words, message, valid) -> None:
    empty, text, pickled = tmp_path / "empty", tmp_path / "notes.txt", tmp_path / "pickled"
    empty.mkdir()
    text.write_text("hello")
    pickled.mkdir()
    np.savez(pickled / "a.npz", state=np.array([{"a": 1}], dtype=object))
    places = {"NOWHERE": tmp_path / "x", "EMPTY": empty, "TEXT": text, "PICKLE": pickled}
    places["FOLDER"] = folder
    code, _, said = add(*(places.get(w, w) for w in words))
    assert code == 2
    assert message in said
    assert valid in said
    assert "Traceback" not in said
    assert not bank_path(base, "panda").exists()


@pytest.mark.parametrize("name", ["v21_video", "v30_image", "v30_multichunk"])
def test_recorded_datasets(added, base: Path, name: str) -> None:
    sample, urdf = SHARED / "datasets/lerobot" / name, SHARED / "robots/so101_new/robot.urdf"
    if not sample.is_dir() or not urdf.is_file():
        pytest.skip(f"the sample datasets are not on this machine ({SHARED})")
    robot = embodiment_from_urdf(urdf, allow_missing_meshes=True)
    EmbodimentStore(base).add(replace(robot, name="arm5"))
    found = added(sample, robot="arm5")
    info = json.loads((sample / "meta/info.json").read_text())
    assert (found["episodes"], found["frames"]) == (info["total_episodes"], info["total_frames"])
    assert found["rate"] == info["fps"]
    # sines between -1 and 1 that stand for no real motion: order is known by name, little else
    assert {f["field"] for f in found["flags"]} == {"unit", "actions", "gripper"}
    bank, source = DemoBank.open(bank_path(base, "arm5")), LeRobotReader(sample)
    for d, e in zip(bank, source, strict=True):
        assert d.instruction == e.task
        assert np.array_equal(d.q[:, :5], e.state[:, :5])
        assert np.array_equal(d.actions, e.action)
        for key, decode in e.frames.items():
            camera = d.cameras[key.removeprefix("observation.images.")]
            assert np.abs(camera.rgb.astype(int) - decode()).mean() < 6  # H.264 of ours
        assert "unanswered" in d.provenance
