"""A neutral posture: inside the limits, free of self-collision, arms ready to work."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import se3
from ..embodiment import Embodiment, Group
from ..robot_model import RobotModel
from ..types import Array
from .collision import CollisionScene

ENOUGH = 6  # solutions to choose among
# Where the TCP should be, as (forward, up) from the shoulder over the arm's length, best first.
PLACES = (
    (0.45, 0.05),
    (0.45, -0.1),
    (0.35, 0.1),
    (0.55, 0.0),
    (0.4, -0.3),
    (0.6, 0.2),
    (0.3, -0.5),
)

WISHES = (  # rows of the pose that count, turn about the vertical, in words
    (6, 0.0, "hand down"),
    (6, np.pi / 2, "hand down, turned"),
    (6, -np.pi / 2, "hand down, turned"),
    (6, np.pi, "hand down, turned"),
    (5, 0.0, "hand down, free yaw"),
    (3, 0.0, "free hand"),
)


@dataclass(frozen=True)
class Posture:
    """Positions ``(n,)``, the reason, and what could not be had."""

    q: Array
    why: str
    warnings: tuple[str, ...] = ()


def neutral_posture(embodiment: Embodiment, scene: CollisionScene) -> Posture:
    """Search a neutral posture.

    Each arm: the TCP before the shoulder, the hand pointing down, as far as inverse kinematics
    finds it; of the first few solutions the one with the largest product of joint-limit margin
    and smallest singular value of the Jacobian, hanging elbows and self-collisions last. Legs:
    feet below the hips, knees bent. Grippers open; all else at zero or, where zero is outside,
    mid-range.
    """
    model = RobotModel(embodiment)
    index = {name: i for i, name in enumerate(embodiment.joints)}
    lower, upper = finite(model.lower), finite(model.upper)
    margin = 0.05 * (upper - lower)
    q = np.where((lower + margin <= 0) & (upper - margin >= 0), 0.0, 0.5 * (lower + upper))
    for group in embodiment.of_kind("gripper"):
        q[[index[j] for j in group.joints]] = group.open
    legs = embodiment.of_kind("leg")
    bent: list[Array] = []
    for leg in legs:
        columns = [index[j] for j in leg.joints]
        q = _bend(model, q, leg, columns, next((b for b in bent if len(b) == len(columns)), None))
        bent.append(q[columns])
    reasons, warnings = [], []
    for arm in embodiment.arms:
        columns = [index[j] for j in arm.joints]
        q, how = _place(model, scene, q, arm, columns)
        reasons.append(f"{arm.name}: {how}")
    touching = _touching(scene, embodiment, q)
    if touching:
        pairs = ", ".join(f"{a} and {b}" for a, b in touching[:4])
        warnings.append(f"in the neutral posture these links' hulls touch: {pairs}")
    if legs:
        reasons.append("feet below the hips, knees bent")
    return Posture(np.clip(q, lower, upper), "; ".join(reasons) or "zero", tuple(warnings))


def finite(limit: Array) -> Array:
    """Limits with a turn to each side where there are none."""
    return np.clip(limit, -np.pi, np.pi, where=~np.isfinite(limit), out=limit.copy())


def _touching(scene: CollisionScene, embodiment: Embodiment, q: Array) -> list[tuple[str, str]]:
    poses = scene.tree.poses(dict(zip(embodiment.joints, q, strict=True)))
    return scene.touching(poses, embodiment.collision_pairs)


def _place(
    model: RobotModel,
    scene: CollisionScene,
    q: Array,
    arm: Group,
    columns: Sequence[int],
) -> tuple[Array, str]:
    """``q`` with one arm brought in front of its shoulder, and how far that went."""
    lower, upper = finite(model.lower)[columns], finite(model.upper)[columns]
    middle = 0.5 * (lower + upper)
    rng = np.random.default_rng(0)
    spread = 0.35 * (upper - lower) * rng.uniform(-1, 1, (3, len(columns)))
    home = q.copy()
    home[columns] = middle
    shoulder, reach = _shoulder(model, home, arm)
    front = _front(model, home, arm, shoulder, reach, float((upper - lower)[0]))
    floor = scene.floor + 0.1 * reach if model.embodiment.base != "floating" else -np.inf
    down = np.array([0.0, 0.0, -1.0])
    facing = np.stack([front, np.cross(down, front), down], axis=1)
    for rows, yaw, how in WISHES:
        if rows > len(columns) + 1:  # five joints suffice for a pose in the arm's own plane
            continue
        found: list[tuple[float, Array]] = []
        for (along, up), offset in itertools.product(PLACES, (0.0 * middle, *spread)):
            start = q.copy()
            start[columns] = middle + offset
            point = shoulder + reach * (along * front - up * down)
            point[2] = max(point[2], floor)
            target = se3.pose(facing @ se3.yaw(yaw), point)
            solution = _solve(model, arm.name, target, start, columns, slice(0, rows))
            if solution is not None:
                quality = _quality(model, arm.name, solution, columns)
                quality *= 1.0 if _elbow_up(model, arm, solution, shoulder, reach) else 0.1
                found.append((quality, solution))
            if len(found) >= ENOUGH:
                break
        if found:
            found.sort(key=lambda item: -item[0])
            free = [s for _, s in found if not _touching(scene, model.embodiment, s)]
            return (free or [found[0][1]])[0], f"TCP in front of the shoulder, {how}"
    return home, "mid-range; no reachable pose in front was found"


def _shoulder(model: RobotModel, q: Array, arm: Group) -> tuple[Array, float]:
    """Origin of the arm's second moving link in the base frame, and the arm's length, at ``q``."""
    tip = model.poses(q)[arm.name][:3, 3]
    joints = [model.model.getJointId(name) for name in arm.joints]
    line = np.array([*(model.data.oMi[j].translation for j in joints), tip])
    length = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    return line[min(1, len(line) - 2)], max(length, 1e-3)


def _front(
    model: RobotModel, q: Array, arm: Group, shoulder: Array, reach: float, turn: float
) -> Array:
    """The horizontal direction that the arm faces at mid-range, if it faces any; else x."""
    ahead = (model.poses(q)[arm.name][:3, 3] - shoulder)[:2]
    if turn > 1.95 * np.pi or np.linalg.norm(ahead) < 0.15 * reach:
        return np.array([1.0, 0.0, 0.0])
    k = int(np.argmax(np.abs(ahead)))
    front = np.zeros(3)
    front[k] = np.sign(ahead[k])
    return front


def _solve(
    model: RobotModel,
    arm: str,
    target: Array,
    q: Array,
    columns: Sequence[int],
    rows: slice,
    iterations: int = 40,
) -> Array | None:
    """Damped least squares on position and, in the target's axes, rotation; z's turn comes last."""
    lower, upper = finite(model.lower), finite(model.upper)
    for _ in range(iterations):
        T = model.poses(q)[arm]
        R = target[:3, :3].T
        error = np.concatenate([target[:3, 3] - T[:3, 3], R @ _turn(T, target, rows)])[rows]
        if np.linalg.norm(error[:3]) < 1e-4 and np.linalg.norm(error[3:]) < 1e-3:
            return q
        J = model.jacobian(q, arm)[:, columns]
        J = np.concatenate([J[:3], R @ J[3:]])[rows]
        step = J.T @ np.linalg.solve(J @ J.T + 1e-4 * np.eye(len(J)), error)
        q = q.copy()
        q[columns] += step * min(1.0, 0.4 / max(float(np.abs(step).max()), 1e-9))
        q[columns] = np.clip(q[columns], lower[columns], upper[columns])
    return None


def _turn(T: Array, target: Array, rows: slice) -> Array:
    """Rotation error (base frame); without a demanded yaw, only what turns z to the target's."""
    if rows.stop == 6:
        return se3.log3(target[:3, :3] @ T[:3, :3].T)
    z, goal = T[:3, 2], target[:3, 2]
    axis = np.cross(z, goal)
    sine = float(np.linalg.norm(axis))
    angle = np.arctan2(sine, float(z @ goal))
    if sine < 1e-9:
        return np.zeros(3) if z @ goal > 0 else np.pi * T[:3, 0]
    return axis / sine * angle


def _quality(model: RobotModel, arm: str, q: Array, columns: Sequence[int]) -> float:
    lower, upper = finite(model.lower)[columns], finite(model.upper)[columns]
    here = q[columns]
    margin = float((np.minimum(here - lower, upper - here) / np.maximum(upper - lower, 1e-9)).min())
    smallest = float(np.linalg.svd(model.jacobian(q, arm)[:, columns])[1][-1])
    return max(margin, 1e-3) * max(smallest, 1e-3)


def _elbow_up(model: RobotModel, arm: Group, q: Array, shoulder: Array, reach: float) -> bool:
    """Whether no joint of the arm hangs below its shoulder, as a table would be in the way."""
    model.poses(q)
    heights = [model.data.oMi[model.model.getJointId(j)].translation[2] for j in arm.joints[1:]]
    free = model.embodiment.base == "floating"  # a humanoid's elbows may hang
    return free or min(heights, default=np.inf) > shoulder[2] - 0.1 * reach


def _bend(
    model: RobotModel, q: Array, leg: Group, columns: Sequence[int], like: Array | None
) -> Array:
    """Put a foot below its hip at 0.8 of the leg's length, turned as at zero if it has ankles.

    ``like`` is a leg of as many joints that stands already; this one bends as much, to either side.
    """
    lower, upper = finite(model.lower), finite(model.upper)
    frame = model.frame_id(leg.tip_link)
    rng = np.random.default_rng(0)
    best, best_error = q, np.inf
    zero = q.copy()
    zero[columns] = 0.0
    upright = model.link_poses(zero)[leg.tip_link][:3, :3]
    straight = model.link_poses(q)
    joints = [np.array(model.data.oMi[model.model.getJointId(j)].translation) for j in leg.joints]
    joints.append(straight[leg.tip_link][:3, 3])
    length = float(np.linalg.norm(np.diff(joints[1:], axis=0), axis=1).sum())
    aside = joints[min(2, len(joints) - 1)] if len(joints) > 3 else joints[0]
    target = np.array([aside[0], aside[1], aside[2] - 0.8 * length])
    rows = 6 if len(columns) >= 6 else 3
    middle = 0.5 * (lower + upper)[columns]
    starts = [
        0.7 * np.clip(0.0, lower[columns], upper[columns]) + 0.3 * middle,
        middle,
        *(middle + 0.3 * (upper - lower)[columns] * rng.uniform(-1, 1, (6, len(columns)))),
        *([] if like is None else [like, -like]),
    ]
    for start in starts:
        here = q.copy()
        here[columns] = np.clip(start, lower[columns], upper[columns])
        for _ in range(60):
            foot = model.link_poses(here)[leg.tip_link]
            turn = se3.log3(upright @ foot[:3, :3].T)
            error = np.concatenate([target - foot[:3, 3], turn])[:rows]
            if np.linalg.norm(error) < 1e-3:
                break
            J = _frame_jacobian(model, here, frame)[:rows, columns]
            step = J.T @ np.linalg.solve(J @ J.T + 1e-4 * np.eye(rows), error)
            here[columns] += step * min(1.0, 0.3 / max(float(np.abs(step).max()), 1e-9))
            here[columns] = np.clip(here[columns], lower[columns], upper[columns])
        size = float(np.linalg.norm(error)) + 0.02 * float(np.abs(here[columns]).max())
        if like is not None:
            size += 0.1 * float(np.linalg.norm(np.abs(here[columns]) - np.abs(like)))
        if size < best_error:
            best, best_error = here, size
    return best


def _frame_jacobian(model: RobotModel, q: Array, frame: int) -> Array:
    import pinocchio as pin

    J = pin.computeFrameJacobian(
        model.model, model.data, model.full(q), frame, pin.LOCAL_WORLD_ALIGNED
    )
    return np.reshape(J, (6, -1)) @ model.G  # Pinocchio drops the axis of a single column
