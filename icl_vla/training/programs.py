"""Random tasks for training: things, and what a hand does about them, stage by stage.

A program says where the hand goes relative to things, as the trained families do it; the held-out
families' programs (stack, sweep, insert, pour, drawer, tool, swap, handover) are not here. Lengths
are in edges of a usual thing, half a gripper's opening.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np


class Axes(IntEnum):
    """Axes that an offset is given in."""

    BASE = 0
    THING = 1
    TOWARDS = 2  # x from the thing to the other one


class Turn(IntEnum):
    """How the hand is turned about the vertical."""

    KEEP = 0
    BASE = 1  # by a fixed angle
    SQUARE = 2  # like the thing, up to quarter turns
    HALF = 3  # like the thing, up to half turns
    TOWARDS = 4  # along the way from the thing to the other one, up to half turns


class Check(IntEnum):
    """What has to hold after a stage; the program goes back where it does not."""

    NOTHING = 0
    HELD = 1
    ARRIVED = 2  # the thing is where it was to be pushed


STAY = -1  # in place of a thing: where the hand is when the stage begins
TABLE = -2  # a place of the table


@dataclass(frozen=True)
class Thing:
    """A kind of thing, alike in all scenes of a task.

    Attributes:
        shape: ``box``, ``cylinder``, ``bowl``, ``mark``, ``bar``, ``button`` or ``lid``.
        size: Of its edges along its own axes [edges].
        loose: Whether a hand can move it.
    """

    shape: str
    size: tuple[float, float, float]
    loose: bool = False


@dataclass(frozen=True)
class Stage:
    """One stretch of motion.

    Attributes:
        at: Index of a thing, :data:`STAY` or :data:`TABLE`.
        offset: ``(3,)`` from its middle; z over the table [edges].
        to: Index of the other thing, for directions; -1 for none.
        shift: ``(2,)`` from the other thing to the point that is meant, base axes [edges].
        arrive: Whether the offset is from that point.
        axes: Of the offset.
        turn: Of the hand; about the thing, or the other one where the hand stays.
        extra: Further turn [rad].
        gripper: Commanded opening.
        tolerance: At which the stage is over [m].
        dwell: Steps to wait then.
        speed: Relative to the operator's.
        straight: Whether the way there matters.
        check: Asked at its end, about the thing ``of``.
        of: See ``check``.
        back: Stages to go back by.
    """

    at: int
    offset: tuple[float, float, float]
    to: int = -1
    shift: tuple[float, float] = (0.0, 0.0)
    arrive: bool = False
    axes: Axes = Axes.BASE
    turn: Turn = Turn.KEEP
    extra: float = 0.0
    gripper: float = 1.0
    tolerance: float = 0.012
    dwell: int = 0
    speed: float = 1.0
    straight: bool = False
    check: Check = Check.NOTHING
    of: int = 0
    back: int = 0


@dataclass(frozen=True)
class Program:
    """A task.

    Attributes:
        family: What kind it is.
        things: Those that it is about.
        stages: What is done.
    """

    family: str
    things: tuple[Thing, ...]
    stages: tuple[Stage, ...]


def _loose(rng: np.random.Generator) -> Thing:
    scale = float(rng.uniform(0.75, 1.3))
    height = scale * float(rng.choice([1.0, 1.0, rng.uniform(0.7, 1.6)]))
    return Thing(str(rng.choice(["box", "cylinder"])), (scale, scale, height), loose=True)


def _bowl() -> Thing:
    return Thing("bowl", (3.6, 3.6, 1.1))


def _mark() -> Thing:
    return Thing("mark", (1.0, 1.0, 0.02))


def _pick(thing: Thing, index: int, lift: float, turn: Turn = Turn.SQUARE) -> list[Stage]:
    z = 0.5 * thing.size[2]
    hover = max(3.0, 2 * z + 0.6)
    return [
        Stage(index, (0, 0, hover), turn=turn),
        Stage(index, (0, 0, z), turn=turn, tolerance=0.006, dwell=1, speed=0.7),
        Stage(STAY, (0, 0, z), gripper=0.0, tolerance=0.02, dwell=5),
        Stage(STAY, (0, 0, lift), gripper=0.0, tolerance=0.02, check=Check.HELD, of=index, back=3),
    ]


def _let_go(goal: Stage, above: float) -> list[Stage]:
    x, y, _ = goal.offset
    over = replace(goal, offset=(x, y, above), gripper=0.0, tolerance=0.01)
    down = replace(goal, gripper=0.0, tolerance=0.005, dwell=2, speed=0.6)
    opened = replace(goal, gripper=1.0, tolerance=0.02, dwell=5)
    return [over, down, opened, replace(over, gripper=1.0, tolerance=0.02, dwell=1, speed=0.7)]


def reach(rng: np.random.Generator) -> Program:
    """Come to rest over a thing."""
    z = float(rng.uniform(2.5, 5.0))
    stage = Stage(0, (0, 0, z), tolerance=0.004, dwell=8)
    return Program("reach", (_loose(rng),), (stage,))


def pick(rng: np.random.Generator) -> Program:
    """Hold a thing up."""
    thing = _loose(rng)
    return Program("pick", (thing,), tuple(_pick(thing, 0, float(rng.uniform(2.5, 5.0)))))


def place_in(rng: np.random.Generator) -> Program:
    """Put a thing into a bowl."""
    thing = _loose(rng)
    lift, release = float(rng.uniform(3.5, 6.0)), 1.1 + 0.5 * thing.size[2] + 0.25
    stages = [*_pick(thing, 0, lift), *_let_go(Stage(1, (0, 0, release)), lift)]
    return Program("place_in", (thing, _bowl()), tuple(stages))


def press(rng: np.random.Generator) -> Program:
    """Press one button or two with closed fingers."""
    count, yaw = int(rng.integers(1, 3)), float(rng.uniform(-0.4, 0.4))
    hover, above, low = float(rng.uniform(3.5, 4.5)), 1.5, float(rng.uniform(0.5, 0.8))
    stages: list[Stage] = []
    for i in range(count):
        high = Stage(i, (0, 0, hover), turn=Turn.BASE, extra=yaw, gripper=0.0, tolerance=0.01)
        near = replace(high, offset=(0.0, 0.0, above), tolerance=0.005, dwell=1)
        down = replace(
            near, offset=(0.0, 0.0, low), tolerance=0.003, dwell=2, speed=0.3, straight=True
        )
        up = replace(near, tolerance=0.01, dwell=0, straight=True)
        stages += [high, near, down, up, replace(high, tolerance=0.02)]
    button = Thing("button", (1.8, 1.8, 0.9))
    return Program("press", (button,) * count, tuple(stages))


def push_to(rng: np.random.Generator) -> Program:
    """Slide a thing onto a mark, or up against another thing's side."""
    thing = _loose(rng)
    edge, beside = thing.size[0], bool(rng.random() < 0.5)
    other = _loose(rng) if beside else _mark()
    angle = 0.5 * np.pi * int(rng.integers(4))
    gap = 0.5 * (edge + other.size[0]) + 0.1 if beside else 0.0
    goal = (gap * float(np.cos(angle)), gap * float(np.sin(angle)))
    back, low, high = 0.7 * edge + float(rng.uniform(0.7, 1.0)), 0.4 * edge, edge + 1.8
    fork = float(np.clip(0.3 * edge, 0, 1))
    behind = Stage(0, (-back, 0, high), 1, goal, axes=Axes.TOWARDS, turn=Turn.TOWARDS, gripper=fork)
    contact = 0.5 * edge + 0.2
    push = replace(behind, offset=(-contact, 0.0, low), arrive=True, straight=True)
    stages = (
        behind,
        replace(behind, offset=(-back, 0.0, low), tolerance=0.008, speed=0.8),
        replace(push, tolerance=0.005, speed=0.45),
        replace(push, offset=(-back, 0.0, low), tolerance=0.01, speed=0.6),
        Stage(
            STAY,
            (0, 0, high),
            1,
            goal,
            gripper=fork,
            tolerance=0.02,
            dwell=1,
            check=Check.ARRIVED,
            of=0,
            back=4,
        ),
    )
    return Program("push_to", (thing, other), stages)


def align(rng: np.random.Generator) -> Program:
    """Turn a bar until it points like another thing, or across it."""
    bar, guide = Thing("bar", (2.4, 0.8, 0.8), loose=True), Thing("bar", (2.6, 0.5, 0.02))
    lift, extra = 0.4 + float(rng.uniform(0.25, 0.6)), 0.5 * np.pi * int(rng.integers(2))
    turned = Stage(STAY, (0, 0, lift), 1, turn=Turn.HALF, extra=extra, gripper=0.0, dwell=3)
    stages = [*_pick(bar, 0, lift, Turn.HALF), turned, *_let_go(Stage(STAY, (0, 0, 0.4)), 3.0)]
    # let_go's own first stage would raise a bar that lies in place
    del stages[5]
    return Program("align", (bar, guide), tuple(stages))


def follow(rng: np.random.Generator) -> Program:
    """Draw a line over marks, with or without waiting on each."""
    count = int(rng.integers(2, 4))
    wait = int(rng.integers(12, 17)) if rng.random() < 0.5 else 0
    speed, low = float(rng.uniform(0.5, 0.8)), float(rng.uniform(0.05, 0.4))
    over = Stage(0, (0, 0, low + 1.7), gripper=0.0, tolerance=0.004, dwell=2)
    on = [
        Stage(i, (0, 0, low), gripper=0.0, tolerance=0.004, dwell=wait, speed=speed, straight=True)
        for i in range(count)
    ]
    up = replace(over, at=count - 1, tolerance=0.02, dwell=1, straight=True)
    return Program("follow", (_mark(),) * count, (over, *on, up))


def lid(rng: np.random.Generator) -> Program:
    """Open or shut a box: an arc, or a push, in the box's own axes."""
    box = Thing("lid", (2.6, 2.4, 1.2))
    stages: list[Stage]
    if rng.random() < 0.5:
        radius, hinge = 2.0, -1.3
        at = Stage(0, (hinge + radius, 0, 1.6), axes=Axes.THING, turn=Turn.HALF)
        stages = [
            replace(at, offset=(hinge + radius, 0.0, 2.9)),
            replace(at, tolerance=0.006, dwell=1, speed=0.6),
            replace(at, gripper=0.0, tolerance=0.02, dwell=5),
        ]
        for angle in np.linspace(0.3, 1.75, 6):
            x, z = hinge + radius * float(np.cos(angle)), 1.3 + radius * float(np.sin(angle))
            last = replace(
                at, offset=(x, 0.0, z), gripper=0.0, speed=0.6, straight=True, tolerance=0.015
            )
            stages.append(last)
        stages.append(replace(last, gripper=1.0, dwell=5, tolerance=0.03))
        up = Stage(STAY, (0, 0, 4.8), tolerance=0.02, dwell=1, straight=True)
        return Program("lid", (box,), (*stages, up))
    far, near, low, high = -2.7, -0.65, 3.1, 4.6
    at = Stage(0, (far, 0, high), axes=Axes.THING, turn=Turn.HALF, gripper=0.9)
    stages = [
        at,
        replace(at, offset=(far, 0.0, low), tolerance=0.01),
        replace(at, offset=(near, 0.0, low), tolerance=0.01, speed=0.6, straight=True),
        replace(at, offset=(near, 0.0, high), tolerance=0.02, dwell=3, straight=True),
    ]
    return Program("lid", (box,), tuple(stages))


def waypoints(rng: np.random.Generator) -> Program:
    """Anything relative to anything: what no family does, so that geometry is learned."""
    count = int(rng.integers(1, 4))
    things = tuple(_loose(rng) for _ in range(count))
    gripper = float(rng.random() < 0.5)
    stages: list[Stage] = []
    for _ in range(int(rng.integers(2, 6))):
        at = int(rng.integers(count)) if rng.random() < 0.85 else TABLE
        to = int((at + 1) % count) if at >= 0 and count > 1 else -1
        axes = Axes(int(rng.integers(3 if to >= 0 else 2))) if at >= 0 else Axes.BASE
        turn = Turn(int(rng.integers(5 if to >= 0 else 4))) if at >= 0 else Turn.BASE
        gripper = gripper if rng.random() < 0.7 else round(float(rng.random()), 1)
        x, y = rng.uniform(-3, 3, 2)
        offset = float(x), float(y), float(rng.uniform(1.7, 5))
        stage = Stage(at, offset, to, axes=axes, turn=turn)
        stages.append(
            replace(
                stage,
                extra=float(rng.uniform(-1, 1)),
                gripper=gripper,
                tolerance=float(rng.uniform(0.004, 0.012)),
                dwell=int(rng.choice([0, 0, 2, 8])),
                speed=float(rng.uniform(0.4, 1.0)),
            )
        )
    return Program("waypoints", things, tuple(stages))


def joined(rng: np.random.Generator) -> Program:
    """Two programs one after the other, about different things."""
    things: tuple[Thing, ...] = ()
    stages: list[Stage] = []
    for i in rng.choice(len(PARTS), 2, replace=False):
        part, n = PARTS[i](rng), len(things)
        for s in part.stages:
            at, to = (k + n if k >= 0 else k for k in (s.at, s.to))
            stages.append(replace(s, at=at, to=to, of=s.of + n))
        things += part.things
    return Program("program", things, tuple(stages))


PARTS: Sequence[Callable[[np.random.Generator], Program]] = (place_in, push_to, press, align, lid)
FAMILIES: dict[str, Callable[[np.random.Generator], Program]] = {
    "reach": reach, "pick": pick, "place_in": place_in, "press": press, "push_to": push_to,
    "align": align, "lid": lid, "follow": follow, "program": joined, "waypoints": waypoints,
}  # fmt: skip
"""Family -> draws a program of it."""
