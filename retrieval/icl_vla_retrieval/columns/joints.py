"""Which number of a column is which joint, and in which unit.

Names decide where there are any. Else the order is the robot's own, unless joint limits or a
recorded tool pose (:mod:`.kinematics`) contradict it; it counts as certain only if they leave no
other. Units: those with which every joint stays within its limits and the arm visibly moves; a
recorded tool pose decides between them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.embodiment import Group
from icl_vla_embodiments.robot_model import RobotModel

from ..errors import DatasetError
from . import names
from .decision import Decision
from .kinematics import Chain, PoseFit, fit_pose, rotation_matrices, rotations_of, turning
from .pool import Pool, Slot
from .units import JOINT_UNITS, Line, inside, joint_line

Array = NDArray[np.float64]
MOVES = 0.2  # [rad] or a tenth of it in m: the joint that moves most moves at least this far ...
SPREAD = 0.05  # ... and over this share of its range, where the numbers are shares of it
WITHIN = 0.995  # share of the frames that must be inside a joint's limits
ORDERS = 60_000  # orders that are tried against a tool pose
GRIPPER = "gripper:"  # target of a number that is the gripper of the arm named after it
OTHER = "ignore"


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


@dataclass(frozen=True)
class Candidate:
    """An order of joints (place -> target), their unit, and how the tool's rotation is written."""

    order: dict[int, str]
    unit: str
    rotation: str


def sliding(model: RobotModel, joint: str) -> bool:
    """Whether a joint slides rather than turns."""
    return "P" in model.model.joints[model.model.getJointId(joint)].shortname().removeprefix(
        "JointModel"
    )[:1]


def travelling(group: Group) -> list[int]:
    """Places of a gripper's joints that move when it opens."""
    ends = zip(group.closed, group.open, strict=True)
    return [i for i, (closed, opened) in enumerate(ends) if closed != opened]


def movable(model: RobotModel) -> list[str]:
    """Joints that a recording may name one by one: no wheels, no fingers of an arm's gripper."""
    robot = model.embodiment
    out = {j for g in robot.groups if g.kind == "wheel" for j in g.joints}
    out |= {j for g in robot.of_kind("gripper") if g.effector for j in g.joints}
    return [j for j in robot.joints if j not in out]


def layouts(model: RobotModel) -> list[tuple[str, ...]]:
    """Usual orders of a robot's joints and grippers in one vector, the most usual first."""
    robot = model.embodiment
    plain = movable(model)
    fingers = {j: g.effector for g in robot.of_kind("gripper") if g.effector for j in g.joints}
    carriers = [a.name for a in robot.arms if a.name in fingers.values()]
    last = {a.joints[-1]: GRIPPER + a.name for a in robot.arms if a.name in carriers}
    each: list[str] = []
    for joint in plain:
        each += [joint, *([last[joint]] if joint in last else [])]
    grips = [GRIPPER + name for name in carriers]
    wheels = {j for g in robot.groups if g.kind == "wheel" for j in g.joints}
    every = [j for j in robot.joints if j not in wheels]
    single = [a.name for a in robot.arms if list(fingers.values()).count(a.name) == 1]
    named = [GRIPPER + fingers[j] if fingers.get(j) in single else j for j in every]
    return list(dict.fromkeys(map(tuple, (plain, each, [*plain, *grips], named))))


def targets_by_name(pool: Pool, column: str, model: RobotModel) -> dict[int, str]:
    """Place -> target, for numbers that a person or their names settle."""
    robot = model.embodiment
    slots = pool.slots(column)
    out: dict[int, str] = {}
    whole = pool.given.map.get(column, "")
    if "," in whole:
        listed = [w.strip() for w in whole.split(",")]
        if len(listed) != len(slots):
            raise DatasetError(
                f"{column!r} has {len(slots)} numbers",
                where="--map",
                value=whole,
                remedy="name what each of them is, separated by commas; 'ignore' for what is none",
            )
        out |= {i: target(word, model) for i, word in enumerate(listed)}
    for i, slot in enumerate(slots):
        told = pool.told("map", slot)
        if told and told != whole:
            out[i] = target(told, model)
    labels = list(pool.names[column])
    if not labels:
        return out
    for i, joint in names.joints(labels, robot).items():
        grips = next((g for g in robot.of_kind("gripper") if joint in g.joints), None)
        moving = [] if grips is None else [grips.joints[k] for k in travelling(grips)]
        alone = grips is not None and grips.effector and (joint not in moving or len(moving) == 1)
        out.setdefault(i, GRIPPER + grips.effector if grips and alone else joint)
    for i, label in enumerate(labels):
        if i in out:
            continue
        if arm := names.gripper(label, robot):
            out[i] = GRIPPER + arm
        elif set(names.words(label)) & names.OTHER or names.pose_part(label):
            out[i] = OTHER
    return out


def target(word: str, model: RobotModel) -> str:
    """A target as a person writes it: a joint, ``gripper`` (or its arm), ``ignore``."""
    robot = model.embodiment
    carriers = [g.effector for g in robot.of_kind("gripper") if g.effector]
    if word == OTHER:
        return OTHER
    for g in robot.of_kind("gripper"):
        if g.effector and (word in (g.name, g.effector) or (word,) == g.joints):
            return GRIPPER + g.effector
    if word == "gripper" and len(carriers) == 1:
        return GRIPPER + carriers[0]
    if word in robot.joints:
        return word
    raise DatasetError(
        "no such joint",
        where="--map",
        value=word,
        valid=[*robot.joints, *(g.name for g in robot.of_kind("gripper")), OTHER],
    )


def spoken(word: str, model: RobotModel) -> str:
    """Inverse of :func:`target`."""
    if not word.startswith(GRIPPER):
        return word
    arm = word.removeprefix(GRIPPER)
    found = model.embodiment.gripper_of(arm)
    return found.name if found else arm


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
        told = {pool.told("unit", s) for s in self.slots} - {""}
        words = set(names.words(column)) | {w for s in self.slots for w in names.words(s.name)}
        said = [u for u, w in (("deg", {"deg", "degrees"}), ("rad", {"rad", "radians"}))
                if w & words]
        self.told = bool(pool.given.unit.get(column))
        self.said = len(said) == 1 and not self.told
        whole = pool.given.unit.get(column)
        self.units = [whole] if whole else said if len(said) == 1 else list(JOINT_UNITS)
        self._lines: dict[tuple[str, str, str], Line] = {}
        del told

    def line(self, unit: str, joint: str, slot: Slot | None = None) -> Line:
        """How a number of this unit becomes the joint's position."""
        own = self.pool.told("unit", slot) if slot else ""
        if own and "," not in own and not own.startswith(("quat", "euler", "rot")):
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
            found = self._by_pose(guess, unnamed)
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

    def _travel(self, unit: str, order: Mapping[int, str]) -> float:
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

    def _unit(
        self, order: Mapping[int, str], feasible: list[str], notes: list[Decision]
    ) -> str:
        """The unit, from limits and from how far the joints move; the decision goes to ``notes``."""

        def decided(unit: str, why: str, certain: bool = True) -> str:
            notes.append(Decision("unit", self.column, unit, why, certain, "unit"))
            return unit

        if self.told:
            return decided(self.units[0], "as given")
        if self.said:
            return decided(self.units[0], "by the names of the columns")
        joints = [i for i, t in order.items() if t in self.robot.joints]
        moved = [u for u in feasible if self._travel(u, order) >= MOVES]
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
        return decided(left[0], f"the joints would stay within their limits with {' or '.join(left)}",
                       False)

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
        guess = self._usual(unnamed, {*targets_by_name(self.pool, self.column, self.model).values()})
        targets = list(guess.values())
        return {
            i: [t for t in targets if t.startswith(GRIPPER) or self.fits(unit, i, t)]
            for i in unnamed
        }

    def _matching(self, unit: str, unnamed: Sequence[int]) -> dict[int, str] | None:
        """Some order that keeps all joints within their limits."""
        return next(self._orders(self._allowed(unit, unnamed)), None)

    def _orders(self, allowed: Mapping[int, list[str]]) -> Iterator[dict[int, str]]:
        """Orders in which every number has another of its allowed targets."""
        places = sorted(allowed, key=lambda i: len(allowed[i]))

        def go(k: int, taken: dict[int, str]) -> Iterator[dict[int, str]]:
            if k == len(places):
                yield dict(taken)
                return
            for t in allowed[places[k]]:
                if t not in taken.values():
                    yield from go(k + 1, {**taken, places[k]: t})

        yield from go(0, {})

    def _only_order(
        self, order: Mapping[int, str], unnamed: Sequence[int], feasible: Sequence[str]
    ) -> bool:
        """Whether limits allow no other order, whatever the unit."""
        found = {
            tuple(sorted(o.items()))
            for u in feasible
            for o in itertools.islice(self._orders(self._allowed(u, unnamed)), 2)
        }
        return found == {tuple(sorted((i, order[i]) for i in unnamed))}

    def _by_pose(
        self, guess: dict[int, str], unnamed: list[int]
    ) -> tuple[dict[int, str], str, PoseFit, bool] | None:
        """Order and unit with which forward kinematics meets a recorded tool pose."""
        for arm, recorded in self.poses.items():
            chain = Chain(self.model, arm)
            if not {*chain.joints} <= {*guess.values()}:
                continue
            usual = [Candidate(guess, u, r) for u in self.units for r in self._rotations(recorded)]
            best = self._best_fit(usual, chain, recorded)
            if best:
                return (*best, True)
            mine = [i for i in unnamed if guess[i] in chain.joints or guess[i].startswith(GRIPPER)]
            if len(mine) < len(chain.joints) or len(self.robot.arms) > 1:
                continue
            ranked = [r for u in self.units for r in self._rank(u, guess, mine, chain, recorded)]
            ranked.sort(key=lambda r: r[0])
            # parallel axes turn the tool alike in any order: only positions tell them apart
            near = [c for error, c in ranked if error < 1.5 * ranked[0][0] + 0.01][:60]
            best = self._best_fit(near, chain, recorded)
            if best:
                rivals = [c for c in near if c.order != best[0]]
                return (*best, self._best_fit(rivals, chain, recorded) is None)
        return None

    def _rotations(self, recorded: Array) -> list[str]:
        return rotations_of(recorded[:, 3:]) or [""]

    def _positions(self, order: Mapping[int, str], unit: str, chain: Chain, rows: Array) -> Array:
        place = {t: i for i, t in order.items()}
        return np.column_stack(
            [
                self.line(unit, j, self.slots[place[j]])(self.values[rows, place[j]])
                for j in chain.joints
            ]
        )

    def _best_fit(
        self, candidates: Sequence[Candidate], chain: Chain, recorded: Array
    ) -> tuple[dict[int, str], str, PoseFit] | None:
        rows = np.linspace(0, len(recorded) - 1, min(100, len(recorded))).astype(int)
        found = []
        for c in candidates:
            T = chain(self._positions(c.order, c.unit, chain, rows))
            fit = fit_pose(recorded[rows], c.rotation, T)
            if fit.good and self._travel(c.unit, c.order) >= MOVES:
                found.append((fit.distance + fit.angle, len(found), c, fit))
        if not found:
            return None
        _, _, best, fit = min(found, key=lambda f: f[:2])
        return best.order, best.unit, fit

    def _rank(
        self,
        unit: str,
        guess: dict[int, str],
        mine: list[int],
        chain: Chain,
        recorded: Array,
    ) -> list[tuple[float, Candidate]]:
        """Orders by how well angles between frames (or distances) agree, for a few frames."""
        rows = np.linspace(0, len(recorded) - 1, 16).astype(int)
        targets = [guess[i] for i in mine]
        allowed = {
            i: [t for t in targets if t.startswith(GRIPPER) or self.fits(unit, i, t)] for i in mine
        }
        orders = list(itertools.islice(self._orders(allowed), ORDERS + 1))
        if not orders or len(orders) > ORDERS:
            return []
        joints = list(chain.joints)
        place = np.array([[next(i for i, t in o.items() if t == j) for j in joints] for o in orders])
        lines = {(i, j): self.line(unit, j, self.slots[i]) for i in mine for j in joints}
        scale = np.array([[lines[i, j].scale for i, j in zip(p, joints, strict=True)] for p in place])
        offset = np.array([[lines[i, j].offset for i, j in zip(p, joints, strict=True)] for p in place])
        q = self.values[rows][:, place] * scale + offset  # (16, orders, k)
        out = []
        for start in range(0, len(orders), 4000):
            T = chain(q[:, start : start + 4000].transpose(1, 0, 2))  # (orders, 16, 4, 4)
            for rotation in self._rotations(recorded):
                error = _disagreement(T, recorded[rows], rotation)
                for k in np.argsort(error)[:40]:
                    order = {**guess, **orders[start + k]}
                    out.append((float(error[k]), Candidate(order, unit, rotation)))
        return out


def _disagreement(T: Array, recorded: Array, rotation: str) -> Array:
    """``(orders,)`` mean difference of angles between frames, or of distances for positions."""
    half = len(recorded) // 2
    if not rotation:
        d = np.linalg.norm(T[:, :half, :3, 3] - T[:, half:, :3, 3], axis=-1)
        truth = np.linalg.norm(recorded[:half, :3] - recorded[half:, :3], axis=-1)
        return np.asarray(np.abs(d - truth).mean(axis=1))
    truth = turning(rotation_matrices(recorded[:, 3:], rotation))
    R = T[..., :3, :3]
    cosine = np.einsum("onij,onij->on", R[:, :half], R[:, half:])
    angles = np.arccos(np.clip((cosine - 1) / 2, -1, 1))
    return np.asarray(np.abs(angles - truth).mean(axis=1))
