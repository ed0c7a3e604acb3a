"""What a robot's action vector means, dimension by dimension, so that it can be executed and read.

Every dimension maps a native number ``u`` to an SI quantity::

    value = sign * (scale * u + offset) * unit_factor

:meth:`ActionSpace.decode` turns native vectors into task-frame targets, :meth:`ActionSpace.encode`
goes back; :func:`describe` (``action_text.py``) writes the space as text and ``parse`` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from . import se2, se3
from .errors import ActionSpaceError
from .types import Array, TaskTarget

if TYPE_CHECKING:
    from .kinematics import Kinematics


class Kind(StrEnum):
    """The physical quantity of a dimension."""

    JOINT_POSITION = "joint position"
    JOINT_VELOCITY = "joint velocity"
    JOINT_TORQUE = "joint torque"
    EE_POSITION = "end-effector position"
    EE_ROTATION = "end-effector rotation"
    EE_LINEAR_VELOCITY = "end-effector linear velocity"
    EE_ANGULAR_VELOCITY = "end-effector angular velocity"
    BASE_LINEAR_VELOCITY = "base linear velocity"
    BASE_ANGULAR_VELOCITY = "base angular velocity"
    BASE_POSITION = "base position"
    BASE_ROTATION = "base rotation"
    GRIPPER = "gripper opening"
    IGNORED = "ignored"


class Reference(StrEnum):
    """What a number counts from."""

    ABSOLUTE = "absolute"
    MEASURED = "delta from measured"
    COMMANDED = "delta from commanded"
    CHUNK_START = "delta from chunk start"


class Frame(StrEnum):
    """The axes that a vector is written in."""

    BASE = "base"
    BODY = "body"
    WORLD = "world"


class Rotation(StrEnum):
    """Coordinates of a rotation, and how many there are."""

    ROTVEC = "rotvec"
    EULER_XYZ = "euler_xyz"
    QUAT_XYZW = "quat_xyzw"
    ROT6D = "rot6d"

    @property
    def size(self) -> int:
        return {"rotvec": 3, "euler_xyz": 3, "quat_xyzw": 4, "rot6d": 6}[self.value]

    def matrix(self, x: ArrayLike) -> Array:
        """``(..., size) -> (..., 3, 3)``; rot6d holds the first two columns (Zhou et al. 2019)."""
        x = np.asarray(x, dtype=float)
        if self is Rotation.ROTVEC:
            return se3.exp3(x)
        if self is Rotation.EULER_XYZ:
            return se3.from_euler_xyz(x)
        if self is Rotation.QUAT_XYZW:
            return se3.from_quat_xyzw(x)
        a = x[..., :3] / np.linalg.norm(x[..., :3], axis=-1, keepdims=True)
        b = x[..., 3:] - (a * x[..., 3:]).sum(-1, keepdims=True) * a
        b = b / np.linalg.norm(b, axis=-1, keepdims=True)
        return np.stack([a, b, np.cross(a, b)], axis=-1)

    def coordinates(self, R: ArrayLike) -> Array:
        """``(..., 3, 3) -> (..., size)``."""
        R = np.asarray(R, dtype=float)
        if self is Rotation.ROTVEC:
            return se3.log3(R)
        if self is Rotation.EULER_XYZ:
            return se3.euler_xyz(R)
        if self is Rotation.QUAT_XYZW:
            return se3.quat_xyzw(R)
        return np.concatenate([R[..., :, 0], R[..., :, 1]], axis=-1)


UNITS: Mapping[str, float] = {
    "m": 1.0,
    "cm": 1e-2,
    "mm": 1e-3,
    "rad": 1.0,
    "deg": math.pi / 180,
    "m/s": 1.0,
    "cm/s": 1e-2,
    "mm/s": 1e-3,
    "rad/s": 1.0,
    "deg/s": math.pi / 180,
    "N m": 1.0,
    "1": 1.0,
    "%": 1e-2,
}
"""SI value of one unit. A gripper's SI quantity is its opening, 0 closed to 1 open, unit "1"."""

AXES = ("x", "y", "z")
_VECTOR_KINDS = {
    Kind.EE_POSITION,
    Kind.EE_LINEAR_VELOCITY,
    Kind.EE_ANGULAR_VELOCITY,
    Kind.BASE_LINEAR_VELOCITY,
    Kind.BASE_ANGULAR_VELOCITY,
    Kind.BASE_POSITION,
}


@dataclass(frozen=True)
class Dimension:
    """One number of an action vector.

    Attributes:
        name: Column name, unique in its space.
        kind: The physical quantity.
        role: Kind of group it moves: "arm", "gripper", "base", "torso", "head", "leg", "hand".
        effector: Name of the end effector (or gripper) it belongs to; for the base "", or a name
            where its pose is one of the poses that are decoded.
        component: Axis 0..2 of a vector, or index of a rotation coordinate.
        joint: Joint name for joint kinds.
        unit: A key of :data:`UNITS`.
        scale: Native to unit.
        offset: Added after scaling, in units.
        sign: +1 or -1, applied last.
        lower: Smallest native value.
        upper: Largest native value.
        frame: Axes of a vector or rotation.
        rotation: Coordinates, for the rotation kinds.
        reference: What the value counts from.
    """

    name: str
    kind: Kind
    role: str = "arm"
    effector: str = ""
    component: int = 0
    joint: str = ""
    unit: str = "1"
    scale: float = 1.0
    offset: float = 0.0
    sign: int = 1
    lower: float = -math.inf
    upper: float = math.inf
    frame: Frame = Frame.BASE
    rotation: Rotation = Rotation.ROTVEC
    reference: Reference = Reference.ABSOLUTE

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ActionSpaceError(
                f"dimension {self.name!r} has an unknown unit", value=self.unit, valid=UNITS
            )
        if self.sign not in (1, -1) or not self.scale or not math.isfinite(self.scale):
            raise ActionSpaceError(
                f"dimension {self.name!r} cannot be inverted",
                value=f"sign {self.sign}, scale {self.scale}",
                remedy="use sign 1 or -1 and a scale that is finite and not 0",
            )

    def to_si(self, u: ArrayLike) -> Array:
        """Native to SI."""
        value = self.sign * (self.scale * np.asarray(u, dtype=float) + self.offset)
        return value * UNITS[self.unit]

    def to_native(self, value: ArrayLike) -> Array:
        """SI to native; inverse of :meth:`to_si`."""
        in_units = np.asarray(value, dtype=float) / UNITS[self.unit]
        return (in_units / self.sign - self.offset) / self.scale

    @property
    def turns(self) -> bool:
        """Whether it is a coordinate of a rotation, which means nothing on its own."""
        return self.kind in (Kind.EE_ROTATION, Kind.BASE_ROTATION)

    @property
    def has_sign(self) -> bool:
        """Whether :meth:`turned` makes sense: not of openings, nor of a matrix's coordinates."""
        signed = not self.turns or self.rotation in (Rotation.ROTVEC, Rotation.EULER_XYZ)
        return signed and self.kind not in (Kind.GRIPPER, Kind.IGNORED)

    def turned(self) -> Dimension:
        """The numbers that run the other way, of the same quantity within the same limits."""
        other = replace(self, sign=-self.sign)
        limits = sorted(other.to_native(self.to_si([self.lower, self.upper])).tolist())
        return replace(other, lower=limits[0], upper=limits[1])


@dataclass(frozen=True)
class SpaceState:
    """What deltas count from.

    Attributes:
        poses: Effector -> measured ``T_base_ee`` ``(4, 4)``.
        q: ``(n,)`` measured actuated positions.
        grippers: Effector -> measured opening.
        commanded: The last target sent, where one was.
        T_world_base: ``(4, 4)``.
    """

    poses: Mapping[str, Array] = field(default_factory=dict)
    q: Array | None = None
    grippers: Mapping[str, float] = field(default_factory=dict)
    commanded: TaskTarget | None = None
    T_world_base: Array | None = None


@dataclass(frozen=True)
class ActionSpace:
    """Ordered dimensions and their rate.

    Attributes:
        name: Identifier, e.g. "ee_pose".
        dimensions: In the order of the native vector.
        rate: Actions per second [Hz].
        task_axes: Effector -> six flags (x y z, rx ry rz in the base frame) of the directions that
            the robot can control; all six where absent. A 5-DoF arm clears one.
        notes: Free text that the policy reads beside the description.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    rate: float
    task_axes: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    notes: str = ""

    def __post_init__(self) -> None:
        names = [d.name for d in self.dimensions]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ActionSpaceError(f"action space {self.name!r} repeats a dimension", value=twice)
        if not self.rate > 0:
            raise ActionSpaceError(f"action space {self.name!r} has no rate", value=self.rate)
        for _, group in self._groups():
            kind = group[0][1].kind
            settings = {(d.frame, d.reference, d.rotation) for _, d in group}
            if kind in _VECTOR_KINDS | {Kind.EE_ROTATION, Kind.BASE_ROTATION} and len(settings) > 1:
                raise ActionSpaceError(
                    f"the {kind} dimensions of {group[0][1].effector!r} disagree on frame,"
                    " reference or rotation",
                    where=f"action space {self.name!r}",
                    value=[d.name for _, d in group],
                )
            if kind in (Kind.EE_ROTATION, Kind.BASE_ROTATION):
                need = list(range(group[0][1].rotation.size))
                have = sorted(d.component for _, d in group)
                if have != need:
                    raise ActionSpaceError(
                        f"a {group[0][1].rotation} rotation needs components {need}",
                        where=f"action space {self.name!r}",
                        value=have,
                    )

    def __len__(self) -> int:
        return len(self.dimensions)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(d.name for d in self.dimensions)

    @property
    def lower(self) -> Array:
        """``(D,)`` native limits."""
        return np.array([d.lower for d in self.dimensions])

    @property
    def upper(self) -> Array:
        """``(D,)`` native limits."""
        return np.array([d.upper for d in self.dimensions])

    @property
    def effectors(self) -> tuple[str, ...]:
        """End effectors and grippers that it moves, in order of appearance."""
        return tuple(dict.fromkeys(d.effector for d in self.dimensions if d.effector))

    def _groups(self) -> Iterator[tuple[tuple[Kind, str], list[tuple[int, Dimension]]]]:
        groups: dict[tuple[Kind, str], list[tuple[int, Dimension]]] = {}
        for i, d in enumerate(self.dimensions):
            groups.setdefault((d.kind, d.effector), []).append((i, d))
        yield from groups.items()

    def describe(self) -> str:
        """The space as text that a person and a model can read; :meth:`parse` reads it back."""
        from .action_text import describe

        return describe(self)

    @staticmethod
    def parse(text: str) -> ActionSpace:
        """Read :meth:`describe`'s text back, exactly."""
        from .action_text import parse

        return parse(text)

    def to_yaml(self) -> str:
        """The space as YAML that a person can write; :meth:`from_yaml` reads it back."""
        from .action_yaml import to_yaml

        return to_yaml(self)

    @staticmethod
    def from_yaml(source: Path | str) -> ActionSpace:
        """Read a YAML file (or text) written by hand; no URDF is needed."""
        from .action_yaml import from_yaml

        return from_yaml(source)

    def turned(self, names: Collection[str]) -> ActionSpace:
        """The same numbers, some of them running the other way (:meth:`Dimension.turned`)."""
        each = (d.turned() if d.name in names else d for d in self.dimensions)
        return replace(self, dimensions=tuple(each))

    def clip(self, native: ArrayLike) -> Array:
        """Native vectors ``(..., D)`` clipped to the limits."""
        return np.clip(np.asarray(native, dtype=float), self.lower, self.upper)

    def decode(
        self, native: ArrayLike, state: SpaceState, model: Kinematics | None = None
    ) -> tuple[TaskTarget, ...]:
        """Native actions to task-frame targets.

        Args:
            native: ``(H, D)``, consecutive actions.
            state: What deltas count from. Step 0 counts from ``state``; later steps of a delta
                count from the target before them, or from ``state`` where the reference is the
                chunk's start.
            model: Forward kinematics; joint actions then also yield effector poses.

        Returns:
            ``H`` targets.
        """
        native = np.atleast_2d(np.asarray(native, dtype=float))
        if native.shape[1] != len(self):
            raise ActionSpaceError(
                f"action space {self.name!r} has {len(self)} dimensions", value=native.shape
            )
        si = np.stack([d.to_si(native[:, i]) for i, d in enumerate(self.dimensions)], axis=1)
        targets: list[TaskTarget] = []
        previous = TaskTarget(
            poses=dict(state.poses), posture=state.q, grippers=dict(state.grippers)
        )
        for h in range(len(si)):
            target = self._decode_step(si[h], previous, state, first=h == 0)
            if model is not None and target.posture is not None and not target.poses:
                target = replace(target, poses=model.poses(target.posture))
            targets.append(target)
            previous = _carry(previous, target)
        return tuple(targets)

    def encode(
        self, targets: Sequence[TaskTarget], state: SpaceState, model: Kinematics | None = None
    ) -> Array:
        """Task-frame targets to native actions ``(H, D)``; inverse of :meth:`decode`.

        End effectors that nothing is asked of stay where they were asked to be, or are. ``model``
        solves inverse kinematics where joint dimensions meet a target without posture.
        """
        out = np.zeros((len(targets), len(self)))
        previous = TaskTarget(
            poses=dict(state.poses), posture=state.q, grippers=dict(state.grippers)
        )
        for h, target in enumerate(targets):
            asked = {**target.poses, **target.twists}
            idle = {
                e: T for e, T in previous.poses.items() if e in self.effectors and e not in asked
            }
            target = replace(target, poses={**idle, **target.poses})
            wants_joints = any(d.kind is Kind.JOINT_POSITION for d in self.dimensions)
            if wants_joints and target.posture is None and model is not None:
                guess = previous.posture if previous.posture is not None else model.neutral
                target = replace(target, posture=model.inverse_kinematics(target.poses, guess))
            si = self._encode_step(target, previous, state, first=h == 0)
            for i, d in enumerate(self.dimensions):
                out[h, i] = d.to_native(si[i])
            previous = _carry(previous, target)
        return out

    def _origin(
        self, reference: Reference, previous: TaskTarget, state: SpaceState, first: bool
    ) -> TaskTarget:
        """The target that a delta of this reference counts from."""
        start = TaskTarget(poses=state.poses, posture=state.q, grippers=state.grippers)
        if reference is Reference.CHUNK_START:
            return start
        if reference is Reference.COMMANDED and first and state.commanded is not None:
            return _carry(start, state.commanded)
        return previous

    def _decode_step(
        self, si: Array, previous: TaskTarget, state: SpaceState, *, first: bool
    ) -> TaskTarget:
        poses: dict[str, Array] = {}
        twists: dict[str, Array] = {}
        grippers: dict[str, float] = {}
        posture = None
        base_twist = None
        base_name = ""
        base_pose = None
        for (kind, effector), group in self._groups():
            indices = [i for i, _ in group]
            d = group[0][1]
            origin = self._origin(d.reference, previous, state, first)
            delta = d.reference is not Reference.ABSOLUTE
            if kind is Kind.JOINT_POSITION:
                posture = _posture(posture, previous, self)  # one group an arm
                for i, dim in group:
                    k = _joint_index(self, dim)
                    origin = self._origin(dim.reference, previous, state, first)
                    counts_from = 0.0
                    if dim.reference is not Reference.ABSOLUTE:
                        counts_from = _need(origin.posture, self, "joint positions")[k]
                    posture[k] = counts_from + si[i]
            elif kind is Kind.JOINT_VELOCITY:
                posture = _posture(posture, previous, self)  # one group an arm
                for i, dim in group:
                    posture[_joint_index(self, dim)] += si[i] / self.rate
            elif kind is Kind.EE_POSITION:
                T = poses.setdefault(effector, _pose(previous, effector, self).copy())
                values = _scatter(si[indices], [dim.component for _, dim in group], T[:3, 3])
                if delta:
                    step = _scatter(si[indices], [dim.component for _, dim in group], np.zeros(3))
                    values = (
                        _pose(origin, effector, self)[:3, 3]
                        + _axes(d.frame, origin, effector, self, state) @ step
                    )
                elif d.frame is Frame.WORLD:
                    values = se3.act(_base_world(state), values[None])[0]
                T[:3, 3] = values
            elif kind is Kind.EE_ROTATION:
                T = poses.setdefault(effector, _pose(previous, effector, self).copy())
                order = np.argsort([dim.component for _, dim in group])
                R = d.rotation.matrix(si[indices][order])
                if delta:
                    axes = _axes(d.frame, origin, effector, self, state)
                    R = axes @ R @ axes.T @ _pose(origin, effector, self)[:3, :3]
                elif d.frame is Frame.WORLD:
                    R = _base_world(state)[:3, :3] @ R
                T[:3, :3] = R
            elif kind in (Kind.EE_LINEAR_VELOCITY, Kind.EE_ANGULAR_VELOCITY):
                twist = twists.setdefault(effector, np.zeros(6))
                step = _scatter(si[indices], [dim.component for _, dim in group], np.zeros(3))
                step = _axes(d.frame, previous, effector, self, state) @ step
                twist[_half(kind)] = step
            elif kind in (Kind.BASE_LINEAR_VELOCITY, Kind.BASE_ANGULAR_VELOCITY):
                base_twist = np.zeros(6) if base_twist is None else base_twist
                base_name = effector
                step = _scatter(si[indices], [dim.component for _, dim in group], np.zeros(3))
                base_twist[_half(kind)] = step
            elif kind is Kind.BASE_POSITION:
                base_pose = _base_pose(base_pose, state)
                base_pose[:3, 3] = _scatter(
                    si[indices], [dim.component for _, dim in group], base_pose[:3, 3]
                )
            elif kind is Kind.BASE_ROTATION:
                base_pose = _base_pose(base_pose, state)
                order = np.argsort([dim.component for _, dim in group])
                base_pose[:3, :3] = d.rotation.matrix(si[indices][order])
            elif kind is Kind.GRIPPER:
                value = float(si[indices[0]])
                grippers[effector] = value + (origin.grippers.get(effector, 0.0) if delta else 0.0)
        for effector, twist in twists.items():  # where the twist leads within one step
            T = _pose(previous, effector, self).copy()
            T[:3, 3] += twist[:3] / self.rate
            T[:3, :3] = se3.exp3(twist[3:] / self.rate) @ T[:3, :3]
            poses[effector] = T
        if base_twist is not None and base_name in previous.poses:
            poses[base_name] = _driven(previous.poses[base_name], base_twist / self.rate)
        return TaskTarget(
            poses=poses,
            twists=twists,
            grippers=grippers,
            base_twist=base_twist,
            T_world_base=base_pose,
            posture=posture,
        )

    def _encode_step(
        self, target: TaskTarget, previous: TaskTarget, state: SpaceState, *, first: bool
    ) -> Array:
        si = np.zeros(len(self))
        for (kind, effector), group in self._groups():
            indices = [i for i, _ in group]
            components = [dim.component for _, dim in group]
            d = group[0][1]
            origin = self._origin(d.reference, previous, state, first)
            delta = d.reference is not Reference.ABSOLUTE
            if kind is Kind.JOINT_POSITION:
                posture = _need(target.posture, self, "a posture")
                for i, dim in group:
                    k = _joint_index(self, dim)
                    origin = self._origin(dim.reference, previous, state, first)
                    si[i] = posture[k]
                    if dim.reference is not Reference.ABSOLUTE:
                        si[i] -= _need(origin.posture, self, "joint positions")[k]
            elif kind is Kind.JOINT_VELOCITY:
                posture = _need(target.posture, self, "a posture")
                start = _need(previous.posture, self, "joint positions")
                for i, dim in group:
                    k = _joint_index(self, dim)
                    si[i] = (posture[k] - start[k]) * self.rate
            elif kind is Kind.EE_POSITION:
                values = _pose(target, effector, self)[:3, 3]
                if delta:
                    axes = _axes(d.frame, origin, effector, self, state)
                    values = axes.T @ (values - _pose(origin, effector, self)[:3, 3])
                elif d.frame is Frame.WORLD:
                    values = se3.act(se3.inverse(_base_world(state)), values[None])[0]
                si[indices] = values[components]
            elif kind is Kind.EE_ROTATION:
                R = _pose(target, effector, self)[:3, :3]
                if delta:
                    axes = _axes(d.frame, origin, effector, self, state)
                    R = axes.T @ R @ _pose(origin, effector, self)[:3, :3].T @ axes
                elif d.frame is Frame.WORLD:
                    R = _base_world(state)[:3, :3].T @ R
                si[indices] = d.rotation.coordinates(R)[components]
            elif kind in (Kind.EE_LINEAR_VELOCITY, Kind.EE_ANGULAR_VELOCITY):
                T, start_ = _pose(target, effector, self), _pose(previous, effector, self)
                if kind is Kind.EE_LINEAR_VELOCITY:
                    step = (T[:3, 3] - start_[:3, 3]) * self.rate
                else:
                    step = se3.log3(T[:3, :3] @ start_[:3, :3].T) * self.rate
                step = _axes(d.frame, previous, effector, self, state).T @ step
                si[indices] = step[components]
            elif kind in (Kind.BASE_LINEAR_VELOCITY, Kind.BASE_ANGULAR_VELOCITY):
                twist = target.base_twist
                if twist is None and effector in target.poses and effector in previous.poses:
                    twist = _drive(previous.poses[effector], target.poses[effector]) * self.rate
                twist = np.zeros(6) if twist is None else twist
                si[indices] = twist[_half(kind)][components]
            elif kind is Kind.BASE_POSITION:
                si[indices] = _need(target.T_world_base, self, "a base pose")[:3, 3][components]
            elif kind is Kind.BASE_ROTATION:
                R = _need(target.T_world_base, self, "a base pose")[:3, :3]
                si[indices] = d.rotation.coordinates(R)[components]
            elif kind is Kind.GRIPPER:
                opening = target.grippers.get(effector, previous.grippers.get(effector, 0.0))
                si[indices[0]] = opening - (origin.grippers.get(effector, 0.0) if delta else 0.0)
        return si

    @property
    def joint_order(self) -> tuple[str, ...]:
        """Joints that the space's postures are indexed by; set by :meth:`with_joints`."""
        return self._joints

    _joints: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def with_joints(self, joints: Sequence[str]) -> ActionSpace:
        """The same space, its joint names resolved against a robot's actuated joints."""
        return replace(self, _joints=tuple(joints))


def _joint_index(space: ActionSpace, dim: Dimension) -> int:
    joints = space._joints or tuple(
        d.joint for d in space.dimensions if d.kind in (Kind.JOINT_POSITION, Kind.JOINT_VELOCITY)
    )
    try:
        return joints.index(dim.joint)
    except ValueError:
        raise ActionSpaceError(
            f"dimension {dim.name!r} moves a joint that the robot does not have",
            value=dim.joint,
            valid=joints,
        ) from None


def _need(value: Array | None, space: ActionSpace, what: str) -> Array:
    if value is None:
        raise ActionSpaceError(f"action space {space.name!r} needs {what} to be given")
    return np.asarray(value, dtype=float)


def _posture(current: Array | None, previous: TaskTarget, space: ActionSpace) -> Array:
    """What the groups before have set, on top of the posture before."""
    return _need(previous.posture, space, "joint positions").copy() if current is None else current


def _pose(target: TaskTarget, effector: str, space: ActionSpace) -> Array:
    if effector not in target.poses:
        raise ActionSpaceError(
            f"action space {space.name!r} needs the pose of {effector!r}", valid=target.poses
        )
    return target.poses[effector]


def _scatter(values: Array, components: Sequence[int], into: Array) -> Array:
    out = into.copy()
    out[list(components)] = values
    return out


def _half(kind: Kind) -> slice:
    linear = kind in (Kind.EE_LINEAR_VELOCITY, Kind.BASE_LINEAR_VELOCITY)
    return slice(0, 3) if linear else slice(3, 6)


def _driven(T: Array, way: Array) -> Array:
    """Pose of a base on the floor after a motion ``(6,)`` at constant velocities in its frame."""
    return T @ se2.lifted(se2.exp(way[[0, 1, 5]]))


def _drive(T: Array, goal: Array) -> Array:
    """Inverse of :func:`_driven`."""
    way = np.zeros(6)
    way[[0, 1, 5]] = se2.log(se2.planar(se3.inverse(T) @ goal))
    return way


def _base_world(state: SpaceState) -> Array:
    """``T_base_world``; the identity where the base does not move."""
    return np.eye(4) if state.T_world_base is None else se3.inverse(state.T_world_base)


def _base_pose(current: Array | None, state: SpaceState) -> Array:
    if current is not None:
        return current
    return np.eye(4) if state.T_world_base is None else np.array(state.T_world_base)


def _axes(
    frame: Frame, origin: TaskTarget, effector: str, space: ActionSpace, state: SpaceState
) -> Array:
    """Rotation from a delta's axes to the base frame."""
    if frame is Frame.BODY:
        return _pose(origin, effector, space)[:3, :3]
    return _base_world(state)[:3, :3] if frame is Frame.WORLD else np.eye(3)


def _carry(previous: TaskTarget, target: TaskTarget) -> TaskTarget:
    """The state after ``target``, keeping what it does not mention."""
    return TaskTarget(
        poses={**previous.poses, **target.poses},
        grippers={**previous.grippers, **target.grippers},
        posture=previous.posture if target.posture is None else target.posture,
    )


AXIS_NAMES: Mapping[Rotation, tuple[str, ...]] = {
    Rotation.ROTVEC: ("rx", "ry", "rz"),
    Rotation.EULER_XYZ: ("roll", "pitch", "yaw"),
    Rotation.QUAT_XYZW: ("qx", "qy", "qz", "qw"),
    Rotation.ROT6D: ("r1", "r2", "r3", "r4", "r5", "r6"),
}


def pose_dimensions(
    effector: str,
    *,
    prefix: str = "",
    frame: Frame = Frame.BASE,
    reference: Reference = Reference.ABSOLUTE,
    rotation: Rotation = Rotation.ROTVEC,
    reach: float = math.inf,
) -> tuple[Dimension, ...]:
    """Position and rotation dimensions of one effector; ``reach`` [m] bounds each coordinate."""
    position = tuple(
        Dimension(
            name=f"{prefix}{axis}",
            kind=Kind.EE_POSITION,
            effector=effector,
            component=i,
            unit="m",
            lower=-reach,
            upper=reach,
            frame=frame,
            reference=reference,
        )
        for i, axis in enumerate(AXES)
    )
    angular = rotation in (Rotation.ROTVEC, Rotation.EULER_XYZ)
    bound = math.pi if angular else 1.0
    turn = tuple(
        Dimension(
            name=f"{prefix}{name}",
            kind=Kind.EE_ROTATION,
            effector=effector,
            component=i,
            unit="rad" if angular else "1",
            lower=-bound,
            upper=bound,
            frame=frame,
            reference=reference,
            rotation=rotation,
        )
        for i, name in enumerate(AXIS_NAMES[rotation])
    )
    return position + turn


def gripper_dimension(effector: str, name: str = "gripper") -> Dimension:
    """Opening of one gripper, 0 closed to 1 open."""
    return Dimension(
        name=name, kind=Kind.GRIPPER, role="gripper", effector=effector, lower=0.0, upper=1.0
    )


def make_example() -> ActionSpace:
    """Delta end-effector poses of one arm in millimetres and degrees, with a gripper, at 10 Hz."""
    dims = pose_dimensions("hand", reference=Reference.MEASURED, frame=Frame.BODY)
    dims = tuple(
        replace(d, unit="mm" if d.unit == "m" else "deg", lower=-50.0, upper=50.0) for d in dims
    )
    return ActionSpace("example", (*dims, gripper_dimension("hand")), rate=10.0)
