"""What a robot is: everything that its URDF tells, each field with its source and reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from .action_space import ActionSpace
from .errors import FrameNotFound, UnknownName
from .types import Array

Family = Literal[
    "arm",
    "bimanual",
    "mobile_base",
    "mobile_manipulator",
    "quadruped",
    "quadruped_arm",
    "biped",
    "humanoid",
    "hand",
    "drone",
    "drone_arm",
    "other",
]
Base = Literal["fixed", "planar_diff", "planar_holo", "planar_ackermann", "floating"]
GroupKind = Literal["arm", "gripper", "hand", "leg", "torso", "head", "wheel"]
Source = Literal["heuristic", "declared", "user"]


@dataclass(frozen=True)
class Provenance:
    """Where a field's value comes from, why it was taken, and whether it should be checked."""

    source: Source
    why: str
    certain: bool = True


FlagField = Literal["family", "base", "arms", "ee", "gripper", "feet", "wheels"]


@dataclass(frozen=True)
class Flag:
    """A doubt about one field that a person can settle.

    Attributes:
        field: What is doubted.
        question: The doubt, as a question with its reason.
        guess: What is taken until somebody answers.
    """

    field: FlagField
    question: str
    guess: str


@dataclass(frozen=True)
class Group:
    """Joints that belong together.

    Attributes:
        name: Unique in the robot; an arm's name is its effector's name everywhere.
        kind: What the group is.
        joints: Actuated joints, from base to tip.
        base_link: Link that the chain starts from.
        tip_link: Last link: an arm's end-effector link, a leg's foot, a wheel's link.
        effector: For a gripper or hand: the arm that carries it.
        closed: For a gripper: joint positions [m or rad] when closed, in the order of ``joints``.
        open: For a gripper: joint positions when open.
        radius: For a wheel [m].
        axle: For a wheel ``(3,)``: unit axis in the base frame.
    """

    name: str
    kind: GroupKind
    joints: tuple[str, ...]
    base_link: str
    tip_link: str
    effector: str = ""
    closed: tuple[float, ...] = ()
    open: tuple[float, ...] = ()
    radius: float | None = None
    axle: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class FrameSpec:
    """A frame fixed to a link: ``T_link_frame`` ``(4, 4)``, nested tuples so that it hashes."""

    link: str
    T_link_frame: tuple[tuple[float, ...], ...]

    @property
    def matrix(self) -> Array:
        return np.array(self.T_link_frame)

    @classmethod
    def at(cls, link: str, T: Array | None = None) -> FrameSpec:
        T = np.eye(4) if T is None else np.asarray(T, dtype=float)
        T = np.round(T, 12) + 0.0  # no 1e-17, no -0.0
        return cls(link, tuple(tuple(float(x) for x in row) for row in T))


@dataclass(frozen=True)
class JointLimits:
    """Limits of one actuated joint, SI; ``acceleration`` is the user's or a stated default."""

    lower: float
    upper: float
    velocity: float
    effort: float
    acceleration: float


@dataclass(frozen=True)
class Mimic:
    """A follower: ``q_follower = multiplier * q_master + offset``."""

    joint: str
    master: str
    multiplier: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Embodiment:
    """A robot as the rest of the program knows it.

    Attributes:
        name: Identifier, unique in a home.
        urdf: Text of the normalised URDF; mesh file names are absolute.
        urdf_path: File that it was read from.
        urdf_sha256: Hash of that file's bytes when it was read.
        family: What sort of robot.
        base: How its root moves.
        groups: Arms, grippers, legs ...
        joints: Actuated joints in order; every vector ``q`` of ours follows it. No mimic followers.
        limits: Joint -> limits.
        mimic: Followers.
        neutral: Joint -> position; inside limits and free of self-collision.
        tcp: Arm -> tool centre point.
        frames: Other named frames.
        cameras: Camera name -> its mount (optical convention).
        collision_pairs: Link pairs worth checking.
        mount: Pose of the robot's base in the world ``T_world_base``.
        payload: Mass carried at the tool [kg].
        action_spaces: What it can be commanded with; the first is the default.
        provenance: Field name -> source and reason.
        repairs: What was mended in the URDF.
        warnings: What the user should know.
        flags: Doubts that nobody has settled yet, at most one for each field.
        schema: Version of the file format.
    """

    name: str
    urdf: str
    urdf_path: Path
    urdf_sha256: str
    family: Family
    base: Base
    groups: tuple[Group, ...]
    joints: tuple[str, ...]
    limits: Mapping[str, JointLimits]
    mimic: tuple[Mimic, ...] = ()
    neutral: Mapping[str, float] = field(default_factory=dict)
    tcp: Mapping[str, FrameSpec] = field(default_factory=dict)
    frames: Mapping[str, FrameSpec] = field(default_factory=dict)
    cameras: Mapping[str, FrameSpec] = field(default_factory=dict)
    collision_pairs: tuple[tuple[str, str], ...] = ()
    mount: FrameSpec = field(default_factory=lambda: FrameSpec.at("world"))
    payload: float = 0.0
    action_spaces: tuple[ActionSpace, ...] = ()
    provenance: Mapping[str, Provenance] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    schema: int = 1

    def of_kind(self, kind: GroupKind) -> tuple[Group, ...]:
        """All groups of a kind, in order."""
        return tuple(g for g in self.groups if g.kind == kind)

    @property
    def arms(self) -> tuple[Group, ...]:
        return self.of_kind("arm")

    def group(self, name: str) -> Group:
        """The group of that name.

        Raises:
            FrameNotFound: There is none; the message lists those there are.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise FrameNotFound(
            f"{self.name} has no group {name!r}", valid=(g.name for g in self.groups)
        )

    def gripper_of(self, arm: str) -> Group | None:
        """The gripper that an arm carries, if any."""
        return next((g for g in self.of_kind("gripper") if g.effector == arm), None)

    def action_space(self, name: str | None = None) -> ActionSpace:
        """An action space by name, or the default, its joints resolved."""
        for space in self.action_spaces:
            if name is None or space.name == name:
                return space.with_joints(self.joints)
        raise UnknownName(
            f"action space of {self.name}", str(name), [s.name for s in self.action_spaces]
        )

    def array(
        self, quantity: Literal["lower", "upper", "velocity", "effort", "acceleration"]
    ) -> Array:
        """``(n,)`` of one limit over :attr:`joints`."""
        return np.array([getattr(self.limits[j], quantity) for j in self.joints])

    @property
    def neutral_q(self) -> Array:
        """``(n,)`` neutral posture over :attr:`joints`."""
        return np.array([self.neutral.get(j, 0.0) for j in self.joints])

    def with_(self, **changes: object) -> Embodiment:
        """A changed copy."""
        return replace(self, **changes)  # type: ignore[arg-type]


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
