"""`add-embodiment` and `embodiments check` as typed: output, questions, a person's values."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from icl_vla_embodiments import ActionSpace
from icl_vla_embodiments.store import EmbodimentStore

ROOT = Path(__file__).parents[2]
LEG = """
<joint name="j{i}" type="revolute"><parent link="{p}"/><child link="l{i}"/>
  <origin xyz="0 0 {z}"/><axis xyz="0 1 0"/>
  <limit lower="-1" upper="1" velocity="1" effort="9"/></joint>
<link name="l{i}"><visual><geometry><box size="0.02 0.02 0.2"/></geometry></visual></link>"""
# Two joints and no telling word: is it an arm?
DOUBTFUL = '<robot name="thing"><link name="l0"/>{}</robot>'.format(
    "".join(LEG.format(i=i, p=f"l{i - 1}", z=0.2) for i in (1, 2))
)
KEYS = {
    "name", "family", "base", "arms", "gripper_joints", "feet", "wheel_joints", "groups", "flags",
    "warnings", "repairs", "seconds",
}  # fmt: skip


@pytest.fixture
def thing(tmp_path):
    file = tmp_path / "thing.urdf"
    file.write_text(DOUBTFUL)
    return file


def test_json_says_what_was_found(icl_vla, tmp_path, data):
    done = icl_vla(
        tmp_path, "add-embodiment", data / "franka_panda/panda.urdf", "--json", "--yes", "--dry-run"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) >= KEYS
    assert found["arms"][0]["ee_link"] == "panda_link7" and len(found["arms"][0]["joints"]) == 7
    assert found["gripper_joints"] == ["panda_finger_joint1"]
    assert found["flags"] == [] and 0 < found["seconds"] < 60
    assert not (tmp_path / "embodiments").exists()


def test_missing_meshes_stop_it_only_without_yes(icl_vla, tmp_path):
    file = tmp_path / "r.urdf"
    mesh = '<visual><geometry><mesh filename="package://a/b.stl"/></geometry></visual>'
    file.write_text(f'<robot name="r"><link name="a">{mesh}</link></robot>')
    refused = icl_vla(tmp_path, "add-embodiment", file, "--dry-run")
    assert refused.returncode == 2 and "--package a=FOLDER" in refused.stderr
    found = json.loads(icl_vla(tmp_path, "add-embodiment", file, "--yes", "--json").stdout)
    assert any("b.stl" in w for w in found["warnings"])


def test_without_a_terminal_the_guess_is_taken_and_flagged(icl_vla, tmp_path, thing):
    found = json.loads(icl_vla(tmp_path, "add-embodiment", thing, "--json").stdout)
    flag = found["flags"][0]
    assert (flag["field"], flag["guess"], found["family"]) == ("family", "arm", "arm")
    kept = yaml.safe_load((tmp_path / "embodiments/thing/thing.embodiment.yaml").read_text())
    assert kept["flags"] == found["flags"]
    assert kept["fields"]["family"]["certain"] is False


def test_a_terminal_is_asked(tmp_path, thing):
    """A wrong answer is asked again; the right one is the user's from then on."""
    master, slave = pty.openpty()
    code = "from icl_vla.cli import main; main()"
    path = os.pathsep.join(
        map(str, (ROOT, *(ROOT / n for n in ("embodiments", "retrieval", "wbc"))))
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "add-embodiment", str(thing)],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, "ICL_VLA_HOME": str(tmp_path), "COLUMNS": "300"},
    )
    os.write(master, b"fish\nhand\n\n\n")  # the guesses are good for base and arms
    out, err = process.communicate(timeout=60)
    os.close(master)
    os.close(slave)
    assert process.returncode == 0, err.decode()
    assert "Is it an arm?" in out.decode() and "no such family" in err.decode()
    kept = yaml.safe_load((tmp_path / "embodiments/thing/thing.embodiment.yaml").read_text())
    assert kept["fields"]["family"]["value"] == "hand"
    assert kept["fields"]["family"]["source"] == "user" and kept["flags"] == []


def test_an_edited_file_wins_over_a_new_analysis(icl_vla, tmp_path, thing):
    """Five lines of YAML; what follows from them follows, and they outlive a changed URDF."""
    icl_vla(tmp_path, "add-embodiment", thing, "--yes")
    file = tmp_path / "embodiments/thing/thing.embodiment.yaml"
    document = yaml.safe_load(file.read_text())
    fields = document["fields"]
    fields["family"].update(value="hand", source="user")
    fields["limits"]["value"]["j1"]["upper"] = 0.4
    fields["limits"]["source"] = "user"
    fields["payload"].update(value=0.3, source="user")
    file.write_text(yaml.safe_dump(document))
    thing.write_text(DOUBTFUL.replace('upper="1"', 'upper="0.9"'))
    shown = json.loads(icl_vla(tmp_path, "embodiments", "show", "thing", "--json").stdout)
    assert any("has changed" in w for w in shown["warnings"])
    again = json.loads(icl_vla(tmp_path, "add-embodiment", thing, "--yes", "--json").stdout)
    assert again["family"] == "hand"
    assert "family" not in {f["field"] for f in again["flags"]}
    kept = yaml.safe_load(file.read_text())["fields"]
    assert kept["payload"]["value"] == 0.3 and kept["family"]["source"] == "user"
    assert kept["limits"]["value"]["j1"]["upper"] == 0.4
    joints = ActionSpace.parse(again["action_spaces"]["joint_position"])
    assert joints.upper[0] == 0.4
    assert not any("has changed" in w for w in again["warnings"])


def test_values_from_the_command_line(icl_vla, tmp_path, data):
    arm = ", ".join(f"panda_joint{i}" for i in range(1, 7))
    words = ["add-embodiment", data / "franka_panda/panda.urdf", "--json", "--dry-run"]
    words += ["--set", f"groups={{arm: {{joints: [{arm}]}}, gripper: null}}"]
    found = json.loads(icl_vla(tmp_path, *words, "--set", "payload=0.5").stdout)
    assert found["arms"][0]["joints"] == arm.split(", ")
    assert found["arms"][0]["ee_link"] == "panda_link6" and found["gripper_joints"] == []
    assert found["provenance"]["groups"]["source"] == "user"
    assert "gripper" not in ActionSpace.parse(found["action_spaces"]["ee_pose"]).names
    for wrong, message in (
        ("colour=red", "no such field"),
        ("family", "a name and a value"),
        ("groups={arm: {joints: [ghost]}}", "ghost"),
        ("groups={tail: {joints: [panda_joint1]}}", "kind"),
    ):
        refused = icl_vla(tmp_path, *words[:2], "--dry-run", "--set", wrong)
        assert refused.returncode == 2 and message in refused.stderr, wrong


def test_where_it_stands_and_what_it_carries(icl_vla, tmp_path, data):
    words = ["add-embodiment", data / "kuka_iiwa/model.urdf", "--name", "mine", "--yes", "--json"]
    mount = "mount={link: world, xyz: [0.2, 0, 0.7], rpy: [0, 0, 1.5707963267948966]}"
    done = icl_vla(tmp_path, *words, "--set", mount, "--set", "payload=0.5")
    assert done.returncode == 0, done.stderr
    robot = EmbodimentStore(tmp_path).get("mine")
    assert np.allclose(robot.mount.matrix @ [1, 0, 0, 1], [0.2, 1, 0.7, 1]) and robot.payload == 0.5
    for wrong in ("payload=-1", "payload=.inf", "mount={link: world, xyz: [0, 0]}"):
        refused = icl_vla(tmp_path, *words, "--set", wrong)
        assert refused.returncode == 2 and wrong.split("=")[0] in refused.stderr


def test_described_picture_and_check(icl_vla, tmp_path, data):
    text = (
        "delta end-effector pose, tool frame, millimetres, degrees, 15 Hz; gripper 1 closed, 0 open"
    )
    urdf = data / "franka_panda/panda.urdf"
    done = icl_vla(tmp_path, "add-embodiment", urdf, "--describe", text)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "embodiments/panda"
    assert str(folder / "panda.png") in done.stdout
    assert Image.open(folder / "panda.png").size == (1200, 900)
    told = icl_vla(tmp_path, "embodiments", "describe", "panda").stdout
    space = ActionSpace.parse(told)
    assert space.rate == 15.0 and space.notes == text
    icl_vla(tmp_path, "add-embodiment", urdf)  # kept, as it is the user's
    assert icl_vla(tmp_path, "embodiments", "describe", "panda").stdout == told
    checked = icl_vla(tmp_path, "embodiments", "check", "panda", "--json", "--reaches", "4")
    report = json.loads(checked.stdout)
    assert checked.returncode == 0 and report["passed"], report
    assert [c["name"] for c in report["checks"]] == [
        "kinematics", "neutral posture", "reach arm", "open gripper", "single joints",
    ]  # fmt: skip
    assert Path(report["picture"]).is_file()


def test_a_phrase_that_nobody_knows(icl_vla, tmp_path, data):
    done = icl_vla(
        tmp_path, "add-embodiment", data / "kuka_iiwa/model.urdf", "--describe", "delta tool poise"
    )
    assert done.returncode == 2 and "end-effector pose" in done.stderr
    assert not (tmp_path / "embodiments").exists()
