"""Recorded columns matched to a robot: what was measured, what was commanded, how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.action_space import ActionSpace
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel

from ..demonstration import Demonstration
from ..errors import DatasetError
from ..formats.raw import Given, RawEpisode
from . import names
from .action_parts import ActionColumns
from .commanded import understand_actions
from .decision import Decision
from .joints import JointColumns, JointSearch
from .kinematics import Chain
from .layouts import travelling
from .pool import Pool, Slot
from .units import Line

Array = NDArray[np.float64]
LARGEST = 1e30  # numbers beyond, of damaged files, would overflow when they are multiplied
EVEN = 0.01  # share by which a rate may miss a whole number and still be meant as one


@dataclass(frozen=True)
class Measured:
    """How the measured state follows from the columns.

    Attributes:
        joints: Joint -> number and line.
        grippers: Arm -> number and line.
    """

    joints: Mapping[str, tuple[Slot, Line]]
    grippers: Mapping[str, tuple[Slot, Line]]

    def positions(self, robot: Embodiment, columns: Mapping[str, Array]) -> Array:
        """``(T, n)``; fingers follow their gripper's opening, the rest is neutral."""
        T = len(next(iter(columns.values())))
        q = np.tile(robot.neutral_q, (T, 1))
        at = {j: i for i, j in enumerate(robot.joints)}
        for arm, (slot, line) in self.grippers.items():
            group = robot.gripper_of(arm)
            if group is None:
                continue
            opening = line(columns[slot.column][:, slot.index])
            for joint, closed, opened in zip(group.joints, group.closed, group.open, strict=True):
                q[:, at[joint]] = closed + opening * (opened - closed)
        for joint, (slot, line) in self.joints.items():
            q[:, at[joint]] = line(columns[slot.column][:, slot.index])
        return q

    def openings(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Arm -> ``(T,)``."""
        return {
            arm: line(columns[slot.column][:, slot.index])
            for arm, (slot, line) in self.grippers.items()
        }


@dataclass(frozen=True)
class Match:
    """Columns of some episodes understood as demonstrations of a robot.

    Attributes:
        robot: The robot.
        measured: The state.
        actions: The commands.
        space: What the kept actions mean.
        rate: Frames per second [Hz].
        decisions: Every decision with its reason.
    """

    robot: Embodiment
    measured: Measured
    actions: ActionColumns
    space: ActionSpace
    rate: float
    decisions: tuple[Decision, ...]

    @property
    def flags(self) -> tuple[Decision, ...]:
        """Decisions that should be asked about."""
        return tuple(d for d in self.decisions if not d.certain)

    def demonstration(
        self, episode: RawEpisode, model: RobotModel, instruction: str | None = None
    ) -> Demonstration:
        """One episode as a demonstration.

        Args:
            episode: One of those that were matched, or of the same recording.
            model: The robot's.
            instruction: Instead of what the recording says.
        """
        q = self.measured.positions(self.robot, episode.columns)
        T = len(q)
        times = episode.times
        if times is None or not _is_at(times, self.rate):
            times = np.arange(T) / self.rate
        flags = [d.question for d in self.flags]
        return Demonstration.from_arrays(
            q=q,
            actions=self.actions.native(episode.columns, q, model),
            action_space=self.space,
            embodiment=self.robot.name,
            instruction=episode.instruction if instruction is None else instruction,
            times=times - times[0],
            grippers=self.measured.openings(episode.columns),
            cameras=dict(episode.cameras),
            provenance={
                "source": episode.source,
                "format": episode.format,
                **episode.notes,
                "decisions": "\n".join(
                    f"{d.aspect} {d.column}: {d.value} ({d.why})" for d in self.decisions
                ),
                **({"unanswered": "\n".join(flags)} if flags else {}),
            },
            model=model,
        )


def _is_at(times: Array, rate: float) -> bool:
    """Whether stamps rise at a rate, so that they can be kept."""
    periods = np.diff(times)
    if not len(periods) or not np.isfinite(times).all() or periods.min() <= 0:
        return False
    return bool(abs(float(np.median(periods)) * rate - 1) < 0.05)


def match(
    episodes: Sequence[RawEpisode], robot: Embodiment, model: RobotModel, given: Given
) -> Match:
    """Understand the columns of episodes of one recording.

    Args:
        episodes: At least one; all with the same columns.
        robot: The robot that they are of.
        model: Its kinematics.
        given: What a person settled.

    Raises:
        DatasetError: No joints are found in them, or an option names a column that is not there.
    """
    _check_finite(episodes, given)
    pool = Pool(episodes, given)
    roles = {c: pool.told_role(c) for c in pool.widths}
    poses = _poses(pool, roles, robot)
    notes: list[Decision] = []
    joints = _joints(pool, roles, model, poses, notes)
    found = _grippers(pool, roles, model, joints)
    chains = {a.name: Chain(model, a.name) for a in robot.arms}
    measured = Measured(
        {j: (s, c.lines[j]) for c in joints for j, s in c.slots.items()},
        {},
    )
    rate, timing = _rate(pool, robot)
    notes.append(timing)
    actions, grips, more = understand_actions(
        pool,
        roles,
        model,
        joints,
        found,
        measured.positions,
        chains,
        rate,
        next((c.fit for c in joints if c.fit), None),
    )
    notes += more
    measured = replace(
        measured,
        grippers={
            arm: (g.state, g.state_line)
            for arm, g in grips.items()
            if g.state is not None and g.state_line is not None
        },
    )
    missing = [
        j
        for a in robot.arms
        for j in a.joints
        if j not in measured.joints
        and j not in {x for g in robot.of_kind("gripper") for x in g.joints}
    ]
    if missing:
        notes.append(
            Decision(
                "joints",
                "",
                ",".join(missing),
                "not recorded, taken to be at rest in the neutral posture",
                False,
            )
        )
    for g in robot.of_kind("gripper"):
        if g.effector and travelling(g) and g.effector not in measured.grippers:
            why = "its measured opening is not recorded, taken to be at rest"
            notes.append(Decision("gripper", "", g.name, why, False))
    return Match(robot, measured, actions, actions.space(rate, robot.joints), rate, tuple(notes))


def _check_finite(episodes: Sequence[RawEpisode], given: Given) -> None:
    for e in episodes:
        said = given.over(e.given).map
        bad = [
            c
            for c, x in e.columns.items()
            if said.get(c, names.role(c)) != "ignore" and not (np.abs(x) < LARGEST).all()
        ]
        if bad:
            raise DatasetError(
                "a column holds numbers that are not finite, or larger than anything measured",
                where=e.source,
                value=", ".join(bad),
                remedy="cut these frames, or leave the column out: --map COLUMN=ignore",
            )


def _poses(pool: Pool, roles: Mapping[str, str], robot: Embodiment) -> dict[str, Array]:
    """Arm -> recorded tool poses ``(N, 3 + k)``: one column, or a position's and a rotation's."""
    arms = [a.name for a in robot.arms]
    out: dict[str, Array] = {}
    whole = [c for c, r in roles.items() if r == "pose"]
    for arm in arms:
        mine = [c for c in whole if len(arms) == 1 or names.side_of(names.words(c), arms) == arm]
        for column in mine:
            if pool.widths[column] in (6, 7, 9):
                out[arm] = pool.column(column)
                break
        else:
            threes = [c for c in mine if pool.widths[c] == 3]
            turns = [c for c in mine if pool.widths[c] in (4, 6)]
            threes.sort(key=lambda c: not {*names.words(c)} & {"pos", "position", "xyz"})
            if threes:
                rest = turns[:1] or threes[1:2]
                out[arm] = np.concatenate([pool.column(c) for c in [threes[0], *rest]], axis=1)
        if arm not in out and len(arms) == 1:
            for column, r in roles.items():
                slots = {names.pose_part(s.name): s for s in pool.slots(column)}
                if r == "state" and {"x", "y", "z"} <= set(slots):
                    turn = [p for p in names.ROTATION if p in slots]
                    out[arm] = np.column_stack(
                        [pool.values(slots[p]) for p in ("x", "y", "z", *turn)]
                    )
    return {a: p for a, p in out.items() if p.shape[1] in (3, 6, 7, 9)}


def _joints(
    pool: Pool,
    roles: Mapping[str, str],
    model: RobotModel,
    poses: Mapping[str, Array],
    notes: list[Decision],
) -> list[JointColumns]:
    """Columns with measured joints; of several with the same joints, the first."""
    robot = model.embodiment
    told = [
        c
        for c, r in roles.items()
        if pool.given.map.get(c) == "state" or "," in pool.given.map.get(c, "")
    ]
    named = [c for c, r in roles.items() if r == "state"]
    silent = [c for c, r in roles.items() if r == ""]
    out: list[JointColumns] = []
    have: set[str] = set()
    for column in dict.fromkeys([*told, *named]):
        if roles[column] not in ("state", ""):
            continue
        found = JointSearch(pool, column, model, poses).run()
        if found.slots and not {*found.slots} & have:
            out.append(found)
            have |= {*found.slots}
    if not out:
        for column in silent:
            found = JointSearch(pool, column, model, poses).run()
            if found.slots:
                out.append(found)
                notes.append(
                    Decision(
                        "columns",
                        column,
                        "state",
                        "its name does not say what it is; it has"
                        " as many numbers as the robot has joints",
                        False,
                    )
                )
                break
    if not out:
        raise DatasetError(
            f"no joint positions of {robot.name} are found",
            where=pool.episodes[0].source,
            value=", ".join(f"{c} ({w})" for c, w in pool.widths.items()),
            valid=[f"{len(robot.joints)} joints: {', '.join(robot.joints)}"],
            remedy="say which column holds them, in which order: --map COLUMN=joint1,joint2,...",
        )
    for c in out:
        notes += c.decisions
    return out


def _grippers(
    pool: Pool, roles: Mapping[str, str], model: RobotModel, joints: Sequence[JointColumns]
) -> dict[str, tuple[list[Slot], str]]:
    """Arm -> numbers that may be its measured gripper, and the unit of the joints beside them."""
    robot = model.embodiment
    carriers = [g.effector for g in robot.of_kind("gripper") if g.effector]
    out: dict[str, tuple[list[Slot], str]] = {}
    for c in joints:
        for arm, slot in c.grippers.items():
            out.setdefault(arm, ([slot], c.unit))
    for column, r in roles.items():
        if r != "gripper":
            continue
        arm = names.side_of(names.words(column), carriers)
        if arm and arm not in out:
            out[arm] = (pool.slots(column), "")
        elif not arm and pool.widths[column] == len(carriers):
            for slot, name in zip(pool.slots(column), carriers, strict=True):
                out.setdefault(name, ([slot], ""))
    return {arm: v for arm, v in out.items() if arm in carriers}


def _rate(pool: Pool, robot: Embodiment) -> tuple[float, Decision]:
    """Frames per second and the reason."""

    def decided(rate: float, why: str, certain: bool = True) -> tuple[float, Decision]:
        return rate, Decision("rate", "", f"{rate:g}", why, certain, "rate")

    if pool.given.rate is not None:
        if not 0.1 <= pool.given.rate <= 2000:
            raise DatasetError(
                "not a rate", where="--rate", value=pool.given.rate, valid=["0.1 to 2000 Hz"]
            )
        return decided(pool.given.rate, "as given")
    stated = pool.episodes[0].rate
    periods = [np.diff(e.times) for e in pool.episodes if e.times is not None and len(e.times) > 1]
    steps = np.concatenate(periods) if periods else np.empty(0)
    steps = steps[np.isfinite(steps)]
    measured = 1.0 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else None
    if measured is not None and not 0.1 <= measured <= 2000:
        measured = None
    if stated is not None and 0.1 <= stated <= 2000:
        if measured is None or abs(measured / stated - 1) < 0.1:
            return decided(float(stated), "the recording says so")
        return decided(_whole(measured), f"by its stamps; the recording says {stated:g}", False)
    if measured is not None:
        return decided(_whole(measured), "by its stamps")
    return decided(
        robot.action_space().rate, "the recording has no stamps; the robot's is taken", False
    )


def _whole(rate: float) -> float:
    return float(round(rate)) if round(rate) and abs(rate / round(rate) - 1) < EVEN else rate
