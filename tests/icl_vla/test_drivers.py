"""`run --driver NAME`: a plugin's driver, found by its entry point, moves the robot."""

from __future__ import annotations

import json
import os
import types
from pathlib import Path

import pytest

from icl_vla.evaluation.film import read_video
from icl_vla.evaluation.running import run_in_scenes
from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.plugins import plugins

from ..conftest import SOURCES
from .conftest import ROBOT, TASKS

SENTENCE = "put the red cube in the blue bowl"
# A "real" robot: PyBullet behind five methods, with a table that only it knows.
PLUGIN = """
import json, os
from dataclasses import replace
from pathlib import Path
import numpy as np
from icl_vla_embodiments import hookimpl, se3
from icl_vla_embodiments.plugins import registered_drivers


class Bench:
    def __init__(self, embodiment, fault=None):
        from icl_vla.sim.workcell import find_task
        from icl_vla.sim.workspace import Workspace
        from icl_vla_embodiments.robot_model import RobotModel

        self.task, self.fault, self.calls = find_task("pick-place"), fault, []
        workspace = Workspace.of(RobotModel(embodiment))
        scenes = lambda seed: self.task.sample(workspace, np.random.default_rng(seed))
        self.inner = registered_drivers()["pybullet"](embodiment, scenes=scenes)

    def _note(self, name):
        self.calls.append(name)
        if name == self.fault and self.calls.count(name) == 2:
            raise ConnectionError("the cable is out")

    def reset(self, seed=None):
        self._note("reset")
        return self._told(self.inner.reset(seed))

    def observe(self, *, cameras=True):
        return self._told(self.inner.observe(cameras=cameras))

    def _told(self, observation):
        if self.fault != "camera":
            return observation
        off = se3.pose(se3.exp3(np.array([0.03, -0.04, 0.02])), [0.01, 0.0, 0.01])
        cameras = {
            name: replace(camera, T_mount_camera=camera.T_mount_camera @ off)
            for name, camera in observation.cameras.items()
        }
        return replace(observation, cameras=cameras)

    def command(self, command, duration):
        self._note("command")
        self.inner.command(command, duration)

    def stop(self):
        self._note("stop")
        self.inner.stop()
        said = {"calls": self.calls, "succeeded": bool(self.task.succeeded(self.inner))}
        Path(os.environ["BENCH_LOG"]).write_text(json.dumps(said))

    def clock(self):
        return self.inner.clock()


def off(embodiment):
    raise TimeoutError("nobody answers")


@hookimpl
def register_drivers(register):
    register("bench", Bench)
    register("loose", lambda embodiment: Bench(embodiment, fault="command"))
    register("off", off)
"""


@pytest.fixture
def bench(tmp_path, python, home):
    """Run the command line with the plugin installed beside it; what its driver saw."""
    site = tmp_path / "site"
    info = site / "bench-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "bench_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[icl_vla]\nbench = bench_plugin\n")
    log = tmp_path / "log.json"

    def run(driver: str, *words: str):
        done = python(
            "from icl_vla.cli import main; main()",
            *("run", ROBOT, SENTENCE, "--seed", "90", "--json", "--driver", driver, *words),
            PYTHONPATH=os.pathsep.join(map(str, (site, *SOURCES))),
            ICL_VLA_HOME=str(home),
            COLUMNS="400",
            BENCH_LOG=str(log),
        )
        return done, json.loads(log.read_text()) if log.exists() else None

    return run


def test_a_plugins_driver_does_the_task(bench):
    """The same world behind it as in simulation: the run ends the same."""
    done, seen = bench("bench")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (episode,) = report["episodes"]
    assert not report["judged"] and report["driver"] == "bench" and episode["seed"] == 90
    assert episode["limit_violations"] == 0
    assert report["knocked_cameras"] == {}
    simulated, _ = bench("pybullet", "--films", "0")
    (result,) = json.loads(simulated.stdout)["results"]
    (same,) = json.loads(simulated.stdout)["episodes"]
    assert episode["ended"] == f"{same['ended']} after {result['seconds']:.1f} s"
    assert seen["succeeded"] == same["success"]
    assert seen["calls"][0] == "reset" and seen["calls"][-1] == "stop"
    assert set(seen["calls"][1:-1]) == {"command"}
    (film,) = report["pictures"]
    frames = read_video(Path(film))
    assert len(frames) > 5 and abs(frames[0].astype(float) - frames[-1]).mean() > 1


def test_a_camera_that_was_knocked_is_named(bench):
    """It sees from elsewhere than the driver says; 54 mrad is 3 degrees."""
    done, seen = bench("bench", "--driver-option", "fault=camera")
    assert done.returncode == 0, done.stderr
    (knocked,) = json.loads(done.stdout)["knocked_cameras"].values()
    assert knocked["turn"] == pytest.approx(0.054, abs=0.004)
    assert knocked["shift"] == pytest.approx(0.014, abs=0.006)
    assert seen["succeeded"]


@pytest.fixture
def plugged():
    """The same plugin in this process, for what ends before anything moves."""
    module = types.ModuleType("bench_plugin")
    exec(PLUGIN, module.__dict__)
    plugins().register(module, "bench")
    yield
    plugins().manager.unregister(module)


@pytest.mark.parametrize(
    ("driver", "options", "said"),
    [
        (
            "bensh",
            {},
            ["'bensh'", "bench, gymnasium, loose, off, pybullet", "did you mean 'bench'"],
        ),
        ("off", {}, ["'off' cannot be made", "TimeoutError: nobody answers"]),
        ("bench", {"scene": TASKS[0]}, ["only simulation lays out scenes"]),
        ("bench", {"method": "expert"}, ["needs a simulated task"]),
        ("bench", {"method": "vot"}, ["'vote'"]),
        ("bench", {"driver_options": ["falt=x"]}, ["no option 'falt'", "fault=VALUE (None)"]),
        ("pybullet", {"driver_options": ["fault=x"]}, ["takes no driver's options"]),
        ("bench", {"method": "nearest", "weights": "demonstrations"}, ["--method vote"]),
    ],
)
def test_what_cannot_be(plugged, home, tmp_path, monkeypatch, driver, options, said):
    monkeypatch.setenv("BENCH_LOG", str(tmp_path / "log.json"))
    monkeypatch.setenv("ICL_VLA_HOME", str(home))
    given = {"scene": None, "method": "vote", **options}
    with pytest.raises(ReportedError) as caught:
        run_in_scenes(home, ROBOT, SENTENCE, driver=driver, seeds=[90], **given)
    assert all(word in str(caught.value) for word in said), str(caught.value)


@pytest.mark.parametrize("words", [["loose"], ["bench", "--driver-option", "fault=command"]])
def test_a_driver_that_fails_is_named_and_stopped(bench, words):
    done, seen = bench(*words)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{words[0]!r} fails in command()" in done.stderr and "the cable is out" in done.stderr
    assert seen["calls"] == ["reset", "command", "command", "stop"]
