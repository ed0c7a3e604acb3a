"""The nearest posture, to a posture in which links touch, in which none do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..robot_model import RobotModel
from ..types import Array
from .collision import CollisionScene

STEPS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25)  # of each joint's half range, the smallest first
TRIES = 24  # a step


def finite(limit: Array) -> Array:
    """Limits with a turn to each side where there are none."""
    return np.clip(limit, -np.pi, np.pi, where=~np.isfinite(limit), out=limit.copy())


def untangled(
    scene: CollisionScene,
    model: RobotModel,
    q: Array,
    ignored: Sequence[tuple[str, str]] = (),
) -> tuple[Array, list[tuple[str, str]]]:
    """Move the joints between links that touch, pair by pair, by seeded random search.

    Args:
        scene: The robot's hulls.
        model: Its joints and limits.
        q: ``(n,)`` where the search starts.
        ignored: Pairs that may overlap.

    Returns:
        ``(n,)`` and the pairs that touch still.
    """
    tree, robot = scene.tree, model.embodiment
    pairs = [p for p in robot.collision_pairs if p not in ignored]
    lower, upper = finite(model.lower), finite(model.upper)
    half = 0.5 * (upper - lower)

    def touching(q: Array, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return scene.touching(tree.poses(dict(zip(robot.joints, q, strict=True))), pairs)

    def freed(pair: tuple[str, str], q: Array, before: set[tuple[str, str]]) -> Array:
        rng = np.random.default_rng(0)  # like pairs on both sides move alike
        columns = columns_between(model, scene, pair)
        for step in STEPS:
            for _ in range(TRIES if columns else 0):
                here = q.copy()
                here[columns] += step * half[columns] * rng.uniform(-1, 1, len(columns))
                here = np.clip(here, lower, upper)
                if not touching(here, [pair]) and before > {*touching(here, pairs)}:
                    return here
        return q

    rest = touching(q, pairs)
    for pair in tuple(rest):
        if pair in rest:
            q = freed(pair, q, {*rest})
            rest = touching(q, pairs)
    return q, rest


def columns_between(model: RobotModel, scene: CollisionScene, pair: tuple[str, str]) -> list[int]:
    """Columns of ``q`` that move two links against each other."""
    tree = scene.tree
    ways = []
    for link in pair:
        body = tree.body[link]
        ways.append({j.name for j in tree.chain(tree.above[body])} if body != tree.root else set())
    columns: set[int] = set()
    for name in ways[0] ^ ways[1]:
        row = model.model.idx_vs[model.model.getJointId(name)]
        columns |= {int(k) for k in np.flatnonzero(model.G[row])}
    return sorted(columns)
