"""Which number of a column is which joint, and in which unit.

Names decide where there are any. Else the order is the robot's own, unless joint limits or a
recorded tool pose (:mod:`.kinematics`) contradict it; it counts as certain only if they leave no
other. Units: those with which every joint stays within its limits and the arm visibly moves; a
recorded tool pose decides between them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.robot_model import RobotModel

from . import names
from .decision import Decision
from .kinematics import PoseFit
from .layouts import GRIPPER, OTHER, layouts, sliding, spoken, targets_by_name
from .pool import Pool, Slot
from .pose_orders import PoseOrders, orders_of
from .units import JOINT_UNITS, Line, inside, joint_line, of_rotation

Array = NDArray[np.float64]
MOVES = 0.2  # [rad] or a tenth of it in m: the joint that moves most moves at least this far ...
SPREAD = 0.05  # ... and over this share of its range, where the numbers are shares of it
WITHIN = 0.995  # share of the frames that must be inside a joint's limits


@dataclass(frozen=True)
class JointColumns:
    """Joint columns understood.

    Attributes:
        slots: Joint -> its number.
        lines: Joint -> how the number becomes rad or m.
        grippers: Arm -> the number that is its gripper.
        unit: The unit of the column.
        decisions: What was decided, and why.
        fit: How the recorded tool pose relates to ours, where there is one.
    """

    slots: Mapping[str, Slot] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)
    grippers: Mapping[str, Slot] = field(default_factory=dict)
    unit: str = "rad"
    decisions: tuple[Decision, ...] = ()
    fit: PoseFit | None = None


class JointSearch:
    """Finds order and unit of one column.

    Args:
        pool: The recordings.
        column: The column.
        model: The robot.
        poses: Arm -> recorded tool poses ``(N, 3 + k)``, where there are any.
    """

    def __init__(
        self, pool: Pool, column: str, model: RobotModel, poses: Mapping[str, Array]
    ) -> None:
        self.pool, self.column, self.model = pool, column, model
        self.robot = model.embodiment
        self.slots = pool.slots(column)
        values = pool.column(column)
        self.rows = np.linspace(0, len(values) - 1, min(len(values), 2000)).astype(int)
        self.values = values[self.rows]
        self.poses = {arm: p[self.rows] for arm, p in poses.items()}
        words = set(names.words(column)) | {w for s in self.slots for w in names.words(s.name)}
        said = [
            u for u, w in (("deg", {"deg", "degrees"}), ("rad", {"rad", "radians"})) if w & words
        ]
        self.told = bool(pool.given.unit.get(column))
        self.said = len(said) == 1 and not self.told
        whole = pool.given.unit.get(column)
        self.units = [whole] if whole else said if len(said) == 1 else list(JOINT_UNITS)
        self.moves = MOVES

    def line(self, unit: str, joint: str, slot: Slot | None = None) -> Line:
        """How a number of this unit becomes the joint's position."""
        own = self.pool.told("unit", slot) if slot else ""
        if own and "," not in own and not of_rotation(own):
            unit = own
        return joint_line(unit, self.robot.limits[joint], sliding(self.model, joint))

    def fits(self, unit: str, i: int, joint: str) -> bool:
        """Whether a number stays within a joint's limits."""
        at = self.line(unit, joint, self.slots[i])(self.values[:, i])
        return inside(at, self.robot.limits[joint]) >= WITHIN

    def run(self) -> JointColumns:
        """Order and unit, with reasons."""
        named = targets_by_name(self.pool, self.column, self.model)
        rest = [i for i in range(len(self.slots)) if i not in named]
        wanted = {t for t in named.values()}
        guess = dict(named)
        if rest:
            guess |= self._usual(rest, wanted)
        if not any(t in self.robot.joints for t in guess.values()):
            return self._understood(guess, "rad", [], None)
        unnamed = [i for i in rest if i in guess]
        return self._decide(guess, unnamed)

    def _usual(self, rest: Sequence[int], taken: set[str]) -> dict[int, str]:
        """Targets of numbers without names, if they are as many as some usual layout has."""
        for layout in layouts(self.model):
            free = [t for t in layout if t not in taken]
            if len(free) == len(rest):
                return dict(zip(rest, free, strict=True))
        return {}

    def _decide(self, guess: dict[int, str], unnamed: list[int]) -> JointColumns:
        notes: list[Decision] = []
        order, unit, fit, why = guess, "", None, ""
        certain = not unnamed
        if self.poses:
            found = PoseOrders(self, guess, unnamed).best()
            if found:
                order, unit, fit, sure = found
                certain = certain or sure
                why = (
                    f"forward kinematics meets the recorded tool pose within"
                    f" {fit.distance * 1000:.1f} mm and {math.degrees(fit.angle):.2f} deg"
                )
        feasible = self._feasible(order)
        if not unit and unnamed and not feasible:
            other = next((m for u in self.units if (m := self._matching(u, unnamed))), None)
            if other:
                order = {**guess, **other}
                feasible = self._feasible(order)
        if not unit:
            unit = self._unit(order, feasible, notes)
        else:
            notes.append(Decision("unit", self.column, unit, why, option="unit"))
        if unnamed:
            if not fit:
                certain = bool(feasible) and self._only_order(order, unnamed, feasible)
                why = (
                    "joint limits allow no other order"
                    if certain
                    else "the numbers have no names, and the data allow other orders than this"
                )
            listed = ",".join(
                spoken(order.get(i, OTHER), self.model) for i in range(len(self.slots))
            )
            notes.append(Decision("joints", self.column, listed, why, certain))
        else:
            listed = ",".join(
                spoken(order.get(i, OTHER), self.model) for i in range(len(self.slots))
            )
            by = "as given" if self.pool.given.map.get(self.column, "").count(",") else "by name"
            notes.append(Decision("joints", self.column, listed, by))
        return self._understood(order, unit, notes, fit)

    def _understood(
        self,
        order: Mapping[int, str],
        unit: str,
        notes: list[Decision],
        fit: PoseFit | None,
    ) -> JointColumns:
        slots = {t: self.slots[i] for i, t in order.items() if t in self.robot.joints}
        return JointColumns(
            slots=slots,
            lines={j: self.line(unit, j, s) for j, s in slots.items()},
            grippers={
                t.removeprefix(GRIPPER): self.slots[i]
                for i, t in order.items()
                if t.startswith(GRIPPER)
            },
            unit=unit,
            decisions=tuple(notes),
            fit=fit,
        )

    # units

    def _feasible(self, order: Mapping[int, str]) -> list[str]:
        """Units with which all joints stay within their limits."""
        joints = {i: t for i, t in order.items() if t in self.robot.joints}
        return [u for u in self.units if all(self.fits(u, i, j) for i, j in joints.items())]

    def travel(self, unit: str, order: Mapping[int, str]) -> float:
        """How far the joint that moves most does, in rad (a sliding one: in tenths of a metre)."""
        out = 0.0
        for i, joint in order.items():
            if joint in self.robot.joints:
                at = self.line(unit, joint, self.slots[i])(self.values[:, i])
                moved = float(np.quantile(at, 0.995) - np.quantile(at, 0.005))
                moved *= 10.0 if sliding(self.model, joint) else 1.0
                if ".." in unit:
                    x = self.values[:, i]
                    low, high = (float(end) for end in unit.split(".."))
                    seen = float(np.quantile(x, 0.995) - np.quantile(x, 0.005)) / (high - low)
                    moved = moved if seen >= SPREAD else 0.0
                out = max(out, moved)
        return out

    def _unit(self, order: Mapping[int, str], feasible: list[str], notes: list[Decision]) -> str:
        """The unit, from limits and how far the joints move; the decision goes to ``notes``."""

        def decided(unit: str, why: str, certain: bool = True, others: Sequence[str] = ()) -> str:
            notes.append(Decision("unit", self.column, unit, why, certain, "unit", tuple(others)))
            return unit

        if self.told:
            return decided(self.units[0], "as given")
        if self.said:
            return decided(self.units[0], "by the names of the columns")
        joints = [i for i, t in order.items() if t in self.robot.joints]
        moved = [u for u in feasible if self.travel(u, order) >= MOVES]
        if not feasible:
            least = max(self.units, key=lambda u: self._share(u, order))
            return decided(
                least, "with no unit do all joints stay within their limits; least often so", False
            )
        left = moved or feasible
        x = self.values[:, joints]
        for signed, unsigned in (("-100..100", "0..100"), ("-1..1", "0..1")):
            if unsigned in left and signed in left and len(joints) >= 4:
                left.remove(signed)  # else every joint would always be in its upper half
        for ends, unit in ((100.0, "-100..100"), (1.0, "-1..1")):
            stops = (np.isclose(np.abs(x), ends, atol=1e-6).any(axis=0)).sum()
            if unit in left and stops >= 2 and np.abs(x).max() <= ends + 1e-6:
                return decided(unit, f"{stops} joints stop at exactly {ends:g}")
        if len(left) == 1 and moved:
            others = [u for u in self.units if u != left[0]]
            why = "with no other unit do the joints stay within their limits and move visibly"
            return decided(left[0], why if others else "as given")
        why = f"the joints would stay within their limits with {' or '.join(left)}"
        return decided(left[0], why, False, left[1:])

    def _share(self, unit: str, order: Mapping[int, str]) -> float:
        shares = [
            inside(self.line(unit, t, self.slots[i])(self.values[:, i]), self.robot.limits[t])
            for i, t in order.items()
            if t in self.robot.joints
        ]
        return float(np.mean(shares))

    # order

    def _allowed(self, unit: str, unnamed: Sequence[int]) -> dict[int, list[str]]:
        """Number without a name -> targets that it may be; a gripper's may be any."""
        guess = self._usual(
            unnamed, {*targets_by_name(self.pool, self.column, self.model).values()}
        )
        targets = list(guess.values())
        return {
            i: [t for t in targets if t.startswith(GRIPPER) or self.fits(unit, i, t)]
            for i in unnamed
        }

    def _matching(self, unit: str, unnamed: Sequence[int]) -> dict[int, str] | None:
        """Some order that keeps all joints within their limits."""
        return next(orders_of(self._allowed(unit, unnamed)), None)

    def _only_order(
        self, order: Mapping[int, str], unnamed: Sequence[int], feasible: Sequence[str]
    ) -> bool:
        """Whether limits allow no other order, whatever the unit."""
        found = {
            tuple(sorted(o.items()))
            for u in feasible
            for o in itertools.islice(orders_of(self._allowed(u, unnamed)), 2)
        }
        return found == {tuple(sorted((i, order[i]) for i in unnamed))}
