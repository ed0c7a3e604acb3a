"""From a URDF file to an :class:`~icl_vla_embodiments.Embodiment`, each field with its reason."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import se3
from ..embodiment import Embodiment, FrameSpec, Provenance
from ..errors import EmbodimentError, UrdfError
from ..geometry import hulls_of_tree
from ..yaml_io import apply_overrides
from .analyse import Structure, analyse
from .cameras import find_cameras
from .collision import CollisionScene, collision_pairs
from .evidence import Evidence
from .given import complete_groups, hand_of_group, hands_of, joints_of
from .hands import seen_opening
from .limits import ACCELERATION, joint_limits
from .normalise import Document
from .posture import neutral_posture
from .read import parse_xml, read_xml
from .simulation import simulation_urdf
from .spaces import action_spaces
from .srdf import disabled_pairs
from .tcp import find_tcp
from .upright import up_axis
from .xacro import expand, has_macros

__all__ = ["embodiment_from_urdf", "simulation_urdf"]

log = logging.getLogger(__name__)
Vector = tuple[float, float, float]


def embodiment_from_urdf(
    path: Path,
    *,
    name: str | None = None,
    packages: Mapping[str, Path] | None = None,
    tcp: tuple[Vector, Vector] | None = None,
    overrides: Mapping[str, Any] | None = None,
    allow_missing_meshes: bool = False,
    xacro_arguments: Mapping[str, str] | None = None,
    srdf: Path | None = None,
) -> Embodiment:
    """Analyse a URDF.

    Args:
        path: The URDF or xacro file.
        name: Name of the embodiment; by default the robot's in the file.
        packages: ROS package name -> folder, for ``package://`` file names and ``$(find NAME)``.
        tcp: ``(xyz [m], rpy [rad])`` of the tool centre point in the last link of the only arm.
        overrides: Field -> value in the form of the embodiment file (``yaml_io.py``); they win,
            and everything derived from them follows.
        allow_missing_meshes: Go on where mesh files are missing, with a warning.
        xacro_arguments: Values of ``$(arg NAME)`` in a xacro file.
        srdf: An SRDF of the same robot, whose disabled collision pairs are left out.

    Raises:
        UrdfError: The file cannot be read, or is no robot; the message says where and what to do.
    """
    path = Path(path).expanduser().absolute()
    folders = {k: Path(v) for k, v in (packages or {}).items()}
    root, data, repairs = read_xml(path)
    if has_macros(root, path):
        root = parse_xml(expand(path, folders, xacro_arguments or {}), path)
    elif xacro_arguments:
        raise UrdfError(
            "a URDF without macros takes no arguments", where=path, value=", ".join(xacro_arguments)
        )
    given = dict(overrides or {})
    document = Document(root, path, folders, keep_base_joints=given.get("base") == "fixed")
    warnings = list(document.warnings)
    if document.missing:
        warnings.append(_missing(document, allow_missing_meshes))
    tree = document.tree
    hulls, unread = hulls_of_tree(tree)
    warnings += unread
    evidence = Evidence(tree, hulls)
    structure = analyse(evidence, said_base=document.base, masterless=document.masterless)
    up = up_axis(evidence, structure)
    if up is not None:
        tree = document.turned(up)
        evidence = Evidence(tree, hulls)
        structure = analyse(evidence, said_base=document.base, masterless=document.masterless)
    passive = structure.passive - joints_of(given.get("groups"))
    joints = [j for j in tree.moving if j.mimic is None and j.name not in passive]
    limits, assumed = joint_limits(joints)
    robot = Embodiment(
        name=name or tree.name,
        urdf=document.text,
        urdf_path=path,
        urdf_sha256=hashlib.sha256(data).hexdigest(),
        family=structure.family,
        base=structure.base,
        groups=structure.groups,
        joints=tuple(j.name for j in joints),
        limits=limits,
        mimic=tuple(j.mimic for j in tree.moving if j.mimic is not None),
        cameras=find_cameras(evidence),
        mount=FrameSpec.at("world"),
        provenance=_provenance(structure),
    )
    robot = apply_overrides(robot, given)
    if "groups" in given:
        given["groups"] = complete_groups(evidence, robot)
        robot = robot.with_(groups=given["groups"])
    robot = _with_tcp(robot, evidence, structure, tcp, given)
    scene = CollisionScene(tree, hulls)
    off = frozenset() if srdf is None else disabled_pairs(Path(srdf), tree.links)
    pairs = tuple(p for p in collision_pairs(scene) if frozenset(p) not in off)
    robot = robot.with_(collision_pairs=pairs)
    robot = apply_overrides(robot, given)
    posture = neutral_posture(robot, scene)
    positions = {j: float(x) for j, x in zip(robot.joints, posture.q, strict=True)}
    robot = robot.with_(
        neutral=positions,
        collision_pairs=tuple(p for p in robot.collision_pairs if p not in posture.overlapping),
        provenance=_explained(robot, "neutral", posture.why),
    )
    slides = {j.name for j in joints if j.type == "prismatic"}
    spaces = action_spaces(robot.groups, robot.limits, slides, robot.base, _span(evidence))
    unseen = _unseen_openings(evidence, robot, given)
    robot = robot.with_(
        action_spaces=spaces,
        repairs=(*repairs, *document.repairs),
        warnings=(
            *warnings,
            *assumed,
            *unseen,
            *posture.warnings,
        ),
        flags=structure.flags,
    )
    robot = apply_overrides(robot, given)
    for warning in robot.warnings:
        log.info("%s: %s", robot.name, warning)
    return robot


def _missing(document: Document, allowed: bool) -> str:
    files = document.missing
    listed = ", ".join(files[:10]) + (f" and {len(files) - 10} more" if len(files) > 10 else "")
    if allowed:
        return f"mesh files are missing; their links have no shape: {listed}"
    schemes = {f.split("//")[1].split("/")[0] for f in files if f.startswith("package://")}
    package = sorted(schemes)[0] if schemes else None
    raise UrdfError(
        f"{len(files)} mesh file{'s are' if len(files) > 1 else ' is'} missing",
        where=document.path,
        value=listed,
        remedy=(
            f"--package {package}=FOLDER says where the package {package} is"
            if package
            else "put the files where the URDF says"
        )
        + "; --allow-missing-meshes goes on without them",
    )


def _unseen_openings(evidence: Evidence, robot: Embodiment, given: Mapping[str, Any]) -> list[str]:
    """Grippers and hands that no joint of theirs was seen to open."""
    told = []
    for group in (*robot.of_kind("gripper"), *robot.of_kind("hand")):
        if np.allclose(group.closed, group.open):
            taken = "closed and open are the same until `groups` in the embodiment file says more"
        else:
            closed, opened = seen_opening(evidence, hand_of_group(evidence, group))
            if closed != opened or "groups" in given:
                continue
            taken = "closed is taken to be the end of its range nearer to zero; `groups` settles it"
        told.append(f"{group.name}: no joint of it was seen to open or close it; {taken}")
    return told


def _with_tcp(
    robot: Embodiment,
    evidence: Evidence,
    structure: Structure,
    tcp: tuple[Vector, Vector] | None,
    given: Mapping[str, Any],
) -> Embodiment:
    if "tcp" in given:
        return robot
    if tcp is not None:
        if len(robot.arms) != 1:
            raise EmbodimentError(
                "a TCP can be given in this way only to a robot with one arm",
                where=robot.urdf_path,
                value=f"{len(robot.arms)} arms",
                valid=[a.name for a in robot.arms],
                remedy="edit tcp in the embodiment file",
            )
        arm = robot.arms[0]
        xyz, rpy = tcp
        T = se3.pose(se3.from_euler_xyz(rpy), xyz)
        chosen = {arm.name: FrameSpec.at(arm.tip_link, T)}
        why = {**robot.provenance, "tcp": Provenance("user", f"given in {arm.tip_link}")}
        return robot.with_(tcp=chosen, provenance=why)
    hands = structure.hands if "groups" not in given else hands_of(evidence, robot)
    found = {a.name: find_tcp(evidence, a, hands.get(a.name)) for a in robot.arms}
    reason = "; ".join(f"{arm}: {why}" for arm, (_, why) in found.items()) or "no arm"
    return robot.with_(
        tcp={arm: spec for arm, (spec, _) in found.items()},
        provenance=_explained(robot, "tcp", reason),
    )


def _provenance(structure: Structure) -> dict[str, Provenance]:
    why = {
        "joints": "joints that move, without mimic followers, casters and rotors, depth first",
        "limits": f"the file's; acceleration is {ACCELERATION:g}/s times the velocity limit,"
        " as a URDF has none",
        "mimic": "the file's <mimic> elements",
        "neutral": "zero, inside the limits",
        "tcp": "no arm",
        "frames": "none were declared",
        "cameras": "optical frames; other ends called camera, taken to look along x",
        "collision_pairs": "pairs of links with shapes that do not always touch",
        "mount": "the base stands at the world's origin",
        "payload": "unknown, taken as none",
        "action_spaces": "derived from groups and limits; the first is the default",
    }
    why |= structure.why
    doubtful = {f.field if f.field in why else "groups" for f in structure.flags}
    return {
        field: Provenance(
            "declared" if field == "mimic" else "heuristic", reason, field not in doubtful
        )
        for field, reason in why.items()
    }


def _explained(robot: Embodiment, field: str, why: str) -> dict[str, Provenance]:
    """Provenance with one field's reason replaced, unless the user set that field."""
    old = robot.provenance.get(field)
    if old is not None and old.source == "user":
        return dict(robot.provenance)
    return {**robot.provenance, field: Provenance("heuristic", why)}


def _span(evidence: Evidence) -> float:
    """A length that no end effector can exceed from the base [m], to bound action values."""
    line = sum(float(np.linalg.norm(j.T[:3, 3])) for j in evidence.tree.ordered)
    slides = sum(np.ptp(j.range) for j in evidence.tree.moving if j.type == "prismatic")
    widest = float(np.linalg.norm(evidence.cloud, axis=1).max())
    return round(min(max(line, widest) + float(slides), 3 * widest + float(slides)), 2) or 1.0
