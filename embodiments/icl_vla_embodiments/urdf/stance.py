"""Legs that stand: feet below the hips, knees bent, legs clear of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pinocchio as pin

from .. import se3
from ..embodiment import Group
from ..robot_model import RobotModel
from ..types import Array
from .collision import CollisionScene
from .untangle import columns_between, finite

HEIGHTS = (0.8, 0.88, 0.96)  # of the foot below the hip, over the leg's length; best first
OFF = 0.02  # [m], [rad], error at which a foot is not where it should be


def standing(model: RobotModel, scene: CollisionScene, q: Array, legs: Sequence[Group]) -> Array:
    """``q`` ``(n,)`` with legs bent at 0.8 of their length, or straighter.

    Straighter where an ankle's limits forbid the bend, or where legs would touch.
    """
    index = {name: i for i, name in enumerate(model.embodiment.joints)}
    bent: list[Array] = []
    for leg in legs:
        columns = [index[j] for j in leg.joints]
        own = {*columns}
        pairs = [
            p for p in model.embodiment.collision_pairs if own & {*columns_between(model, scene, p)}
        ]
        like = next((b for b in bent if len(b) == len(columns)), None)
        tried: list[tuple[int, bool, float, Array]] = []
        for height in HEIGHTS:
            here, error, strained = _bend(model, q, leg, columns, height, like)
            angles = dict(zip(model.embodiment.joints, here, strict=True))
            touching = len(scene.touching(scene.tree.poses(angles), pairs))
            tried.append((touching, strained, error, here))
            if not touching and not strained:
                break
        q = min(tried, key=lambda item: item[:3])[3]
        bent.append(q[columns])
    return q


def _bend(
    model: RobotModel,
    q: Array,
    leg: Group,
    columns: Sequence[int],
    height: float,
    like: Array | None,
) -> tuple[Array, float, bool]:
    """Put a foot below its hip, turned as at zero if it has ankles.

    Returned with the error that is left, and whether no posture near zero or mid-range does it.
    ``like`` is a leg of as many joints that stands already; this one bends as much, to either side.
    """
    lower, upper = finite(model.lower), finite(model.upper)
    frame = model.frame_id(leg.tip_link)
    rng = np.random.default_rng(0)
    best, best_size, best_error, strained = q, np.inf, np.inf, True
    zero = q.copy()
    zero[columns] = 0.0
    upright = model.T_base_frame(zero, leg.tip_link)[:3, :3]
    straight = model.T_base_frame(q, leg.tip_link)
    joints = [np.array(model.data.oMi[model.model.getJointId(j)].translation) for j in leg.joints]
    joints.append(straight[:3, 3])
    length = float(np.linalg.norm(np.diff(joints[1:], axis=0), axis=1).sum())
    aside = joints[min(2, len(joints) - 1)] if len(joints) > 3 else joints[0]
    target = np.array([aside[0], aside[1], aside[2] - height * length])
    rows = 6 if len(columns) >= 6 else 3
    middle = 0.5 * (lower + upper)[columns]
    starts = [
        0.7 * np.clip(0.0, lower[columns], upper[columns]) + 0.3 * middle,
        middle,
        *(middle + 0.3 * (upper - lower)[columns] * rng.uniform(-1, 1, (6, len(columns)))),
        *([] if like is None else [like, -like]),
    ]
    for k, start in enumerate(starts):
        here = q.copy()
        here[columns] = np.clip(start, lower[columns], upper[columns])
        for _ in range(60):
            foot = model.T_base_frame(here, leg.tip_link)
            turn = se3.log3(upright @ foot[:3, :3].T)
            error = np.concatenate([target - foot[:3, 3], turn])[:rows]
            if np.linalg.norm(error) < 1e-3:
                break
            J = _frame_jacobian(model, here, frame)[:rows, columns]
            step = J.T @ np.linalg.solve(J @ J.T + 1e-4 * np.eye(rows), error)
            here[columns] += step * min(1.0, 0.3 / max(float(np.abs(step).max()), 1e-9))
            here[columns] = np.clip(here[columns], lower[columns], upper[columns])
        left = float(np.linalg.norm(error))
        strained &= k >= 2 or left > OFF
        size = left + 0.02 * float(np.abs(here[columns]).max())
        if like is not None:
            size += 0.1 * float(np.linalg.norm(np.abs(here[columns]) - np.abs(like)))
        if size < best_size:
            best, best_size, best_error = here, size, left
    return best, best_error, strained


def _frame_jacobian(model: RobotModel, q: Array, frame: int) -> Array:
    J = pin.computeFrameJacobian(
        model.model, model.data, model.full(q), frame, pin.LOCAL_WORLD_ALIGNED
    )
    return np.reshape(J, (6, -1)) @ model.G  # Pinocchio drops the axis of a single column
