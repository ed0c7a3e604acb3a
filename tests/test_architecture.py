"""The boundaries of the house: who imports whom, what loads quickly, whose names stand where."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "icl_vla_embodiments": ROOT / "embodiments/icl_vla_embodiments",
    "icl_vla_retrieval": ROOT / "retrieval/icl_vla_retrieval",
    "icl_vla_wbc": ROOT / "wbc/icl_vla_wbc",
    "icl_vla": ROOT / "icl_vla",
}
ALLOWED = {
    "icl_vla_embodiments": set(),
    "icl_vla_retrieval": {"icl_vla_embodiments"},
    "icl_vla_wbc": {"icl_vla_embodiments"},
    "icl_vla": {"icl_vla_embodiments", "icl_vla_retrieval", "icl_vla_wbc"},
}
HEAVY = {
    *("numpy", "scipy", "torch", "transformers", "pybullet", "pinocchio", "coal", "casadi", "daqp"),
    *("faiss", "matplotlib", "av", "pyarrow", "trimesh", "PIL", "yaml", "pluggy"),
}


def modules(package: str) -> list[Path]:
    found = sorted(PACKAGES[package].rglob("*.py"))
    assert found, f"{package} has no modules: has the house moved?"
    return found


def imported(module: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of everything a module imports, inside functions as well."""
    for node in ast.walk(ast.parse(module.read_text(), str(module))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_arrows(package):
    ours = set(PACKAGES) | {"tests", "examples", "benchmarks", "embodiments", "retrieval", "wbc"}
    forbidden = ours - ALLOWED[package] - {package}
    if package == "icl_vla_embodiments":
        forbidden |= {"torch", "transformers"}
    wrong = [
        f"{module.relative_to(ROOT)}:{line} imports {name}"
        for module in modules(package)
        for line, name in imported(module)
        if name in forbidden
    ]
    assert not wrong


def loaded_by(python, statement: str) -> set[str]:
    """Names of the modules that are loaded after a statement in a fresh interpreter."""
    done = python(f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_command_line_loads_nothing_heavy(python):
    assert not loaded_by(python, "import icl_vla.cli") & HEAVY


def test_the_nouns_need_numpy_only(python):
    """A vendor's driver or plugin imports these and must not pay for anything else."""
    bare = loaded_by(python, "import numpy")
    loaded = loaded_by(python, "import icl_vla_embodiments.types") - bare
    names = {m.split(".")[0] for m in loaded}
    assert "icl_vla_embodiments" in names
    # pluggy marks a plugin's hooks: small, and pure Python
    ours_or_heavy = {*HEAVY, *PACKAGES, "rich", "typer", "platformdirs"}
    assert names & ours_or_heavy - {"numpy"} == {"icl_vla_embodiments", "pluggy"}
    module = PACKAGES["icl_vla_embodiments"] / "types.py"
    standard = {"__future__", "collections", "dataclasses", "typing"}
    assert {name for _, name in imported(module)} == {"numpy", *standard}


# names of robots and tasks: words of their own, or joined by underscores, in code or text
NAMES = re.compile(
    r"(?<![a-z])(panda|franka|iiwa|kuka|xarm\d?|ur5e?|ur10e?|sawyer|fetch_robot|anymal|solo12|"
    r"spot|aloha|widowx|so100|pick[-_ ]?place|pick[-_ ]and[-_ ]place|"
    r"red cube|blue bowl|green block|yellow mark)(?![a-z])",
    re.IGNORECASE,
)
WHERE_NAMES_BELONG = {
    "icl_vla/sim/pick_place.py",
    "icl_vla/sim/push.py",
    "icl_vla/sim/builtin.py",
    "icl_vla/cli/quickstart.py",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_robot_and_no_task_is_named_in_core_code(package):
    wrong = []
    for module in modules(package):
        place = module.relative_to(ROOT).as_posix()
        if place in WHERE_NAMES_BELONG or "/builtin/" in place:
            continue
        for number, line in enumerate(module.read_text().splitlines(), 1):
            if found := NAMES.search(line):
                wrong.append(f"{place}:{number}: {found[0]!r}")
    assert not wrong


def test_every_name_check_can_fail():
    for text in ('x = "panda"', "panda_hand", "a Franka arm", "task == 'pick-place'", "PickPlace"):
        assert NAMES.search(text), text
    for text in ("expand a", "spotless", "pandas"):
        assert not NAMES.search(text), text


def test_the_plugin_group_is_the_hooks_project():
    from icl_vla_embodiments import hookspecs

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert hookspecs.PROJECT == "icl_vla"
    assert project["entry-points"][hookspecs.PROJECT] == {"simulation": "icl_vla.sim.builtin"}
    assert project["scripts"] == {"icl-vla": "icl_vla.cli:main"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exception_is_one_that_the_command_line_can_report(package):
    """All exceptions a package defines derive from ReportedError, through one root."""
    import importlib

    from icl_vla_embodiments import ReportedError

    found = {}
    for module in modules(package):
        classes = [n for n in ast.parse(module.read_text()).body if isinstance(n, ast.ClassDef)]
        for node in classes:
            bases = [ast.unparse(b) for b in node.bases]
            if any(b.endswith(("Error", "Exception", "Mismatch")) for b in bases):
                dotted = module.relative_to(PACKAGES[package].parent).with_suffix("").parts
                loaded = importlib.import_module(".".join(dotted))
                found[node.name] = getattr(loaded, node.name)
    found.pop("ReportedError", None)
    assert all(issubclass(c, ReportedError) for c in found.values()), found
    if package != "icl_vla":
        roots = {n for n, c in found.items() if c.__bases__ == (ReportedError,)}
        assert len(roots) == 1, roots
