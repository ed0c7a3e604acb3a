"""Numbers in another unit than the bank says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .finding import Finding
from .motion import Motion

FACTORS = {"degrees": 180 / np.pi, "millimetres": 1000.0, "centimetres": 100.0}
SLACK = 1.4  # by which a ratio may miss a factor
REMEDY = "import the data again and say the unit: icl-vla demos add ... --unit COLUMN=UNIT"


def check_units(motion: Motion) -> Iterator[Finding]:
    """States that only fit the limits in another unit, and commands on another scale than states.

    A ratio of the spreads of command and measurement is near 1 in equal units: the known factors
    between units (57.3, 100, 1000) are far from it.
    """
    turning = ~motion.prismatic
    state = _beyond(motion, motion.d.q, turning)
    if state:
        yield Finding("units", motion.episode, None, f"measured joints {state}", REMEDY)
        return
    for what, ratio, names in _ratios(motion):
        name = _named(ratio, names)
        if name:
            side = "commands" if ratio > 1 else "measurements"
            other = "measurements" if ratio > 1 else "commands"
            yield Finding(
                "units",
                motion.episode,
                None,
                f"{what}: the {side} spread {max(ratio, 1 / ratio):.0f} times as far as the"
                f" {other}, as {name} do",
                REMEDY,
            )
            return


def _beyond(motion: Motion, positions: Array, turning: NDArray[np.bool_]) -> str:
    """In words, where positions leave the limits by far but fit them as degrees."""
    lower, upper = motion.robot.array("lower"), motion.robot.array("upper")
    joints = np.flatnonzero(turning & np.isfinite(lower) & np.isfinite(upper))
    if not len(joints):
        return ""
    x, low, high = positions[:, joints], lower[joints], upper[joints]
    width = high - low
    outside = ((x > high + 0.5 * width) | (x < low - 0.5 * width)).any(axis=0)
    as_degrees = np.deg2rad(x)
    fits = ((as_degrees < high + 0.1) & (as_degrees > low - 0.1)).all()
    # one joint alone has jumped or been wound up: a unit is every joint's
    if outside.sum() < max(2, len(joints) / 3) or not fits:
        return ""
    k = int(np.abs(x).max(axis=0).argmax())
    return (
        f"reach {np.abs(x).max():.1f}, beyond {motion.robot.joints[joints[k]]}'s"
        f" {low[k]:.2f} to {high[k]:.2f} rad, and fit all limits as degrees"
    )


def _ratios(motion: Motion) -> Iterator[tuple[str, float, tuple[str, ...]]]:
    """Spread of the commands over that of the measurements, and the units that could differ."""
    turn = [k for k in motion.joint_commands if not motion.prismatic[k]]
    pairs = [(motion.joint_commands[k], motion.d.q[:, k]) for k in turn]
    if pairs:
        yield "joints", _spread(pairs, 0.02), ("degrees",)
    for arm, T in motion.tool_commands.items():
        if arm in motion.poses:
            p = motion.poses[arm][:, :3, 3]
            yield f"tool {arm!r}", _spread([(T[:, :3, 3], p)], 0.01), ("millimetres", "centimetres")


def _spread(pairs: list[tuple[Array, Array]], least: float) -> float:
    """Ratio of the standard deviations of commands and measurements, summed over pairs."""
    command = sum(float(c.std(axis=0).sum()) for c, _ in pairs)
    measured = sum(float(m.std(axis=0).sum()) for _, m in pairs)
    if max(command, measured) < least or min(command, measured) <= 0:
        return 1.0
    return command / measured


def _named(ratio: float, names: tuple[str, ...]) -> str:
    size = max(ratio, 1 / ratio)
    return next((n for n in names if FACTORS[n] / SLACK < size < FACTORS[n] * SLACK), "")
