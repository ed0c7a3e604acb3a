"""What a gripper's numbers mean: their scale, and which end is open.

The scale follows from the range of the numbers. Numbers of the URDF's own joint say themselves
which end is open. Others are compared with such a one (a command with what was measured), or with
contact: closing fingers are stopped by what they hold, so that the command goes on to its end and
the measured number does not; opening fingers are not stopped. What neither tells is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.embodiment import Group

from . import names
from .decision import Decision
from .pool import Pool, Slot
from .units import Line, gripper_line, of_rotation, parse

Array = NDArray[np.float64]
ENDS = ((0.0, 1.0), (0.0, 100.0), (-1.0, 1.0), (-100.0, 100.0), (0.0, 255.0))
REACHED = 0.03  # share of the range within which an end counts as reached
COVERED = 0.3  # share of the range that a gripper that moves covers at least
HELD = 0.06  # of the opening: a command that is farther than this from what is measured is stopped
FREE = 0.03  # of the opening: nearer than this, it is not
STEADY = 3  # frames that both must rest
_OPEN = {"open", "opening", "opened", "openness"}
_CLOSED = {"close", "closed", "closing", "closedness", "closure"}


@dataclass(frozen=True)
class Scale:
    """A range that a gripper's numbers may have.

    Attributes:
        low: Smaller end.
        high: Larger end.
        opens: +1 if the larger end is open, -1 if the smaller is, 0 if the range does not tell.
        why: Where it comes from.
        rivals: Other ranges that the numbers may as well have.
    """

    low: float
    high: float
    opens: int
    why: str
    rivals: tuple[Scale, ...] = ()

    def unit(self, opens: int) -> str:
        ends = (self.low, self.high) if opens > 0 else (self.high, self.low)
        return f"{ends[0]:.9g}..{ends[1]:.9g}"


@dataclass(frozen=True)
class GripperColumns:
    """A gripper's measured and commanded numbers understood; ``line`` gives the opening."""

    state: Slot | None = None
    state_line: Line | None = None
    action: Slot | None = None
    action_line: Line | None = None
    decisions: tuple[Decision, ...] = ()


def understand(
    pool: Pool,
    group: Group,
    states: Sequence[Slot],
    action: Slot | None,
    slides: bool,
    joint_unit: str,
) -> GripperColumns:
    """Scale and sense of a gripper's numbers.

    Args:
        pool: The recordings.
        group: The gripper.
        states: Numbers that may be what was measured: one, or one a finger.
        action: What was commanded.
        slides: Whether its fingers slide rather than turn.
        joint_unit: Unit of the joints in the same column.
    """
    state = _speaking(pool, states, group)
    closed, opened = next((a, b) for a, b in zip(group.closed, group.open, strict=True) if a != b)
    notes: list[Decision] = []
    known: dict[str, tuple[Scale, int, str]] = {}
    open_questions: dict[str, Scale] = {}
    for slot in (state, action):
        if slot is None:
            continue
        found = _scale(pool, slot, group, slides, joint_unit)
        opens, why = found.opens, found.why
        if not opens:
            opens, why = _by_name(pool, slot, group)
        if opens:
            known[slot.key] = (found, opens, why)
        else:
            open_questions[slot.key] = found
    slots = {s.key: s for s in (state, action) if s is not None}
    if state and action:
        _share_scale(state, action, known, open_questions)
    if state and action and open_questions:
        _from_each_other(pool, state, action, known, open_questions)
    for key, scale in open_questions.items():
        opens, why = _at_the_start(pool, slots[key], scale)
        known[key] = (scale, opens, why)
    lines = {}
    for key, slot in slots.items():
        scale, opens, why = known[key]
        told = _told(pool, slot)
        unit = told or scale.unit(opens)
        lines[key] = gripper_line(unit, closed, opened)
        sure = bool(told) or (key not in open_questions and not scale.rivals)
        text = "as given" if told else why
        if scale.rivals and not told:
            text += f"; the numbers could also go from {scale.rivals[0].low:g} to"
            text += f" {scale.rivals[0].high:g}"
        inverted = () if told else (scale.unit(-opens),)
        notes.append(Decision("gripper", slot.label, unit, text, sure, "unit", inverted))
    return GripperColumns(
        state,
        lines[state.key] if state else None,
        action,
        lines[action.key] if action else None,
        tuple(notes),
    )


def _share_scale(
    state: Slot,
    action: Slot,
    known: dict[str, tuple[Scale, int, str]],
    open_questions: dict[str, Scale],
) -> None:
    """Where one of the two has a doubtful range, and may have the other's: it has."""
    for mine, other in ((state.key, action.key), (action.key, state.key)):
        theirs = open_questions.get(other) or known[other][0]
        doubtful = open_questions.get(mine)
        if doubtful is None or not doubtful.rivals or theirs.rivals:
            continue
        for s in (doubtful, *doubtful.rivals):
            if np.allclose((s.low, s.high), (theirs.low, theirs.high)):
                open_questions[mine] = replace(s, opens=0, rivals=())


def _told(pool: Pool, slot: Slot) -> str:
    """A gripper's unit as given; a whole column's only where it is the gripper's own."""
    own = pool.told("unit", slot)
    whole = own and own == pool.given.unit.get(slot.column, "") and pool.widths[slot.column] > 1
    if not own or whole or of_rotation(own):
        return ""
    parse(own)
    return own


def _speaking(pool: Pool, slots: Sequence[Slot], group: Group) -> Slot | None:
    """Of one number a finger: one that moves, best as a finger of the URDF does."""
    if not slots:
        return None

    def score(slot: Slot) -> tuple[bool, float]:
        x = pool.values(slot)
        literal = any(_within(x, s) for s in _literal(group, True))
        return literal, float(np.ptp(x)) > 0

    return max(slots, key=score)


def _literal(group: Group, slides: bool) -> list[Scale]:
    """The joint's own range: each finger's, mirrored, and for sliding fingers their distance."""
    out = []
    ends = [(a, b) for a, b in zip(group.closed, group.open, strict=True) if a != b]
    for closed, opened in dict.fromkeys(ends):
        for sign in (1.0, -1.0):
            a, b = sign * closed, sign * opened
            if sign > 0 or slides:
                out.append(_between(a, b, "the range is that of the URDF's joint"))
    if slides:
        apart = 2 * abs(ends[0][1] - ends[0][0])
        out.append(_between(0.0, apart, "the range is that of the distance of the fingers"))
        out += [_between(1e3 * s.low, 1e3 * s.high, s.why + ", in mm", s.opens) for s in out[:]]
    else:
        degrees = [
            _between(np.degrees(s.low), np.degrees(s.high), s.why + ", in deg", s.opens)
            for s in out
        ]
        out += degrees
    return out


def _between(closed: float, opened: float, why: str, opens: int = 0) -> Scale:
    if opens:
        return Scale(min(closed, opened), max(closed, opened), opens, why)
    return Scale(min(closed, opened), max(closed, opened), 1 if opened > closed else -1, why)


def _within(x: Array, scale: Scale) -> bool:
    span = scale.high - scale.low
    low, high = np.quantile(x, (0.002, 0.998))
    inside = low >= scale.low - 0.03 * span and high <= scale.high + 0.03 * span
    return bool(inside and (high - low) >= COVERED * span)


def _scale(pool: Pool, slot: Slot, group: Group, slides: bool, joint_unit: str) -> Scale:
    """The range that fits the numbers best."""
    x = pool.values(slot)
    told = _told(pool, slot)
    if told:
        closed, opened = next(
            (a, b) for a, b in zip(group.closed, group.open, strict=True) if a != b
        )
        line = gripper_line(told, closed, opened)
        ends = sorted((-line.offset / line.scale, (1 - line.offset) / line.scale))
        return Scale(ends[0], ends[1], 1 if line.scale > 0 else -1, "as given")
    literal = _literal(group, slides)
    named = slot.name in group.joints
    if named and joint_unit in ("rad", "deg"):
        mine = [s for s in literal if ("deg" in s.why) == (joint_unit == "deg" and not slides)]
        own = mine[0]
        others = [*(s for s in literal if s not in mine), *(Scale(a, b, 0, "") for a, b in ENDS)]
        reached = max((_reached(x, s) for s in others if _within(x, s)), default=-1)
        if reached < (_reached(x, own) if _within(x, own) else 0):
            return Scale(own.low, own.high, own.opens, "it is the URDF's joint, by its name")
    plain = [Scale(a, b, 0, f"the numbers go from {a:g} to {b:g}") for a, b in ENDS]
    fits = [s for s in [*literal, *plain] if _within(x, s)]
    if not fits:
        return _resting(x, plain)
    most = max(_reached(x, s) for s in fits)
    # the ranges of other hands and units are likelier than those that are only computed
    best = next(s for s in [literal[0], *plain, *literal] if s in fits and _reached(x, s) == most)
    rivals = tuple(
        s
        for s in fits
        if _reached(x, s) == most and not np.allclose((s.low, s.high), (best.low, best.high))
    )
    anyones = not named and any(_alike(best, s) for s in plain)  # says nothing about this hand
    return replace(best, opens=0 if rivals or anyones else best.opens, rivals=rivals)


def _alike(a: Scale, b: Scale) -> bool:
    """Whether two ranges cannot be told apart by their ends."""
    near = REACHED * (b.high - b.low)
    return abs(a.low - b.low) < near and abs(a.high - b.high) < near


def _reached(x: Array, scale: Scale) -> int:
    """How many ends of a range the numbers reach."""
    low, high = np.quantile(x, (0.002, 0.998))
    span = scale.high - scale.low
    return int(abs(low - scale.low) < REACHED * span) + int(abs(high - scale.high) < REACHED * span)


def _resting(x: Array, plain: Sequence[Scale]) -> Scale:
    """For a gripper that hardly moves, the smallest usual range."""
    for s in plain:
        if x.min() >= s.low - 0.03 * (s.high - s.low) and x.max() <= s.high + 0.03 * (
            s.high - s.low
        ):
            return s
    low, high = float(x.min()), float(x.max())
    return Scale(low, high if high > low else low + 1.0, 0, "no usual range holds the numbers")


def _by_name(pool: Pool, slot: Slot, group: Group) -> tuple[int, str]:
    found = {*names.words(slot.name), *names.words(slot.column)}
    if bool(found & _OPEN) != bool(found & _CLOSED):
        return (1, "its name says open") if found & _OPEN else (-1, "its name says closed")
    return 0, ""


def _from_each_other(
    pool: Pool,
    state: Slot,
    action: Slot,
    known: dict[str, tuple[Scale, int, str]],
    open_questions: dict[str, Scale],
) -> None:
    """Settle what is open by what is known of the other, or by contact."""
    scales = {k: open_questions.get(k) or known[k][0] for k in (state.key, action.key)}
    m, c = (_unit_interval(pool, s, scales[s.key]) for s in (state, action))
    together = _correlation(m, c)
    if abs(together) < 0.5:
        return
    sense = 1 if together > 0 else -1
    sides = {state.key: 1, action.key: sense}
    settled = next((k for k in (state.key, action.key) if k in known), None)
    if settled is not None:
        other = action.key if settled == state.key else state.key
        opens = known[settled][1] * sense
        what = "measured" if settled == state.key else "commanded"
        why = f"it goes with the {what} one (correlation {together:+.2f})"
        known[other] = (open_questions.pop(other), opens, why)
        return
    held = _held(m, [x if sense > 0 else 1 - x for x in c])
    if held:
        why = "closing fingers are stopped by what they hold: the command goes on, they do not"
        for key in (state.key, action.key):
            known[key] = (open_questions.pop(key), held * sides[key], why)


def _unit_interval(pool: Pool, slot: Slot, scale: Scale) -> list[Array]:
    return [(x - scale.low) / (scale.high - scale.low) for x in pool.episode_values(slot)]


def _correlation(m: Sequence[Array], c: Sequence[Array]) -> float:
    """Of what is measured and what was commanded before, at the best lag."""
    best = 0.0
    for lag in range(6):
        a = np.concatenate([x[lag:] for x in m])
        b = np.concatenate([x[: len(x) - lag] for x in c])
        if len(a) > 2 and a.std() > 1e-6 and b.std() > 1e-6:
            r = float(np.corrcoef(a, b)[0, 1])
            best = r if abs(r) > abs(best) else best
    return best


def _held(m: Sequence[Array], c: Sequence[Array]) -> int:
    """+1 if fingers are stopped on their way to 0 (so 1 is open), -1 to 1, 0 if it is not clear."""
    stopped, free = np.zeros(2), np.zeros(2)
    for measured, command in zip(m, c, strict=True):
        change = np.maximum(np.abs(np.diff(measured)), np.abs(np.diff(command)))
        for end, at in ((0, command < 0.1), (1, command > 0.9)):
            rest = np.array(
                [
                    bool((change[max(t - STEADY, 0) : t] < 0.005).all()) and t >= STEADY and at[t]
                    for t in range(len(command))
                ]
            )
            if rest.any():
                gap = np.abs(measured - command)[rest]
                stopped[end] += bool(np.max(gap) > HELD)
                free[end] += bool(np.max(gap) < FREE)
    for end, sense in ((0, 1), (1, -1)):
        enough = stopped[end] >= max(2, 0.3 * len(m)) or (stopped[end] and len(m) == 1)
        if enough and stopped[1 - end] == 0 and free[1 - end] > 0:
            return sense
    return 0


def _at_the_start(pool: Pool, slot: Slot, scale: Scale) -> tuple[int, str]:
    """A guess: demonstrations mostly begin with the gripper open."""
    first = np.array([x[0] for x in _unit_interval(pool, slot, scale)])
    if np.ptp(pool.values(slot)) < 1e-6:
        return 1, "it never moves, so that the numbers do not tell which end is open"
    opens = 1 if np.median(first) >= 0.5 else -1
    return (
        opens,
        "the numbers do not tell which end is open; most demonstrations begin with it open",
    )
