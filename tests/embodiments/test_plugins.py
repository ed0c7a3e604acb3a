"""Plugins through real entry points: found, restricted, and broken without harm."""

import subprocess
import sys
from pathlib import Path

import pytest

import icl_vla_embodiments
from icl_vla_embodiments import hookimpl
from icl_vla_embodiments.plugins import Plugins, plugins
from icl_vla_embodiments.store import EmbodimentStore

OURS = str(Path(icl_vla_embodiments.__file__).parents[1])

GOOD = """
from pathlib import Path
from icl_vla_embodiments import hookimpl

@hookimpl
def register_embodiments(register):
    register("acme", lambda: Path(__file__).parent / "acme.urdf")

@hookimpl
def register_tasks(register):
    register("stack", dict)

@hookimpl
def register_drivers(register):
    register("acme_driver", dict)
"""
PLUGINS = {
    "good": GOOD,
    "raises": "raise RuntimeError('no licence found')",
    "syntax": "def broken(:",
    "missing": None,
    "exits": "import sys; sys.exit(3)",
    "badhook": GOOD.partition("@hookimpl\ndef register_tasks")[0].replace("lambda: ", ""),
    "twice": GOOD,
}


@pytest.fixture
def site(tmp_path):
    """A site-packages folder with one distribution for each plugin above."""
    for name, text in PLUGINS.items():
        if text is not None:
            (tmp_path / f"plug_{name}.py").write_text(text)
        info = tmp_path / f"plug_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: plug-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[icl_vla]\n{name} = plug_{name}\n")
    (tmp_path / "acme.urdf").write_text('<robot name="x"><link name="a"/></robot>')
    return tmp_path


def run(site, code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{OURS}:{site}", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


SHOW = """
from icl_vla_embodiments.plugins import *
from icl_vla_embodiments.plugins import plugins
print(*registered_embodiments(), "|", *registered_tasks(), "|", *registered_drivers())
print(*sorted({b.name for b in plugins().broken}))
"""


def test_broken_plugins_take_nothing_down(site):
    robots, tasks, rest = " ".join(run(site, SHOW)).split(" | ")
    assert robots.split() == ["panda", "iiwa", "xarm6", "acme"]
    # where this project is installed, its own simulated tasks are plugged in, too
    assert set(tasks.split()) - {"pick-place", "push"} == {"stack"}
    drivers, *broken = rest.replace("pybullet", "").split()
    assert drivers == "acme_driver"
    assert broken == ["badhook", "exits", "missing", "raises", "syntax", "twice"]


def test_environment_restricts(site):
    assert run(site, SHOW, ICL_VLA_LOAD_PLUGINS="") == ["panda", "iiwa", "xarm6", "|", "|"]
    out = run(site, SHOW, ICL_VLA_LOAD_PLUGINS="good, raises")
    assert "acme" in out and out[-1] == "raises"


def test_a_plugins_robot_is_in_the_store(site, tmp_path):
    code = (
        "from pathlib import Path; from icl_vla_embodiments.store import EmbodimentStore\n"
        f"print(EmbodimentStore(Path({str(tmp_path / 'home')!r})).get('acme').name)"
    )
    assert run(site, code, ICL_VLA_LOAD_PLUGINS="good") == ["acme"]


def test_nothing_is_loaded_at_import(site):
    code = (
        "import sys, icl_vla_embodiments, icl_vla_embodiments.plugins\n"
        "print(*[m for m in sys.modules if m.startswith('plug_')], 'pinocchio' in sys.modules)"
    )
    assert run(site, code) == ["False"]


class Example:
    @hookimpl
    def register_embodiments(self, register):
        register("example", lambda: None)


def test_register_by_hand():
    mine = Plugins()
    mine.register(Example(), "example")
    assert {"example", "panda"} <= set(mine.collect("register_embodiments"))
    assert not mine.broken


@pytest.mark.parametrize("name", ["panda", "iiwa", "xarm6"])
def test_built_in_robots(name, tmp_path):
    assert not [b for b in plugins().broken if b.name == "builtin robots"]
    robot = EmbodimentStore(tmp_path).get(name)
    assert robot.name == name and robot.family == "arm"
