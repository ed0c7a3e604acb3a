"""`icl-vla plugins new`: a package that moves, builds, installs, is found, checked and run."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from icl_vla_embodiments import PluginError
from icl_vla_embodiments.embodiment import sha256_of
from icl_vla_embodiments.packaged import load_packaged
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.scaffold import new_plugin, series
from icl_vla_embodiments.store import EmbodimentStore

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(panda, tmp_path_factory):
    """A package of the panda under another name, moved away from where it was written."""
    base = tmp_path_factory.mktemp("vendor")
    written = new_plugin(panda, base / "here" / "acme-arm", version="0.1.0", name="Acme Arm 7")
    moved = base / "there"
    written.parent.rename(moved)
    return moved / "acme-arm"


def outcomes(done):
    report = json.loads(done.stdout)
    return report["passed"], {(r["check"], r["outcome"]) for r in report["results"]}


def test_the_package_holds_the_same_robot(package, panda, data):
    robot = load_packaged(package / "acme_arm/robot")
    assert robot.name == "acme_arm_7" and not [w for w in robot.warnings if "changed" in w]
    assert robot.urdf_sha256 == sha256_of(package / "acme_arm/robot/acme_arm_7.urdf")
    for field in ("family", "base", "groups", "joints", "limits", "tcp", "action_spaces"):
        assert getattr(robot, field) == getattr(panda, field)
    q = np.random.default_rng(0).uniform(panda.array("lower"), panda.array("upper"))
    here, there = RobotModel(robot).link_poses(q), RobotModel(panda).link_poses(q)
    assert here.keys() == there.keys()
    assert all(np.abs(here[k] - there[k]).max() < 1e-12 for k in here)
    copies = sorted((package / "acme_arm/robot/meshes").rglob("*.*"))
    assert {c.suffix for c in copies} == {".obj", ".mtl", ".png"}  # materials, and their textures
    root = data / "franka_panda/meshes"
    assert all(c.read_bytes() == (root / Path(*c.parts[-2:])).read_bytes() for c in copies)


def test_the_package_names_nothing_of_this_machine(package, data):
    texts = [f for f in package.rglob("*") if f.suffix in (".yaml", ".urdf", ".py", ".toml", ".md")]
    assert len(texts) == 7
    for file in texts:
        text = file.read_text()
        assert str(data) not in text and str(package.parents[1]) not in text, file
        assert not re.search(r"\$[a-z]", text), file  # nothing was left to be filled in


def test_check_before_installing(package, icl_vla, tmp_path):
    done = icl_vla(tmp_path, "plugins", "check", package, "--json")
    passed, found = outcomes(done)
    assert done.returncode == 0 and passed, done.stdout
    assert {c for c, outcome in found if outcome == "unfinished"} == {"licence", "driver"}
    assert len(found) == 11


def test_an_edited_urdf_is_noticed(package, icl_vla, tmp_path):
    mine = shutil.copytree(package, tmp_path / "acme-arm")
    urdf = mine / "acme_arm/robot/acme_arm_7.urdf"
    urdf.write_text(urdf.read_text().replace("panda_link3", "elbow"))
    done = icl_vla(tmp_path, "plugins", "check", mine, "--json")
    passed, found = outcomes(done)
    assert done.returncode == 1 and not passed
    assert ("urdf", "failed") in found
    assert any("has changed" in w for w in load_packaged(urdf.parent).warnings)


def test_a_finished_package_has_nothing_open(package, icl_vla, tmp_path):
    mine = shutil.copytree(package, tmp_path / "acme-arm")
    (mine / "acme_arm/robot/LICENSE").write_text("Apache-2.0\n")
    driver = mine / "acme_arm/driver.py"
    driver.write_text(driver.read_text().replace("    STUB = True\n", ""))
    _, found = outcomes(icl_vla(tmp_path, "plugins", "check", mine, "--json"))
    assert {outcome for _, outcome in found} == {"passed"}


def test_the_stub_says_that_it_is_one(package, python):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import acme_arm\n"
        "robot = acme_arm.make_embodiment(); driver = acme_arm.make_driver(robot)\n"
        "try: driver.observe()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = python(code, str(package))
    assert done.stdout.startswith("PluginError the driver of acme_arm_7 is a stub: observe()")
    assert "remedy" in done.stdout


def test_what_the_user_corrected_goes_into_the_package(panda, icl_vla, tmp_path):
    store = EmbodimentStore(tmp_path / "home")
    store.add(panda.with_(name="mine", payload=1.5))
    out = tmp_path / "acme-arm"
    done = icl_vla(tmp_path / "home", "plugins", "new", "mine", "--out", out)
    assert done.returncode == 0, done.stderr
    assert load_packaged(out / "acme_arm/robot").payload == 1.5
    again = icl_vla(tmp_path / "home", "plugins", "new", "mine", "--out", out)
    assert again.returncode == 2 and "not empty" in again.stderr


def test_names_that_cannot_be(panda, tmp_path):
    with pytest.raises(PluginError, match="another plugin"):
        new_plugin(panda, tmp_path / "acme-arm", version="0.1.0", name="panda")
    for folder in ("7-arm", "json", "icl-vla-arm", "robot", "class"):
        with pytest.raises(PluginError, match="folder's name"):
            new_plugin(panda, tmp_path / folder, version="0.1.0", name="acme")
    with pytest.raises(PluginError, match="no usable name"):
        new_plugin(panda, tmp_path / "acme-arm", version="0.1.0", name="--")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_mesh_leaves_nothing_behind(panda, tmp_path):
    broken = panda.with_(urdf=panda.urdf.replace("link3.obj", "nothing.obj"))
    with pytest.raises(Exception, match="must bring them"):
        new_plugin(broken, tmp_path / "acme-arm", version="0.1.0", name="acme")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.1.0", ">=0.1,<0.2"), ("0.12.3.dev1", ">=0.12,<0.13"), ("2.4", ">=2.4,<3")],
)
def test_the_series_that_a_new_plugin_is_made_for(version, expected):
    assert series(version) == expected


# --- for real -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(package, tmp_path_factory):
    """Both wheels and everything they need in a clean environment; its programs' folder."""
    base = tmp_path_factory.mktemp("installed")
    source = base / "icl-vla"
    for name in ("icl_vla", "embodiments", "retrieval", "wbc"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    for name in ("pyproject.toml", "LICENSE", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    (source / "README.md").write_text("# icl-vla\n")  # its text is not what is tested
    dist = base / "dist"
    wheel = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--wheel-dir", dist]
    subprocess.run([*wheel, source, package], check=True, timeout=300)
    home = base / "venv"
    venv.create(home, with_pip=True)
    bin_ = home / "bin"
    install = [bin_ / "python", "-m", "pip", "install", "-qq", "--no-cache-dir", "--no-compile"]
    constraint = ["--constraint", ROOT / "constraints.txt"]
    subprocess.run(
        [*install, *constraint, *sorted(dist.glob("*.whl")), "pytest"], check=True, timeout=1200
    )
    yield bin_
    # some GiB in 30,000 files, which rm takes by place on the disk: 7 times as fast as rmtree
    subprocess.run(["rm", "-rf", base], check=True)


@pytest.fixture
def as_vendor(installed, tmp_path):
    """Run a program of the clean environment with nothing of this checkout in sight."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}

    def run(*words, cwd=tmp_path):
        return subprocess.run(
            [installed / words[0], *map(str, words[1:])],
            env={**kept, "ICL_VLA_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run


@pytest.mark.slow
def test_built_installed_found_checked_and_run(package, as_vendor, installed, tmp_path):
    listed = json.loads(as_vendor("icl-vla", "plugins", "list", "--json").stdout)
    mine = next(p for p in listed if p["name"] == "acme_arm")
    assert mine["distribution"] == "acme-arm" and mine["requires"] == ">=0.1,<0.2"
    assert mine["adds"] == {"embodiments": ["acme_arm_7"], "drivers": ["acme_arm_7"]}
    assert [p["error"] for p in listed] == [None] * len(listed)
    passed, found = outcomes(as_vendor("icl-vla", "plugins", "check", "acme_arm", "--json"))
    assert passed and {c for c, o in found if o == "unfinished"} == {"licence", "driver"}
    where = "import acme_arm, icl_vla_embodiments as e; print(acme_arm.__file__, e.__file__)"
    files = as_vendor("python", "-c", where).stdout.split()
    assert all(Path(f).is_relative_to(installed.parent) for f in files)
    mine = shutil.copytree(package, tmp_path / "source")
    tested = as_vendor("python", "-m", "pytest", "-q", cwd=mine)
    assert tested.returncode == 0 and "9 passed, 2 skipped" in tested.stdout
    done = as_vendor(
        "icl-vla", "demos", "record", "acme_arm_7", "--task", "push", "--episodes", "1", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] > 20
    absent = as_vendor("icl-vla", "embodiments", "show", "ur5")
    assert absent.returncode == 2 and "pip install 'icl-vla[robots]'" in absent.stderr


@pytest.mark.slow
def test_a_plugin_for_another_version_is_left_alone(package, as_vendor, tmp_path):
    """Installed by force, as after an upgrade of icl-vla: reported, and all else goes on."""
    newer = shutil.copytree(package, tmp_path / "acme-arm")
    project = newer / "pyproject.toml"
    project.write_text(project.read_text().replace("icl-vla>=0.1,<0.2", "icl-vla>=7,<8"))
    pip = ("python", "-m", "pip", "install", "-qq", "--no-deps", "--force-reinstall")
    assert as_vendor(*pip, newer).returncode == 0
    listed = json.loads(as_vendor("icl-vla", "plugins", "list", "--json").stdout)
    mine = next(p for p in listed if p["name"] == "acme_arm")
    assert "another version" in mine["error"] and "valid: >=7,<8" in mine["error"]
    assert mine["adds"] == {} and len(listed) == 4
    names = as_vendor("icl-vla", "embodiments", "list", "--json")
    assert "panda" in json.loads(names.stdout) and "acme_arm_7" not in names.stdout
    failed = as_vendor("icl-vla", "plugins", "check", "acme_arm")
    assert failed.returncode == 1 and "another version" in failed.stdout
