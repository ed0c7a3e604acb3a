"""An action space as text, and back.

One header line, one line for each dimension, in a small vocabulary (kinds, references, frames and
units of ``action_space.py``)::

    action space "ee_pose": 7 dimensions at 10.0 Hz
    1. x: end-effector position x of arm "hand", absolute, base frame, unit m, limits -0.9 to 0.9
    7. gripper: gripper opening of gripper "hand", absolute, unit 1, limits 0.0 to 1.0
    controlled axes of "hand": x y z rx ry
    note: the cup is fragile
"""

from __future__ import annotations

import re

from .action_space import (
    AXES,
    AXIS_NAMES,
    UNITS,
    ActionSpace,
    Dimension,
    Frame,
    Kind,
    Reference,
)
from .errors import ActionSpaceError

TASK_AXES = ("x", "y", "z", "rx", "ry", "rz")
_ROTATIONS = (Kind.EE_ROTATION, Kind.BASE_ROTATION)
_JOINTS = (Kind.JOINT_POSITION, Kind.JOINT_VELOCITY, Kind.JOINT_TORQUE)
_FRAMELESS = (*_JOINTS, Kind.GRIPPER, Kind.IGNORED)


def describe(space: ActionSpace) -> str:
    """Text of a space; ``parse(describe(space)) == space``."""
    lines = [
        f'action space "{space.name}": {len(space)} dimensions at {float(space.rate)!r} Hz',
        *(f"{i}. {_describe_dimension(d)}" for i, d in enumerate(space.dimensions, 1)),
    ]
    for effector, flags in space.task_axes.items():
        names = " ".join(a for a, on in zip(TASK_AXES, flags, strict=True) if on) or "none"
        lines.append(f'controlled axes of "{effector}": {names}')
    lines += [f"note: {line}" for line in space.notes.splitlines()]
    return "\n".join(lines) + "\n"


def _describe_dimension(d: Dimension) -> str:
    what = str(d.kind)
    if d.kind in _ROTATIONS:
        what += f" {AXIS_NAMES[d.rotation][d.component]} ({d.rotation})"
    elif d.kind not in _FRAMELESS:
        what += f" {AXES[d.component]}"
    what += f' of {d.role} "{d.effector}"'
    if d.kind in _JOINTS:
        what += f' joint "{d.joint}"'
    parts = [what, str(d.reference)]
    if d.kind not in _FRAMELESS:
        parts.append(f"{d.frame} frame")
    parts.append(f"unit {d.unit}")
    if d.scale != 1.0:
        parts.append(f"scaled by {float(d.scale)!r}")
    if d.offset != 0.0:
        parts.append(f"plus {float(d.offset)!r}")
    if d.sign < 0:
        parts.append("inverted")
    parts.append(f"limits {float(d.lower)!r} to {float(d.upper)!r}")
    return f"{d.name}: {', '.join(parts)}"


_HEADER = re.compile(
    r'action space "(?P<name>[^"]*)": (?P<count>\d+) dimensions at (?P<rate>\S+) Hz'
)
_AXES_LINE = re.compile(r'controlled axes of "(?P<effector>[^"]*)": (?P<axes>.+)')
_LINE = re.compile(r"\d+\. (?P<name>[^:]+): (?P<body>.+)")
_OF = re.compile(
    r'(?P<what>.+?) of (?P<role>\S+) "(?P<effector>[^"]*)"(?: joint "(?P<joint>[^"]*)")?'
)


def parse(text: str) -> ActionSpace:
    """Read the text that :func:`describe` writes.

    Raises:
        ActionSpaceError: A line or phrase outside the vocabulary, named with its line number.
    """
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines or not (header := _HEADER.fullmatch(lines[0][1])):
        raise ActionSpaceError(
            "not an action space",
            where="line 1",
            value=lines[0][1] if lines else "",
            remedy='begin with: action space "NAME": N dimensions at RATE Hz',
        )
    dimensions: list[Dimension] = []
    task_axes: dict[str, tuple[bool, ...]] = {}
    notes: list[str] = []
    for number, line in lines[1:]:
        if line.startswith("note: "):
            notes.append(line.removeprefix("note: "))
        elif match := _AXES_LINE.fullmatch(line):
            words = match["axes"].split()
            task_axes[match["effector"]] = tuple(a in words for a in TASK_AXES)
        elif match := _LINE.fullmatch(line):
            dimensions.append(_parse_dimension(match["name"], match["body"], number))
        else:
            raise ActionSpaceError("a line that means nothing", where=f"line {number}", value=line)
    if len(dimensions) != int(header["count"]):
        raise ActionSpaceError(
            f"{header['count']} dimensions announced, {len(dimensions)} described", where="line 1"
        )
    return ActionSpace(
        name=header["name"],
        dimensions=tuple(dimensions),
        rate=float(header["rate"]),
        task_axes=task_axes,
        notes="\n".join(notes),
    )


def _parse_dimension(name: str, body: str, number: int) -> Dimension:
    what, *phrases = body.split(", ")
    match = _OF.fullmatch(what)
    if not match:
        raise ActionSpaceError(
            'a dimension needs: KIND of ROLE "EFFECTOR"', where=f"line {number}", value=what
        )
    fields: dict[str, object] = {
        "role": match["role"],
        "effector": match["effector"],
        "joint": match["joint"] or "",
    }
    fields.update(_parse_kind(match["what"], number))
    for phrase in phrases:
        fields.update(_parse_phrase(phrase, number))
    return Dimension(name=name, **fields)  # type: ignore[arg-type]


def _parse_kind(what: str, number: int) -> dict[str, object]:
    for kind in sorted(Kind, key=lambda k: -len(k)):
        if not what.startswith(kind):
            continue
        rest = what.removeprefix(kind).strip()
        if not rest:
            return {"kind": kind}
        if rest in AXES:
            return {"kind": kind, "component": AXES.index(rest)}
        for rotation, names in AXIS_NAMES.items():
            for i, axis in enumerate(names):
                if rest == f"{axis} ({rotation})":
                    return {"kind": kind, "component": i, "rotation": rotation}
    raise ActionSpaceError("an unknown kind", where=f"line {number}", value=what, valid=Kind)


def _parse_phrase(phrase: str, number: int) -> dict[str, object]:
    word, _, rest = phrase.partition(" ")
    if phrase in tuple(Reference):
        return {"reference": Reference(phrase)}
    if phrase.endswith(" frame") and word in tuple(Frame):
        return {"frame": Frame(word)}
    if phrase == "inverted":
        return {"sign": -1}
    try:
        if word == "unit" and rest in UNITS:
            return {"unit": rest}
        if word == "scaled":
            return {"scale": float(rest.removeprefix("by "))}
        if word == "plus":
            return {"offset": float(rest)}
        if word == "limits":
            lower, upper = rest.split(" to ")
            return {"lower": float(lower), "upper": float(upper)}
    except ValueError:
        pass
    valid = [*Reference, *(f"{f} frame" for f in Frame), *(f"unit {u}" for u in UNITS)]
    raise ActionSpaceError(
        "an unknown phrase",
        where=f"line {number}",
        value=phrase,
        valid=[*valid, "inverted", "scaled by X", "plus X", "limits A to B"],
    )
