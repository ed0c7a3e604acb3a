"""One run: a robot follows a pattern in physics, and what is noted of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from icl_vla_embodiments import Embodiment, se2, se3
from icl_vla_embodiments.types import Array

from . import Actuation, Pattern

COMMANDED, MEASURED = 1e-6, 1e-3  # [SI] over a limit that counts as a violation; a simulated
# joint's stop gives way a little


@dataclass(frozen=True)
class Moment:
    """What is noted after one tick.

    Attributes:
        parts: Name -> pose that was due and pose that was reached, each ``(4, 4)``. The base in
            the world; a hand in the frame of the body that should carry it.
        q: ``(n,)`` positions: commanded where positions are commanded, else measured.
        v: ``(n,)`` velocities, the same way.
        tau: ``(n,)`` commanded torques; None under position actuation.
        a: ``(n,)`` commanded accelerations; None where none are commanded.
        seconds: CPU time of the controller.
        level: Step of its ladder.
        fell: Whether the robot lies on the ground: the run is over.
    """

    parts: Mapping[str, tuple[Array, Array]]
    q: Array
    v: Array
    tau: Array | None
    a: Array | None
    seconds: float
    level: str
    fell: bool = False


class Rig(Protocol):
    """A robot with its controller in a physics world, and what it has to follow.

    Attributes:
        robot: The robot as it is controlled.
        controller: Name of the controller's class.
        actuation: What the motors are told.
        period: Between ticks [s].
        duration: Of the pattern [s].
        remarks: What a reader should know.
        course: ``(M, 3)`` points of the world on the whole way that is due; a row of NaN ends a
            line.
        client: The PyBullet client, for films.
        body: The robot in it.
    """

    robot: Embodiment
    controller: str
    actuation: Actuation
    period: float
    duration: float
    remarks: tuple[str, ...]
    course: Array
    client: Any
    body: int

    def start(self) -> None:
        """Put everything at its beginning."""
        ...

    def tick(self, t: float) -> Moment:
        """Control and simulate from ``t`` to ``t + period``."""
        ...

    def push(self) -> tuple[Array, Array] | None:
        """Point ``(3,)`` and force ``(3,)`` [N] that act in the world now, if any."""
        ...

    def points(self) -> dict[str, tuple[Array, Array]]:
        """Part -> points of the world that are due and reached now, ``(3,)`` each."""
        ...

    def close(self) -> None:
        """Free the physics client."""
        ...


@dataclass(frozen=True)
class Track:
    """A finished run.

    Attributes:
        robot: As it was controlled; pattern, controller, actuation and remarks as they were run.
        times: ``(T,)`` end of each tick [s].
        parts: Name -> due and reached poses ``(T, 4, 4)``.
        q: ``(T, n)``; ``v`` the same; ``tau`` and ``a`` too, or None.
        seconds: ``(T,)`` CPU time of the controller.
        levels: Step of the ladder -> ticks.
        fell: Whether the robot fell.
    """

    robot: Embodiment
    pattern: Pattern
    controller: str
    actuation: Actuation
    remarks: tuple[str, ...]
    times: Array
    parts: Mapping[str, tuple[Array, Array]]
    q: Array
    v: Array
    tau: Array | None
    a: Array | None
    seconds: Array
    levels: Mapping[str, int]
    fell: bool

    def error(self, part: str) -> Array:
        """``(T,)`` distance from where a part should be [m]; a base's in the plane."""
        due, reached = self.parts[part]
        axes = 2 if part == BASE else 3
        return np.asarray(np.linalg.norm((due - reached)[:, :axes, 3], axis=1))

    def turn_error(self, part: str) -> Array:
        """``(T,)`` angle from the due orientation [rad]; a base's about the vertical."""
        due, reached = self.parts[part]
        if part == BASE:
            gap = _headings(reached) - _headings(due)
            return np.abs(se2.wrap(gap))
        return np.array(
            [
                np.linalg.norm(se3.log3(a.T @ b))
                for a, b in zip(due[:, :3, :3], reached[:, :3, :3], strict=True)
            ]
        )

    def shares(self) -> dict[str, Array]:
        """Quantity -> ``(T, n)`` share of its limit; positions from -1 (lower) to 1 (upper).

        NaN where a joint has no such limit.
        """
        robot = self.robot
        lower, upper = robot.array("lower"), robot.array("upper")
        lower = np.where(np.isfinite(lower), lower, np.nan)  # endless
        found = {
            "position": _share(self.q - 0.5 * (lower + upper), 0.5 * (upper - lower)),
            "velocity": _share(self.v, robot.array("velocity")),
        }
        if self.a is not None:
            found["acceleration"] = _share(self.a, robot.array("acceleration"))
        if self.tau is not None:
            found["torque"] = _share(self.tau, robot.array("effort"))
        return found

    def excess(self) -> dict[str, float]:
        """Quantity -> largest amount by which a joint was over its limit, SI; 0 for none."""
        robot = self.robot
        over = {
            "position": np.maximum(self.q - robot.array("upper"), robot.array("lower") - self.q),
            "velocity": np.abs(self.v) - robot.array("velocity"),
        }
        if self.a is not None:
            over["acceleration"] = np.abs(self.a) - robot.array("acceleration")
        if self.tau is not None:
            over["torque"] = np.abs(self.tau) - robot.array("effort")
        largest = {name: float(np.max(x, initial=0.0)) for name, x in over.items()}
        least = dict.fromkeys(largest, COMMANDED)
        if self.a is None:  # nothing but torques was commanded
            least |= {"position": MEASURED, "velocity": MEASURED}
        return {name: x if x > least[name] else 0.0 for name, x in largest.items()}

    def figures(self) -> dict[str, Any]:
        """What tables and JSON show, in SI units."""
        errors = {part: self.error(part) for part in self.parts}
        return {
            "robot": self.robot.name,
            "pattern": self.pattern,
            "controller": self.controller,
            "actuation": self.actuation,
            "seconds": float(self.times[-1]),
            "errors": {
                part: {
                    "rms": _rms(e),
                    "max": float(e.max()),
                    "last": float(e[-1]),
                    "turn_rms": _rms(self.turn_error(part)),
                }
                for part, e in errors.items()
            },
            "tick": {
                "median": float(np.median(self.seconds)),
                "p99": float(np.percentile(self.seconds, 99)),
                "max": float(self.seconds.max()),
            },
            "violations": {name: x for name, x in self.excess().items() if x > 0},
            "levels": dict(self.levels),
            "fell": self.fell,
            "remarks": list(self.remarks),
        }


BASE = "base"  # name of the part that is the robot's base


def follow(rig: Rig, pattern: Pattern, watch: Callable[[Rig, float], None] | None = None) -> Track:
    """Run a rig from beginning to end.

    Args:
        rig: Robot, controller and physics; closed by the caller.
        pattern: Its name.
        watch: Called at the start and after each tick with the time [s].
    """
    rig.start()
    if watch is not None:
        watch(rig, 0.0)
    moments: list[Moment] = []
    for k in range(round(rig.duration / rig.period)):
        moments.append(rig.tick(k * rig.period))
        if watch is not None:
            watch(rig, (k + 1) * rig.period)
        if moments[-1].fell:
            break
    due_and_reached = {
        name: (
            np.array([m.parts[name][0] for m in moments]),
            np.array([m.parts[name][1] for m in moments]),
        )
        for name in moments[0].parts
    }
    return Track(
        robot=rig.robot,
        pattern=pattern,
        controller=rig.controller,
        actuation=rig.actuation,
        remarks=rig.remarks,
        times=rig.period * np.arange(1.0, len(moments) + 1),
        parts=due_and_reached,
        q=np.array([m.q for m in moments]),
        v=np.array([m.v for m in moments]),
        tau=_stacked([m.tau for m in moments]),
        a=_stacked([m.a for m in moments]),
        seconds=np.array([m.seconds for m in moments]),
        levels=Counter(m.level for m in moments),
        fell=moments[-1].fell,
    )


def _stacked(rows: list[Array | None]) -> Array | None:
    known = [row for row in rows if row is not None]
    return np.array(known) if len(known) == len(rows) else None


def _share(value: Array, limit: Array) -> Array:
    usable = np.isfinite(limit) & (limit > 0)
    return np.where(usable, value / np.where(usable, limit, 1.0), np.nan)


def _headings(T: Array) -> Array:
    return np.asarray(np.arctan2(T[:, 1, 0], T[:, 0, 0]))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
