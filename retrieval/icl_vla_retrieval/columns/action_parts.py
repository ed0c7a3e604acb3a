"""The numbers of a recording that are kept as actions, each with what it means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.action_space import (
    AXES,
    AXIS_NAMES,
    ActionSpace,
    Dimension,
    Frame,
    Kind,
    Reference,
    Rotation,
)
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel

from .kinematics import PoseFit, rotation_matrices
from .layouts import sliding, travelling
from .pool import Slot
from .units import Line, joint_line

Array = NDArray[np.float64]
SPACE = "recorded"


@dataclass(frozen=True)
class PoseActions:
    """Recorded poses (or their changes) of another tool or in another frame, turned into ours."""

    slots: tuple[Slot, ...]
    scales: tuple[float, ...]
    rotation: str
    reference: Reference
    frame: Frame
    fit: PoseFit
    effector: str

    def native(self, columns: Mapping[str, Array], measured: Array) -> Array:
        """``(T, D)`` for our tool in our frame, given ``T_base_ee`` measured ``(T, 4, 4)``."""
        x = np.column_stack([columns[s.column][:, s.index] for s in self.slots])
        x = x * np.array(self.scales)
        R = rotation_matrices(x[:, 3:], self.rotation) if self.rotation else None
        theirs = self.fit.X @ measured @ self.fit.Y
        target = theirs.copy()
        if self.reference is Reference.ABSOLUTE:
            target[:, :3, 3] = x[:, :3]
            target[:, :3, :3] = theirs[:, :3, :3] if R is None else R
        else:
            axes = theirs[:, :3, :3] if self.frame is Frame.BODY else np.eye(3)[None]
            target[:, :3, 3] += (axes @ x[:, :3, None])[..., 0]
            if R is not None:
                target[:, :3, :3] = axes @ R @ axes.swapaxes(-1, -2) @ theirs[:, :3, :3]
        ours = self.fit.ours(target)
        if self.reference is not Reference.ABSOLUTE:
            axes = measured[:, :3, :3] if self.frame is Frame.BODY else np.eye(3)[None]
            back = axes.swapaxes(-1, -2)
            move = (back @ (ours[:, :3, 3] - measured[:, :3, 3])[..., None])[..., 0]
            turn = back @ ours[:, :3, :3] @ measured[:, :3, :3].swapaxes(-1, -2) @ axes
        else:
            move, turn = ours[:, :3, 3], ours[:, :3, :3]
        if not self.rotation:
            return np.asarray(move)
        name = "quat_xyzw" if self.rotation.startswith("quat") else self.rotation.partition(" ")[0]
        return np.concatenate([move, Rotation(name).coordinates(turn)], axis=1)


@dataclass(frozen=True)
class ActionColumns:
    """The numbers that are kept as actions, and what each means.

    Attributes:
        parts: Number and meaning, in recorded order.
        poses: Poses that are not our tool's in our frame, in place of their numbers.
        follow: No commands are recorded: what is measured next stands in for them.
    """

    parts: tuple[tuple[Slot | None, Dimension], ...]
    poses: tuple[PoseActions, ...] = ()
    follow: bool = False
    task_axes: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)

    def space(self, rate: float, joints: Sequence[str]) -> ActionSpace:
        """What the kept numbers mean together."""
        return ActionSpace(
            SPACE, tuple(d for _, d in self.parts), rate, task_axes=dict(self.task_axes)
        ).with_joints(joints)

    def native(self, columns: Mapping[str, Array], q: Array, model: RobotModel) -> Array:
        """``(T, D)`` in the space's own units, given positions ``q`` ``(T, n)``."""
        out = np.zeros((len(q), len(self.parts)))
        at = {j: i for i, j in enumerate(model.embodiment.joints)}
        for k, (slot, d) in enumerate(self.parts):
            if slot is not None:
                out[:, k] = columns[slot.column][:, slot.index]
            elif self.follow:
                value = q[:, at[d.joint]] if d.joint else _opening(model, d.effector, q)
                out[:, k] = d.to_native(np.append(value[1:], value[-1:]))
        for p in self.poses:
            T = np.stack([model.T_base_frame(x, p.effector) for x in q])
            place = [
                k
                for k, (_, d) in enumerate(self.parts)
                if d.effector == p.effector and d.kind in (Kind.EE_POSITION, Kind.EE_ROTATION)
            ]
            out[:, place] = p.native(columns, T)
        return out


def _opening(model: RobotModel, arm: str, q: Array) -> Array:
    group = model.embodiment.gripper_of(arm)
    assert group is not None
    finger = travelling(group)[0]
    i = model.embodiment.joints.index(group.joints[finger])
    closed, opened = group.closed[finger], group.open[finger]
    return np.asarray((q[:, i] - closed) / (opened - closed))


def joint_dimension(
    model: RobotModel, joint: str, kind: Kind, reference: Reference, unit: str
) -> Dimension:
    """A joint's position, its change, or its velocity."""
    limits = model.embodiment.limits[joint]
    slides = sliding(model, joint)
    line = joint_line(unit, limits, slides)
    absolute = reference is Reference.ABSOLUTE and kind is Kind.JOINT_POSITION
    name, scale, offset = ("m" if slides else "rad"), line.scale, line.offset
    if not slides and math.isclose(scale, math.pi / 180) and offset == 0.0:
        name, scale = "deg", 1.0
    ends = (-math.inf, math.inf)
    if absolute:
        native = [(v - line.offset) / line.scale for v in (limits.lower, limits.upper)]
        ends = (min(native), max(native))
    group = next((g for g in model.embodiment.groups if joint in g.joints), None)
    arm = group is not None and group.kind == "arm"
    return Dimension(
        name=joint,
        kind=kind,
        role="arm" if arm or group is None else group.kind,
        effector=group.name if arm and group else (group.effector if group else ""),
        joint=joint,
        unit=f"{name}/s" if kind is Kind.JOINT_VELOCITY else name,
        scale=scale,
        offset=offset if absolute else 0.0,
        lower=ends[0],
        upper=ends[1],
        reference=reference,
    )


def pose_dimension(
    arm: str,
    place: int,
    scale: float,
    *,
    reference: Reference,
    frame: Frame,
    rotation: str,
    w_first: bool = False,
) -> Dimension:
    """One of the numbers x, y, z and a rotation's of a tool pose or its change.

    Args:
        arm: Whose.
        place: Among them.
        scale: Metres or rad of one native number.
        reference: What it counts from.
        frame: Its axes.
        rotation: Coordinates of the rotation.
        w_first: Whether a quaternion begins with w.
    """
    turning = place >= 3
    component = place - 3 if turning else place
    if turning and w_first:
        component = (component - 1) % 4
    name = AXIS_NAMES[Rotation(rotation)][component] if turning else AXES[component]
    angular = turning and rotation in ("rotvec", "euler_xyz")
    unit = "rad" if angular else "1" if turning else "m"
    if unit == "rad" and math.isclose(scale, math.pi / 180):
        unit, scale = "deg", 1.0
    if unit == "m" and math.isclose(scale, 1e-3):
        unit, scale = "mm", 1.0
    return Dimension(
        name=name,
        kind=Kind.EE_ROTATION if turning else Kind.EE_POSITION,
        effector=arm,
        component=component,
        unit=unit,
        scale=scale,
        frame=frame,
        rotation=Rotation(rotation) if turning else Rotation.ROTVEC,
        reference=reference,
    )


def gripper_dimension(robot: Embodiment, arm: str, line: Line | None = None) -> Dimension:
    """A gripper; without a line its numbers are its opening."""
    name = "gripper" if len(robot.of_kind("gripper")) == 1 else f"{arm}_gripper"
    line = line or Line(1.0)
    ends = sorted(((0 - line.offset) / line.scale, (1 - line.offset) / line.scale))
    return Dimension(
        name=name,
        kind=Kind.GRIPPER,
        role="gripper",
        effector=arm,
        scale=line.scale,
        offset=line.offset,
        lower=ends[0],
        upper=ends[1],
    )
