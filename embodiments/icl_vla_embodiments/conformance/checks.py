"""What a robot and a driver must fulfil, one function for each."""

from __future__ import annotations

import inspect
import unittest
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..action_space import ActionSpace, SpaceState
from ..embodiment import Embodiment, sha256_of
from ..errors import PluginError
from ..plugins import Factory
from ..types import Array, Driver, TaskTarget

SAMPLES = 20  # random configurations and actions for each check
SEED = 0
LICENCE_IS_MISSING = "NOT STATED YET"  # first words of a scaffold's licence file


class ConformanceError(PluginError):
    """A plugin that does not do what it must."""


class Unfinished(ConformanceError, unittest.SkipTest):
    """Something that its author has still to do."""


def make_embodiment(name: str, factory: Factory) -> Embodiment:
    """Call what was registered; a path is analysed as ``icl-vla add-embodiment`` does."""
    made = factory()
    if isinstance(made, str | Path):
        from ..urdf import embodiment_from_urdf

        made = embodiment_from_urdf(Path(made), name=name)
    if not isinstance(made, Embodiment):
        raise ConformanceError(
            f"the factory of {name!r} returns neither a path nor an Embodiment",
            value=type(made).__name__,
        )
    if made.name != name:
        raise ConformanceError(
            "the embodiment has another name than it was registered under",
            value=made.name,
            valid=[name],
        )
    return made


# --- robots ---------------------------------------------------------------------------------------


def check_urdf(robot: Embodiment) -> str:
    """The URDF is the one that the embodiment was made from, and its meshes are there."""
    if not robot.urdf_path.is_file():
        raise ConformanceError("the URDF is missing", where=robot.urdf_path)
    if sha256_of(robot.urdf_path) != robot.urdf_sha256:
        raise ConformanceError(
            "the URDF has changed since the embodiment was made from it",
            where=robot.urdf_path,
            remedy="icl-vla add-embodiment it again, then icl-vla plugins new",
        )
    meshes = [m.get("filename", "") for m in ET.fromstring(robot.urdf).iter("mesh")]
    missing = sorted({m for m in meshes if not Path(m).is_file()})
    if missing:
        raise ConformanceError(
            "mesh files are missing", where=robot.urdf_path, value=", ".join(missing[:10])
        )
    return f"{len(set(meshes))} mesh files"


def check_licence(robot: Embodiment) -> str:
    """A licence file beside the URDF has been filled in."""
    files = [
        f for f in robot.urdf_path.parent.iterdir() if f.stem.upper() in ("LICENSE", "LICENCE")
    ]
    for file in files:
        if file.read_text(errors="replace").lstrip().startswith(LICENCE_IS_MISSING):
            raise Unfinished("the licence of URDF and meshes is not stated", where=file)
    return files[0].name if files else "no licence file beside the URDF"


def check_doubts(robot: Embodiment) -> str:
    """Every question that the analysis had has been answered."""
    if robot.flags:
        raise Unfinished(
            "nobody has answered what the analysis doubts",
            where=robot.urdf_path,
            value="; ".join(f"{f.question} (taken: {f.guess})" for f in robot.flags),
            remedy="correct the embodiment file, then remove its flags",
        )
    return ""


def check_groups(robot: Embodiment) -> str:
    """Groups name joints and links that exist; grippers stay inside the limits."""
    links = {link.get("name") for link in ET.fromstring(robot.urdf).iter("link")}
    for group in robot.groups:
        joints = set(group.joints) - set(robot.joints)
        bodies = {group.base_link, group.tip_link} - links
        if joints or bodies:
            raise ConformanceError(
                f"the group {group.name!r} names what does not exist", value=sorted(joints | bodies)
            )
        for posture in (group.closed, group.open):
            if posture:
                _inside(robot, dict(zip(group.joints, posture, strict=True)), group.name)
    return ", ".join(g.name for g in robot.groups)


def check_limits(robot: Embodiment) -> str:
    """Each joint has limits in order (none, if it turns on), and can move at all."""
    if set(robot.limits) != set(robot.joints):
        different = sorted(set(robot.limits) ^ set(robot.joints))
        raise ConformanceError("limits and joints differ", value=different)
    for joint, at in robot.limits.items():
        most = (at.velocity, at.effort, at.acceleration)
        if np.isnan([at.lower, at.upper]).any() or not np.isfinite(most).all():
            raise ConformanceError(f"a limit of {joint!r} is not a number", value=at)
        if at.lower > at.upper or min(most) <= 0:
            raise ConformanceError(f"the limits of {joint!r} leave no motion", value=at)
    return f"{len(robot.joints)} joints"


def check_neutral(robot: Embodiment) -> str:
    """The neutral posture names every joint and is inside the limits."""
    missing = sorted(set(robot.joints) - set(robot.neutral))
    if missing:
        raise ConformanceError("the neutral posture lacks joints", value=missing)
    _inside(robot, robot.neutral, "neutral posture")
    return ""


def _inside(robot: Embodiment, posture: object, what: str) -> None:
    for joint, q in dict(posture).items():  # type: ignore[call-overload]
        at = robot.limits[joint]
        if not at.lower - 1e-9 <= q <= at.upper + 1e-9:
            raise ConformanceError(
                f"{what}: {joint} is outside its limits", value=q, valid=[at.lower, at.upper]
            )


def check_kinematics(robot: Embodiment) -> str:
    """Pinocchio builds it, and every link's pose is a finite rigid motion, anywhere."""
    from ..robot_model import RobotModel

    model = RobotModel(robot)
    count = 0
    for q in (model.neutral, *_configurations(robot)):
        poses = {**model.link_poses(q), **model.poses(q)}
        for link, T in poses.items():
            R = T[:3, :3]
            if not (np.isfinite(T).all() and np.allclose(R @ R.T, np.eye(3), atol=1e-9)):
                raise ConformanceError(f"the pose of {link!r} is no rigid motion", value=T.tolist())
        count = len(poses)
    return f"{count} frames in {SAMPLES + 1} configurations"


def check_action_spaces(robot: Embodiment) -> str:
    """Text and vectors survive the way there and back, exactly and to 1e-6."""
    from ..robot_model import RobotModel

    if not robot.action_spaces:
        raise ConformanceError("the robot has no action space")
    model = RobotModel(robot)
    rng = np.random.default_rng(SEED)
    for space in robot.action_spaces:
        if ActionSpace.parse(space.describe()) != space:
            raise ConformanceError(
                f"the action space {space.name!r} is not what its description says",
                value=space.describe(),
            )
        space = space.with_joints(robot.joints)
        lower, upper = np.maximum(space.lower, -1e3), np.minimum(space.upper, 1e3)
        for q in _configurations(robot):
            state = SpaceState(
                poses=model.poses(q),
                q=q,
                grippers=dict.fromkeys(space.effectors, 0.5),
                T_world_base=np.eye(4),
            )
            native = rng.uniform(lower, upper)[None]
            there = space.decode(native, state, model)
            again = space.decode(space.encode(there, state, model), state, model)
            worst = _difference(there[0], again[0])
            if not worst < 1e-6:
                raise ConformanceError(
                    f"the action space {space.name!r} does not encode what it decodes",
                    value=f"off by {worst:.3g} for {native[0].tolist()}",
                )
    return ", ".join(s.name for s in robot.action_spaces)


def _difference(a: TaskTarget, b: TaskTarget) -> float:
    """Largest difference between two targets [m, rad and openings]."""
    pairs: list[tuple[Any, Any]] = [(T, b.poses.get(e)) for e, T in a.poses.items()]
    pairs += [(opening, b.grippers.get(e)) for e, opening in a.grippers.items()]
    whole = ("posture", "base_twist", "T_world_base")
    pairs += [(x, getattr(b, k)) for k in whole if (x := getattr(a, k)) is not None]
    distances = (np.inf if y is None else float(np.abs(x - y).max()) for x, y in pairs)
    return max(distances, default=0.0)


def _configurations(robot: Embodiment) -> Array:
    """``(SAMPLES, n)`` uniform inside the limits and within half a turn of zero, seeded."""
    rng = np.random.default_rng(SEED)
    lower, upper = robot.array("lower"), robot.array("upper")
    near = np.clip(0.0, lower, upper)
    lower, upper = np.maximum(lower, near - np.pi), np.minimum(upper, near + np.pi)
    return rng.uniform(lower, upper, (SAMPLES, len(robot.joints)))


CHECKS: tuple[Callable[[Embodiment], str], ...] = (
    check_urdf,
    check_licence,
    check_doubts,
    check_groups,
    check_limits,
    check_neutral,
    check_kinematics,
    check_action_spaces,
)


# --- drivers --------------------------------------------------------------------------------------


def check_driver(factory: Factory, robot: Embodiment) -> str:
    """The factory makes a Driver without touching the hardware; nothing is moved or read here."""
    driver = factory(robot)
    for name, wanted in _DRIVER.items():
        method = getattr(driver, name, None)
        if not callable(method):
            raise ConformanceError(
                f"the driver has no method {name!r}",
                where=type(driver).__qualname__,
                valid=list(_DRIVER),
            )
        try:
            inspect.signature(method).bind(*wanted[0], **wanted[1])
        except TypeError as error:
            raise ConformanceError(
                f"the driver's {name} cannot be called as it will be",
                where=type(driver).__qualname__,
                value=str(error),
                valid=[str(inspect.signature(getattr(Driver, name)))],
            ) from error
    if getattr(driver, "STUB", False):
        raise Unfinished(
            "the driver is a stub",
            where=inspect.getsourcefile(type(driver)),
            remedy="write its methods, then delete its line STUB = True",
        )
    return type(driver).__qualname__


_DRIVER: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
    "reset": ((), {"seed": 0}),
    "observe": ((), {"cameras": False}),
    "command": ((None, 0.1), {}),
    "stop": ((), {}),
    "clock": ((), {}),
}
