"""Columns that stand in each other's place."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from icl_vla_embodiments.types import Array

from .finding import Finding
from .motion import Motion, lagged

APART = 0.1  # [rad or m] between command and measurement that following does not explain
TOOL_APART = 0.06  # [m]
BETTER = 0.35  # share of the distance that exchanging two columns must leave at most
NEAR = 0.2  # [rad or m] that it may leave at most
SAMPLES = 24  # frames that the tool is compared in


def check_order(motion: Motion) -> Iterator[Finding]:
    """Two joints whose exchange brings commands and measurements together."""
    found = _by_joints(motion) if len(motion.joint_commands) > 1 else _by_tool(motion)
    if found is None:
        return
    i, j, before, after, unit = found
    a, b = motion.robot.joints[i], motion.robot.joints[j]
    yield Finding(
        "swapped-joints",
        motion.episode,
        None,
        f"{a} and {b}: measured and commanded are {before:.3f} {unit} apart, exchanged"
        f" {after:.3f} {unit}",
        f"import the data again and say which column is which: --map COLUMN={a} --map COLUMN={b}",
    )


def _by_joints(motion: Motion) -> tuple[int, int, float, float, str] | None:
    best = None
    for i, j in combinations(motion.joint_commands, 2):
        ci, cj = motion.joint_commands[i], motion.joint_commands[j]
        qi, qj = motion.d.q[:, i], motion.d.q[:, j]
        before = min(lagged(ci, qi), lagged(cj, qj))
        after = max(lagged(ci, qj), lagged(cj, qi))
        if (
            before > APART
            and after < min(NEAR, BETTER * before)
            and (best is None or after < best[3])
        ):
            best = (i, j, before, after, "rad")
    return best


def _by_tool(motion: Motion) -> tuple[int, int, float, float, str] | None:
    arms = [a for a in motion.robot.arms if a.name in motion.tool_commands]
    for arm in arms:
        command = motion.tool_commands[arm.name]
        before = _gap(motion.poses[arm.name], command)
        if before < TOOL_APART:
            continue
        frames = np.unique(np.linspace(0, len(motion) - 1, SAMPLES).astype(int))
        index = [motion.robot.joints.index(j) for j in arm.joints]
        gaps = {}
        for i, j in combinations(index, 2):
            q = motion.d.q[frames].copy()
            q[:, [i, j]] = q[:, [j, i]]
            poses = np.stack([motion.model.poses(x)[arm.name] for x in q])
            gaps[i, j] = _gap(poses, command[frames])
        (i, j), after = min(gaps.items(), key=lambda item: item[1])
        if after < BETTER * _gap(motion.poses[arm.name][frames], command[frames]):
            return i, j, before, after, "m"
    return None


def _gap(poses: Array, command: Array) -> float:
    """Mean distance of measured and commanded tool positions [m], a turn of 1 rad as 0.1 m."""
    from icl_vla_embodiments import se3

    way = np.linalg.norm(poses[:, :3, 3] - command[:, :3, 3], axis=1)
    turn = np.linalg.norm(se3.log3(poses[:, :3, :3] @ command[:, :3, :3].swapaxes(1, 2)), axis=1)
    return float(np.mean(way + 0.1 * turn))
