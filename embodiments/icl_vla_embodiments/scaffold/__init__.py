"""A vendor's plugin, written from a robot: an installable package that passes its own tests.

The files under ``template`` are :class:`string.Template` texts; ``package`` stands for the module.
"""

from __future__ import annotations

import keyword
import re
import shutil
import sys
import tempfile
from pathlib import Path
from string import Template

from ..conformance.checks import LICENCE_IS_MISSING
from ..embodiment import Embodiment
from ..errors import PluginError
from ..packaged import save_packaged
from ..plugins import registered_embodiments

TEMPLATE = Path(__file__).parent / "template"
SUFFIX = ".tmpl"


def new_plugin(robot: Embodiment, out: Path, *, version: str, name: str | None = None) -> Path:
    """Write a plugin's package, whole or not at all; return its folder.

    Args:
        robot: What it brings.
        out: The package's folder; its name becomes the distribution's. Must be new or empty.
        version: Of icl-vla; the plugin is declared to be made for its series.
        name: Name that the robot is registered under; by default its own.

    Raises:
        PluginError: A name that is taken or cannot be used, or a folder that is not empty.
    """
    out = Path(out).absolute()
    name = _slug(robot.name if name is None else name)
    module = _slug(out.name)
    _check_names(name, module, out)
    names = {
        "robot": name,
        "module": module,
        "distribution": module.replace("_", "-"),
        "driver": "".join(word.capitalize() for word in name.split("_")) + "Driver",
        "range": series(version),
        "licence_is_missing": LICENCE_IS_MISSING,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        for source in sorted(TEMPLATE.rglob(f"*{SUFFIX}")):
            inside = source.relative_to(TEMPLATE).as_posix().removesuffix(SUFFIX)
            file = made / inside.replace("package/", f"{module}/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(source.read_text()).substitute(names))
        save_packaged(robot.with_(name=name), made / module / "robot")
        made.chmod(0o755)
        if out.is_dir():
            out.rmdir()
        made.replace(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return out


def series(version: str) -> str:
    """The versions with the same interface: ``>=0.1,<0.2`` of 0.1.3, ``>=2.4,<3`` of 2.4."""
    major, minor = (int(part) for part in re.findall(r"\d+", version)[:2])
    end = f"0.{minor + 1}" if major == 0 else str(major + 1)
    return f">={major}.{minor},<{end}"


def _slug(text: str) -> str:
    """Lower-case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _check_names(name: str, module: str, out: Path) -> None:
    if not name:
        raise PluginError("the robot has no usable name", remedy="--name my_robot")
    if not module.isidentifier() or keyword.iskeyword(module):
        raise PluginError(
            "the folder's name cannot be a Python package",
            where=out,
            value=out.name,
            remedy="begin with a letter: --out acme-arm",
        )
    taken = {"robot", "tests"} | sys.stdlib_module_names
    if module in taken or module.startswith("icl_vla"):
        raise PluginError(
            "the folder's name would be a module that exists already",
            where=out,
            value=module,
            remedy="name it after maker and robot: --out acme-arm",
        )
    if (names := registered_embodiments()) and name in names:
        raise PluginError(
            f"an embodiment called {name!r} comes with another plugin",
            value=name,
            remedy=f"--name {module if module not in names else module + '_2'}",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PluginError(
            "the folder exists and is not empty", where=out, remedy="give a new folder"
        )
