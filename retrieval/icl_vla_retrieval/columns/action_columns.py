"""What a recording's action columns mean, as an :class:`ActionSpace`.

Every order and meaning that the numbers may have is held against what was measured
(:mod:`.actions`); the one that explains them best is taken, and is certain if it is well ahead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.action_space import Dimension, Frame, Reference
from icl_vla_embodiments.robot_model import RobotModel

from ..errors import DatasetError
from . import actions, names
from .action_parts import (
    ActionColumns,
    PoseActions,
    gripper_dimension,
    joint_dimension,
    pose_dimension,
)
from .action_units import ActionUnits
from .actions import Explanation
from .decision import Decision
from .joints import JointColumns
from .kinematics import Chain, PoseFit
from .layouts import (
    GRIPPER,
    OTHER,
    layouts,
    spoken,
    targets_by_name,
)
from .pool import REFERENCES, Pool, Slot
from .units import of_rotation

Array = NDArray[np.float64]
EXPLAINED, AHEAD = 0.6, 0.1  # of the variance: at least, and more than the next possibility
_OURS = PoseFit("", np.eye(4), np.eye(4), 0.0, 0.0)
_WORDS = {"delta": "delta", "deltas": "delta", "rel": "delta", "relative": "delta"}
_WORDS |= {"velocity": "velocity", "vel": "velocity", "abs": "absolute", "absolute": "absolute"}


@dataclass(frozen=True)
class Possibility:
    """One meaning of an action's numbers.

    Attributes:
        explanation: How well it explains them.
        order: Place of a number -> joint, gripper, or ``.k`` for the k-th number of a pose.
        sure: Whether no other order explains them as well.
    """

    explanation: Explanation
    order: Mapping[int, str]
    sure: bool = True

    @property
    def score(self) -> float:
        return self.explanation.score


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
        self.slots = [s for c in columns for s in pool.slots(c) if pool.told("map", s) != OTHER]
        self.notes: list[Decision] = []
        self.gripper: dict[str, Slot] = {}
        nothing = {i for i, t in self._named().items() if t == OTHER}
        self.slots = [s for i, s in enumerate(self.slots) if i not in nothing]
        self.targets = self._named()
        self.label = "action" if len(columns) != 1 else columns[0]
        self.units = ActionUnits(pool, model, joints, q, rate, self.label, self.notes)

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
                valid=[
                    ", ".join(spoken(t, self.model) for t in o) for o in layouts(self.model)[:2]
                ],
                remedy=f"say what they are: --map {self.label}=joint1,joint2,gripper,...",
            )
        best, told = self._best(candidates)
        if best.explanation.what == "joints":
            return self._joint_parts(best, told)
        return self._pose_parts(best, told)

    def _joint_orders(self) -> list[Possibility]:
        taken = {t for t in self.targets.values()}
        if any(t.startswith(".") for t in taken):
            return []
        rest = [i for i in range(len(self.slots)) if i not in self.targets]
        orders: list[dict[int, str]] = []
        state = [self._state_order(c) for c in self.joints]
        for usual in [*state, *layouts(self.model)]:
            free = [t for t in usual if t not in taken]
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
                e = explain(self.pool, self.values(places), q, self.late)
                out.append(Possibility(e, best, sure))
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

    def _pose_orders(self) -> list[Possibility]:
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
        out = [Possibility(levels, order)]
        if len(places) in (3, 6):
            theirs = T if self.fit is None else self.fit.X @ T @ self.fit.Y
            out += [
                Possibility(actions.pose_changes(self.pool, a, theirs, self.late, frame), order)
                for frame in ("base", "body")
            ]
        return out

    def _poses(self, arm: str) -> Array:
        chain = self.chains[arm]
        return chain(self.q[:, [self.at[j] for j in chain.joints]])

    def _best(self, candidates: Sequence[Possibility]) -> tuple[Possibility, str]:
        """The meaning that explains the numbers best, and the reference where it is given."""
        told = self._told_reference()
        wanted = "delta" if told == "velocity" else told
        fitting = [c for c in candidates if wanted in ("", c.explanation.reference)] or candidates
        best = max(fitting, key=lambda c: c.score)
        if best.score < EXPLAINED:  # where nothing explains them, absolute is the usual guess
            best = max(fitting, key=lambda c: (c.explanation.reference == "absolute", c.score))
        e = best.explanation
        rivals = [
            c.score
            for c in fitting
            if (c.explanation.what, c.explanation.reference) != (e.what, e.reference)
        ]
        next_best = max(rivals, default=0.0)
        named = len(self.targets) == len(self.slots)
        one_kind = named or len({c.explanation.what for c in fitting}) == 1
        certain = bool(told) and one_kind
        certain = certain or (e.score >= EXPLAINED and e.score - next_best >= AHEAD)
        why = f"{e.score:.0%} of their variance follow from the measured {e.what}"
        why += f" {e.lag} frame{'s' if e.lag > 1 else ''} later"
        why += f", {next_best:.0%} by any other meaning" if rivals else ""
        if self._either_axes(fitting, e):
            certain = False
            why += "; axes of the base and of the tool explain them equally well"
        value = told if told else e.reference
        why = f"as given; {why}" if told else why
        others = tuple(r for r in REFERENCES if r != value)
        self.notes.append(Decision("actions", self.label, value, why, certain, others=others))
        return best, told

    def _either_axes(self, fitting: Sequence[Possibility], e: Explanation) -> bool:
        """Whether a change of pose may as well be in the other axes."""
        return any(
            c.explanation.reference == e.reference == "delta"
            and c.explanation.what == e.what == "pose"
            and c.explanation.frame != e.frame
            and e.score - c.score < 0.02
            for c in fitting
        )

    def _told_reference(self) -> str:
        found = {self.pool.given.map.get(c, "") for c in self.columns} & {*REFERENCES}
        said = {_WORDS[w] for c in self.columns for w in names.words(c) if w in _WORDS}
        return next(iter(found or said), "") if len(found or said) == 1 else ""

    def _joint_parts(self, best: Possibility, told: str) -> ActionColumns:
        order = best.order
        if len(self.targets) < len(self.slots):
            listed = ",".join(
                spoken(order.get(i, OTHER), self.model) for i in range(len(self.slots))
            )
            why = "the measured joints that they follow"
            self.notes.append(Decision("joints", self.label, listed, why, best.sure))
        moved = [i for i in range(len(self.slots)) if order.get(i) in self.at]
        kind, reference, unit = self.units.of_joints(
            best.explanation, [self.slots[i] for i in moved], [order[i] for i in moved], told
        )
        parts: list[tuple[Slot | None, Dimension]] = []
        for i, slot in enumerate(self.slots):
            target = order.get(i, OTHER)
            if target.startswith(GRIPPER):
                parts.append(self._gripper(slot, target))
            elif target in self.at:
                own = self.pool.told("unit", slot)
                own = own if own and not of_rotation(own) else unit
                parts.append((slot, joint_dimension(self.model, target, kind, reference, own)))
        return ActionColumns(tuple(parts))

    def _gripper(self, slot: Slot, target: str) -> tuple[Slot, Dimension]:
        arm = target.removeprefix(GRIPPER)
        self.gripper[arm] = slot
        return slot, gripper_dimension(self.robot, arm)

    def _pose_parts(self, best: Possibility, told: str) -> ActionColumns:
        e, arm = best.explanation, self.robot.arms[0].name
        place = {i: int(t[1:]) for i, t in best.order.items() if t.startswith(".")}
        slots = [self.slots[i] for i in sorted(place, key=lambda i: place[i])]
        reference = Reference.ABSOLUTE if e.reference == "absolute" else Reference.MEASURED
        frame = Frame.BODY if e.frame == "body" else Frame.BASE
        scales = self.units.of_pose(e, slots, told)
        rotation = "quat_xyzw" if e.rotation.startswith("quat") else e.rotation.partition(" ")[0]
        fit = self.fit if e.fit is None else e.fit
        poses: tuple[PoseActions, ...] = ()
        if fit is not None and not fit.same_frames:
            self._elsewhere(fit)
            poses = (
                PoseActions(tuple(slots), tuple(scales), e.rotation, reference, frame, fit, arm),
            )
        first = e.rotation == "quat_wxyz" and not poses
        each: dict[int, tuple[Slot | None, Dimension]] = {
            k: (
                None if poses else slots[k],
                pose_dimension(
                    arm,
                    k,
                    1.0 if poses else scales[k],
                    reference=reference,
                    frame=frame,
                    rotation=rotation,
                    w_first=first,
                ),
            )
            for k in range(len(slots))
        }
        parts: list[tuple[Slot | None, Dimension]] = []
        rest = iter(range(len(slots)))
        for i, slot in enumerate(self.slots):
            target = best.order.get(i, OTHER)
            if target.startswith(GRIPPER):
                parts.append(self._gripper(slot, target))
            elif i in place:  # what is turned into ours is x, y, z and rotation, in this order
                parts.append(each[next(rest) if poses else place[i]])
        axes = next((s.task_axes for s in self.robot.action_spaces if s.task_axes), {})
        return ActionColumns(tuple(parts), poses, task_axes=axes)

    def _elsewhere(self, fit: PoseFit) -> None:
        """Note that poses are of another tool or in another frame."""
        known = self.fit is not None and fit.X is self.fit.X
        origin = np.round(-fit.X[:3, :3].T @ fit.X[:3, 3], 3).tolist()
        tool = np.round(fit.Y[:3, 3], 3).tolist()
        why = "as the measured pose" if known else f"origin at {origin} m, tool at {tool} m in ours"
        why = f"of another tool or in another frame ({why}); turned into ours"
        self.notes.append(Decision("pose", self.label, "absolute", why, known or fit.good))
