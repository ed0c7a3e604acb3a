"""Wheels, casters, rotors, and how wheels let a base move."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..embodiment import Base
from .evidence import CASTER, FLYING, ROTOR, STEERING, WHEEL, Evidence
from .tree import Joint

ROLLERS = 5  # fewer do not make a rim
LEG = 6  # joints from the root to a wheel that nobody calls so


@dataclass(frozen=True)
class Wheels:
    """What a robot rolls on.

    Attributes:
        driven: Joints of wheels that move the base (or a leg).
        passive: Joints of casters and of what carries them.
        carriers: Joints between the root and driven wheels that are no legs: steering, suspension.
        base: How they let the base move; None without wheels.
        why: Reason.
        sure: Whether names or shapes say that they are wheels, not their places alone.
        rollers: Joints of the rollers around mecanum or omnidirectional wheels.
    """

    driven: tuple[Joint, ...] = ()
    passive: tuple[Joint, ...] = ()
    carriers: tuple[Joint, ...] = ()
    base: Base | None = None
    why: str = ""
    sure: bool = True
    rollers: tuple[Joint, ...] = ()


def find_wheels(evidence: Evidence) -> Wheels:
    """Discs that turn without a stop about a horizontal axis near the ground, or called wheels."""
    tree = evidence.tree
    found = [j for j in tree.moving if _is_wheel(evidence, j)]
    found = [j for j in found if tree.up(j) not in found]  # beyond a wheel there are rollers
    sure = bool(found)
    found = found or _pair(evidence)
    if len(found) == 1 and not any(evidence.says(WHEEL, *evidence.names(j)) for j in found):
        found = []
    passive: dict[str, Joint] = {}
    for joint in tree.moving:
        if any(evidence.says(CASTER, *evidence.own(j)) for j in tree.chain(joint)):
            passive[joint.name] = joint
    driven = [j for j in found if j.name not in passive]
    swivelled = [j for j in driven if _lone_swivel(evidence, j, driven)]
    if len(swivelled) < len(driven) - 1:  # a bicycle's front wheel is no caster
        for joint in swivelled:
            passive |= {j.name: j for j in (joint, tree.up(joint)) if j is not None}
        driven = [j for j in driven if j not in swivelled]
    if not driven and not found:
        return _fixed_wheels(evidence, tuple(passive.values()))
    carriers = {j.name: j for w in driven for j in tree.chain(w)[:-1] if len(tree.chain(w)) == 2}
    base, why = _base(evidence, driven, list(carriers.values()))
    aside = tuple(passive.values()), tuple(carriers.values())
    rollers = tuple(r for w in found for r in tree.subtree(w)[1:])
    return Wheels(tuple(driven), *aside, base, why, sure or not driven, rollers)


def _is_wheel(evidence: Evidence, joint: Joint) -> bool:
    tree = evidence.tree
    if not joint.turns or not evidence.horizontal(joint):
        return False
    rolling = has_rollers(evidence, joint)
    beyond = tree.subtree(joint)[1:]
    if not rolling and any(not evidence.says("roller", *evidence.own(j)) for j in beyond):
        return False
    if evidence.says(ROTOR, joint.name) and not evidence.says(WHEEL, *evidence.names(joint)):
        return False
    radius, disc = evidence.roundness(joint)
    points = evidence.points(joint.child)
    bottom = float(points[:, 2].min()) if len(points) else evidence.lowest
    if evidence.says(STEERING, *evidence.own(joint)) and bottom > evidence.lowest + radius:
        return False  # a driver's
    if evidence.says(WHEEL, *evidence.names(joint)):
        return joint.unlimited or disc
    if rolling and joint.unlimited:
        return True
    if len(tree.chain(joint)) > LEG:
        return False  # the flange of an arm that hangs
    grounded = len(points) and bottom < evidence.lowest + 0.03 * evidence.height + 0.005
    return bool(joint.unlimited and disc and grounded and radius > 0.01)


def has_rollers(evidence: Evidence, wheel: Joint) -> bool:
    """Whether :data:`ROLLERS` lie around a wheel's rim, slanting or crosswise to its axle.

    Joints without a stop beyond the wheel, or cylinders among its shapes.
    """
    tree = evidence.tree
    beyond = tree.subtree(wheel)[1:]
    if beyond and not all(j.unlimited and not tree.children.get(j.child) for j in beyond):
        return False
    axle, centre = evidence.axis(wheel), evidence.origin(wheel)
    lines = [(evidence.axis(j), evidence.origin(j)) for j in beyond]
    for role in () if beyond else ("visual", "collision"):
        poses = [
            evidence.poses[link] @ s.T_link_shape
            for link in tree.members[wheel.child]
            for s in tree.shapes[link]
            if s.role == role and s.kind == "cylinder"
        ]
        found = [(T[:3, 2], T[:3, 3]) for T in poses]
        lines = max(lines, found, key=len)
    around = [
        float(np.linalg.norm(np.cross(axle, place - centre)))
        for axis, place in lines
        if abs(float(axis @ axle)) < 0.95
    ]
    around = [r for r in around if r > 0.7 * max(around)]
    return len(around) >= ROLLERS


def _pair(evidence: Evidence) -> list[Joint]:
    """Two endless joints on one lateral axis, low on the base, whatever they look like."""
    tree = evidence.tree
    low = evidence.lowest + 0.15 * evidence.height
    ends = [
        j
        for j in tree.children.get(tree.root, [])
        if j.unlimited
        and not tree.children.get(j.child)
        and evidence.horizontal(j)
        and evidence.origin(j)[2] < low
    ]
    for one, other in itertools.combinations(ends, 2):
        apart = evidence.origin(one) - evidence.origin(other)
        width = float(np.linalg.norm(apart))
        if width > 0.05 and min(abs(evidence.axis(j) @ apart) for j in (one, other)) > 0.95 * width:
            return [one, other]
    return []


def _lone_swivel(evidence: Evidence, wheel: Joint, driven: list[Joint]) -> bool:
    """Whether a wheel trails behind an unlimited vertical joint of its own."""
    up = evidence.tree.up(wheel)
    if up is None or not up.unlimited or abs(evidence.axis(up)[2]) < 0.9:
        return False
    trail = np.linalg.norm((evidence.origin(wheel) - evidence.origin(up))[:2])
    if evidence.says(STEERING, *evidence.own(up)) or trail < 5e-3:
        return False
    return sum(evidence.tree.up(w) is up for w in driven) == 1


def _fixed_wheels(evidence: Evidence, passive: tuple[Joint, ...]) -> Wheels:
    """A base whose wheels are casters only (steered and driven), or links without joints."""
    tree = evidence.tree
    wheels = [
        link
        for link in tree.links
        if evidence.says(WHEEL, link) and not evidence.says(CASTER, link)
    ]
    fixed = [link for link in wheels if tree.body[link] == tree.root]
    swivels = [
        link
        for link in tree.members[tree.root]
        if evidence.says(WHEEL, link) and evidence.says(CASTER, link)
    ]
    steered = [j for j in passive if evidence.says(WHEEL, *evidence.names(j))]
    if len(steered) >= 3:
        return Wheels((), passive, (), "planar_holo", "all wheels hang on swivels")
    if not passive and (len(fixed) >= 3 or (not fixed and len(swivels) >= 3)):
        count = len(fixed) or len(swivels)
        return Wheels((), passive, (), "planar_holo", f"{count} wheels without joints")
    return Wheels((), passive)


def _base(evidence: Evidence, driven: list[Joint], carriers: list[Joint]) -> tuple[Base, str]:
    tree = evidence.tree
    if not driven:
        return "planar_holo", "all wheels hang on swivels"
    axles = np.array([evidence.axis(w) for w in driven])
    centres = np.array([evidence.origin(w) for w in driven])
    vertical = [j for j in carriers if j.turns and abs(evidence.axis(j)[2]) > 0.7]
    steering = [j for j in vertical if not j.unlimited or evidence.says(STEERING, *evidence.own(j))]
    if steering:
        return "planar_ackermann", f"{len(steering)} wheels are steered"
    carried = [w for w in driven if evidence.tree.up(w) in vertical]
    if carried and len(carried) < len(driven):
        return "planar_ackermann", f"{len(carried)} of {len(driven)} wheels turn on a swivel"
    if carried:
        return "planar_holo", "the wheels turn together on a swivel"
    if np.abs(axles @ axles[0]).min() < 0.9:
        return "planar_holo", "axles point in different directions"
    if any(has_rollers(evidence, w) for w in driven):
        return "planar_holo", "rollers lie around the wheels' rims"
    names = [n for w in driven for n in (w.name, *tree.members[w.child])]
    names += [s.mesh.stem for w in driven for s in tree.shapes[w.child] if s.mesh]
    if evidence.says("mecanum|omni|roller", *names) or tree.holonomic_hint:
        return "planar_holo", "the wheels are called mecanum or omnidirectional"
    if np.ptp(centres @ axles[0]) < 0.2 * np.ptp(centres, axis=0).max():
        return "planar_ackermann", "the wheels run in one track"
    return "planar_diff", f"{len(driven)} wheels on parallel axles"


def find_rotors(evidence: Evidence) -> tuple[list[Joint], bool]:
    """Propeller joints, and whether the robot flies: at least three propellers, or so called."""
    tree = evidence.tree
    joints = [
        j
        for j in tree.moving
        if evidence.called(ROTOR, *evidence.own(j))
        and not tree.children.get(j.child)
        and abs(evidence.axis(j)[2]) > 0.5
    ] or _propellers(evidence)
    links = [
        link for link in tree.members[tree.root] if evidence.says(ROTOR, link) and link != tree.root
    ]
    meshes = [s.mesh.stem for s in tree.shapes[tree.root] if s.mesh is not None]
    names = (tree.name, tree.root, *meshes, *(n for j in tree.ordered for n in evidence.own(j)))
    called = evidence.called(FLYING, *names)
    return joints, len(joints) >= 3 or len(links) >= 3 or called


def _propellers(evidence: Evidence) -> list[Joint]:
    """Three or more flat things that turn endlessly about the vertical around the root's middle."""
    tree = evidence.tree
    found = []
    for joint in tree.children.get(tree.root, []):
        points = evidence.points(joint.child) - evidence.origin(joint)
        upright = joint.unlimited and abs(evidence.axis(joint)[2]) > 0.9
        if upright and not tree.children.get(joint.child) and len(points):
            flat = np.ptp(points[:, 2]) < 0.3 * np.linalg.norm(points[:, :2], axis=1).max()
            found += [joint] if flat else []
    if len(found) < 3:
        return []
    places = np.array([evidence.origin(j)[:2] for j in found])
    spread = np.linalg.norm(places - places.mean(axis=0), axis=1)
    return found if spread.min() > 0.5 * spread.max() else []
