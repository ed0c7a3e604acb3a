"""Units of recorded actions, from how far the robot goes when it is commanded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.action_space import Kind, Reference
from icl_vla_embodiments.robot_model import RobotModel

from ..errors import DatasetError
from .actions import Explanation
from .decision import Decision
from .joints import JointColumns
from .layouts import sliding
from .pool import Pool, Slot
from .units import JOINT_UNITS, SIMPLE, joint_line, of_rotation, parse

Array = NDArray[np.float64]
ALONG = (0.08, 1.15)  # share of a commanded change that a robot goes in one frame
LARGEST_TURN, LARGEST_STEP = 0.5, 0.15  # [rad], [m] that a robot has still to go


class ActionUnits:
    """Finds the units of an action's numbers.

    Args:
        pool: The recordings.
        model: The robot.
        joints: The measured joints.
        q: ``(N, n)`` measured positions.
        rate: Frames per second [Hz].
        label: How the action's columns are called together.
        notes: Where decisions go.
    """

    def __init__(
        self,
        pool: Pool,
        model: RobotModel,
        joints: Sequence[JointColumns],
        q: Array,
        rate: float,
        label: str,
        notes: list[Decision],
    ) -> None:
        self.pool, self.model, self.robot = pool, model, model.embodiment
        self.joints, self.q, self.rate, self.label, self.notes = joints, q, rate, label, notes
        self.at = {j: i for i, j in enumerate(self.robot.joints)}

    def _decide(self, column: str, unit: str, why: str, certain: bool = True) -> None:
        self.notes.append(Decision("action unit", column, unit, why, certain, "unit"))

    def of_joints(
        self, e: Explanation, slots: Sequence[Slot], joints: Sequence[str], told: str
    ) -> tuple[Kind, Reference, str]:
        """Kind, reference and unit of joint actions.

        Args:
            e: How they follow from what was measured.
            slots: The numbers.
            joints: The joint of each.
            told: "absolute", "delta" or "velocity", where it is given.
        """
        given = sorted({u for s in slots if (u := self.pool.told("unit", s))})
        measured = next((c.unit for c in self.joints if {*joints} & {*c.slots}), "rad")
        if e.reference == "absolute":
            unit = self._of_levels(e, slots, joints, given, measured)
            return Kind.JOINT_POSITION, Reference.ABSOLUTE, unit
        unit, fast = self._of_changes(e, slots, joints, told, given, measured)
        if fast:
            return Kind.JOINT_VELOCITY, Reference.ABSOLUTE, unit
        return Kind.JOINT_POSITION, self._origin(e, slots, joints, unit), unit

    def _of_levels(
        self,
        e: Explanation,
        slots: Sequence[Slot],
        joints: Sequence[str],
        given: Sequence[str],
        measured: str,
    ) -> str:
        """Unit of absolute joint positions: the measured ones', unless another fits far better."""
        if given:
            self._decide(self.label, given[0], "as given")
            return given[0]
        rows = self.pool.pairs(e.lag)
        later = self.q[rows + e.lag][:, [self.at[j] for j in joints]]
        a = self._values(slots)[rows]
        left = {u: self._unexplained(u, a, later, joints) for u in {measured, *JOINT_UNITS}}
        best = min(left, key=lambda u: left[u])
        if left[measured] <= max(2 * left[best], 0.05):
            self._decide(self.label, measured, "as the measured joints")
            return measured
        others = min(v for u, v in left.items() if u != best)
        sure = left[best] < 0.3 and left[best] < 0.5 * others
        self._decide(self.label, best, "with it they follow best", sure)
        return best

    def _values(self, slots: Sequence[Slot]) -> Array:
        return np.column_stack([self.pool.values(s) for s in slots])

    def _line(self, unit: str, joint: str) -> float:
        return joint_line(unit, self.robot.limits[joint], sliding(self.model, joint)).scale

    def _unexplained(self, unit: str, a: Array, later: Array, joints: Sequence[str]) -> float:
        """Share of a joint's variance that a unit leaves unexplained, the median over joints."""
        out = []
        for k, j in enumerate(joints):
            line = joint_line(unit, self.robot.limits[j], sliding(self.model, j))
            power = float(later[:, k].var())
            if power > 1e-8:
                out.append(float(((line(a[:, k]) - later[:, k]) ** 2).mean()) / power)
        return float(np.median(out)) if out else 0.0

    def _of_changes(
        self,
        e: Explanation,
        slots: Sequence[Slot],
        joints: Sequence[str],
        told: str,
        given: Sequence[str],
        measured: str,
    ) -> tuple[str, bool]:
        """Unit of changes of joints, and whether they are per second."""
        if given:
            self._decide(self.label, given[0], "as given")
            return given[0], told == "velocity" or parse(given[0])[-1] is True
        scale = [abs(self._line(measured, j)) for j in joints]
        slopes = [s * c for s, c in zip(e.slope, scale, strict=True) if s > 0]
        went = 1 / float(np.median(slopes)) if slopes else 1.0
        largest = float(np.quantile(np.abs(self._values(slots) * np.array(scale)), 0.995))
        fast, sure = speed(went, self.rate, largest, LARGEST_TURN, told)
        unit = f"{measured}/s" if fast and measured in SIMPLE else measured
        why = (
            f"where the action is 1 (in {measured}, as measured), the joint moves by"
            f" {went:.3g} each frame"
        )
        self._decide(self.label, unit, why, sure)
        return unit, fast

    def _origin(
        self, e: Explanation, slots: Sequence[Slot], joints: Sequence[str], unit: str
    ) -> Reference:
        """Whether changes add up, from the last command, or start at what is measured."""
        left = {Reference.MEASURED: 0.0, Reference.COMMANDED: 0.0}
        ends = list(zip(self.pool.starts, self.pool.starts[1:], strict=False))
        for slot, joint in zip(slots, joints, strict=True):
            each = self.pool.episode_values(slot)
            for own, (start, end) in zip(each, ends, strict=True):
                q = self.q[start:end, self.at[joint]]
                a = self._line(unit, joint) * own
                later = q[e.lag :]
                commands = {Reference.MEASURED: q + a, Reference.COMMANDED: q[0] + np.cumsum(a)}
                for reference, c in commands.items():
                    left[reference] += float(((c[: len(later)] - later) ** 2).sum())
        adds_up = left[Reference.COMMANDED] < 0.5 * left[Reference.MEASURED]
        return Reference.COMMANDED if adds_up else Reference.MEASURED

    def of_pose(self, e: Explanation, slots: Sequence[Slot], told: str) -> list[float]:
        """Metres and rad of one native number, for a tool pose (or its change in a frame)."""
        if e.reference == "absolute":
            why = f"position in m, rotation as {e.rotation or 'none'}: it meets the tool"
            self._decide(self.label, e.rotation or "m", why, e.fit is None or e.fit.angle < 0.3)
            turned = math.pi / 180 if e.rotation.endswith("deg") else 1.0
            return [1.0] * 3 + [turned] * (len(slots) - 3)
        steps = [_step(e.slope[:3]), _step(e.slope[3:])]
        # a share of the way that is the same in m and in rad is how late the robot follows
        alike = len(slots) > 3 and abs(math.log(steps[0] / steps[1])) < 0.15
        out = self._of_half("m", {"m": 1.0, "mm": 1e-3}, slots[:3], steps[0], alike, told)
        if len(slots) > 3:
            turning = {"rad": 1.0, "deg": math.pi / 180}
            out += self._of_half("rad", turning, slots[3:], steps[1], alike, told)
        return out

    def _of_half(
        self,
        name: str,
        units: Mapping[str, float],
        slots: Sequence[Slot],
        step: float,
        alike: bool,
        told: str,
    ) -> list[float]:
        """Of the position's or the rotation's numbers of a change of pose."""
        given = [self.pool.told("unit", s) for s in slots]
        if all(g and not of_rotation(g) for g in given):
            self._decide(slots[0].key, given[0], "as given")
            return [self._size(g) for g in given]
        values = np.abs(self._values(slots))
        large = LARGEST_TURN if name == "rad" else LARGEST_STEP
        found = []
        for unit, size in units.items():
            allowed = 1.0 if alike and size == 1.0 else large
            largest = size * float(np.quantile(values, 0.995))
            fast, sure = speed(step / size, self.rate, largest, allowed, told)
            found.append((not sure, abs(math.log(step / size)), unit, size, fast))
        unsure, _, unit, size, fast = min(found)
        certain = sum(not f[0] for f in found) == 1
        value, scale = f"{unit}/s" if fast else unit, size / (self.rate if fast else 1.0)
        if unsure:
            value, scale = f"{step:.3g}{name}", step
        why = f"the tool moves by {step:.3g} {name} each frame where the action is 1"
        self._decide(slots[0].key, value, why, certain)
        return [scale] * len(slots)

    def _size(self, unit: str) -> float:
        found = parse(unit)
        if len(found) == 2:
            raise DatasetError(
                "a change of pose has no closed end or limit",
                where="--unit",
                value=unit,
                valid=["0.05m", "0.5rad", "mm", "deg", "m/s"],
            )
        factor, name, per_second = found
        return factor * SIMPLE[name] / (self.rate if per_second else 1.0)


def _step(slopes: Array) -> float:
    """Way in a frame where the action is 1; 1 where nothing moves."""
    good = slopes[np.isfinite(slopes) & (slopes > 0)]
    return 1 / float(np.median(good)) if len(good) else 1.0


def speed(went: float, rate: float, largest: float, large: float, told: str) -> tuple[bool, bool]:
    """Whether changes are per second, and whether that is sure.

    A robot goes the whole way of a change in a frame, or (since it follows late) a part of it, but
    then the changes are small. What is per second is gone in one over the rate.

    Args:
        went: Way in a frame, where the action is 1.
        rate: Frames per second [Hz].
        largest: Largest action, in the same unit.
        large: What it must not exceed, to be a way that is left to go.
        told: "delta" or "velocity", where it is given.
    """
    half_way = went >= 0.4 and largest < 0.6  # numbers that are shares go up to 1
    a_frame = ALONG[0] <= went <= ALONG[1] and (went > 0.85 or half_way or largest <= large)
    a_second = abs(math.log(went * rate)) < 0.14
    if told:
        return told == "velocity", a_second if told == "velocity" else a_frame
    if a_second and rate <= 1.2:
        return False, False
    return a_second and not went > 0.85, a_frame != a_second
