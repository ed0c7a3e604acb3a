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
CROUCH = 0.75  # of a leg's length, between hip and foot
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
    """Put a foot below its hip, knees bent, turned as at zero if it has ankles.

    ``like`` is a leg of as many joints that stands already; this one bends as much, to either side.
    """
    lower, upper = finite(model.lower), finite(model.upper)
    frame = model.frame_id(leg.tip_link)
    rng = np.random.default_rng(0)
    best, best_error = q, np.inf
    zero = q.copy()
    zero[columns] = 0.0
    upright = model.link_poses(zero)[leg.tip_link][:3, :3]
    target = _below_hip(model, q, zero, leg, columns)
    rows = 6 if len(columns) >= 6 else 3
    middle = 0.5 * (lower + upper)[columns]
    starts: list[Array] = [
        0.7 * np.clip(0.0, lower[columns], upper[columns]) + 0.3 * middle,
        middle,
        *(middle + 0.3 * (upper - lower)[columns] * rng.uniform(-1, 1, (6, len(columns)))),
        *([] if like is None else [like, -like]),
        *(np.concatenate([np.zeros(len(columns) - 2), [-k, 2 * k]]) for k in (0.7, -0.7)),
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
        if len(columns) < 6:  # a foot that trails its knee is pulled along, not stumbled over
            line, _ = _joint_line(model, here, leg)
            size += 0.01 * float(line[-1][0] > line[0][0])
        if like is not None:
            size += 0.1 * float(np.linalg.norm(np.abs(here[columns]) - np.abs(like)))
        if size < best_error:
            best, best_error = here, size
    return best


def _below_hip(
    model: RobotModel, q: Array, zero: Array, leg: Group, columns: Sequence[int]
) -> Array:
    """Where a foot stands ``(3,)``, base frame: :data:`CROUCH` of the leg's length below its hip.

    A leg of three or four joints that swings fore and aft (knee axis level, first axis not
    upright) stands below its hip joint, as far aside as at zero. Others stand below their third
    joint: the knee of a sprawling leg, the innermost of a hip with three axes.
    """
    straight = model.link_poses(q)[leg.tip_link][:3, 3]
    joints, _ = _joint_line(model, q, leg)
    line = np.array([*joints, straight])
    length = float(np.linalg.norm(np.diff(line[1:], axis=0), axis=1).sum())
    aside = line[min(2, len(line) - 1)] if len(line) > 3 else line[0]
    if len(columns) in (3, 4):
        foot = model.link_poses(zero)[leg.tip_link][:3, 3]
        joints, axes = _joint_line(model, zero, leg)
        knee = axes[-1]
        hip = next(i for i, axis in enumerate(axes) if abs(axis @ knee) > 0.9)
        if abs(knee[2]) < 0.3 and abs(axes[0][2]) < 0.7 and hip < len(columns) - 1:
            spans = np.diff([*joints[hip:], foot], axis=0)
            flat = spans - np.outer(spans @ knee, knee)
            drop = CROUCH * float(np.linalg.norm(flat, axis=1).sum())
            across = knee * (1 - abs(knee[2]))
            place = joints[hip] + across * ((foot - joints[hip]) @ across)
            return np.array([place[0], place[1], joints[hip][2] - drop])
    return np.array([aside[0], aside[1], aside[2] - 0.8 * length])


def _joint_line(model: RobotModel, q: Array, leg: Group) -> tuple[Array, Array]:
    """Origins ``(k, 3)`` and unit axes ``(k, 3)`` of a leg's joints in the base frame."""
    import pinocchio as pin

    pin.computeJointJacobians(model.model, model.data, model.full(q))
    origins, axes = [], []
    for name in leg.joints:
        index = model.model.getJointId(name)
        J = pin.getJointJacobian(model.model, model.data, index, pin.LOCAL_WORLD_ALIGNED)
        column = np.reshape(J, (6, -1))[:, model.model.idx_vs[index]]
        origins.append(np.array(model.data.oMi[index].translation))
        axes.append(column[3:] if column[3:].any() else column[:3])
    return np.array(origins), np.array(axes)


def _frame_jacobian(model: RobotModel, q: Array, frame: int) -> Array:
    import pinocchio as pin

    J = pin.computeFrameJacobian(
        model.model, model.data, model.full(q), frame, pin.LOCAL_WORLD_ALIGNED
    )
    return np.reshape(J, (6, -1)) @ model.G  # Pinocchio drops the axis of a single column
