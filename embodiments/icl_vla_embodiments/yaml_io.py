"""An embodiment as a file that people read and edit, and back.

``<name>.embodiment.yaml`` holds every field as ``{value, source, why}``; the normalised URDF lies
beside it. What the file says counts: edit a value and set ``source: user`` to keep it when the
robot is added again.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from . import se3
from .action_space import ActionSpace
from .embodiment import (
    Embodiment,
    Flag,
    FrameSpec,
    Group,
    JointLimits,
    Mimic,
    Provenance,
    sha256_of,
)
from .errors import EmbodimentError
from .home import write_atomically

log = logging.getLogger(__name__)
SCHEMA = 1
SUFFIX = ".embodiment.yaml"
_HEADER = """\
# A robot as icl-vla knows it. Each field has a value, a source (heuristic, declared, user) and why.
# Edit a value and set its source to user: then it is kept when the robot is added again.
"""


def save_embodiment(embodiment: Embodiment, folder: Path) -> Path:
    """Write an embodiment into a folder, the YAML file last; return that file."""
    folder = Path(folder)
    write_atomically(folder / f"{embodiment.name}.urdf", embodiment.urdf)
    fields = {}
    for field, codec in _CODECS.items():
        origin = embodiment.provenance.get(field, Provenance("heuristic", "default"))
        value = codec.write(getattr(embodiment, field))
        fields[field] = {"value": value, "source": origin.source, "why": origin.why}
        if not origin.certain:
            fields[field]["certain"] = False
    document = {
        "schema": SCHEMA,
        "name": embodiment.name,
        "urdf": {
            "path": str(embodiment.urdf_path),
            "sha256": embodiment.urdf_sha256,
            "normalised": f"{embodiment.name}.urdf",
        },
        "fields": fields,
        "flags": [_plain(flag) for flag in embodiment.flags],
        "repairs": list(embodiment.repairs),
        "warnings": list(embodiment.warnings),
    }
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    file = folder / f"{embodiment.name}{SUFFIX}"
    write_atomically(file, _HEADER + text)
    return file


def load_embodiment(folder: Path) -> Embodiment:
    """Read what :func:`save_embodiment` wrote; ``folder`` or the YAML file itself.

    A URDF that changed since is told in :attr:`Embodiment.warnings`.

    Raises:
        EmbodimentError: No embodiment there, or a file that contradicts the format.
    """
    file = _find(Path(folder))
    document = _read(file)
    about = document["urdf"]
    urdf = file.parent / str(about["normalised"])
    if not urdf.is_file():
        raise EmbodimentError(
            "the normalised URDF is missing", where=urdf, remedy="add the robot again"
        )
    values: dict[str, Any] = {}
    provenance: dict[str, Provenance] = {}
    for field, entry in document["fields"].items():
        values[field] = _decode(field, entry.get("value"), file)
        provenance[field] = Provenance(
            entry.get("source", "user"), str(entry.get("why", "")), entry.get("certain", True)
        )
    source = file.parent / about["path"]  # a relative path is relative to this file
    warnings = [str(w) for w in document.get("warnings", [])]
    if source.is_file() and sha256_of(source) != about["sha256"]:
        warnings.append(f"{source} has changed since this robot was added: add it again")
        log.warning("%s: %s", document["name"], warnings[-1])
    return Embodiment(
        name=str(document["name"]),
        urdf=urdf.read_text(),
        urdf_path=source,
        urdf_sha256=str(about["sha256"]),
        provenance=provenance,
        repairs=tuple(str(r) for r in document.get("repairs", [])),
        warnings=tuple(warnings),
        flags=_read_flags(document.get("flags", []), file),
        **values,
    )


def user_fields(folder: Path) -> dict[str, Any]:
    """Field -> value in file form, of all fields whose source is ``user``."""
    document = _read(_find(Path(folder)))
    return {
        field: entry["value"]
        for field, entry in document["fields"].items()
        if entry.get("source") == "user"
    }


def apply_overrides(embodiment: Embodiment, overrides: Mapping[str, Any]) -> Embodiment:
    """Replace fields by values in file form (or nouns); mappings are merged key by key.

    ``groups`` may also be given by name: ``{arm: {joints: [a, b]}, leg_1: null}`` changes one and
    drops another. What follows from a group's joints (links, closed and open positions) is left
    empty where they change, for the analysis to fill in. A flag on an overridden field is settled.

    Raises:
        EmbodimentError: No such field, or a value that it cannot have.
    """
    if not overrides:
        return embodiment
    changes: dict[str, Any] = {}
    for field, value in overrides.items():
        old = getattr(embodiment, field, None)
        if field in _CODECS and isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merged(_CODECS[field].write(old), value)
        if field == "groups" and isinstance(value, Mapping):
            value = _merged_groups(embodiment.groups, value)
        changes[field] = _decode(field, value, "overrides")
    origin = {field: Provenance("user", "given by the user") for field in changes}
    open_ = tuple(f for f in embodiment.flags if not _settled(f, changes))
    return embodiment.with_(**changes, provenance={**embodiment.provenance, **origin}, flags=open_)


def _settled(flag: Flag, given: Mapping[str, Any]) -> bool:
    return flag.field in given or (flag.field not in ("family", "base") and "groups" in given)


def _merged_groups(old: Sequence[Group], new: Mapping[str, Any]) -> list[Any]:
    groups = {g.name: _plain(g) for g in old}
    for name, change in new.items():
        if change is None:
            groups.pop(name, None)
            continue
        if not isinstance(change, Mapping) or (name not in groups and "kind" not in change):
            raise EmbodimentError(
                f"the group {name!r} cannot be made",
                where="overrides",
                value=change,
                valid=groups,
                remedy="write NAME: {kind: arm, joints: [a, b]}; null drops a group",
            )
        kept = groups.get(name, {})
        if "joints" in change:
            kept = {k: v for k, v in kept.items() if k in ("name", "kind", "effector")}
        groups[name] = {"base_link": "", "tip_link": "", "name": name, **kept, **change}
    return list(groups.values())


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**old, **{k: _merged(old.get(k), v) for k, v in new.items()}}
    return dataclasses.asdict(new) if dataclasses.is_dataclass(new) else new  # type: ignore[arg-type]


def _find(folder: Path) -> Path:
    if folder.is_file():
        return folder
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if len(files) != 1:
        raise EmbodimentError(
            "no embodiment here" if not files else "more than one embodiment here",
            where=folder,
            valid=[f.name for f in files] or [f"one file *{SUFFIX}"],
            remedy="icl-vla add-embodiment ROBOT.urdf",
        )
    return files[0]


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.load(file.read_text(), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise EmbodimentError("cannot read the embodiment", where=file, value=str(error)) from error
    needed = {"schema", "name", "urdf", "fields"}
    if not isinstance(document, dict) or needed - set(document):
        missing = sorted(needed - set(document)) if isinstance(document, dict) else sorted(needed)
        raise EmbodimentError("not an embodiment file", where=file, value=f"missing: {missing}")
    if document["schema"] != SCHEMA:
        raise EmbodimentError(
            "an embodiment file of another schema",
            where=file,
            value=document["schema"],
            valid=[SCHEMA],
            remedy="add the robot again with this version",
        )
    return document


def _decode(field: str, value: Any, where: object) -> Any:
    if field not in _CODECS:
        raise EmbodimentError("no such field", where=where, value=field, valid=_CODECS)
    try:
        return _CODECS[field].read(value)
    except EmbodimentError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise EmbodimentError(
            f"the field {field!r} has a value that it cannot have",
            where=where,
            value=value,
            remedy=f"{error}; {_CODECS[field].form}",
        ) from error


# --- the fields -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Codec:
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    form: str = ""


def _plain(value: Any) -> Any:
    """Dataclasses, tuples and numpy numbers as what YAML has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name), f.default) for f in dataclasses.fields(value))
        return {
            name: _plain(x)
            for name, x, default in pairs
            if x != default or (default is None and x is not None)
        }
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _frame(spec: FrameSpec) -> dict[str, Any]:
    T = spec.matrix
    return {"link": spec.link, "matrix": [[float(x) for x in row] for row in T]}


def _read_frame(value: Any) -> FrameSpec:
    """``{link, matrix}``, or ``{link, xyz, rpy}``, which is easier to type."""
    if isinstance(value, FrameSpec):
        return value
    if "matrix" in value:
        T = np.array(value["matrix"], dtype=float)
        if T.shape != (4, 4) or not np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6):
            raise ValueError("the matrix is no rigid motion")
    else:
        R = se3.from_euler_xyz(_floats(value.get("rpy", (0, 0, 0)), 3))
        T = se3.pose(R, _floats(value.get("xyz", (0, 0, 0)), 3))
    return FrameSpec.at(str(value["link"]), T)


def _mass(value: Any) -> float:
    (mass,) = _floats([value], 1)
    if mass < 0:
        raise ValueError("a mass is not negative")
    return mass


def _floats(values: Any, count: int) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{count} finite numbers are needed, not {values}")
    return numbers


def _read_group(value: Any) -> Group:
    if isinstance(value, Group):
        return value
    tuples = {k: tuple(v) for k, v in value.items() if isinstance(v, list | tuple)}
    return Group(**{**value, **tuples})


def _read_flags(values: Any, where: object) -> tuple[Flag, ...]:
    try:
        return tuple(Flag(**value) for value in values)
    except TypeError as error:
        raise EmbodimentError(
            "flags have a form that they cannot have",
            where=where,
            value=values,
            remedy="each needs field, question and guess; remove what is settled",
        ) from error


def _read_limits(value: Any) -> JointLimits:
    if isinstance(value, JointLimits):
        return value
    limits = JointLimits(**{k: float(v) for k, v in value.items()})
    if not (limits.lower <= limits.upper and min(limits.velocity, limits.effort) > 0):
        raise ValueError("needs lower <= upper and positive velocity and effort")
    return limits


def _word(options: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value not in options.__args__:
            raise ValueError(f"one of {', '.join(options.__args__)}")
        return value

    return read


def _each(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: tuple(read(v) for v in values)


def _by_name(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda values: {str(k): read(v) for k, v in values.items()}


def _read_space(value: Any) -> ActionSpace:
    return value if isinstance(value, ActionSpace) else ActionSpace.parse(value)


def _codecs() -> dict[str, _Codec]:
    from .embodiment import Base, Family

    frames = _Codec(
        lambda m: {k: _frame(f) for k, f in m.items()},
        _by_name(_read_frame),
        "write NAME: {link: LINK, xyz: [x, y, z], rpy: [r, p, y]}",
    )
    return {
        "family": _Codec(_plain, _word(Family)),
        "base": _Codec(_plain, _word(Base)),
        "groups": _Codec(_plain, _each(_read_group), "fields of Group"),
        "joints": _Codec(_plain, _each(str), "a list of joint names"),
        "limits": _Codec(
            _plain,
            _by_name(_read_limits),
            "write JOINT: {lower: , upper: , velocity: , effort: , acceleration: }",
        ),
        "mimic": _Codec(_plain, _each(lambda v: v if isinstance(v, Mimic) else Mimic(**v))),
        "neutral": _Codec(_plain, _by_name(float), "write JOINT: position"),
        "tcp": frames,
        "frames": frames,
        "cameras": frames,
        "collision_pairs": _Codec(_plain, _each(lambda p: (str(p[0]), str(p[1])))),
        "mount": _Codec(_frame, _read_frame, "write {link: world, xyz: [x, y, z], rpy: [r, p, y]}"),
        "payload": _Codec(_plain, _mass, "a mass in kg"),
        "action_spaces": _Codec(
            lambda spaces: [s.describe() for s in spaces],
            _each(_read_space),
            "texts as ActionSpace.describe() writes them",
        ),
    }


_CODECS = _codecs()


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Safe YAML."""


class _Dumper(yaml.SafeDumper):
    """Block style down to short lists and small mappings; long texts as literal blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    flat = all(isinstance(v, int | float) for v in values) or all(
        isinstance(v, str) and len(v) < 40 and "\n" not in v for v in values
    )
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=flat)


def _represent_dict(dumper: yaml.SafeDumper, values: dict[Any, Any]) -> yaml.Node:
    flat = (
        bool(values)
        and all(isinstance(v, int | float) for v in values.values())
        and len(values) < 6
    )
    return dumper.represent_mapping("tag:yaml.org,2002:map", values, flow_style=flat)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(dict, _represent_dict)
