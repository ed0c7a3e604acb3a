"""The motions that controllers are tried on: closed figures, a place behind, standing pushes.

A figure starts at the origin of a plane along its first axis. A hand draws it upright, a base
travels it on the ground.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from . import Pattern

REST = 0.5  # [s] before a motion starts, and after it ended
SPEED = 0.3  # [m/s] of a base
RADIUS = 0.6  # [m] of what a base travels; a square's side and the way back are twice as long
LAP = 6.0  # [s] of a hand's figure
PUSHES = (1.5, 3.5, 5.5)  # [s] when pushes begin
SIDES = np.radians([90.0, -90.0, 180.0])  # of a base's pushes, from straight ahead
SWING = 9.0  # [s] of a hand's way behind and back
RAMP = 0.2  # share of a way in which it gains its speed, and loses it
TURN = 0.6  # [rad/s] of a base that turns in place, and the mean over a figure


@dataclass(frozen=True)
class Motion:
    """Where something should be at each time.

    Attributes:
        duration: With the rests before and after [s].
        at: Time [s] -> a hand's ``T_base_ee`` ``(4, 4)``, or a base's x [m], y [m] and heading
            [rad] in the frame of its start ``(3,)``.
        pushes: When it is pushed [s].
        remark: What a reader should know of it.
    """

    duration: float
    at: Callable[[float], Array]
    pushes: tuple[float, ...] = ()
    remark: str = ""

    def slower(self, factor: float) -> Motion:
        """The same way in ``factor`` times the time; pushes stay when they are."""
        slowed = f"slowed {factor:.1f} times" if factor > 1.05 else ""
        remark = ", ".join(r for r in (self.remark, slowed) if r)
        return Motion(factor * self.duration, lambda t: self.at(t / factor), self.pushes, remark)


def hand_motion(
    pattern: Pattern,
    T_base_ee: Array,
    size: float,
    angle: float = np.pi,
    centre: Array | None = None,
) -> Motion:
    """A hand's pattern, from its first pose and back to it.

    Args:
        pattern: Figures lie in the vertical plane across the base's x axis.
        T_base_ee: ``(4, 4)`` first pose; figures keep its orientation.
        size: Radius of a figure [m].
        angle: By which ``behind`` swings round the vertical [rad].
        centre: ``(2,)`` of that swing in the base frame [m]; None for the base's origin.
    """
    if pattern is Pattern.PUSH:
        return Motion(PUSHES[-1] + 2.0, lambda t: T_base_ee, PUSHES)
    if pattern is Pattern.BEHIND:
        axis = np.append(np.zeros(2) if centre is None else centre, 0.0)

        def swung(t: float) -> Array:
            share = _there_and_back((t - REST) / SWING)
            R = se3.exp3(np.array([0.0, 0.0, angle * share]))
            return se3.pose(R @ T_base_ee[:3, :3], axis + R @ (T_base_ee[:3, 3] - axis))

        remark = f"swings {np.degrees(abs(angle)):.0f} degrees round the vertical"
        return Motion(SWING + 2 * REST, swung, remark=remark)

    def drawn(t: float) -> Array:
        across, up = size * _figure(pattern, (t - REST) / LAP)
        return se3.pose(T_base_ee[:3, :3], T_base_ee[:3, 3] + np.array([0.0, across, up]))

    return Motion(LAP + 2 * REST, drawn, remark=f"a figure of {200 * size:.0f} cm")


def base_motion(pattern: Pattern, *, radius: float = RADIUS, corner: float | None = None) -> Motion:
    """A base's pattern; its heading follows circles and eights.

    Args:
        pattern: Which.
        radius: Of what is travelled [m]; a square's side and the way back are twice as long.
        corner: Radius of the turns at a square's corners, 0 to turn in place [m]; None: the heading
            stays.
    """
    if pattern is Pattern.PUSH:
        end = PUSHES[-1] + 2.5
        return Motion(end, lambda t: np.array([_run(t - REST), 0.0, 0.0]), PUSHES)
    if pattern is Pattern.BEHIND:
        turn, way = np.pi / TURN, 2 * radius / SPEED

        def back(t: float) -> Array:
            heading = np.pi * _eased((t - REST) / turn)
            return np.array([-2 * radius * _eased((t - REST - turn) / way), 0.0, heading])

        return Motion(turn + way + 2 * REST, back, remark=f"{2 * radius:g} m behind the start")
    if pattern is Pattern.SQUARE and corner is not None:
        return _driven_square(2 * radius, corner)
    length = radius * _length(pattern)
    turned = {Pattern.CIRCLE: 2 * np.pi, Pattern.EIGHT: 3 * np.pi}.get(pattern, 0.0)  # [rad]
    lap = max(length / SPEED, turned / TURN)

    def travelled(t: float) -> Array:
        x, y = radius * _figure(pattern, (t - REST) / lap)
        return np.array([x, y, _heading(pattern, _eased((t - REST) / lap))])

    return Motion(lap + 2 * REST, travelled, remark=f"{length:.1f} m at {length / lap:.2g} m/s")


def _driven_square(side: float, corner: float) -> Motion:
    """A square's sides and the arcs that join them, each from rest to rest."""
    quarter = np.pi / 2
    straight, turn = side / SPEED, max(corner * quarter / SPEED, quarter / TURN)
    leg = straight + turn

    def travelled(t: float) -> Array:
        legs = np.clip((t - REST) / leg, 0.0, 4.0)
        count = min(int(legs), 3)
        spent = (legs - count) * leg
        angle = quarter * _eased((spent - straight) / turn)
        along = side * _eased(spent / straight) + corner * np.sin(angle)
        place, R = np.zeros(2), np.eye(2)
        for _ in range(count):
            place += R @ [side + corner, corner]
            R = R @ [[0.0, -1.0], [1.0, 0.0]]
        place += R @ [along, corner * (1 - np.cos(angle))]
        return np.array([*place, count * quarter + angle])

    return Motion(4 * leg + 2 * REST, travelled, remark=f"a square with sides of {side:.1f} m")


def _figure(pattern: Pattern, share: float) -> Array:
    """Place ``(2,)`` at a share 0 to 1 of the time; the whole is two units across."""
    if pattern is Pattern.SQUARE:  # at rest in each corner: nothing can turn at full speed
        corners = np.array([[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]], dtype=float)
        side = min(int(4 * np.clip(share, 0, 1)), 3)
        on = _eased(4 * share - side)
        return np.asarray((1 - on) * corners[side] + on * corners[side + 1])
    return _curve(pattern, _eased(share))


def _curve(pattern: Pattern, phase: float) -> Array:
    """Place ``(2,)`` at a phase 0 to 1 of a smooth closed curve that starts along (1, 0)."""
    a = 2 * np.pi * phase
    if pattern is Pattern.CIRCLE:
        return np.array([np.sin(a), 1 - np.cos(a)])
    return EIGHT @ np.array([np.sin(a), 0.5 * np.sin(2 * a)])  # Gerono's lemniscate


JUMP = 7 * np.pi / 4  # [rad]
EIGHT = np.sqrt(0.5) * np.array([[1.0, 1.0], [-1.0, 1.0]])  # it leaves its centre at 45 degrees


def _heading(pattern: Pattern, phase: float) -> float:
    """Direction of a curve, without jumps [rad]."""
    if pattern is Pattern.SQUARE:
        return 0.0
    if pattern is Pattern.CIRCLE:
        return 2 * np.pi * phase
    a = 2 * np.pi * phase
    x, y = EIGHT @ np.array([np.cos(a), np.cos(2 * a)])
    # the curve turns between -270 and 0 degrees: the jump is put outside
    return float((np.arctan2(y, x) + JUMP) % (2 * np.pi) - JUMP)


def _length(pattern: Pattern) -> float:
    places = np.array([_figure(pattern, s) for s in np.linspace(0, 1, 2001)])
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())


def _eased(share: float) -> float:
    """0 to 1 at constant speed between two smooth ramps (integral of cubic smoothsteps)."""
    share = min(max(share, 0.0), 1.0)
    if share > 0.5:
        return 1.0 - _eased(1.0 - share)
    u = min(share / RAMP, 1.0)
    return (RAMP * (u**3 - 0.5 * u**4) + max(share - RAMP, 0.0)) / (1 - RAMP)


def _there_and_back(share: float) -> float:
    return _eased(2.4 * share) - _eased(2.4 * share - 1.4)  # with a rest at the far end


def _run(t: float) -> float:
    """Way [m] at a constant speed that is gained with 1 m/s^2."""
    return SPEED * (t - 0.5 * SPEED) if t > SPEED else 0.5 * max(t, 0.0) ** 2
