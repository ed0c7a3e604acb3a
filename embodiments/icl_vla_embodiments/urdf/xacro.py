"""Expand xacro macros without ROS, and without trusting the file.

The macro language is ROS's own (https://github.com/ros/xacro), from PyPI. It evaluates Python
expressions, so it runs in a child process with limits on time and memory, where expressions may
not touch attributes that begin with an underscore, ``$(find NAME)`` is looked up as mesh files are
(``files.py``), and files are read only below the packages that the robot is made of.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UrdfError
from .files import find_package
from .read import MAX_BYTES, read_xml

SECONDS = 20  # of processor time
MEMORY = 2 * 2**30  # [bytes] of address space
_CHILD = "from icl_vla_embodiments.urdf.xacro import _child; _child()"


def has_macros(root: ET.Element, path: Path) -> bool:
    """Whether a document is a xacro file: so called, or with macros or expressions in it.

    A leftover ``$(optenv ...)`` alone is mended elsewhere and makes none; nor do expressions in
    what belongs to a simulator.
    """
    if path.suffix == ".xacro" or any(e.tag.startswith("xacro:") for e in root.iter()):
        return True
    parts = (e for tag in ("link", "joint", "material") for p in root.iter(tag) for e in p.iter())
    values = [v for e in parts for v in e.attrib.values()]
    return any("${" in v or ("$(" in v and "$(optenv" not in v) for v in values)


def expand(path: Path, packages: Mapping[str, Path], arguments: Mapping[str, str]) -> bytes:
    """The URDF that a xacro file expands to.

    Args:
        path: The file.
        packages: ROS package name -> folder, for ``$(find NAME)``, beside those found above it.
        arguments: Values of ``$(arg NAME)``.

    Raises:
        UrdfError: It cannot be expanded; the message names the macro, argument or package.
    """
    order = {
        "path": str(path),
        "packages": {k: str(Path(v).absolute()) for k, v in packages.items()},
        "arguments": dict(arguments),
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=json.dumps(order),
            env=environment,
            capture_output=True,
            text=True,
            timeout=3 * SECONDS,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # killed by a limit: nothing was answered
        raise UrdfError(
            "the macros do not come to an end",
            where=path,
            valid=[f"{SECONDS} s and {MEMORY // 2**30} GiB"],
            remedy="look for a macro that calls itself, or for a huge number in an expression",
        ) from None
    if "error" in answer:
        raise UrdfError(**{"where": path, **answer["error"]})
    return str(answer["text"]).encode()


# --- in the child ---------------------------------------------------------------------------------


def _child() -> None:
    """Read an order from standard input, answer on standard output."""
    import resource

    order = json.load(sys.stdin)
    answer_to = os.dup(1)
    os.dup2(2, 1)  # xacro prints warnings
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    packages = {k: Path(v) for k, v in order["packages"].items()}
    try:
        text = _expand(Path(order["path"]), packages, order["arguments"])
        answer: dict[str, Any] = {"text": text}
    except UrdfError as error:
        answer = {"error": _parts(error)}
    with os.fdopen(answer_to, "w") as out:
        json.dump(answer, out)


def _parts(error: UrdfError) -> dict[str, Any]:
    parts: dict[str, Any] = {"problem": error.problem}
    for name in ("where", "value", "valid", "remedy"):
        if getattr(error, name) is not None:
            parts[name] = getattr(error, name)
    return parts


class _Arguments(dict[str, str]):
    """Given arguments; remembers which ones the file declares (it looks before it sets)."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__(given)
        self.declared: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.declared.add(str(name))
        return super().__contains__(name)


def _expand(path: Path, packages: Mapping[str, Path], given: Mapping[str, str]) -> str:
    import xacro
    from xacro import substitution_args

    reach = _Reach(path, packages)
    xacro.safe_eval = _checked(xacro.safe_eval)
    xacro.parse = reach.parse
    for module in (xacro._global_symbols, xacro._global_symbols["xacro"]):
        module["load_yaml"] = reach.guarded(xacro.load_yaml, xacro.abs_filename_spec)
    substitution_args._eval_find = substitution_args._eval_dict["find"] = reach.find
    substitution_args._eval = _substituted
    arguments = _Arguments(given)
    try:
        document = xacro.process_file(str(path), mappings=arguments, verbosity=0)
    except UrdfError:
        raise
    except Exception as failure:  # expressions may fail in any way
        cause = getattr(failure, "exc", None)
        if isinstance(cause, UrdfError):
            raise cause from failure
        raise _explained(failure, xacro.filestack, arguments) from failure
    unknown = sorted(set(given) - arguments.declared)
    if unknown:
        raise UrdfError(
            "the file has no such argument",
            where="--xacro-arg",
            value=", ".join(unknown),
            valid=sorted(arguments.declared),
        )
    text = str(document.documentElement.toxml())
    if len(text) > MAX_BYTES:
        raise UrdfError("the macros expand to too much", valid=[f"<= {MAX_BYTES} bytes"])
    return text


def _explained(failure: Exception, files: list[str] | None, known: Mapping[str, str]) -> UrdfError:
    cause = getattr(failure, "exc", None)
    value = " ".join(str(failure).split()) or type(failure).__name__
    parts: dict[str, Any] = {"where": files[-1]} if files and files[-1] else {}
    if type(cause).__name__ == "ArgException":
        return UrdfError(
            f"the argument {cause} has no value",
            valid=sorted(known) or None,
            remedy=f"--xacro-arg {cause}:=VALUE",
            **parts,
        )
    if isinstance(failure, RecursionError) or isinstance(cause, RecursionError):
        return UrdfError("a macro calls itself without end", **parts)
    if isinstance(failure, MemoryError) or isinstance(cause, MemoryError):
        return UrdfError("an expression needs too much memory", value=value[:200], **parts)
    return UrdfError("xacro cannot expand the file", value=value[:400], **parts)


class _Reach:
    """The files that a robot may be made of: those of its packages."""

    def __init__(self, path: Path, packages: Mapping[str, Path]) -> None:
        self.path, self.packages = path, packages
        own = next((f for f in path.parents if (f / "package.xml").is_file()), None)
        self.roots = [own or path.parent.parent, path.parent, *packages.values()]

    def find(self, name: str) -> str:
        """``$(find NAME)``."""
        folder = find_package(name, self.path.parent, self.packages)
        if folder is None:
            raise UrdfError(
                f"the package {name!r} is not found",
                where=self.path,
                value=f"$(find {name})",
                remedy=f"--package {name}=FOLDER says where it is",
            )
        self.roots.append(folder)
        return str(folder)

    def check(self, filename: str) -> Path:
        """The file, if it may be read."""
        file = Path(os.path.normpath(Path(filename).absolute()))
        if not any(file.is_relative_to(os.path.normpath(root.absolute())) for root in self.roots):
            raise UrdfError(
                "the file leads out of the robot's packages",
                where=self.path,
                value=filename,
                remedy=f"--package NAME={file.parent} if it belongs to the robot",
            )
        return file

    def parse(self, text: Any, filename: str | None = None) -> Any:
        """In place of ``xacro.parse``: no entities, no file from elsewhere."""
        import xml.dom.minidom

        if text is not None:
            return text
        file = self.check(str(filename))
        _, data, _ = read_xml(file, root=None)
        return xml.dom.minidom.parseString(data.strip(b"\0 \t\r\n"))

    def guarded(
        self, read: Callable[[str], Any], absolute: Callable[[str], str]
    ) -> Callable[[str], Any]:
        """A reader of files that first checks where they are."""

        def reader(filename: str) -> Any:
            return read(str(self.check(absolute(filename))))

        return reader


def _refuse(expression: str) -> None:
    """Raise where an expression reaches for Python's inside."""
    for node in ast.walk(ast.parse(expression.strip(), mode="eval")):
        name = getattr(node, "attr", None) or getattr(node, "id", None) or ""
        if str(name).startswith("_") and (isinstance(node, ast.Attribute) or name[:2] == "__"):
            raise UrdfError("an expression may not use this name", value=name)


def _checked(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    def safe(expression: str, *tables: Any) -> Any:
        _refuse(expression)
        return evaluate(expression, *tables)

    return safe


def _substituted(expression: str, context: dict[str, Any]) -> str:
    """``$(eval ...)`` with names of arguments and mathematics only."""
    from xacro import substitution_args

    _refuse(expression)
    names = {
        **substitution_args._eval_dict,
        **{k: substitution_args.convert_value(v, "auto") for k, v in context["arg"].items()},
        "arg": lambda n: substitution_args.convert_value(context["arg"][n], "auto"),
    }
    return str(eval(expression, names))
