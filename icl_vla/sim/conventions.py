"""How a robot's numbers are written: quantity, unit, scale, sign, frame, coordinates, order, rate.

A convention is drawn factor by factor. Every fifth combination of factors, by its hash, is held
out: no trained policy has met it, though each of its factors.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from icl_vla_embodiments import (
    ActionSpace,
    Dimension,
    Embodiment,
    Frame,
    Kind,
    Reference,
    Rotation,
)
from icl_vla_embodiments.action_space import UNITS, gripper_dimension, pose_dimensions

Split = Literal["train", "test"]
FACTORS: dict[str, tuple[str, ...]] = {
    "quantity": ("pose", "pose", "delta", "joint"),
    "frame": ("base", "body"),
    "rotation": ("rotvec", "euler_xyz", "quat_xyzw", "rot6d"),
    "unit": ("m", "cm", "mm", "norm"),
    "angle": ("rad", "deg"),
    "gripper": ("open", "closed", "percent", "byte"),
    "order": ("usual", "gripper first", "mixed"),
    "signs": ("usual", "usual", "mirrored"),
    "rate": ("5", "10", "15", "20"),
}
REACH, STEP = 1.0, 0.05  # [m] that +-1 stands for: of places, of steps
HELD_OUT = 5  # one combination in so many


@dataclass(frozen=True)
class Convention:
    """How a robot's actions are written.

    Attributes:
        true: What the numbers mean to the robot.
        told: What they are said to mean; the same, unless something is kept from the policy.
        factors: Factor -> value, of a drawn one.
    """

    true: ActionSpace
    told: ActionSpace
    factors: Mapping[str, str] = field(default_factory=dict)


def draw_convention(
    embodiment: Embodiment, effector: str, seed: int, split: Split, *, hidden: bool = False
) -> Convention:
    """A convention for one arm and its gripper.

    Args:
        embodiment: The robot.
        effector: The arm.
        seed: Which convention.
        split: Whether policies may be trained on it.
        hidden: Whether mirrored signs are kept from the description, so that only demonstrations
            show them.
    """
    rng = np.random.default_rng([0xC0DE, seed, int(split == "test")])
    while True:
        factors = {name: str(rng.choice(values)) for name, values in FACTORS.items()}
        if hidden:
            factors["signs"] = "mirrored"
        if held_out(factors) == (split == "test"):
            break
    dice = int(rng.integers(2**31))
    space = _space(embodiment, effector, factors, dice)
    told = _space(embodiment, effector, {**factors, "signs": "usual"}, dice) if hidden else space
    return Convention(space, told, factors)


def held_out(factors: Mapping[str, str]) -> bool:
    """Whether a combination is kept for tests. What does not apply to it does not count."""
    seen = dict(factors)
    if seen["quantity"] == "joint":
        for name in ("frame", "rotation", "unit"):
            seen.pop(name)
    elif seen["quantity"] == "pose":
        seen.pop("frame")
    text = repr(sorted(seen.items()))
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % HELD_OUT == 0


def joint_space(embodiment: Embodiment, effector: str, rate: float) -> ActionSpace:
    """Joint positions [rad or m] of one arm and its gripper's opening, at a rate [Hz]."""
    motion = _joints(embodiment, effector, {"angle": "rad"})
    space = ActionSpace("joints", (*motion, _gripper(effector, "open")), rate=rate)
    return space.with_joints(embodiment.joints)


def _space(
    embodiment: Embodiment, effector: str, factors: Mapping[str, str], dice: int
) -> ActionSpace:
    rng = np.random.default_rng(dice)
    quantity = factors["quantity"]
    if quantity == "joint":
        motion = _joints(embodiment, effector, factors)
    else:
        motion = _tool(effector, factors)
    # drawn whether they are used or not: what is told keeps the order of what is true
    flips = rng.choice([-1, 1], len(motion))
    flips[int(rng.integers(len(motion)))] = -1
    if factors["signs"] == "mirrored":
        motion = [
            d.turned() if flip < 0 and d.has_sign else d
            for d, flip in zip(motion, flips, strict=True)
        ]
    grip = _gripper(effector, factors["gripper"])
    dimensions = [*motion, grip]
    if factors["order"] == "gripper first":
        dimensions = [grip, *motion]
    elif factors["order"] == "mixed":
        dimensions = [dimensions[i] for i in rng.permutation(len(dimensions))]
    space = ActionSpace(f"convention_{dice}", tuple(dimensions), rate=float(factors["rate"]))
    return space.with_joints(embodiment.joints)


def _tool(effector: str, factors: Mapping[str, str]) -> list[Dimension]:
    """Absolute poses in the base frame, or steps from the measured pose."""
    delta = factors["quantity"] == "delta"
    rotation = Rotation(factors["rotation"])
    dimensions = pose_dimensions(
        effector,
        frame=Frame(factors["frame"]) if delta else Frame.BASE,
        reference=Reference.MEASURED if delta else Reference.ABSOLUTE,
        rotation=rotation,
    )
    made = []
    for d in dimensions:
        if d.kind is Kind.EE_POSITION:
            made.append(_length(d, factors["unit"], STEP if delta else 2 * REACH))
        elif rotation in (Rotation.ROTVEC, Rotation.EULER_XYZ):
            made.append(_angle(d, factors["angle"]))
        else:
            made.append(d)
    return made


def _joints(embodiment: Embodiment, effector: str, factors: Mapping[str, str]) -> list[Dimension]:
    """Joint positions of one arm."""
    made = []
    for joint in embodiment.group(effector).joints:
        limits = embodiment.limits[joint]
        slides = _slides(embodiment, joint)
        d = Dimension(
            joint,
            Kind.JOINT_POSITION,
            effector=effector,
            joint=joint,
            unit="m" if slides else "rad",
            lower=limits.lower,
            upper=limits.upper,
        )
        made.append(d if slides else _angle(d, factors["angle"]))
    return made


def _slides(embodiment: Embodiment, joint: str) -> bool:
    """Whether a joint is prismatic."""
    from icl_vla_embodiments.robot_model import RobotModel

    model = RobotModel(embodiment).model
    return "P" in model.joints[model.getJointId(joint)].shortname()


def _length(d: Dimension, unit: str, span: float) -> Dimension:
    """A length in a unit, or as a share of ``span`` [m]."""
    if unit == "norm":
        return replace(d, unit="m", scale=span, lower=-1.0, upper=1.0)
    return replace(d, unit=unit, lower=-span / UNITS[unit], upper=span / UNITS[unit])


def _angle(d: Dimension, unit: str) -> Dimension:
    if unit == "rad":
        return d
    return replace(d, unit="deg", lower=math.degrees(d.lower), upper=math.degrees(d.upper))


def _gripper(effector: str, way: str) -> Dimension:
    """Opening, closedness, percent or 0 to 255."""
    d = gripper_dimension(effector)
    if way == "closed":
        return replace(d, sign=-1, offset=-1.0)
    if way == "percent":
        return replace(d, unit="%", upper=100.0)
    if way == "byte":
        return replace(d, scale=1 / 255, upper=255.0)
    return d
