"""A robot description as links, joints and shapes, with forward kinematics in numpy.

Analysis and normalisation need structure and a few poses, before there is an
:class:`~icl_vla_embodiments.Embodiment`; control uses ``RobotModel``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from .. import se3
from ..embodiment import Mimic
from ..types import Array

JointType = Literal["revolute", "continuous", "prismatic", "fixed"]


@dataclass(frozen=True)
class Shape:
    """One visual or collision element.

    Attributes:
        role: "visual" or "collision".
        kind: "box", "cylinder", "sphere" or "mesh".
        size: Box: edges; cylinder: radius, length; sphere: radius; mesh: scale.
        T_link_shape: ``(4, 4)``.
        mesh: File of a mesh; None where it is missing.
        rgba: Colour, where one is given.
    """

    role: str
    kind: str
    size: tuple[float, ...]
    T_link_shape: Array
    mesh: Path | None = None
    rgba: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Joint:
    """One joint; limits are None where the file gives none.

    Attributes:
        T: ``(4, 4)`` of the child link in the parent link at zero.
        axis: ``(3,)`` unit vector in the child link.
    """

    name: str
    type: JointType
    parent: str
    child: str
    T: Array
    axis: Array
    lower: float | None = None
    upper: float | None = None
    velocity: float | None = None
    effort: float | None = None
    mimic: Mimic | None = None

    @property
    def moves(self) -> bool:
        return self.type != "fixed"

    @property
    def turns(self) -> bool:
        return self.type in ("revolute", "continuous")

    @property
    def unlimited(self) -> bool:
        """No stop within two turns: a wheel's joint, or a slip ring's."""
        if self.type == "continuous" or self.lower is None or self.upper is None:
            return self.turns
        return self.turns and self.upper - self.lower > 4.1 * np.pi

    @property
    def range(self) -> tuple[float, float]:
        """Lower and upper; a turn to each side where there are no limits."""
        if self.type == "continuous" or self.lower is None or self.upper is None:
            return -np.pi, np.pi
        return self.lower, self.upper

    def motion(self, q: float) -> Array:
        """``(4, 4)`` of the child in the parent at position ``q``."""
        if self.type == "prismatic":
            return self.T @ se3.pose(p=self.axis * q)
        return self.T @ se3.pose(se3.exp3(self.axis * q)) if self.turns else self.T


@dataclass(frozen=True)
class KinematicTree:
    """Links and joints of one robot, every link reachable from ``root``."""

    name: str
    root: str
    shapes: Mapping[str, tuple[Shape, ...]]
    joints: Mapping[str, Joint]
    masses: Mapping[str, float] = field(default_factory=dict)
    driven: frozenset[str] = frozenset()  # joints that a transmission names
    camera_links: frozenset[str] = frozenset()  # links that a simulator's camera is mounted to
    holonomic_hint: bool = False  # a simulator's plugin moves the base in any direction

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(self.shapes)

    @cached_property
    def above(self) -> dict[str, Joint]:
        """Link -> the joint that it hangs on."""
        return {joint.child: joint for joint in self.joints.values()}

    @cached_property
    def below(self) -> dict[str, list[Joint]]:
        """Link -> joints that start from it."""
        below: dict[str, list[Joint]] = {link: [] for link in self.links}
        for joint in self.joints.values():
            below[joint.parent].append(joint)
        return below

    @cached_property
    def ordered(self) -> tuple[Joint, ...]:
        """Joints from the root to the leaves, depth first, in file order."""
        out, stack = [], list(reversed(self.below[self.root]))
        while stack:
            joint = stack.pop()
            out.append(joint)
            stack.extend(reversed(self.below[joint.child]))
        return tuple(out)

    @cached_property
    def body(self) -> dict[str, str]:
        """Link -> the link nearest to the root that it is rigidly joined to."""
        body = {self.root: self.root}
        for joint in self.ordered:
            body[joint.child] = joint.child if joint.moves else body[joint.parent]
        return body

    @cached_property
    def members(self) -> dict[str, list[str]]:
        """Body -> its links, from the root outwards."""
        members: dict[str, list[str]] = {}
        for link, body in self.body.items():
            members.setdefault(body, []).append(link)
        return members

    @cached_property
    def moving(self) -> tuple[Joint, ...]:
        """Joints that move, mimic followers included, in depth-first order."""
        return tuple(j for j in self.ordered if j.moves)

    @cached_property
    def children(self) -> dict[str, list[Joint]]:
        """Body -> moving joints that start from it."""
        children: dict[str, list[Joint]] = {}
        for joint in self.moving:
            children.setdefault(self.body[joint.parent], []).append(joint)
        return children

    def up(self, joint: Joint) -> Joint | None:
        """The moving joint before this one."""
        return self.above.get(self.body[joint.parent])

    def chain(self, joint: Joint) -> list[Joint]:
        """Moving joints from the root to this one, inclusive."""
        out = [joint]
        while (before := self.up(out[-1])) is not None:
            out.append(before)
        return out[::-1]

    def subtree(self, joint: Joint) -> list[Joint]:
        """This joint and all moving joints beyond it."""
        out, stack = [], [joint]
        while stack:
            here = stack.pop()
            out.append(here)
            stack.extend(self.children.get(here.child, []))
        return out

    def angles(self, q: Mapping[str, float]) -> dict[str, float]:
        """Positions of all moving joints: followers follow, the rest is 0 (inside the limits)."""
        out: dict[str, float] = {}

        def value(joint: Joint) -> float:
            if joint.name not in out:
                if joint.mimic is not None:
                    master = value(self.joints[joint.mimic.master])
                    out[joint.name] = joint.mimic.multiplier * master + joint.mimic.offset
                else:
                    lower, upper = joint.range
                    out[joint.name] = float(q.get(joint.name, min(max(0.0, lower), upper)))
            return out[joint.name]

        for joint in self.moving:
            value(joint)
        return out

    def poses(self, q: Mapping[str, float] | None = None) -> dict[str, Array]:
        """Link -> ``T_root_link`` ``(4, 4)``; joints not in ``q`` are at zero."""
        angles = self.angles(q or {}) if q is not None else {}
        poses = {self.root: np.eye(4)}
        for joint in self.ordered:
            motion = joint.motion(angles.get(joint.name, 0.0)) if joint.moves else joint.T
            poses[joint.child] = poses[joint.parent] @ motion
        return poses
