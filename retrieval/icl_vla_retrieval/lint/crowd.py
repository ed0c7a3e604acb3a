"""What only shows in several demonstrations of one instruction: outliers, too few, all alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .finding import Finding
from .motion import Motion

FEW = 5  # demonstrations of an instruction below which little can be said; 10 to 20 are meant
ALIKE = 0.01  # [m] mean distance of tool paths below which they are one and the same
POINTS = 24  # of a path, evenly spaced in its phase
TURN = 0.1  # [m] that a turn of 1 rad counts as
GRIP = 0.1  # [m] that a whole stroke of the gripper counts as
MANY = 10  # demonstrations from which a spread can be told; of fewer, more is taken for chance
UNUSUAL = 3.5  # robust deviations (Iglewicz and Hoaglin 1993) beyond which one stands apart


def check_crowd(motions: Sequence[Motion]) -> Iterator[Finding]:
    """Checks over each instruction's demonstrations."""
    groups: dict[str, list[Motion]] = {}
    for motion in motions:
        groups.setdefault(motion.d.instruction, []).append(motion)
    for instruction, group in groups.items():
        yield from _few(instruction, group)
        if len(group) >= 3:
            paths = [_path(m) for m in group]
            gaps = np.array([[np.abs(a - b).mean() for b in paths] for a in paths])
            yield from _alike(instruction, group, gaps)
            if len(group) >= FEW:
                yield from _outliers(group, paths)


def _few(instruction: str, group: Sequence[Motion]) -> Iterator[Finding]:
    if len(group) < FEW:
        yield Finding(
            "too-few",
            None,
            None,
            f"{len(group)} demonstrations of {instruction!r}",
            "record 10 to 20, each with the things in other places",
        )


def _alike(instruction: str, group: Sequence[Motion], gaps: Array) -> Iterator[Finding]:
    apart = gaps[np.triu_indices(len(group), 1)]
    if np.median(apart) < ALIKE:
        yield Finding(
            "all-alike",
            None,
            None,
            f"{len(group)} demonstrations of {instruction!r} are {np.median(apart) * 1e3:.1f} mm"
            " apart: they cannot show what the motion depends on",
            "record them with the things in other places, and from other starts",
        )


def _path(motion: Motion) -> Array:
    """``(POINTS, k)`` [m]: tool positions, turns and openings at even phases."""
    T = len(motion)
    at = np.round(np.linspace(0, T - 1, POINTS)).astype(int)
    parts = []
    for arm, poses in motion.poses.items():
        parts.append(poses[at][:, :3, 3])
        turn = se3.log3(poses[at][:, :3, :3] @ poses[at[0], :3, :3].T)
        parts.append(TURN * turn)
        opening = motion.d.grippers.get(arm)
        if opening is not None:
            parts.append(GRIP * opening[at][:, None])
    return np.concatenate(parts, axis=1) if parts else motion.d.q[at] * TURN


def _outliers(group: Sequence[Motion], paths: Sequence[Array]) -> Iterator[Finding]:
    """Episodes that stand apart in one of a few plain quantities.

    Where a motion goes depends on where things are, so only what does not is compared: duration,
    heights, the gripper.
    """
    quantities = _quantities(group, paths)
    for i, motion in enumerate(group):
        reasons = []
        for name, (values, least) in quantities.items():
            others = np.delete(values, i)
            middle = float(np.median(others))
            spread = max(1.4826 * float(np.median(np.abs(others - middle))), least)
            score = abs(float(values[i]) - middle) / spread
            reasons.append((score, f"{name} {values[i]:.3g}, the others' median {middle:.3g}"))
        score, reason = max(reasons)
        if score > UNUSUAL * max(1.0, MANY / len(group)):
            yield Finding(
                "outlier",
                motion.episode,
                None,
                reason,
                f"look at it (icl-vla demos show {motion.d.embodiment} --episode NUMBER), and"
                " remove it if it shows something else than the instruction says",
            )


def _quantities(
    group: Sequence[Motion], paths: Sequence[Array]
) -> Mapping[str, tuple[Array, float]]:
    """Name -> one number an episode, and the smallest spread that counts."""
    heights = np.stack([p[:, 2] - p[0, 2] for p in paths])
    out = {
        "log of the seconds": (np.log([len(m) * m.period for m in group]), 0.1),
        "tool's height at the end [m]": (np.array([p[-1, 2] for p in paths]), 0.01),
        "distance to the usual heights [m]": (
            np.abs(heights - np.median(heights, axis=0)).mean(axis=1),
            0.01,
        ),
    }
    openings = [next(iter(m.d.grippers.values()), None) for m in group]
    known = [x for x in openings if x is not None]
    if len(known) == len(group):
        profiles = np.stack([x[np.linspace(0, len(x) - 1, POINTS).astype(int)] for x in known])
        usual = np.median(profiles, axis=0)
        out["opening at the end"] = (profiles[:, -1], 0.1)
        out["distance to the usual opening"] = (np.abs(profiles - usual).mean(axis=1), 0.05)
    return out
