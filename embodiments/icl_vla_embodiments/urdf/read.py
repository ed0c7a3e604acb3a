"""Read a URDF file as XML, safely, or say what is wrong with it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from xml.parsers import expat

import numpy as np

from ..errors import UrdfError
from ..types import Array

MAX_BYTES = 50 * 2**20
LARGEST = 1e6  # [m, rad, kg ...] beyond this a number is a mistake
LIMITS = ("lower", "upper", "velocity", "effort")  # may be placeholders of any size
MAX_DEPTH = 200  # nesting; real files stay below 10


class Element(ET.Element):
    """An XML element that knows its line."""

    line = 0


def place(path: Path, element: ET.Element) -> str:
    """File, element and line, for messages."""
    name = element.get("name")
    named = f" name={name!r}" if name else ""
    return f"{path}, <{element.tag}{named}>, line {line_of(element)}"


def line_of(element: ET.Element) -> int:
    """Line of an element's start in its file; 0 where it was not read from one."""
    return element.line if isinstance(element, Element) else 0


def read_xml(path: Path, *, root: str | None = "robot") -> tuple[ET.Element, bytes, list[str]]:
    """The root element of an XML file, its bytes, and what was mended on the way.

    ``root`` is the name that the root element must have; None: any.
    Document types are refused before anything in them is expanded, so entity bombs are harmless.

    Raises:
        UrdfError: No such file, or it holds no XML with that root.
    """
    data = _read_bytes(path)
    repairs = []
    text = data.rstrip(b"\0 \t\r\n")
    if len(text) < len(data.rstrip()):
        repairs.append("removed NUL bytes after the end of the document")
    if text.startswith(b"\xef\xbb\xbf"):
        text = text[3:]
    stripped = text.lstrip()
    if stripped != text and stripped.startswith(b"<?xml"):
        repairs.append("removed blanks before the XML declaration")
        text = stripped
    if not stripped.startswith(b"<") and not stripped.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UrdfError(
            "not a URDF: the file does not begin with XML",
            where=path,
            value=data[:16],
            remedy=f"give a text file whose root element is <{root or 'robot'}>",
        )
    element = parse_xml(text, path)
    if root is not None and element.tag.rpartition("}")[2] != root:
        raise UrdfError(
            f"not a URDF: the root element is not <{root}>",
            where=place(path, element),
            value=element.tag,
            valid=[root],
            remedy="an SDF or MJCF file must be converted to URDF first",
        )
    return element, data, repairs


def _read_bytes(path: Path) -> bytes:
    if not path.exists():
        raise UrdfError("no such file", where=path, remedy="check the path")
    if not path.is_file():
        raise UrdfError("not a file", where=path, remedy="give the .urdf file inside it")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UrdfError(
            "too large for a URDF", where=path, value=f"{size} bytes", valid=[f"<= {MAX_BYTES}"]
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UrdfError("cannot read the file", where=path, value=str(error)) from error
    if not data.strip(b"\0 \t\r\n"):
        raise UrdfError(
            "the file is empty", where=path, remedy="give a URDF: XML with a <robot> element"
        )
    return data


def parse_xml(text: bytes, path: Path) -> ET.Element:
    """The root element of an XML text; ``path`` is for messages."""
    parser = expat.ParserCreate()
    builder = ET.TreeBuilder(element_factory=Element)
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise UrdfError(
                f"elements are nested more than {MAX_DEPTH} deep",
                where=f"{path}, line {parser.CurrentLineNumber}",
            )
        element = builder.start(tag, attributes)
        element.line = parser.CurrentLineNumber  # type: ignore[attr-defined]

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise UrdfError(
            "a document type declaration is refused",
            where=f"{path}, line {parser.CurrentLineNumber}",
            value="<!DOCTYPE ...>",
            remedy="remove it; a URDF needs no entities",
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        line = text.splitlines()[error.lineno - 1 : error.lineno] or [b""]
        raise UrdfError(
            f"XML syntax error: {expat.ErrorString(error.code)}",
            where=f"{path}, line {error.lineno}, column {error.offset + 1}",
            value=line[0][:80].decode(errors="replace"),
            remedy="mend the XML there; xmllint shows more",
        ) from None
    except (ValueError, LookupError) as error:  # an encoding that Python does not have
        raise UrdfError("the file cannot be decoded", where=path, value=str(error)) from error
    return builder.close()


def name_of(element: ET.Element, path: Path) -> str:
    """The element's name attribute."""
    name = (element.get("name") or "").strip()
    if not name:
        raise UrdfError(f"a {element.tag} without a name", where=place(path, element))
    return name


def numbers(element: ET.Element | None, key: str, default: Sequence[float], path: Path) -> Array:
    """``(len(default),)`` finite numbers of an attribute; the default where it is absent."""
    text = None if element is None else element.get(key)
    if element is None or text is None:
        return np.array(default, dtype=float)
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != len(default) or not all(map(math.isfinite, values)):
        raise UrdfError(
            f"{key} needs {len(default)} finite number{'s' if len(default) > 1 else ''}",
            where=place(path, element),
            value=text,
            remedy="separate numbers by blanks, with a point for decimals",
        )
    if max(map(abs, values)) > LARGEST and key not in LIMITS:
        raise UrdfError(
            f"{key} is absurdly large",
            where=place(path, element),
            value=text,
            valid=[f"up to {LARGEST:g}"],
        )
    return np.array(values)


def number(element: ET.Element | None, key: str, path: Path) -> float | None:
    """One finite number, or None where the attribute is absent."""
    if element is None or element.get(key) is None:
        return None
    return float(numbers(element, key, (0.0,), path)[0])
