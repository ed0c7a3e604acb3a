"""Action spaces amended by a description in plain words.

A description is clauses separated by ``;``, each of phrases separated by ``,``::

    delta end-effector pose in base frame, metres, 10 Hz; gripper 0 closed, 1 open; joint 3 inverted

A clause that begins with ``gripper`` or ``joint NAME-OR-NUMBER`` is about these (a joint's number
is its place among the arm's joints, from 1), any other is about the motion. The words are
:data:`VOCABULARY`, and numbers where it has ``N``; docs/describe.md explains them. What is said of
a joint holds in every action space that commands it; the rest makes the default one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from .action_space import (
    AXES,
    UNITS,
    ActionSpace,
    Dimension,
    Frame,
    Kind,
    Reference,
    Rotation,
    gripper_dimension,
    pose_dimensions,
)
from .embodiment import Embodiment
from .errors import ActionSpaceError

STEP, TURN = 0.05, 0.3  # [m], [rad], bounds of one delta action
_EFFECTOR = r"(?:end[- ]effector|ee|tool|tcp|cartesian)"
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?|[-+]?\.\d+"
_FILL = r"(?:in|the|as|with|of|at|is|are|and|to|an?|per step|actions?|commands?)\b"

MOTION: dict[str, tuple[str, str]] = {
    # phrase as documented: (pattern, effect)
    "delta from measured": (r"deltas? from measured", "reference delta from measured"),
    "delta from commanded": (r"deltas? from commanded", "reference delta from commanded"),
    "delta from chunk start": (r"deltas? from chunk start", "reference delta from chunk start"),
    "delta": (r"deltas?|relative", "reference delta from measured"),
    "absolute": (r"absolute", "reference absolute"),
    "end-effector pose": (rf"{_EFFECTOR} poses?", "what pose"),
    "end-effector position": (rf"{_EFFECTOR} positions?|position only", "what position"),
    "end-effector twist": (rf"{_EFFECTOR} (?:twists?|velocit(?:y|ies))", "what twist"),
    "joint positions": (r"joint (?:positions?|angles?)", "what joint position"),
    "joint velocities": (r"joint (?:velocit(?:y|ies)|speeds?)", "what joint velocity"),
    "base frame": (r"(?:robot )?base(?: frame)?", "frame base"),
    "tool frame": (rf"(?:body|{_EFFECTOR}|hand|local) frame", "frame body"),
    "world frame": (r"world(?: frame)?", "frame world"),
    "rotation vector": (r"rotation vectors?|rotvecs?|axis[- ]angles?", "rotation rotvec"),
    "roll pitch yaw": (
        r"roll[ -]pitch[ -]yaw|rpy|euler(?:[ _]xyz)?(?: angles)?",
        "rotation euler_xyz",
    ),
    "quaternion xyzw": (r"quaternions?(?: xyzw)?", "rotation quat_xyzw"),
    "6d rotation": (r"6d rotations?|rot6d|6d", "rotation rot6d"),
    "metres": (r"met(?:re|er)s?(?: per second)?|m(?:/s)?", "length m"),
    "centimetres": (r"centimet(?:re|er)s?(?: per second)?|cm(?:/s)?", "length cm"),
    "millimetres": (r"millimet(?:re|er)s?(?: per second)?|mm(?:/s)?", "length mm"),
    "radians": (r"radians?(?: per second)?|rad(?:/s)?", "angle rad"),
    "degrees": (r"degrees?(?: per second)?|deg(?:/s)?", "angle deg"),
    "N Hz": (rf"({_NUMBER}) ?(?:hz|hertz)", "rate"),
    "range N to N": (rf"range ({_NUMBER}) to ({_NUMBER})", "range"),
    "no gripper": (r"no gripper|without gripper", "no gripper"),
}
GRIPPER: dict[str, tuple[str, str]] = {
    "N closed": (rf"({_NUMBER}) ?(?:is |= ?|means )?clos(?:ed|e)", "closed"),
    "N open": (rf"({_NUMBER}) ?(?:is |= ?|means )?open", "open"),
    "delta": (r"deltas?|relative", "reference delta from measured"),
    "absolute": (r"absolute", "reference absolute"),
    "inverted": (r"inverted|reversed", "inverted"),
}
JOINT: dict[str, tuple[str, str]] = {
    "inverted": (r"inverted|reversed|negated", "inverted"),
    "offset N": (rf"offset ({_NUMBER})", "offset"),
    "radians": (r"radians?|rad", "angle rad"),
    "degrees": (r"degrees?|deg", "angle deg"),
    "range N to N": (rf"range ({_NUMBER}) to ({_NUMBER})", "range"),
}
VOCABULARY = {"motion": tuple(MOTION), "gripper": tuple(GRIPPER), "joint": tuple(JOINT)}


def amend(
    embodiment: Embodiment, text: str, *, prompt: str | None = None
) -> tuple[ActionSpace, ...]:
    """The robot's action spaces after a description; the one described comes first.

    ``prompt`` is kept in its notes, for the policy to read; by default the description itself.

    Raises:
        ActionSpaceError: A phrase outside the vocabulary (named, with the nearest known ones), one
            that contradicts another, or one about something that the robot does not have.
    """
    wish = _Wish()
    joints: list[tuple[str, str, tuple[str, ...]]] = []  # joint, effect, numbers
    for clause in filter(None, (c.strip() for c in text.split(";"))):
        _read_clause(clause, embodiment, wish, joints)
    first = _space(embodiment, wish)
    spaces = [first, *(s for s in embodiment.action_spaces if s.name != first.name)]
    for name, effect, numbers in joints:
        spaces = _on_joint(spaces, name, effect, numbers)
    _check_numbers(spaces)
    lines = (*spaces[0].notes.splitlines(), *(text if prompt is None else prompt).splitlines())
    notes = "\n".join(line for line in map(str.strip, lines) if line)
    return (replace(spaces[0], notes=notes), *spaces[1:])


def _check_numbers(spaces: Sequence[ActionSpace]) -> None:
    """Refuse numbers so large that what they amount to overflows."""
    for space in spaces:
        numbers = {d.name: (d.offset, d.lower, d.upper) for d in space.dimensions}
        for name, values in {"the rate": (space.rate,), **numbers}.items():
            if any(map(math.isnan, values)) or math.isinf(values[0]):
                raise ActionSpaceError(
                    f"a number is too large for {name}", where="description", value=space.name
                )


@dataclass
class _Wish:
    """What a description says of the motion and the gripper; None where it says nothing."""

    said: dict[str, str] = field(default_factory=dict)  # "what", "reference", "length" ...
    rate: float | None = None
    range: tuple[float, float] | None = None
    gripper: dict[str, str] = field(default_factory=dict)

    def say(self, key: str, value: str, phrase: str) -> None:
        if self.said.get(key, value) != value:
            raise ActionSpaceError(
                f"the description contradicts itself on the {key}",
                where="description",
                value=phrase,
                valid=[self.said[key]],
            )
        self.said[key] = value


def _read_clause(
    clause: str,
    embodiment: Embodiment,
    wish: _Wish,
    joints: list[tuple[str, str, tuple[str, ...]]],
) -> None:
    start = re.match(r"(?:the )?(?:gripper|(joint) (\S+?)(?=[\s,]|$))[ ,:]*", clause, re.IGNORECASE)
    named = start is not None and start[2] is not None
    if start and named and re.match(r"(position|angle|velocit|speed)", start[2], re.IGNORECASE):
        start, named = None, False  # "joint positions" is a motion
    rest = clause[start.end() :] if start else clause
    words = MOTION if start is None else JOINT if named else GRIPPER
    name = _joint(start[2], embodiment) if start and named else ""
    for phrase in (p.strip() for p in rest.split(",")):
        for effect, numbers in _effects(phrase, words):
            if named:
                joints.append((name, effect, numbers))
            elif start is not None:
                key, _, value = effect.partition(" ")
                wish.gripper[key] = value or (numbers[0] if numbers else "yes")
            else:
                _note(wish, effect, numbers, phrase)


def _note(wish: _Wish, effect: str, numbers: tuple[str, ...], phrase: str) -> None:
    key, _, value = effect.partition(" ")
    if key == "rate":
        wish.rate = float(numbers[0])
    elif key == "range":
        wish.range = (float(numbers[0]), float(numbers[1]))
    else:
        wish.say(key, value, phrase)


def _effects(phrase: str, words: dict[str, tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Effects and numbers of the known words that make up a phrase, in order."""
    found = []
    rest = phrase.strip()
    while rest:
        fill = re.match(rf"{_FILL}\s*", rest, re.IGNORECASE)
        best: tuple[int, str, tuple[str, ...]] = (0, "", ())
        for pattern, effect in words.values():
            match = re.match(rf"(?:{pattern})(?=\s|$)", rest, re.IGNORECASE)
            if match and match.end() > best[0]:
                best = (match.end(), effect, tuple(g for g in match.groups() if g is not None))
        if best[0]:
            found.append((best[1], best[2]))
            rest = rest[best[0] :].strip()
        elif fill:
            rest = rest[fill.end() :]
        else:
            like = re.sub(_NUMBER, "N", rest.lower())
            near = difflib.get_close_matches(like, words, n=3, cutoff=0.3)
            raise ActionSpaceError(
                f"an unknown phrase: {rest!r}",
                where="description",
                value=phrase,
                valid=near or list(words),
                remedy="docs/describe.md lists the words; --language-model reads other ones",
            )
    return found


def _joint(name: str, embodiment: Embodiment) -> str:
    """A joint by its name or by its number among the arms' joints (all, without arms)."""
    order = [j for arm in embodiment.arms for j in arm.joints] or list(embodiment.joints)
    if name in embodiment.joints:
        return name
    if name.isdigit() and 1 <= int(name) <= len(order):
        return order[int(name) - 1]
    raise ActionSpaceError(
        f"there is no joint {name!r}",
        where="description",
        value=name,
        valid=[f"1 to {len(order)}", *embodiment.joints],
    )


# --- from words to dimensions ---------------------------------------------------------------------


def _space(embodiment: Embodiment, wish: _Wish) -> ActionSpace:
    what = wish.said.get("what")
    if what is None and "reference" in wish.said:
        what = "pose" if embodiment.arms else "joint position"
    if what is None:
        space = _default(embodiment)
    elif what.startswith("joint"):
        space = _joint_space(embodiment, what, wish)
    else:
        space = _effector_space(embodiment, what, wish)
    changes: list[tuple[str, Callable[[Dimension], Dimension]]] = []
    if "frame" in wish.said:
        frame = Frame(wish.said["frame"])
        changes.append(("frame", lambda d: replace(d, frame=frame) if _vector(d) else d))
    for unit in ("length", "angle"):
        if unit in wish.said:
            changes.append((wish.said[unit], lambda d, u=wish.said[unit]: _with_unit(d, u)))  # type: ignore[misc]
    if wish.range is not None:
        low, high = wish.range
        changes.append(("range", lambda d: _with_range(d, low, high) if _motion(d) else d))
    dimensions = space.dimensions
    if wish.said.get("frame") == "body" and any(
        d.kind is Kind.EE_POSITION and d.reference is Reference.ABSOLUTE for d in dimensions
    ):
        raise ActionSpaceError(
            "an absolute pose cannot be written in the tool's own frame",
            where="description",
            value="tool frame",
            remedy="say delta, or base frame",
        )
    if "no" in wish.said:
        dimensions = tuple(d for d in dimensions if d.kind is not Kind.GRIPPER)
    for name, change in changes:
        changed = tuple(change(d) for d in dimensions)
        plain = any(_fits(d, name) for d in dimensions)
        if not plain:
            raise ActionSpaceError(
                f"{name!r} fits none of the dimensions of {space.name!r}",
                where="description",
                value=name,
                valid=[f"{d.name} [{d.unit}]" for d in dimensions],
            )
        dimensions = changed
    dimensions = tuple(
        _with_gripper(d, wish.gripper) if d.kind is Kind.GRIPPER else d for d in dimensions
    )
    if wish.gripper and not any(d.kind is Kind.GRIPPER for d in dimensions):
        raise ActionSpaceError(
            f"{embodiment.name} has no gripper that {space.name!r} moves", where="description"
        )
    return replace(
        space, dimensions=dimensions, rate=space.rate if wish.rate is None else wish.rate
    )


def _default(embodiment: Embodiment) -> ActionSpace:
    if not embodiment.action_spaces:
        raise ActionSpaceError(f"{embodiment.name} has no action space", where="description")
    return embodiment.action_spaces[0]


def _others(embodiment: Embodiment) -> tuple[Dimension, ...]:
    """Base velocities, which every space carries."""
    spaces = embodiment.action_spaces
    return tuple(d for d in spaces[0].dimensions if d.role == "base") if spaces else ()


def _effector_space(embodiment: Embodiment, what: str, wish: _Wish) -> ActionSpace:
    if not embodiment.arms:
        raise ActionSpaceError(
            f"{embodiment.name} has no arm",
            where="description",
            value=f"end-effector {what}",
            valid=["joint positions", "joint velocities"],
        )
    reference = Reference(wish.said.get("reference", "absolute"))
    rotation = Rotation(wish.said.get("rotation", "rotvec"))
    several = len(embodiment.arms) > 1
    dimensions: list[Dimension] = []
    for arm in embodiment.arms:
        prefix = f"{arm.name}_" if several else ""
        if what == "twist":
            dimensions += _twist(arm.name, prefix)
        else:
            pose = pose_dimensions(
                arm.name,
                prefix=prefix,
                reference=reference,
                rotation=rotation,
                reach=_reach(embodiment),
            )
            pose = pose if what == "pose" else pose[:3]
            delta = reference is not Reference.ABSOLUTE
            dimensions += [_bounded(d) if delta else d for d in pose]
        if embodiment.gripper_of(arm.name) is not None:
            dimensions.append(gripper_dimension(arm.name, f"{prefix}gripper"))
    task = embodiment.action_spaces[0].task_axes if embodiment.action_spaces else {}
    name = {"pose": "ee_pose", "position": "ee_position", "twist": "ee_twist"}[what]
    if what != "twist" and reference is not Reference.ABSOLUTE:
        name = "ee_delta" if what == "pose" else "ee_position_delta"
    rate = embodiment.action_spaces[0].rate if embodiment.action_spaces else 10.0
    return ActionSpace(name, (*dimensions, *_others(embodiment)), rate, task)


def _reach(embodiment: Embodiment) -> float:
    bounds = [
        d.upper
        for s in embodiment.action_spaces
        for d in s.dimensions
        if d.kind is Kind.EE_POSITION and d.reference is Reference.ABSOLUTE
    ]
    return max(bounds, default=math.inf)


def _twist(effector: str, prefix: str) -> list[Dimension]:
    halves = (
        (Kind.EE_LINEAR_VELOCITY, "v", "m/s", 0.5),
        (Kind.EE_ANGULAR_VELOCITY, "w", "rad/s", 2.0),
    )
    return [
        Dimension(
            f"{prefix}{letter}{axis}",
            kind,
            effector=effector,
            component=i,
            unit=unit,
            lower=-bound,
            upper=bound,
        )
        for kind, letter, unit, bound in halves
        for i, axis in enumerate(AXES)
    ]


def _bounded(d: Dimension) -> Dimension:
    bound = STEP if d.kind is Kind.EE_POSITION else TURN if d.rotation.size == 3 else 1.0
    return replace(d, lower=-bound, upper=bound)


def _joint_space(embodiment: Embodiment, what: str, wish: _Wish) -> ActionSpace:
    found = [s for s in embodiment.action_spaces if _has(s, Kind.JOINT_POSITION)]
    if not found:
        raise ActionSpaceError(
            f"{embodiment.name} has no joints to command", where="description", value=what
        )
    space = found[0]
    if what == "joint velocity":
        dimensions = tuple(_as_velocity(d, embodiment) for d in space.dimensions)
        return replace(space, name="joint_velocity", dimensions=dimensions)
    reference = Reference(wish.said.get("reference", "absolute"))
    if reference is Reference.ABSOLUTE:
        return space
    dimensions = tuple(
        replace(d, reference=reference, lower=-TURN, upper=TURN)
        if d.kind is Kind.JOINT_POSITION
        else d
        for d in space.dimensions
    )
    return replace(space, name="joint_delta", dimensions=dimensions)


def _as_velocity(d: Dimension, embodiment: Embodiment) -> Dimension:
    if d.kind is not Kind.JOINT_POSITION:
        return d
    bound = embodiment.limits[d.joint].velocity
    unit = f"{d.unit}/s"
    return replace(d, kind=Kind.JOINT_VELOCITY, unit=unit, lower=-bound, upper=bound)


def _has(space: ActionSpace, kind: Kind) -> bool:
    return any(d.kind is kind for d in space.dimensions)


def _vector(d: Dimension) -> bool:
    return d.kind in (
        Kind.EE_POSITION,
        Kind.EE_ROTATION,
        Kind.EE_LINEAR_VELOCITY,
        Kind.EE_ANGULAR_VELOCITY,
    )


def _motion(d: Dimension) -> bool:
    return _vector(d) or d.kind in (Kind.JOINT_POSITION, Kind.JOINT_VELOCITY)


def _fits(d: Dimension, change: str) -> bool:
    if change == "frame":
        return _vector(d)
    return _motion(d) if change == "range" else _unit(d, change) is not None


def _unit(d: Dimension, unit: str) -> str | None:
    """The dimension's unit after asking for one of length or angle; None where it is neither."""
    lengths, angles = ("m", "cm", "mm"), ("rad", "deg")
    stem, slash, _ = d.unit.partition("/")
    same = (stem in lengths and unit in lengths) or (stem in angles and unit in angles)
    return f"{unit}/s" if same and slash else unit if same else None


def _with_unit(d: Dimension, unit: str) -> Dimension:
    new = _unit(d, unit)
    if new is None or not _motion(d):
        return d
    factor = UNITS[d.unit] / UNITS[new]
    return replace(
        d, unit=new, offset=factor * d.offset, lower=factor * d.lower, upper=factor * d.upper
    )


def _with_range(d: Dimension, low: float, high: float) -> Dimension:
    """Native ``low`` to ``high`` means what the limits meant."""
    if not (math.isfinite(d.lower) and math.isfinite(d.upper)) or low == high:
        raise ActionSpaceError(
            f"a range cannot be given to {d.name!r}",
            where="description",
            value=f"range {low:g} to {high:g}",
            remedy="it has no limits that the range could stand for" if low != high else None,
        )
    scale = (d.upper - d.lower) / (high - low)
    offset = d.scale * (d.lower - scale * low) + d.offset
    return replace(
        d, scale=d.scale * scale, offset=offset, lower=min(low, high), upper=max(low, high)
    )


def _with_gripper(d: Dimension, said: dict[str, str]) -> Dimension:
    if not said:
        return d
    if ("closed" in said) != ("open" in said):
        raise ActionSpaceError(
            "a gripper needs both its values",
            where="description",
            value=f"{said.get('closed', said.get('open'))}",
            remedy="write: gripper 0 closed, 1 open",
        )
    if "closed" in said:
        closed, opened = float(said["closed"]), float(said["open"])
        if closed == opened:
            raise ActionSpaceError(
                "a gripper's closed and open are the same", where="description", value=closed
            )
        scale = 1 / (opened - closed)
        lower, upper = sorted((closed, opened))
        d = replace(d, scale=scale, offset=-closed * scale, lower=lower, upper=upper)
    if "inverted" in said:  # 0 stands where 1 stood
        d = replace(d, scale=-d.scale, offset=d.scale * (d.lower + d.upper) + d.offset)
    if "reference" in said:
        d = replace(d, reference=Reference(said["reference"]))
        if d.reference is not Reference.ABSOLUTE:
            span = d.upper - d.lower
            d = replace(d, offset=0.0, lower=-span, upper=span)
    return d


def _on_joint(
    spaces: Sequence[ActionSpace], joint: str, effect: str, numbers: tuple[str, ...]
) -> list[ActionSpace]:
    """The spaces with what was said of one joint."""
    if not any(d.joint == joint for s in spaces for d in s.dimensions):
        raise ActionSpaceError(
            f"no action space commands the joint {joint!r}", where="description", value=joint
        )

    def changed(d: Dimension) -> Dimension:
        if d.joint != joint:
            return d
        if effect == "inverted":
            return replace(d, sign=-d.sign, lower=-d.upper, upper=-d.lower, offset=-d.offset)
        if effect == "offset":
            shift = float(numbers[0])
            return replace(
                d,
                offset=d.offset + shift,
                lower=d.lower - shift / d.scale,
                upper=d.upper - shift / d.scale,
            )
        if effect == "range":
            return _with_range(d, float(numbers[0]), float(numbers[1]))
        return _with_unit(d, effect.partition(" ")[2])

    return [replace(s, dimensions=tuple(changed(d) for d in s.dimensions)) for s in spaces]
