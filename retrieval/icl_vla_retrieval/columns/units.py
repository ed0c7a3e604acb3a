"""Units of a joint's or gripper's number, in words a person can type."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.embodiment import JointLimits

from ..errors import DemonstrationError

JOINT_UNITS = ("rad", "deg", "-100..100", "-1..1", "0..100", "0..1")
SIMPLE = {"rad": 1.0, "deg": math.pi / 180, "m": 1.0, "cm": 1e-2, "mm": 1e-3}
ROTATIONS = ("quat_xyzw", "quat_wxyz", "euler_xyz", "rotvec", "rot6d")
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_SCALED = re.compile(rf"({_NUMBER})?\s*({'|'.join(SIMPLE)})(/s)?")
_LIMITLESS = math.pi  # [rad] where the ends of a range are at, for a joint without limits


@dataclass(frozen=True)
class Line:
    """``value = scale * number + offset``, in rad, m, or opening."""

    scale: float
    offset: float = 0.0

    def __call__(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.scale * numbers + self.offset


def parse(text: str, where: str = "--unit") -> tuple[float, float] | tuple[float, str, bool]:
    """``"a..b"`` to ``(a, b)``; ``"0.05rad/s"`` to ``(0.05, "rad", True)``.

    Raises:
        DemonstrationError: It is neither.
    """
    if match := _RANGE.fullmatch(text):
        ends = float(match[1]), float(match[2])
        if ends[0] != ends[1]:
            return ends
    elif (scaled := _SCALED.fullmatch(text)) and float(scaled[1] or 1) != 0:
        return float(scaled[1] or 1), scaled[2], bool(scaled[3])
    raise DemonstrationError(
        "not a unit",
        where=where,
        value=text,
        valid=["rad", "deg", "m", "cm", "mm", "0.05m (a number of units)", "A..B", *ROTATIONS],
        remedy="A..B are the numbers at a joint's lower and upper limit,"
        " or of a gripper closed and open: 1..0, -100..100",
    )


def of_rotation(unit: str) -> bool:
    """Whether it says how a rotation is written."""
    return unit.partition(" ")[0] in ROTATIONS


def joint_line(unit: str, limits: JointLimits, slides: bool) -> Line:
    """How a joint's numbers become rad or m."""
    found = parse(unit)
    if len(found) == 2:
        lower = limits.lower if math.isfinite(limits.lower) else -_LIMITLESS
        upper = limits.upper if math.isfinite(limits.upper) else _LIMITLESS
        scale = (upper - lower) / (found[1] - found[0])
        return Line(scale, lower - scale * found[0])
    factor, name, _ = found
    if slides and name in ("rad", "deg"):  # a sliding joint among turning ones is in metres
        return Line(factor)
    return Line(factor * SIMPLE[name])


def gripper_line(unit: str, closed: float, opened: float) -> Line:
    """How a gripper's numbers become its opening; lengths and angles are its joint's."""
    found = parse(unit)
    if len(found) == 2:
        scale = 1.0 / (found[1] - found[0])
        return Line(scale, -scale * found[0])
    scale = found[0] * SIMPLE[found[1]] / (opened - closed)
    return Line(scale, -closed / (opened - closed))


def inside(values: NDArray[np.float64], limits: JointLimits) -> float:
    """Share of the values within a joint's limits, give or take 2% of their range."""
    span = limits.upper - limits.lower
    slack = 0.02 * span + 1e-6 if math.isfinite(span) else 0.0
    good = (values >= limits.lower - slack) & (values <= limits.upper + slack)
    return float(good.mean())
