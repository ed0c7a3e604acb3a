"""The command line as a user meets it: bad input ends in one block that says what to do."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from icl_vla.evaluation.methods import METHODS

from .conftest import ROBOT, TASKS, URDF

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(200)
ARM = """<robot name="arm">
  <link name="base"/>
  <link name="tip"><visual><geometry><mesh filename="nowhere/tip.stl"/></geometry></visual></link>
  <joint name="turn" type="revolute">
    <parent link="base"/><child link="tip"/><axis xyz="0 0 1"/>
    <limit lower="-1" upper="1" velocity="1" effort="1"/>
  </joint>
</robot>
"""


@pytest.fixture
def own_home(home, tmp_path) -> Path:
    """A copy of the recorded home that a test may try to spoil."""
    return shutil.copytree(home, tmp_path / "home", ignore=shutil.ignore_patterns("runs"))


def contents(folder: Path) -> dict[str, str]:
    """File -> hash of what must not change: the robots and their banks."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for part in ("embodiments", "banks")
        for file in sorted((folder / part).rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


def assert_reported(done: subprocess.CompletedProcess[str], *words: str | Path) -> None:
    """Exit code 2; exactly one block on standard error that holds the words; no traceback."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr + done.stdout
    text = done.stderr.strip()
    assert text.count("╭") == text.count("╰") == 1, text
    assert text.startswith("╭") and text.endswith("╯"), text
    flat = " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())
    for word in words:
        assert str(word) in flat, f"{word!r} is not in: {flat}"


@pytest.fixture
def bad_urdf(tmp_path):
    """A file of a kind, by name."""

    def make(kind: str) -> Path:
        path = tmp_path / f"{kind}.urdf"
        if kind == "folder":
            path.mkdir()
        elif kind == "empty":
            path.touch()
        elif kind == "picture":
            path.write_bytes(PNG)
        elif kind == "missing mesh":
            path.write_text(ARM)
        elif kind == "cut short":
            path.write_text(ARM[:200])
        elif kind == "other XML":
            path.write_text("<html><body/></html>")
        return path

    return make


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no file", []),
        ("empty", []),
        ("folder", []),
        ("picture", []),
        ("cut short", []),
        ("other XML", ["html"]),
        ("missing mesh", ["nowhere/tip.stl", "remedy"]),
    ],
)
def test_a_urdf_that_is_none(icl_vla, tmp_path, bad_urdf, kind, words):
    path = bad_urdf(kind)
    assert_reported(icl_vla(tmp_path / "home", "add-embodiment", path), path.name, *words)
    assert not (tmp_path / "home").exists() or not contents(tmp_path / "home")


SENTENCE = "put the red cube in the blue bowl"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["run", "pandda", SENTENCE], ["'pandda'", "did you mean 'panda'", "add-embodiment"]),
        (["demos", "record", "pandda", "--task", "push"], ["'pandda'", "'panda'"]),
        (["demos", "list", "pandda"], ["'pandda'", "'panda'"]),
        (["eval", "pandda"], ["'pandda'", "'panda'"]),
        (["embodiments", "show", "pandda"], ["'pandda'", "'panda'"]),
        (["embodiments", "remove", "pandda"], ["'pandda'", "'panda'"]),
        (["run", ROBOT, "make coffee"], ["'make coffee'", SENTENCE, "record demonstrations"]),
        (["run", ROBOT, SENTENCE, "--scene", "pikc"], ["'pikc'", *TASKS]),
        (["run", ROBOT, SENTENCE, "--scene", "push"], [SENTENCE, "push the green block"]),
        (["run", ROBOT, SENTENCE, "--driver", "gazebo"], ["'gazebo'", "pybullet"]),
        (["run", ROBOT, SENTENCE, "--method", "vot"], ["'vot'", "'vote'"]),
        (["run", ROBOT, SENTENCE, "--scene", "none.yaml"], ["none.yaml"]),
        (["eval", ROBOT, "--task", "pushh"], ["'pushh'", "'push'"]),
        (["eval", ROBOT, "--method", "nearst"], ["'nearst'", "'nearest'"]),
        (["demos", "record", ROBOT, "--task", "pushh"], ["'pushh'", "'push'"]),
        (["embodiments", "describe", ROBOT, "--space", "ee_poze"], ["'ee_poze'", "ee_pose"]),
        (["add-embodiment", str(URDF), "--tcp", "1 2 3"], ["--tcp", "1 2 3", "six"]),
        (["add-embodiment", str(URDF), "--package", "a"], ["--package", "'a'"]),
        (["add-embodiment", str(URDF), "--name", "../up"], ["../up"]),
        (["run", "xarm6", SENTENCE], ["xarm6", "demos record"]),
        (["demos", "list", "xarm6"], ["xarm6"]),
    ],
)
def test_a_name_that_nobody_knows(icl_vla, home, command, words):
    before = contents(home)
    assert_reported(icl_vla(home, *command), *words)
    assert contents(home) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["objects"]),
        ("- 1\n- 2\n", ["objects"]),
        ("objects: [", ["flow"]),
        ("objects: 3\n", []),
        ("objects:\n  - {name: a}\n", ["shape"]),
        (
            "objects:\n  - {name: a, shape: star, size: [1, 1, 1], color: [1, 0, 0],"
            " position: [0.5, 0, 0]}\n",
            ["'star'", "box, cylinder"],
        ),
        (
            "objects:\n  - {name: a, shape: box, size: [1, .nan, 1], color: [1, 0, 0],"
            " position: [0.5, 0, 0]}\n",
            ["finite"],
        ),
        (
            "objects:\n  - {name: a, shape: box, size: big, color: [1, 0, 0],"
            " position: [0.5, 0, 0]}\n",
            [],
        ),
        ("objects: []\ncameras: {front: {eye: here}}\n", []),
        ("objects: []\ncameras: {front: {eye: [0.5, 0, 1], target: here}}\n", []),
        ("objects: []\nlight: [1, 2]\n", []),
        ("objects: []\ntable_color: brown\n", []),
        ("objects: []\nstart: {arm: [1, 2]}\n", []),
        ("objects: []\nobject: []\n", ["object"]),
    ],
)
def test_a_scene_file_that_is_none(icl_vla, home, tmp_path, text, words):
    path = tmp_path / "scene.yaml"
    path.write_text(text)
    done = icl_vla(home, "run", ROBOT, SENTENCE, "--scene", path)
    assert_reported(done, path, *words)


def test_demonstrations_of_another_robot(icl_vla, own_home, tmp_path):
    """The bank was recorded with one URDF; then the robot of that name is replaced."""
    other = tmp_path / "other.urdf"
    other.write_text(URDF.read_text().replace('velocity="2.1750"', 'velocity="2.0"'))
    assert other.read_text() != URDF.read_text()
    (tmp_path / "meshes").symlink_to(URDF.parent / "meshes")
    packages = ["--package", f"franka_panda={URDF.parent}"]
    added = icl_vla(own_home, "add-embodiment", other, "--name", ROBOT, *packages)
    assert added.returncode == 0, added.stderr
    before = contents(own_home)
    for command in (
        ["run", ROBOT, SENTENCE],
        ["eval", ROBOT],
        ["demos", "record", ROBOT, "--task", TASKS[0]],
    ):
        assert_reported(icl_vla(own_home, *command), ROBOT, "remedy", "banks")
    assert contents(own_home) == before


def test_a_damaged_bank_is_named(icl_vla, own_home):
    info = own_home / "banks" / ROBOT / "meta/info.json"
    info.write_text(info.read_text()[:50])
    assert_reported(icl_vla(own_home, "eval", ROBOT), "info.json")


def test_a_damaged_embodiment_is_named(icl_vla, own_home):
    (file,) = (own_home / "embodiments" / ROBOT).glob("*.yaml")
    file.write_text("name: [")
    assert_reported(icl_vla(own_home, "embodiments", "show", ROBOT), file.name)


def test_a_home_that_is_a_file(icl_vla, tmp_path):
    home = tmp_path / "home"
    home.write_text("not a folder")
    assert_reported(icl_vla(home, "add-embodiment", URDF), home)
    assert home.read_text() == "not a folder"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few MiB, filled up by the returned function."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here")

    def fill(leave: int) -> None:
        free = shutil.disk_usage(disk).free
        with (disk / "ballast").open("ab") as file:
            file.write(bytes(max(0, free - leave)))

    yield disk, fill
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_loses_nothing(icl_vla, own_home, small_disk):
    disk, fill = small_disk
    home = shutil.copytree(own_home, disk / "home")
    before = contents(home)
    fill(leave=30_000)
    done = icl_vla(home, "demos", "record", ROBOT, "--task", TASKS[0], "--episodes", "4")
    assert_reported(done, "remedy")
    assert "full" in done.stderr
    fill(leave=0)
    assert_reported(icl_vla(home, "add-embodiment", URDF, "--name", "second"), "full")
    (disk / "ballast").unlink()
    kept = contents(home)
    assert {k: v for k, v in kept.items() if k in before} == before
    assert not [name for name in kept if "second" in name or "episode_000006" in name]
    # and with room again the same command goes on
    again = icl_vla(home, "demos", "record", ROBOT, "--task", TASKS[0], "--episodes", "4", "--json")
    assert again.returncode == 0, again.stderr
    assert len(json.loads(again.stdout)["episodes"]) == 4


def test_every_json_parses(icl_vla, own_home):
    def said(*words: str | Path):
        done = icl_vla(own_home, *words, "--json")
        assert done.returncode == 0, (words, done.stderr)
        return json.loads(done.stdout)

    added = said("add-embodiment", URDF, "--name", "twin")
    assert added["name"] == "twin" and len(added["arms"][0]["joints"]) == 7
    assert {ROBOT, "twin"} <= set(said("embodiments", "list"))
    assert said("embodiments", "show", ROBOT)["family"] == "arm"
    assert sum(said("demos", "list", ROBOT)["instructions"].values()) == 6
    recorded = said("demos", "record", ROBOT, "--task", TASKS[0], "--episodes", "3")
    assert recorded["episodes"] == [0, 1, 2] and recorded["indexed"] == 0
    report = said("run", ROBOT, SENTENCE, "--seed", "90", "--films", "1")
    assert report["results"][0]["episodes"] == 1
    assert all(Path(p).is_file() and Path(p).stat().st_size for p in report["pictures"])
    table = said("eval", ROBOT, "--seed", "90", "--episodes", "1", "--workers", "1")
    assert {(r["task"], r["method"]) for r in table["results"]} == {
        (t, m) for t in TASKS for m in METHODS if not METHODS[m].trains
    }
    # `run` and `eval` share their results
    (cell,) = [r for r in table["results"] if (r["task"], r["method"]) == (TASKS[0], "vote")]
    assert cell == report["results"][0]
    assert any("register_embodiments" in p["hooks"] for p in said("plugins", "list"))


def test_a_scene_file_of_ones_own(icl_vla, home, cell, tmp_path):
    """A sampled scene written as YAML, read back, acted in."""
    import numpy as np

    from icl_vla.sim.scene import Scene

    at_task = cell(TASKS[0])
    scene = at_task.task.sample(at_task.workspace, np.random.default_rng(11))
    path = tmp_path / "my_scene.yaml"
    path.write_text(scene.to_yaml())
    assert Scene.from_yaml(path) == scene
    done = icl_vla(home, "run", ROBOT, SENTENCE, "--scene", path, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["judged"] is False and set(report["objects"]) == {o.name for o in scene.objects}
    assert Path(report["pictures"][0]).stat().st_size > 1000


def test_the_doctor_knows_every_dependency(icl_vla, home, root):
    done = icl_vla(home, "doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (2 if report["problems"] else 0)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=!~]", d)[0] for d in project["dependencies"]}
    examined = {p["package"]: p["version"] for p in report["packages"]}
    assert needed == set(examined)
    assert all(examined.values())
    assert report["machine"]["home"] == str(home)
    assert report["machine"]["cores"] >= 1


def test_debug_shows_the_traceback(icl_vla, tmp_path):
    done = icl_vla(tmp_path, "--debug", "embodiments", "show", "nobody")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_help_of_every_command(icl_vla, tmp_path):
    import typer.main

    from icl_vla.cli import app

    def walk(group, words):
        yield words
        for name, command in getattr(group, "commands", {}).items():
            yield from walk(command, [*words, name])

    every = list(walk(typer.main.get_command(app), []))
    assert len(every) > 10
    for words in every:
        done = icl_vla(tmp_path, *words, "--help")
        assert done.returncode == 0 and "Usage" in done.stdout
    assert not list(tmp_path.iterdir())
