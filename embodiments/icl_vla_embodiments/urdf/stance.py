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
from .foot import Foot
from .untangle import columns_between, finite

HEIGHTS = (1.0, 1.1, 1.2)  # of the foot below the hip, over the best height; best first
CROUCH = 0.75  # of a leg's length in the plane of its knee: the best height of a foot below its hip
STEADY = 0.005  # [m] between centre of mass and middle of the feet that is left as it is
OFF = 0.02  # [m], [rad], error at which a foot is not where it should be


def standing(model: RobotModel, scene: CollisionScene, q: Array, legs: Sequence[Group]) -> Array:
    """``q`` ``(n,)`` with legs bent, feet :data:`CROUCH` of their length below the hips, or lower.

    Lower where an ankle's limits forbid the bend, or where legs would touch.
    """
    if not legs:
        return q
    index = {name: i for i, name in enumerate(model.embodiment.joints)}
    columns = [[index[j] for j in leg.joints] for leg in legs]
    own = {c for leg in columns for c in leg}
    pairs = [
        p for p in model.embodiment.collision_pairs if own & {*columns_between(model, scene, p)}
    ]
    tried: list[tuple[int, int, float, Array]] = []
    feet = [Foot.of(scene.tree, scene.hulls, leg) for leg in legs]
    for height in HEIGHTS:  # one for all: the body stands level
        here, bent, errors, strains = q, list[Array](), 0.0, 0
        for foot, mine in zip(feet, columns, strict=True):
            like = next((b for b in bent if len(b) == len(mine)), None)
            here, error, strained = _bend(model, here, foot, mine, height, like)
            bent.append(here[mine])
            errors, strains = errors + error, strains + strained
        angles = dict(zip(model.embodiment.joints, here, strict=True))
        touching = len(scene.touching(scene.tree.poses(angles), pairs))
        tried.append((touching, strains, errors, here))
        if not touching and not strains:
            break
    return min(tried, key=lambda item: item[:3])[3]


def balanced(model: RobotModel, scene: CollisionScene, q: Array, legs: Sequence[Group]) -> Array:
    """``q`` with the feet moved below the centre of mass, where the legs can.

    The middle of the feet is that of their soles: a heel is nearer to its ankle than the toes are.
    """
    index = {name: i for i, name in enumerate(model.embodiment.joints)}
    for _ in range(2):  # the legs' own mass moves along
        angles = dict(zip(model.embodiment.joints, q, strict=True))
        poses = scene.tree.poses(angles)
        soles = np.array([scene.sole(leg.tip_link, poses) for leg in legs])
        com = np.array(pin.centerOfMass(model.model, model.data, model.full(q)))
        if not np.isfinite(com).all():  # the file gives no masses
            break
        shift = np.append((com - soles.mean(axis=0))[:2], 0.0)
        if np.linalg.norm(shift) < STEADY:
            break
        before = scene.touching(poses, model.embodiment.collision_pairs)
        moved = q
        for foot in (Foot.of(scene.tree, scene.hulls, leg) for leg in legs):
            columns = [index[j] for j in foot.leg.joints]
            T = foot.pose(model, q)
            goal = se3.pose(T[:3, :3], T[:3, 3] + shift)
            moved, left = _reach(model, moved, foot, goal, columns)
            if left > OFF:
                return q
        poses = scene.tree.poses(dict(zip(model.embodiment.joints, moved, strict=True)))
        if len(scene.touching(poses, model.embodiment.collision_pairs)) > len(before):
            return q
        q = moved
    return q


def levelled(
    model: RobotModel, scene: CollisionScene, q: Array, stood: Array, legs: Sequence[Group]
) -> Array:
    """``q`` with every foot as high, and turned, as in the posture ``stood``, if it stays clear."""
    robot = model.embodiment
    index = {name: i for i, name in enumerate(robot.joints)}
    moved = q
    for foot in (Foot.of(scene.tree, scene.hulls, leg) for leg in legs):
        goal, here = (foot.pose(model, x) for x in (stood, moved))
        goal = se3.pose(goal[:3, :3], [*here[:2, 3], goal[2, 3]])
        moved, left = _reach(model, moved, foot, goal, [index[j] for j in foot.leg.joints])
        if left > OFF:
            return q
    before, after = (
        scene.touching(
            scene.tree.poses(dict(zip(robot.joints, x, strict=True))), robot.collision_pairs
        )
        for x in (q, moved)
    )
    return moved if {*after} <= {*before} else q


def _reach(
    model: RobotModel, q: Array, foot: Foot, goal: Array, columns: Sequence[int]
) -> tuple[Array, float]:
    """``q`` with a foot at ``goal`` (turned as there, if it has ankles), and the error left."""
    lower, upper = finite(model.lower)[columns], finite(model.upper)[columns]
    rows = 6 if len(columns) >= 6 else 3
    q = q.copy()
    for _ in range(60):
        here = foot.pose(model, q)
        turn = se3.log3(goal[:3, :3] @ here[:3, :3].T)
        error = np.concatenate([goal[:3, 3] - here[:3, 3], turn])[:rows]
        if np.linalg.norm(error) < 1e-3:
            break
        J = foot.jacobian(model, q, columns)[:rows]
        step = J.T @ np.linalg.solve(J @ J.T + 1e-4 * np.eye(rows), error)
        step *= min(1.0, 0.3 / max(float(np.abs(step).max()), 1e-9))
        q[columns] = np.clip(q[columns] + step, lower, upper)
    return q, float(np.linalg.norm(error))


def _bend(
    model: RobotModel,
    q: Array,
    foot: Foot,
    columns: Sequence[int],
    height: float,
    like: Array | None,
) -> tuple[Array, float, bool]:
    """Put a foot below its hip, turned as at zero if it has ankles.

    Returned with the error that is left, and whether no posture near zero or mid-range does it.
    ``like`` is a leg of as many joints that stands already; this one bends as much, to either side.
    """
    lower, upper = finite(model.lower), finite(model.upper)
    rng = np.random.default_rng(0)
    best, best_size, best_error, strained = q, np.inf, np.inf, True
    zero = q.copy()
    zero[columns] = 0.0
    upright = foot.pose(model, zero)[:3, :3]
    target = se3.pose(upright, _below_hip(model, q, zero, foot, height))
    middle = 0.5 * (lower + upper)[columns]
    starts: list[Array] = [
        0.7 * np.clip(0.0, lower[columns], upper[columns]) + 0.3 * middle,
        middle,
        *(middle + 0.3 * (upper - lower)[columns] * rng.uniform(-1, 1, (6, len(columns)))),
        *([] if like is None else [like, -like]),
        *(np.concatenate([np.zeros(len(columns)), [-k, 2 * k]])[2:] for k in (0.7, -0.7)),
    ]
    for k, start in enumerate(starts):
        here = q.copy()
        here[columns] = np.clip(start, lower[columns], upper[columns])
        here, left = _reach(model, here, foot, target, columns)
        strained &= k >= 2 or left > OFF
        size = left + 0.02 * float(np.abs(here[columns]).max())
        if len(columns) < 6:  # a foot that trails its knee is pulled along, not stumbled over
            line, _ = _joint_line(model, here, foot.leg)
            size += 0.01 * float(line[-1][0] > line[0][0])
        if like is not None:
            size += 0.1 * float(np.linalg.norm(np.abs(here[columns]) - np.abs(like)))
        if size < best_size:
            best, best_size, best_error = here, size, left
    return best, best_error, strained


def _below_hip(model: RobotModel, q: Array, zero: Array, foot: Foot, height: float) -> Array:
    """Where a foot stands ``(3,)``, base frame.

    A leg of three or four joints that swings fore and aft (knee axis level, first axis not
    upright) stands below its hip joint, as far aside as at zero. Others stand below their third
    joint: the knee of a sprawling leg, the innermost of a hip with three axes.
    """
    leg = foot.leg
    straight = foot.pose(model, q)[:3, 3]
    joints, _ = _joint_line(model, q, leg)
    line = np.array([*joints, straight])
    length = float(np.linalg.norm(np.diff(line[1:], axis=0), axis=1).sum())
    aside = line[min(2, len(line) - 1)] if len(line) > 3 else line[0]
    if len(leg.joints) in (3, 4):
        end = foot.pose(model, zero)[:3, 3]
        joints, axes = _joint_line(model, zero, leg)
        knee = axes[-1]
        hip = next(i for i, axis in enumerate(axes) if abs(axis @ knee) > 0.9)
        if abs(knee[2]) < 0.3 and abs(axes[0][2]) < 0.7 and hip < len(leg.joints) - 1:
            spans = np.diff([*joints[hip:], end], axis=0)
            flat = spans - np.outer(spans @ knee, knee)
            drop = height * CROUCH * float(np.linalg.norm(flat, axis=1).sum())
            place = joints[hip] + knee * ((end - joints[hip]) @ knee)
            return np.array([place[0], place[1], joints[hip][2] - drop])
    return np.array([aside[0], aside[1], aside[2] - 0.8 * height * length])


def _joint_line(model: RobotModel, q: Array, leg: Group) -> tuple[Array, Array]:
    """Origins ``(k, 3)`` and unit axes ``(k, 3)`` of a leg's joints in the base frame."""
    pin.computeJointJacobians(model.model, model.data, model.full(q))
    origins, axes = [], []
    for name in leg.joints:
        index = model.model.getJointId(name)
        J = pin.getJointJacobian(model.model, model.data, index, pin.LOCAL_WORLD_ALIGNED)
        column = np.reshape(J, (6, -1))[:, model.model.idx_vs[index]]
        origins.append(np.array(model.data.oMi[index].translation))
        axes.append(column[3:] if column[3:].any() else column[:3])
    return np.array(origins), np.array(axes)
