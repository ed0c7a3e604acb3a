"""What recorded actions mean, as an :class:`ActionSpace`; the reasons come from :mod:`.actions`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
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

from ..errors import DatasetError
from . import actions, grippers, names
from .actions import Explanation
from .decision import Decision
from .joints import (
    GRIPPER,
    OTHER,
    JointColumns,
    layouts,
    sliding,
    spoken,
    targets_by_name,
    travelling,
)
from .kinematics import Chain, PoseFit, rotation_matrices
from .pool import Pool, Slot
from .units import JOINT_UNITS, SIMPLE, Line, joint_line, parse

Array = NDArray[np.float64]
EXPLAINED, AHEAD = 0.6, 0.1  # of the variance: at least, and more than the next possibility
ALONG = (0.08, 1.15)  # share of a commanded change that a robot goes in one frame
LARGEST_TURN, LARGEST_STEP = 0.5, 0.15  # [rad], [m] that a robot has still to go
SPACE = "recorded"
WORDS = {"delta": "delta", "deltas": "delta", "rel": "delta", "relative": "delta",
         "velocity": "velocity", "vel": "velocity", "abs": "absolute", "absolute": "absolute"}


_OURS = PoseFit("", np.eye(4), np.eye(4), 0.0, 0.0)


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
                k for k, (_, d) in enumerate(self.parts)
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


class ActionSearch:
    """Finds what a recording's action columns mean.

    Args:
        pool: The recordings.
        columns: The action columns, in order.
        model: The robot.
        joints: The measured joints.
        q: ``(N, n)`` measured positions.
        chains: Arm -> kinematics.
        rate: Frames per second [Hz].
        fit: Frames of the recorded tool pose, where there is one.
    """

    def __init__(
        self,
        pool: Pool,
        columns: Sequence[str],
        model: RobotModel,
        joints: Sequence[JointColumns],
        q: Array,
        chains: Mapping[str, Chain],
        rate: float,
        fit: PoseFit | None,
    ) -> None:
        self.pool, self.columns, self.model, self.robot = pool, columns, model, model.embodiment
        self.joints, self.q, self.chains, self.rate, self.fit = joints, q, chains, rate, fit
        self.late = actions.lags(rate)
        self.at = {j: i for i, j in enumerate(self.robot.joints)}
        self.slots = [
            s for c in columns for s in pool.slots(c) if pool.told("map", s) != OTHER
        ]
        self.notes: list[Decision] = []
        self.gripper: dict[str, Slot] = {}
        nothing = {i for i, t in self._named().items() if t == OTHER}
        self.slots = [s for i, s in enumerate(self.slots) if i not in nothing]
        self.targets = self._named()
        self.label = "action" if len(columns) != 1 else columns[0]

    def _named(self) -> dict[int, str]:
        """Place in ``slots`` -> target, by names; pose coordinates as ``.x`` .. ``.qw``."""
        out: dict[int, str] = {}
        for column in self.columns:
            own = targets_by_name(self.pool, column, self.model)
            arms = [g.effector for g in self.robot.of_kind("gripper") if g.effector]
            for i, slot in enumerate(self.slots):
                if slot.column != column:
                    continue
                part = names.pose_part(slot.name)
                if slot.index in own and not (own[slot.index] == OTHER and part):
                    out[i] = own[slot.index]
                elif part:
                    out[i] = f".{part}"
                elif self.pool.widths[column] == 1 and names.GRIPPER & set(names.words(column)):
                    arm = names.side_of(names.words(column), arms)
                    if arm:
                        out[i] = GRIPPER + arm
        return out

    def values(self, places: Sequence[int]) -> Array:
        return np.column_stack([self.pool.values(self.slots[i]) for i in places])

    def run(self) -> ActionColumns:
        """Family, order, reference and units."""
        candidates = self._joint_orders() + self._pose_orders()
        if not candidates:
            raise DatasetError(
                "the action's numbers fit neither the robot's joints nor a tool pose",
                where=self.pool.episodes[0].source,
                value=f"{self.label}: {len(self.slots)} numbers",
                valid=[", ".join(spoken(t, self.model) for t in o) for o in layouts(self.model)[:2]],
                remedy=f"say what they are: --map {self.label}=joint1,joint2,gripper,...",
            )
        return self._decide(candidates)

    # candidates: (explanation, arm -> places of its pose or "" -> places of joints, targets)

    def _joint_orders(self) -> list[tuple[Explanation, dict[int, str], bool]]:
        taken = {t for t in self.targets.values()}
        if any(t.startswith(".") for t in taken):
            return []
        rest = [i for i in range(len(self.slots)) if i not in self.targets]
        orders: list[dict[int, str]] = []
        state = [self._state_order(c) for c in self.joints]
        for order in [*state, *layouts(self.model)]:
            free = [t for t in order if t not in taken]
            if len(free) == len(rest):
                orders.append({**self.targets, **dict(zip(rest, free, strict=True))})
                break
        out = []
        for order in orders:
            moved = {i: t for i, t in order.items() if t in self.at}
            if not moved:
                continue
            for explain, changes in ((actions.joint_levels, False), (actions.joint_changes, True)):
                best, sure = self._ordered(order, [i for i in moved if i in rest], changes)
                places = [i for i, t in best.items() if t in self.at]
                q = self.q[:, [self.at[best[i]] for i in places]]
                out.append((explain(self.pool, self.values(places), q, self.late), best, sure))
        return out

    def _state_order(self, c: JointColumns) -> list[str]:
        """Targets in the order of a state column."""
        places = {s.index: j for j, s in c.slots.items()}
        places |= {s.index: GRIPPER + a for a, s in c.grippers.items()}
        return [places[i] for i in sorted(places)]

    def _ordered(
        self, order: dict[int, str], free: list[int], changes: bool
    ) -> tuple[dict[int, str], bool]:
        """The order of numbers without names that explains them best, and whether it is clear."""
        if not free:
            return order, True
        joints = [order[i] for i in free]
        q = self.q[:, [self.at[j] for j in joints]]
        found, share, clear = actions.assignment(
            self.pool, self.values(free), q, self.late, changes=changes
        )
        kept = actions.joint_changes if changes else actions.joint_levels
        usual = kept(self.pool, self.values(free), q, self.late)
        if usual.score >= share - 0.05 or not clear:
            return order, usual.score >= EXPLAINED and usual.score >= share - 0.05
        return {**order, **{i: joints[k] for i, k in zip(free, found, strict=True)}}, True

    def _pose_orders(self) -> list[tuple[Explanation, dict[int, str], bool]]:
        """A tool pose of one arm, perhaps with its gripper."""
        if any(t in self.at for t in self.targets.values()) or len(self.robot.arms) != 1:
            return []
        arm = self.robot.arms[0].name
        named = {t[1:]: i for i, t in self.targets.items() if t.startswith(".")}
        rest = [i for i in range(len(self.slots)) if i not in self.targets]
        grips = {i: t for i, t in self.targets.items() if t.startswith(GRIPPER)}
        if named:
            turn = [p for p in names.ROTATION if p in named]
            kinds = {names.ROTATION[p][0] for p in turn}
            if not {"x", "y", "z"} <= set(named) or len(kinds) > 1 or rest:
                return []
            places = [named[p] for p in ("x", "y", "z", *turn)]
            rotations = [kinds.pop()] if kinds else [""]
        else:
            width = len(rest)
            has_gripper = self.robot.gripper_of(arm) is not None and not grips
            extra = 1 if has_gripper and width in (4, 7, 8, 10) and width != 7 else 0
            if has_gripper and width == 7:  # 3 + 3 + gripper, unless it holds a unit quaternion
                x = self.values(rest[3:])
                extra = int(np.abs(np.linalg.norm(x, axis=1) - 1).max() > 0.05)
            if width - extra not in (3, 6, 7, 9):
                return []
            places = rest[: width - extra]
            rotations = actions.ROTATIONS_OF_WIDTH[width - extra - 3]
            told = {self.pool.told("unit", self.slots[i]) for i in places[3:]}
            rotations = [r for r in rotations if r in told] or rotations
            if extra:
                grips = {rest[-1]: GRIPPER + arm}
        T = self._poses(arm)
        a = self.values(places)
        order = {**{i: f".{k}" for k, i in enumerate(places)}, **grips}
        frames = [_OURS] if self.fit is None else [self.fit, _OURS]
        levels = actions.pose_levels(self.pool, a, T, self.late, rotations, frames)
        out = [(levels, order, True)]
        if len(places) in (3, 6):
            theirs = T if self.fit is None else self.fit.X @ T @ self.fit.Y
            out += [
                (actions.pose_changes(self.pool, a, theirs, self.late, frame), order, True)
                for frame in ("base", "body")
            ]
        return out

    def _poses(self, arm: str) -> Array:
        chain = self.chains[arm]
        return chain(self.q[:, [self.at[j] for j in chain.joints]])

    def _decide(
        self, candidates: list[tuple[Explanation, dict[int, str], bool]]
    ) -> ActionColumns:
        told = self._told_reference()
        fitting = [c for c in candidates if told in ("", c[0].reference, "velocity")
                   and not (told == "velocity" and c[0].reference == "absolute")]
        # where nothing explains them, absolute numbers are the usual guess
        fitting.sort(key=lambda c: (c[0].score < EXPLAINED, -c[0].score))
        if fitting and fitting[0][0].score < EXPLAINED:
            fitting.sort(key=lambda c: c[0].reference != "absolute")
        best, order, sure = fitting[0] if fitting else candidates[0]
        rivals = [c for c in fitting if (c[0].what, c[0].reference) != (best.what, best.reference)]
        ahead = best.score - max((c[0].score for c in rivals), default=0.0)
        named = bool(self.targets) and all(
            i in self.targets for i in range(len(self.slots))
        )
        certain = bool(told) and (named or len({c[0].what for c in fitting}) == 1)
        certain = certain or (best.score >= EXPLAINED and ahead >= AHEAD)
        why = (
            f"{best.score:.0%} of their variance follow from the measured {best.what}"
            f" {best.lag} frame{'s' if best.lag > 1 else ''} later"
            + (f", {max((c[0].score for c in rivals), default=0.0):.0%} by any other meaning"
               if rivals else "")
        )
        if best.reference == "delta" and best.what == "pose":
            other = next((c[0] for c in fitting if c[0].what == "pose" and c[0].reference == "delta"
                          and c[0].frame != best.frame), None)
            if other is not None and best.score - other.score < 0.02:
                certain = False
                why += "; axes of the base and of the tool explain them equally well"
        word = best.reference if told != "velocity" else "velocity"
        self.notes.append(
            Decision("actions", self.label, word, ("as given; " if told else "") + why, certain)
        )
        return (self._joint_parts if best.what == "joints" else self._pose_parts)(
            best, order, sure, certain, told
        )

    def _told_reference(self) -> str:
        told = {self.pool.given.map.get(c, "") for c in self.columns}
        found = told & {"delta", "velocity", "absolute"}
        if found:
            return found.pop()
        said = {WORDS[w] for c in self.columns for w in names.words(c) if w in WORDS}
        return said.pop() if len(said) == 1 else ""

    def _joint_parts(
        self, e: Explanation, order: dict[int, str], sure: bool, certain: bool, told: str
    ) -> ActionColumns:
        places = [i for i, t in sorted(order.items()) if t in self.at]
        listed = ",".join(
            spoken(order.get(i, OTHER), self.model) for i in range(len(self.slots))
        )
        if len(self.targets) < len(self.slots):
            self.notes.append(
                Decision("joints", self.label, listed, "the measured joints that they follow", sure)
            )
        kind, reference, unit = self._joint_unit(e, order, sorted(places), told)
        parts: list[tuple[Slot | None, Dimension]] = []
        for i in range(len(self.slots)):
            slot, t = self.slots[i], order.get(i, OTHER)
            if t.startswith(GRIPPER):
                self.gripper[t.removeprefix(GRIPPER)] = slot
                parts.append((slot, _gripper_dimension(self.robot, t.removeprefix(GRIPPER))))
            elif t in self.at:
                parts.append((slot, self._joint_dimension(slot, t, kind, reference, unit)))
        return ActionColumns(tuple(parts))

    def _joint_unit(
        self, e: Explanation, order: Mapping[int, str], places: Sequence[int], told: str
    ) -> tuple[Kind, Reference, str]:
        """Kind, reference and unit of joint actions."""
        a = self.values(places)
        joints = [order[i] for i in places]
        given = {u for i in places if (u := self.pool.told("unit", self.slots[i]))}
        state_unit = next((c.unit for c in self.joints if {*joints} & {*c.slots}), "rad")
        if e.reference == "absolute":
            units = sorted(given) if given else [state_unit, *(u for u in JOINT_UNITS if u != state_unit)]
            rows = self.pool.pairs(e.lag)
            later = self.q[rows + e.lag][:, [self.at[j] for j in joints]]
            left = {u: self._unexplained(u, a[rows], later, joints) for u in units}
            best = min(units, key=lambda u: left[u])
            unit = state_unit if left.get(state_unit, np.inf) <= max(2 * left[best], 0.05) else best
            others = sorted(v for u, v in left.items() if u != unit)
            sure = bool(given) or unit == state_unit or (
                left[unit] < 0.3 and (not others or left[unit] < 0.5 * others[0])
            )
            why = "as given" if given else (
                "as the measured joints" if unit == state_unit else "with it they follow best"
            )
            self.notes.append(Decision("action unit", self.label, unit, why, sure, "unit"))
            return Kind.JOINT_POSITION, Reference.ABSOLUTE, unit
        return self._change_unit(e, order, places, told, given, state_unit)

    def _unexplained(self, unit: str, a: Array, later: Array, joints: Sequence[str]) -> float:
        """Largest share of a joint's variance that a unit leaves unexplained (a median over joints)."""
        out = []
        for k, j in enumerate(joints):
            line = joint_line(unit, self.robot.limits[j], sliding(self.model, j))
            power = float(later[:, k].var())
            if power > 1e-8:
                out.append(float(((line(a[:, k]) - later[:, k]) ** 2).mean()) / power)
        return float(np.median(out)) if out else 0.0

    def _change_unit(
        self,
        e: Explanation,
        order: Mapping[int, str],
        places: Sequence[int],
        told: str,
        given: set[str],
        state_unit: str,
    ) -> tuple[Kind, Reference, str]:
        """Unit of changes of joints: a rad (or degree) each frame, or each second."""
        joints = [order[i] for i in places]
        fast = told == "velocity" or any(parse(u)[-1] is True for u in given)
        if given:
            unit = sorted(given)[0]
            self.notes.append(Decision("action unit", self.label, unit, "as given", True, "unit"))
        else:
            scale = {
                j: abs(joint_line(state_unit, self.robot.limits[j], sliding(self.model, j)).scale)
                for j in joints
            }
            slopes = [s * scale[j] for s, j in zip(e.slope, joints, strict=True) if s > 0]
            went = 1 / float(np.median(slopes)) if slopes else 1.0
            a = self.values(places) * np.array([scale[j] for j in joints])
            largest = float(np.quantile(np.abs(a), 0.995))
            fast, sure = _speed(went, self.rate, largest, LARGEST_TURN, told)
            unit = f"{state_unit}/s" if fast and state_unit in SIMPLE else state_unit
            why = (
                f"where the action is 1 (in {state_unit}, as measured), the joint moves by"
                f" {went:.3g} each frame"
            )
            self.notes.append(Decision("action unit", self.label, unit, why, sure, "unit"))
        if fast:
            return Kind.JOINT_VELOCITY, Reference.ABSOLUTE, unit
        return Kind.JOINT_POSITION, self._origin(e, order, places, unit), unit

    def _origin(
        self, e: Explanation, order: Mapping[int, str], places: Sequence[int], unit: str
    ) -> Reference:
        """Whether changes add up (they count from the last command) or start from what is measured."""
        left = {Reference.MEASURED: 0.0, Reference.COMMANDED: 0.0}
        for i in places:
            j = order[i]
            scale = joint_line(unit, self.robot.limits[j], sliding(self.model, j)).scale
            for k, (start, end) in enumerate(zip(self.pool.starts, self.pool.starts[1:], strict=False)):
                if end - start <= e.lag:
                    continue
                q = self.q[start:end, self.at[j]]
                a = scale * self.pool.episode_values(self.slots[i])[k]
                later = q[e.lag :]
                for reference, c in ((Reference.MEASURED, q + a), (Reference.COMMANDED, q[0] + np.cumsum(a))):
                    left[reference] += float(((c[: len(later)] - later) ** 2).sum())
        adds_up = left[Reference.COMMANDED] < 0.5 * left[Reference.MEASURED]
        return Reference.COMMANDED if adds_up else Reference.MEASURED

    def _joint_dimension(
        self, slot: Slot, joint: str, kind: Kind, reference: Reference, unit: str
    ) -> Dimension:
        own = self.pool.told("unit", slot) or unit
        own = own if not own.startswith(("quat", "euler", "rot")) else unit
        limits = self.robot.limits[joint]
        slides = sliding(self.model, joint)
        line = joint_line(own, limits, slides)
        absolute = reference is Reference.ABSOLUTE and kind is Kind.JOINT_POSITION
        name, scale, offset = ("m" if slides else "rad"), line.scale, line.offset
        if not slides and math.isclose(scale, math.pi / 180) and offset == 0.0:
            name, scale = "deg", 1.0
        ends = (-math.inf, math.inf)
        if absolute:
            native = [(v - line.offset) / line.scale for v in (limits.lower, limits.upper)]
            ends = (min(native), max(native))
        group = next((g for g in self.robot.groups if joint in g.joints), None)
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

    def _pose_parts(
        self, e: Explanation, order: dict[int, str], sure: bool, certain: bool, told: str
    ) -> ActionColumns:
        arm = self.robot.arms[0].name
        places = sorted((i for i, t in order.items() if t.startswith(".")), key=lambda i: int(order[i][1:]))
        reference = Reference.ABSOLUTE if e.reference == "absolute" else Reference.MEASURED
        frame = Frame.BODY if e.frame == "body" else Frame.BASE
        scales, fast = self._pose_scales(e, places, told)
        rotation = "quat_xyzw" if e.rotation.startswith("quat") else e.rotation.partition(" ")[0]
        fit = self.fit if e.fit is None else e.fit
        moved = fit is not None and not fit.same_frames
        if moved and fit is not None:
            known = self.fit is not None and fit.X is self.fit.X
            self.notes.append(
                Decision("pose", self.label, "absolute",
                         "of another tool or in another frame, as the measured pose; turned into"
                         " ours" if known else "of another tool or in another frame: its origin at"
                         f" {np.round(-fit.X[:3, :3].T @ fit.X[:3, 3], 3).tolist()} m, the tool at"
                         f" {np.round(fit.Y[:3, 3], 3).tolist()} m in ours", known or fit.good)
            )
        parts: list[tuple[Slot | None, Dimension]] = []
        order_of = {i: k for k, i in enumerate(places)}
        for i in range(len(self.slots)):
            slot, t = self.slots[i], order.get(i, OTHER)
            if t.startswith(GRIPPER):
                self.gripper[t.removeprefix(GRIPPER)] = slot
                parts.append((slot, _gripper_dimension(self.robot, t.removeprefix(GRIPPER))))
            elif i in order_of:
                k = order_of[i]
                scale = 1.0 if moved else scales[k]
                parts.append((None if moved else slot,
                              _pose_dimension(arm, k, reference, frame, e, rotation, scale, fast, moved)))
        poses = ()
        if moved and fit is not None:
            parts = [p for p in parts if p[1].kind is not Kind.IGNORED]
            poses = (PoseActions(tuple(self.slots[i] for i in places), tuple(scales), e.rotation,
                                 reference, frame, fit, arm),)
            pose_parts = [p for p in parts if p[1].kind is not Kind.GRIPPER]
            pose_parts.sort(key=lambda p: (p[1].kind is Kind.EE_ROTATION, p[1].component))
            parts = [*pose_parts, *(p for p in parts if p[1].kind is Kind.GRIPPER)]
        axes = next((s.task_axes for s in self.robot.action_spaces if s.task_axes), {})
        return ActionColumns(tuple(parts), poses, task_axes=axes)

    def _pose_scales(
        self, e: Explanation, places: Sequence[int], told: str
    ) -> tuple[list[float], bool]:
        """SI value of each number, and whether they are per second."""
        given = [self.pool.told("unit", self.slots[i]) for i in places]
        scales, fast = [], told == "velocity"
        if e.reference == "absolute":
            turned = math.pi / 180 if e.rotation.endswith("deg") else 1.0
            self.notes.append(
                Decision("action unit", self.label, e.rotation or "m",
                         f"position in m, rotation as {e.rotation or 'none'}: it meets the tool",
                         e.fit is None or e.fit.angle < 0.3, "unit")
            )
            return [1.0] * 3 + [turned] * (len(places) - 3), False
        usual = (("m", {"m": 1.0, "mm": 1e-3}), ("rad", {"rad": 1.0, "deg": math.pi / 180}))
        for half, (name, units) in zip((range(3), range(3, len(places))), usual, strict=True):
            mine = [k for k in half if k < len(places)]
            if not mine:
                continue
            if all(given[k] and not given[k].startswith(("quat", "euler", "rot")) for k in mine):
                for k in mine:
                    factor, unit, per_second = parse(given[k])  # type: ignore[misc]
                    scales.append(factor * SIMPLE[unit] / (self.rate if per_second else 1.0))
                    fast = fast or bool(per_second)
                self.notes.append(Decision("action unit", self.slots[places[mine[0]]].key, given[mine[0]],
                                           "as given", True, "unit"))
                continue
            slopes = [e.slope[k] for k in mine if np.isfinite(e.slope[k]) and e.slope[k] > 0]
            step = 1 / float(np.median(slopes)) if slopes else 1.0
            a = self.values([places[k] for k in mine])
            large = LARGEST_TURN if name == "rad" else LARGEST_STEP
            found = []
            for unit, size in units.items():
                largest = size * float(np.quantile(np.abs(a), 0.995))
                quick, sure = _speed(step / size, self.rate, largest, large, told)
                found.append((not sure, abs(math.log(step / size)), unit, size, quick))
            unsure, _, unit, size, quick = min(found)
            certain = not unsure and sum(not f[0] for f in found) == 1
            value = f"{unit}/s" if quick else unit
            if unsure:
                value, size = f"{step:.3g}{name}", step
            self.notes.append(
                Decision("action unit", self.slots[places[mine[0]]].key, value,
                         f"the tool moves by {step:.3g} {name} each frame where the action is 1",
                         certain, "unit")
            )
            scales += [size / (self.rate if quick else 1.0)] * len(mine)
            fast = fast or quick
        return scales, fast


def _speed(
    went: float, rate: float, largest: float, large: float, told: str
) -> tuple[bool, bool]:
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


def _pose_dimension(
    arm: str,
    k: int,
    reference: Reference,
    frame: Frame,
    e: Explanation,
    rotation: str,
    scale: float,
    fast: bool,
    moved: bool,
) -> Dimension:
    turning = k >= 3
    component = k - 3 if turning else k
    if turning and e.rotation == "quat_wxyz" and not moved:
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


def _gripper_dimension(robot: Embodiment, arm: str, line: Line | None = None) -> Dimension:
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


def understand_actions(
    pool: Pool,
    roles: Mapping[str, str],
    model: RobotModel,
    joints: Sequence[JointColumns],
    measured_grippers: Mapping[str, tuple[list[Slot], str]],
    positions: Callable[[Embodiment, Mapping[str, Array]], Array],
    chains: Mapping[str, Chain],
    rate: float,
    fit: PoseFit | None,
) -> tuple[ActionColumns, dict[str, grippers.GripperColumns], list[Decision]]:
    """Actions, grippers (measured and commanded), and the decisions about both."""
    robot = model.embodiment
    q = np.concatenate([positions(robot, e.columns) for e in pool.episodes])
    columns = [c for c, r in roles.items() if r == "action"]
    notes: list[Decision] = []
    if columns:
        search = ActionSearch(pool, columns, model, joints, q, chains, rate, fit)
        found, commanded = search.run(), search.gripper
        notes += search.notes
    else:
        found, commanded = _following(model, joints, measured_grippers), {}
        notes.append(
            Decision("actions", "", "what is measured next", "no commands are recorded", False)
        )
    grips = {}
    for arm in dict.fromkeys([*measured_grippers, *commanded]):
        group = robot.gripper_of(arm)
        if group is None or not travelling(group):
            continue
        slots, unit = measured_grippers.get(arm, ([], "rad"))
        slides = sliding(model, group.joints[travelling(group)[0]])
        grips[arm] = grippers.understand(pool, group, slots, commanded.get(arm), slides, unit)
        notes += grips[arm].decisions
    parts = tuple(
        (s, _gripper_dimension(robot, d.effector, grips[d.effector].action_line))
        if d.kind is Kind.GRIPPER and d.effector in grips and grips[d.effector].action_line
        else (s, d)
        for s, d in found.parts
    )
    return replace(found, parts=parts), grips, notes


def _following(
    model: RobotModel,
    joints: Sequence[JointColumns],
    measured_grippers: Mapping[str, object],
) -> ActionColumns:
    """Joint positions as actions, where no commands are recorded."""
    robot = model.embodiment
    known = {j for c in joints for j in c.slots}
    spaces = [s for s in robot.action_spaces if s.name == "joint_position"]
    dims = [
        d
        for d in (spaces[0].dimensions if spaces else ())
        if d.joint in known or (d.kind is Kind.GRIPPER and d.effector in measured_grippers)
    ]
    return ActionColumns(tuple((None, d) for d in dims), follow=True)
