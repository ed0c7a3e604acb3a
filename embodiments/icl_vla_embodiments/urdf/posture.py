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
from .stance import balanced, levelled, standing
from .surfaces import surfaces_apart
from .untangle import columns_between, finite, untangled

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
    """Positions ``(n,)``, the reason, and what could not be had.

    Attributes:
        overlapping: Pairs of links whose hulls overlap here all the same: one lies in what the
            other's hull fills, or the file lets their shapes overlap. Checking them tells nothing
            (MoveIt's Setup Assistant leaves out pairs that collide in the default posture, too).
    """

    q: Array
    why: str
    warnings: tuple[str, ...] = ()
    overlapping: tuple[tuple[str, str], ...] = ()


def neutral_posture(embodiment: Embodiment, scene: CollisionScene) -> Posture:
    """Search a neutral posture.

    Each arm: the TCP before the shoulder, the hand pointing down, as far as inverse kinematics
    finds it; of the first few solutions the one with the largest product of joint-limit margin
    and smallest singular value of the Jacobian, hanging elbows and self-collisions last. Legs:
    feet below the hips and the centre of mass, knees bent. Grippers open; all else at zero or,
    where zero is outside, mid-range.
    """
    model = RobotModel(embodiment)
    index = {name: i for i, name in enumerate(embodiment.joints)}
    lower, upper = finite(model.lower), finite(model.upper)
    margin = 0.05 * (upper - lower)
    q = np.where((lower + margin <= 0) & (upper - margin >= 0), 0.0, 0.5 * (lower + upper))
    for group in embodiment.of_kind("gripper"):
        q[[index[j] for j in group.joints]] = group.open
    legs = embodiment.of_kind("leg")
    q = standing(model, scene, q, legs)
    reasons, warnings = [], []
    for arm in embodiment.arms:
        columns = [index[j] for j in arm.joints]
        q, how = _place(model, scene, q, arm, columns)
        reasons.append(f"{arm.name}: {how}")
    if legs:
        q = balanced(model, scene, q, legs)
        reasons.append("feet below the centre of mass, knees bent")
    q = np.clip(q, lower, upper)
    poses = _tree_poses(scene, model, q)
    touching = scene.touching(poses, embodiment.collision_pairs)
    hollow = [p for p in touching if surfaces_apart(scene.tree, poses, *p)]
    stuck: list[tuple[str, str]] = []
    if len(touching) > len(hollow):
        stood = q
        q, stuck = untangled(scene, model, q, hollow)
        q = levelled(model, scene, q, stood, legs)
        reasons.append("moved a little where links touched")
    for pairs, why in (
        (hollow, "their convex hulls overlap in the neutral posture, their meshes do not"),
        (stuck, "they touch in the neutral posture, and in all those found near it"),
    ):
        if pairs:
            listed = ", ".join(f"{a} and {b}" for a, b in pairs)
            warnings.append(f"not checked for self-collision: {listed} ({why})")
    return Posture(q, "; ".join(reasons) or "zero", tuple(warnings), (*hollow, *stuck))


def _tree_poses(scene: CollisionScene, model: RobotModel, q: Array) -> dict[str, Array]:
    return scene.tree.poses(dict(zip(model.embodiment.joints, q, strict=True)))


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
    own = {*columns}
    pairs = [
        p for p in model.embodiment.collision_pairs if own & {*columns_between(model, scene, p)}
    ]
    for rows, yaw, how in WISHES:
        if rows > len(columns) + 1:  # five joints suffice for a pose in the arm's own plane
            continue
        found: list[tuple[bool, float, Array]] = []  # free of collision, quality, posture
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
                free = not scene.touching(_tree_poses(scene, model, solution), pairs)
                found.append((free, quality, solution))
            if len(found) >= ENOUGH and any(free for free, _, _ in found):
                break
        if found:
            best = max(found, key=lambda item: item[:2])
            return best[2], f"TCP in front of the shoulder, {how}"
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
