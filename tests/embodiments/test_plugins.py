"""Plugins through real entry points: found, restricted, checked, and broken without harm."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import icl_vla_embodiments
from icl_vla_embodiments import PluginError, hookimpl
from icl_vla_embodiments.builtin import example_robots, pybullet_robots
from icl_vla_embodiments.conformance import CHECKS, conformance
from icl_vla_embodiments.conformance.checks import check_doubts
from icl_vla_embodiments.hookspecs import HOOKS
from icl_vla_embodiments.plugins import Plugins, made_for
from icl_vla_embodiments.store import EmbodimentStore

ROOT = Path(__file__).parents[2]
OURS = str(Path(icl_vla_embodiments.__file__).parents[1])
BUILT_IN = [*pybullet_robots.ROBOTS, *example_robots.ROBOTS]

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
NEWER = "raise SystemExit('imported although it is made for another version')"
PLUGINS = {
    "good": (GOOD, "icl-vla>=0.1,<0.2"),
    "raises": ("raise RuntimeError('no licence found')", None),
    "syntax": ("def broken(:", None),
    "missing": (None, None),
    "exits": ("import sys; sys.exit(3)", None),
    "badhook": (GOOD.partition("@hookimpl\ndef register_tasks")[0].replace("lambda: ", ""), None),
    "twice": (GOOD, None),
    "typo": (GOOD.replace("register_tasks", "register_task"), None),
    "newer": (NEWER, "ICL_VLA (>=0.2)"),
    "extra": (GOOD.replace('register("', 'register("extra_'), "icl-vla>=9; extra == 'future'"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site-packages folder with icl-vla 0.1.3 and one distribution for each plugin above."""
    site = tmp_path_factory.mktemp("site")
    distribution(site, "icl-vla", "0.1.3")
    for name, (text, requires) in PLUGINS.items():
        if text is not None:
            (site / f"plug_{name}.py").write_text(text)
        distribution(site, f"plug-{name}", "1.0", requires, f"{name} = plug_{name}")
    distribution(site, "other-good", "2.0", None, "good = plug_twice")
    (site / "acme.urdf").write_text('<robot name="x"><link name="a"/></robot>')
    return site


def distribution(site, name, version, requires=None, entry=None):
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: future\n{needs}"
    )
    if entry:
        (info / "entry_points.txt").write_text(f"[icl_vla]\n{entry}\n")


def run(site, code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{site}:{OURS}", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SHOW = """
import json
from icl_vla_embodiments.plugins import *
from icl_vla_embodiments.plugins import list_plugins
found = {p["name"] + " " + (p["version"] or "0"): p for p in list_plugins()}
names = [*registered_embodiments()], [*registered_tasks()], [*registered_drivers()]
print(json.dumps([found, names]))
"""


def test_broken_plugins_take_nothing_down(site):
    found, (embodiments, tasks, drivers) = json.loads(run(site, SHOW))
    assert embodiments == [*BUILT_IN, "extra_acme", "acme"]
    assert tasks == ["extra_stack", "stack"] and drivers == ["extra_acme_driver", "acme_driver"]
    errors = {name: p["error"] for name, p in found.items()}
    fine = {"pybullet-robots 0", "example-robots 0", "good 1.0", "extra 1.0"}
    assert {name for name, error in errors.items() if error is None} == fine
    for name, word in {
        "raises": "RuntimeError: no licence found",
        "syntax": "SyntaxError",
        "missing": "plug_missing",
        "exits": "SystemExit: 3",
        "badhook": "needs a name and a callable",
        "twice": "'acme' is registered already, by 'good'",
        "typo": "register_task",
        "newer": "valid: >=0.2",
    }.items():
        assert word in errors[f"{name} 1.0"], name
    assert "'good' cannot be loaded" in errors["good 2.0"]  # the name is taken, and it says whose
    assert found["good 1.0"]["requires"] == ">=0.1,<0.2"
    assert found["good 1.0"]["adds"]["drivers"] == ["acme_driver"]
    assert found["newer 1.0"]["distribution"] == "plug-newer"


def test_environment_restricts(site):
    found, names = json.loads(run(site, SHOW, ICL_VLA_LOAD_PLUGINS=""))
    assert names == [BUILT_IN, [], []] and len(found) == 2
    found, names = json.loads(run(site, SHOW, ICL_VLA_LOAD_PLUGINS="good, raises,absent"))
    assert "acme" in names[0] and "extra_acme" not in names[0]
    assert "not installed" in found["absent 0"]["error"] and "good 1.0" in found


def test_a_plugins_robot_is_in_the_store(site, tmp_path):
    code = (
        "from pathlib import Path; from icl_vla_embodiments.store import EmbodimentStore\n"
        f"print(EmbodimentStore(Path({str(tmp_path / 'home')!r})).get('acme').name)"
    )
    assert run(site, code, ICL_VLA_LOAD_PLUGINS="good").split() == ["acme"]


def test_nothing_is_loaded_at_import(site):
    code = (
        "import sys, icl_vla_embodiments, icl_vla_embodiments.plugins\n"
        "print(*[m for m in sys.modules if m.startswith('plug_')], 'pinocchio' in sys.modules)"
    )
    assert run(site, code).split() == ["False"]


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (["icl-vla>=0.1,<0.2"], ">=0.1,<0.2"),
        (["numpy", "Icl.Vla (~=1.4)"], "~=1.4"),
        (["icl-vla"], None),
        (["numpy>=2", "not a requirement!"], None),
        (['icl-vla<1; python_version < "3"', "icl-vla<2"], "<2"),
    ],
)
def test_the_range_that_a_plugin_is_made_for(requirements, expected):
    assert made_for(requirements) == expected


class Example:
    @hookimpl
    def register_embodiments(self, register):
        register("example", lambda: None)


class Misspelt:
    @hookimpl
    def register_embodiment(self, register):
        register("example", lambda: None)


def test_register_by_hand():
    mine = Plugins()
    mine.register(Example(), "example")
    with pytest.raises(PluginError, match="does not exist"):
        mine.register(Misspelt(), "misspelt")
    assert {"example", "panda"} <= set(mine.collect("register_embodiments"))
    assert not mine.broken


# --- built-in robots ------------------------------------------------------------------------------

FAMILIES = {
    **dict.fromkeys(("panda", "iiwa", "xarm6", "ur5", "so101", "z1", "talos-left-arm"), "arm"),
    **dict.fromkeys(("a1", "go2", "anymal"), "quadruped"),
    **dict.fromkeys(("b1-z1", "anymal-kinova"), "quadruped_arm"),
    "tiago": "mobile_manipulator",
    "baxter": "bimanual",
}


def example_data_is_missing() -> bool:
    try:
        example_robots._source("", "")()
    except PluginError:
        return True
    return False


NEEDS_DATA = pytest.mark.skipif(
    example_data_is_missing(), reason="needs pip install 'icl-vla[robots]'"
)


@pytest.mark.parametrize(
    "name",
    [*pybullet_robots.ROBOTS, *(pytest.param(n, marks=NEEDS_DATA) for n in example_robots.ROBOTS)],
)
def test_built_in_robots_conform(name, tmp_path):
    robot = EmbodimentStore(tmp_path).get(name)
    assert robot.name == name and robot.family == FAMILIES[name]
    for check in CHECKS:
        if check is not check_doubts:
            check(robot)


def test_a_missing_extra_names_the_command(monkeypatch):
    def absent(name):
        raise example_robots.PackageNotFoundError(name)

    monkeypatch.setattr(example_robots, "distribution", absent)
    sources = Plugins().collect("register_embodiments")
    with pytest.raises(PluginError) as caught:
        sources["ur5"]()
    assert "'ur5'" in caught.value.problem
    assert caught.value.remedy == "pip install 'icl-vla[robots]'"


def test_a_built_in_plugin_is_checked_like_a_vendors():
    results = conformance("pybullet-robots")
    assert len(results) == 2 + len(pybullet_robots.ROBOTS) * len(CHECKS)
    assert [r for r in results if r.outcome == "failed"] == []
    assert {r.check for r in results if r.outcome == "unfinished"} <= {"doubts"}


# --- the guide ------------------------------------------------------------------------------------

GUIDE = (ROOT / "docs/plugins.md").read_text()


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_every_hook_is_documented_with_an_example_that_works(hook):
    arguments = ", ".join(inspect.signature(hook).parameters)
    heading = f"### `{hook.__name__}({arguments})`\n"
    assert heading in GUIDE
    assert inspect.getdoc(hook)
    section = re.split(r"^##+ ", GUIDE.split(heading)[1], flags=re.MULTILINE)[0]
    example = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len(example) == 1

    class Documented:
        pass

    names: dict[str, object] = {}
    exec(compile(example[0], "docs/plugins.md", "exec"), names)
    plugin = Documented()
    setattr(plugin, hook.__name__, names[hook.__name__])
    mine = Plugins()
    mine.register(plugin, "documented")
    added = [r.name for r in mine.registrations(hook.__name__) if r.plugin == "documented"]
    assert len(added) == 1 and not mine.broken


def test_the_guide_names_every_check_and_every_built_in_robot():
    for check in CHECKS:
        title = check.__name__.removeprefix("check_").replace("_", " ")
        assert f"\n| {title} | " in GUIDE
    for name in BUILT_IN:
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", GUIDE), name
