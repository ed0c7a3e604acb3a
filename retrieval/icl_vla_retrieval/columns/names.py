"""What the names of columns, and of the numbers in them, tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from icl_vla_embodiments.embodiment import Embodiment

ACTION = {"action", "actions", "act", "command", "commands", "cmd", "target", "targets", "desired"}
OTHER = {"vel", "velocity", "velocities", "qvel", "effort", "efforts", "torque", "torques"}
OTHER |= {"current", "currents", "wrench", "force", "reward", "rewards", "done", "dones", "success"}
OTHER |= {"next", "temperature", "imu", "tactile", "sin", "cos", "accel", "acceleration", "index"}
POSE = {"eef", "ee", "tcp", "cartesian", "pose", "endeffector", "effector"}
GRIPPER = {"gripper", "grip", "finger", "fingers", "claw", "jaw", "gripperopening"}
STATE = {"state", "states", "qpos", "q", "joint", "joints", "position", "positions", "pos"}
STATE |= {"proprio", "proprioception", "proprioceptive", "jointstate", "angles", "measured"}
Key = TypeVar("Key")
SIDES: Mapping[str, str] = {"left": "left", "l": "left", "right": "right", "r": "right"}
_PADDING = {"pos", "position", "positions", "main", "follower", "leader", "state", "observation"}
_PADDING |= {"obs", "action", "actions", "qpos", "q", "target", "cmd", "command", "motor", "robot"}
_PADDING |= {"rad", "deg", "angle", "value", "joint", "j", "arm", "m"}
_COUNTED = {"joint", "j", "axis", "dof"}  # words after which a number counts joints
POSITION = {"x": 0, "y": 1, "z": 2, "px": 0, "py": 1, "pz": 2}
ROTATION: Mapping[str, tuple[str, int]] = {  # name of a number -> coordinates, component
    "roll": ("euler_xyz", 0),
    "pitch": ("euler_xyz", 1),
    "yaw": ("euler_xyz", 2),
    "rx": ("rotvec", 0),
    "ry": ("rotvec", 1),
    "rz": ("rotvec", 2),
    "qx": ("quat_xyzw", 0),
    "qy": ("quat_xyzw", 1),
    "qz": ("quat_xyzw", 2),
    "qw": ("quat_xyzw", 3),
    **{f"r{i + 1}": ("rot6d", i) for i in range(6)},
}


def words(name: str) -> tuple[str, ...]:
    """Lower-case words and numbers of a name: ``main_wristRoll2.pos`` -> main wrist roll 2 pos."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return tuple(re.findall(r"[a-z]+|\d+", spaced.lower()))


def role(column: str) -> str:
    """``state``, ``action``, ``gripper``, ``pose`` or ``ignore``; empty if the name is silent."""
    found = set(words(column))
    if "next" in found or "reward" in found:
        return "ignore"
    if found & ACTION:
        return "action"
    if found & OTHER:
        return "ignore"
    if found & GRIPPER:
        return "gripper"
    if found & POSE or {"eef", "pos"} <= found:
        return "pose"
    return "state" if found & STATE else ""


def pose_part(name: str) -> str:
    """``x`` ... ``qw`` if a number's name ends in a coordinate of a pose."""
    found = words(name)
    whole = re.split(r"[^a-z0-9]+", name.lower())
    last = next((w for w in reversed(whole) if w in POSITION or w in ROTATION), "")
    return last if last and not set(found) & GRIPPER else ""


def gripper(name: str, robot: Embodiment) -> str:
    """The arm whose gripper a name means; empty where it means none, or it is not clear which."""
    found = words(name)
    if not set(found) & GRIPPER:
        return ""
    carriers = [g.effector for g in robot.of_kind("gripper") if g.effector]
    return side_of(found, carriers)


def side_of(found: Collection[str], names: Sequence[str]) -> str:
    """The one of several arms that shares most words (left, front ...) with a name."""
    if len(names) == 1:
        return names[0]
    mine = {SIDES.get(w, w) for w in found if not w.isdigit()}
    shared = [len(mine & {SIDES.get(w, w) for w in words(n)}) for n in names]
    most = max(shared, default=0)
    return names[shared.index(most)] if most and shared.count(most) == 1 else ""


def joints(names: Sequence[str], robot: Embodiment) -> dict[int, str]:
    """Place -> joint, for the numbers whose names say which joint they are.

    Words that say nothing, and words that every joint (or every number) has, are left out of both;
    what is left must be the same. Numbers count the joints of an arm from base to tip, from 0 or 1.
    """
    exact = {i: j for i, n in enumerate(names) for j in robot.joints if n == j}
    if len(exact) < len(names):  # joint_0 ... joint_5 may be joint1 ... joint6
        exact |= _counted(dict(enumerate(names)), robot)
    for i, n in enumerate(names):
        alike = [j for j in robot.joints if _bare(j) == _bare(n) and j not in exact.values()]
        if i not in exact and len(alike) == 1:
            exact[i] = alike[0]
    own = {j: _core(words(j), _PADDING - _COUNTED) for j in robot.joints}
    theirs = {i: _core(words(n), _PADDING - _COUNTED) for i, n in enumerate(names)}
    for strip in (False, True):
        mine = _stripped(own) if strip else {j: frozenset(c) for j, c in own.items()}
        found = _stripped(theirs) if strip else {i: frozenset(c) for i, c in theirs.items()}
        for i, core in found.items():
            if all(w.isdigit() for w in core) and not set(words(names[i])) & _COUNTED:
                continue  # a number alone counts columns, not joints
            fits = [j for j, c in mine.items() if c == core and j not in exact.values()]
            if i not in exact and len(fits) == 1 and list(found.values()).count(core) == 1:
                exact[i] = fits[0]
    return exact


def _bare(name: str) -> str:
    """Without capitals and separators: `RIGHT ELBOW` is `RightElbow`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _core(found: Sequence[str], padding: Collection[str]) -> tuple[str, ...]:
    return tuple(SIDES.get(w, w) for w in found if w not in padding)


def _stripped(cores: Mapping[Key, tuple[str, ...]]) -> dict[Key, frozenset[str]]:
    """Without the words that most of them share."""
    often = Counter(w for core in cores.values() for w in set(core))
    common = {w for w, n in often.items() if n > len(cores) / 2 and not w.isdigit()}
    return {k: frozenset(w for w in core if w not in common) for k, core in cores.items()}


def _counted(names: Mapping[int, str], robot: Embodiment) -> dict[int, str]:
    """Numbered joints of an arm: by the robot's own numbers if they are the same, else counted."""
    out: dict[int, str] = {}
    arms = robot.arms
    for arm in arms:
        numbers: dict[int, int] = {}
        for i, name in names.items():
            found = words(name)
            digits = [w for w in found if w.isdigit()]
            mine = len(arms) == 1 or side_of(found, [a.name for a in arms]) == arm.name
            if mine and set(found) & _COUNTED and len(digits) == 1 and not set(found) & GRIPPER:
                numbers[i] = int(digits[0][:6])
        theirs = sorted(numbers.values())
        if len(theirs) != len(arm.joints):
            continue
        own = {int(d[-1]): j for j in arm.joints if (d := re.findall(r"\d+", j))}
        if sorted(own) == theirs:
            out |= {i: own[n] for i, n in numbers.items()}
        elif theirs in (list(range(len(theirs))), list(range(1, len(theirs) + 1))):
            out |= {i: arm.joints[n - theirs[0]] for i, n in numbers.items()}
    return out
