"""Frames that are missing, or there twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .finding import Finding
from .motion import Motion

GAP = 1.5  # periods between two frames: one is missing
SKIP = 1.8  # times the steps around it: two or more are missing although the times look even
SKIP_FROM_REST = 3.2  # times the step after it, where the robot stood still before
NOTABLE = 0.02  # share of the fastest below which a step says nothing
TOOL_FAST = 1.0  # [m/s] of a tool
FROZEN = 0.25  # share of the usual change between two pictures


def check_dropped(motion: Motion) -> Iterator[Finding]:
    """Gaps in the times, and steps that are whole multiples of those around them."""
    if len(motion) < 2:
        return
    gaps = np.diff(motion.d.times) / motion.period
    bad = np.flatnonzero(gaps > GAP)
    if len(bad):
        missing = int(np.round(gaps[bad] - 1).sum())
        yield Finding(
            "dropped",
            motion.episode,
            (int(bad[0]), int(bad[-1]) + 1),
            f"{missing} frames missing in the times, the longest gap"
            f" {gaps.max() * motion.period:.3f} s where {motion.period:.3f} s is usual",
            "record at a rate that the computer keeps up with, or remove the episode",
        )
    frames = _seen_twice(motion)
    frames = frames[gaps[frames] <= GAP]
    if len(frames):
        yield Finding(
            "dropped",
            motion.episode,
            (int(frames[0]), int(frames[-1]) + 1),
            f"{len(frames)} steps {SKIP:g} times or more those before and after: frames are"
            " missing although the times are even",
            "record at a rate that the computer keeps up with, or remove the episode",
        )


def _seen_twice(motion: Motion) -> NDArray[np.int64]:
    """Skips that show in two of three: the joints' way, the tool's, the commanded tool's.

    One alone misleads: joints whip near a singularity while the tool does not, contact pushes a
    tool, and set-points step. A frame that is missing is missing in all of them.
    """
    ways = [[motion.steps[:, _joints_that_travel(motion)]]]
    for places in (motion.poses, motion.d.commands):
        metre = 1 / (TOOL_FAST * motion.period)
        ways.append([metre * np.diff(T[:, :3, 3], axis=0) for T in places.values()])
    seen = [frame for kind in ways for frame in {t for way in kind for t in _skips(way)}]
    frames, count = np.unique(np.array(seen, dtype=np.int64), return_counts=True)
    return frames[count >= min(2, sum(map(bool, ways)))]


def _joints_that_travel(motion: Motion) -> NDArray[np.bool_]:
    """Fingers move in jerks of their own."""
    fingers = {j for g in motion.robot.of_kind("gripper") for j in g.joints}
    return np.array([j not in fingers for j in motion.robot.joints])


def _skips(steps: Array) -> NDArray[np.int64]:
    """Steps ``(T - 1, n)`` between their neighbours in direction, and much longer than they are."""
    length = np.linalg.norm(steps, axis=1)
    out = []
    for t in range(1, len(length) - 1):
        size, before, after = float(length[t]), float(length[t - 1]), float(length[t + 1])
        if size < NOTABLE or after < 0.05 * size:
            continue
        ahead = steps[t] @ steps[t + 1] / (size * after)
        if before < 0.05 * size:  # from rest: a motion's first step is seldom its longest
            leads_on, many = ahead > 0.9, size > SKIP_FROM_REST * after
        else:
            behind = steps[t] @ steps[t - 1] / (size * before)
            leads_on, many = min(behind, ahead) > 0, size > SKIP * 0.5 * (before + after)
        if leads_on and many:
            out.append(t)
    return np.array(out, dtype=np.int64)


def check_duplicated(motion: Motion) -> Iterator[Finding]:
    """Frames that repeat the one before to the last bit while the robot moves."""
    d = motion.d
    if len(motion) < 4:
        return
    same = (np.diff(d.q, axis=0) == 0).all(axis=1) & (np.diff(d.actions, axis=0) == 0).all(axis=1)
    length = np.linalg.norm(motion.steps, axis=1)
    moving = length > max(0.25 * float(np.median(length)), 1e-4)
    copies: list[int] = []
    for first, last in _runs(same):  # frames first + 1 .. last repeat frame first
        inside = first > 0 and last < len(d) - 1
        if inside and moving[first - 1] and moving[last]:
            copies += range(first + 1, last + 1)
    if copies:
        yield Finding(
            "duplicated",
            motion.episode,
            (copies[0], copies[-1]),
            f"{len(copies)} frames repeat the one before while the robot moves",
            f"drop them: icl-vla demos lint {d.embodiment} --fix",
            drop=tuple(copies),
        )
    for name, track in d.cameras.items():
        frozen = _frozen(track.rgb, moving)
        if len(frozen := np.setdiff1d(frozen, copies)):
            yield Finding(
                "duplicated",
                motion.episode,
                (int(frozen[0]), int(frozen[-1])),
                f"camera {name!r} shows {len(frozen)} pictures twice while the robot moves",
                "lower the rate or the picture's size until the camera keeps up, or remove the"
                " episode",
            )


def _runs(same: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last frame of each stretch of equal frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(int)))
    yield from ((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _frozen(rgb: NDArray[np.uint8], moving: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Frames whose picture is that of the frame before, while the robot moves."""
    small = rgb[:, ::4, ::4].astype(np.int16)
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    usual = float(np.median(change[moving])) if moving.any() else 0.0
    return np.flatnonzero((change < FROZEN * usual) & moving) + 1
