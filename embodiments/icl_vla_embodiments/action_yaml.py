"""An action space as YAML, for robots that nobody has a URDF of.

Enough for task-frame control; the fields are those of :class:`Dimension`, defaults left out::

    name: delta_pose
    rate: 10
    dimensions:
      - {name: x, kind: end-effector position, effector: hand, component: 0, unit: m,
         reference: delta from measured, lower: -0.05, upper: 0.05}
      - {name: gripper, kind: gripper opening, role: gripper, effector: hand, lower: 0, upper: 1}
    task_axes: {hand: [x, y, z]}
    notes: the table is slippery
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .action_space import ActionSpace, Dimension, Frame, Kind, Reference, Rotation
from .action_text import TASK_AXES
from .errors import ActionSpaceError

_WORDS = {"kind": Kind, "frame": Frame, "reference": Reference, "rotation": Rotation}
_NUMBERS = ("scale", "offset", "lower", "upper")
_FIELDS = [f for f in dataclasses.fields(Dimension)]


def to_yaml(space: ActionSpace) -> str:
    """Text that :func:`from_yaml` reads back exactly."""
    document: dict[str, Any] = {
        "name": space.name,
        "rate": float(space.rate),
        "dimensions": [_plain(d) for d in space.dimensions],
    }
    if space.task_axes:
        document["task_axes"] = {
            effector: [a for a, on in zip(TASK_AXES, flags, strict=True) if on]
            for effector, flags in space.task_axes.items()
        }
    if space.notes:
        document["notes"] = space.notes
    return yaml.safe_dump(document, sort_keys=False, width=100, allow_unicode=True)


def _plain(d: Dimension) -> dict[str, Any]:
    found = {}
    for field in _FIELDS:
        value = getattr(d, field.name)
        if value != field.default:
            found[field.name] = str(value) if field.name in _WORDS else value
    return found


def from_yaml(source: Path | str) -> ActionSpace:
    """Read a file, or a text as :func:`to_yaml` writes it.

    Raises:
        ActionSpaceError: Not YAML, an unknown key or word, a wrong number; the message says where.
    """
    where = str(source) if isinstance(source, Path) else "action space"
    try:
        text = source.read_text() if isinstance(source, Path) else source
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ActionSpaceError(
            "an action space cannot be read", where=where, value=str(error)
        ) from error
    known = ("name", "rate", "dimensions", "task_axes", "notes")
    if not isinstance(document, dict) or not isinstance(document.get("dimensions"), list):
        raise ActionSpaceError("an action space needs a list `dimensions`", where=where)
    unknown = sorted(set(map(str, document)) - set(known))
    if unknown:
        raise ActionSpaceError("an unknown key", where=where, value=unknown[0], valid=known)
    rate = document.get("rate")
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise ActionSpaceError("a rate in Hz is needed", where=where, value=rate)
    dimensions = tuple(
        _dimension(entry, f"{where}, dimension {i}")
        for i, entry in enumerate(document["dimensions"], 1)
    )
    return ActionSpace(
        name=str(document.get("name", "action")),
        dimensions=dimensions,
        rate=float(rate),
        task_axes=_axes(document.get("task_axes") or {}, where),
        notes=str(document.get("notes", "")),
    )


def _dimension(entry: Any, where: str) -> Dimension:
    names = [f.name for f in _FIELDS]
    if not isinstance(entry, Mapping) or not {"name", "kind"} <= set(entry):
        raise ActionSpaceError(
            "a dimension needs a name and a kind", where=where, value=entry, valid=names
        )
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key not in names:
            raise ActionSpaceError("an unknown key", where=where, value=key, valid=names)
        values[key] = _value(key, value, where)
    return Dimension(**values)


def _value(key: str, value: Any, where: str) -> Any:
    if key in _WORDS:
        if value not in list(_WORDS[key]):
            raise ActionSpaceError(
                f"an unknown {key}", where=where, value=value, valid=list(_WORDS[key])
            )
        return _WORDS[key](value)
    if key in _NUMBERS or key in ("component", "sign"):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        whole = key in ("component", "sign")
        if number != number or isinstance(value, bool) or (whole and number != int(number)):
            raise ActionSpaceError(f"{key} is no number", where=where, value=value)
        return int(number) if whole else number
    return str(value)


def _axes(value: Any, where: str) -> dict[str, tuple[bool, ...]]:
    if not isinstance(value, Mapping):
        raise ActionSpaceError("task_axes need effectors", where=where, value=value)
    for axes in value.values():
        if not isinstance(axes, list) or set(axes) - set(TASK_AXES):
            raise ActionSpaceError("unknown axes", where=where, value=axes, valid=TASK_AXES)
    return {str(k): tuple(a in axes for a in TASK_AXES) for k, axes in value.items()}
