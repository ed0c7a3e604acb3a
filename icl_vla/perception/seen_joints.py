"""A robot that nobody describes, from joint positions and what fixed depth cameras saw of it.

Each joint is a twist, and a hand goes where their product of exponentials takes it (Brockett 1984).
The twists are fitted so that the hand of each demonstration, carried along by its joints, lies on
what was seen in all other frames (point to plane: Chen and Medioni 1992), from frames with nearly
the same posture outwards. What the links fill is then carved from all frames (Laurentini 1994): of
what moves, a point belongs to a link if it is seldom seen through where that link has gone.

Joints have to be in the order in which they carry each other, from the base to the hand. Where
demonstrations did not go, nothing is known.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from icl_vla_embodiments import Kind, ReportedError, se3
from icl_vla_embodiments.geometry import Hull, LinkHulls, hull_of
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Demonstration
from icl_vla_retrieval.demonstration import decode_commands

from .components import ComponentEncoder
from .seen_motion import SeenMotion, View, seen_motion

_REACHES = (0.05, 0.1, 0.2, 0.35, 0.7, np.inf)  # [rad] or [m] of posture from the hand's frame
_ROUNDS = 80
_PRIORS = 3e-8, 1e-7, 3e-7, 1e-6
"""Weights of small twists beside a mean of squares: with more, joints stay short, with less they
stray. Which is right depends on what is shown, so all are tried."""
_HAND_POINTS = 150
_NEAREST = (0.04, 0.015)  # [m] that a point may be from what it lies on, at first and at last
_SCALE = 0.004  # [m] of the residual's robust weight
_NEIGHBOURS = 8  # that a normal is taken from
_TIP = 0.03  # [m] of the hand, from its lowest: what touches things
_CELL = 0.01  # [m] of a shape
_CARVING = 12  # frames of a demonstration that carve
_THROUGH = 0.015  # [m] behind a point that something else is seen
_SELDOM = 0.02  # of all frames in which a robot's point may be seen through
_SEEN = 3  # frames in which it is
_PART = 0.05  # [m]: links are not convex, but so much of one nearly is
_BEYOND = 0.2  # of the demonstrated range that joints may go out of it
_MARGIN = 0.02  # [m] about a link: shapes are seen less exactly than they are drawn
_BESIDE = 1.3  # times the hand's reach: as far as things are looked at
_STEPS = 20
_MET = 1e-5  # [m] and [rad]
_STEP = 0.3  # [rad] or [m] at a time
_DAMPING = 1e-3
_ALIKE = 8  # demonstrated postures that tell one for a pose
_TURN = 0.3  # [m] that a radian counts as


@dataclass(frozen=True)
class SeenJoints:
    """An arm of ``m`` joints as demonstrations showed it; it can stand in for kinematics.

    Attributes:
        effector: Name of its hand.
        columns: ``(m,)`` of a robot's joint positions, from the base to the hand.
        twists: ``(m, 6)`` of each joint in the base's axes about ``middle``, in the posture
            ``centre``, per unit of the joint.
        centre: ``(m,)`` posture.
        middle: ``(3,)`` [m].
        tool: ``(3,)`` where the hand touches things in that posture, in the base frame [m].
        shown: ``(S, n)`` demonstrated positions of all the robot's joints.
        surface: ``(N, 3)`` points of the robot in that posture, in the base frame [m].
        links: ``(N,)`` by how many joints each is carried.
    """

    effector: str
    columns: NDArray[np.int64]
    twists: Array
    centre: Array
    middle: Array
    tool: Array
    shown: Array
    surface: Array
    links: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Joint positions of the robot."""
        return int(self.shown.shape[1])

    @property
    def neutral(self) -> Array:
        """``(n,)`` a demonstrated posture."""
        return np.asarray(np.median(self.shown, axis=0))

    def carried(self, q: ArrayLike) -> Array:
        """Where each joint takes what it carries, from the centre: ``(..., m + 1, 4, 4)``.

        Args:
            q: ``(..., n)``.
        """
        T = _products(self.twists, np.asarray(q, dtype=float)[..., self.columns] - self.centre)
        there, back = se3.pose(p=self.middle), se3.pose(p=-self.middle)
        return np.asarray(there @ T @ back)

    def poses(self, q: ArrayLike) -> dict[str, Array]:
        """Effector -> ``T_base_ee`` ``(..., 4, 4)``; its axes are the base's in the centre."""
        return {self.effector: self.carried(q)[..., -1, :, :] @ se3.pose(p=self.tool)}

    def link_poses(self, q: ArrayLike) -> dict[str, Array]:
        """Link, named by the number of joints that carry it -> ``T_base_link`` ``(4, 4)``."""
        return {str(j): T for j, T in enumerate(self.carried(q))}

    def hulls(self) -> LinkHulls:
        """What the links fill, piece by piece."""
        made = {}
        for j in range(len(self.columns) + 1):
            points = self.surface[self.links == j]
            cells = np.unique(np.floor(points / _PART), axis=0, return_inverse=True)[1].ravel()
            parts = [points[cells == c] for c in range(cells.max(initial=-1) + 1)]
            made[str(j)] = tuple(_part(p) for p in parts)
        return LinkHulls.of({link: parts for link, parts in made.items() if parts})

    @property
    def reach(self) -> float:
        """Farthest from the base [m] that the hand was shown, over the ground."""
        T = self.poses(self.shown)[self.effector]
        return float(np.linalg.norm(T[:, :2, 3], axis=1).max())

    @cached_property
    def _limits(self) -> tuple[Array, Array]:
        """Of the joints: what was demonstrated, and a little more."""
        q = self.shown[:, self.columns]
        low, high = q.min(axis=0), q.max(axis=0)
        more = _BEYOND * np.maximum(high - low, 0.2 * float((high - low).max()))
        return low - more, high + more

    @cached_property
    def _places(self) -> tuple[cKDTree, Array]:
        """Where the hand was in every demonstrated posture, as points; those postures."""
        T = self.poses(self.shown)[self.effector]
        return cKDTree(_flat(T)), self.shown[:, self.columns]

    def inverse_kinematics(self, targets: Mapping[str, Array], guess: ArrayLike) -> Array:
        """Joint positions ``(n,)`` that bring the hand to ``T_base_ee``, as near as they can.

        Damped least squares; what they leave free goes to the postures that were demonstrated
        for such poses, since nothing is known of others.
        """
        q = np.array(guess, dtype=float)
        if self.effector not in targets:
            return q
        T = np.asarray(targets[self.effector], dtype=float)
        tree, postures = self._places
        off, index = tree.query(_flat(T), k=min(_ALIKE, len(postures)))
        off, index = np.atleast_1d(off), np.atleast_1d(index)
        weights = np.exp(-((off - off.min()) / (0.01 + off.min())))
        usual = weights @ postures[index] / weights.sum()
        lower, upper = self._limits
        x = np.clip(q[self.columns], lower, upper)
        best, least = x, np.inf
        for _step in range(_STEPS):
            q[self.columns] = x
            here, J = self._jacobian(q)
            e = np.concatenate([T[:3, 3] - here[:3, 3], se3.log3(T[:3, :3] @ here[:3, :3].T)])
            e[3:] *= _TURN
            size = float(np.linalg.norm(e))
            if size < least:
                best, least = x, size
            J[3:] *= _TURN
            back = J.T @ np.linalg.inv(J @ J.T + _DAMPING * np.eye(6))
            free = usual - x
            step = back @ e + free - back @ (J @ free)
            longest = float(np.abs(step).max())
            x = np.clip(x + step * min(1.0, _STEP / max(longest, 1e-12)), lower, upper)
            if size < _MET or longest < _MET:
                break
        q[self.columns] = best
        return q

    def _jacobian(self, q: Array) -> tuple[Array, Array]:
        """``T_base_ee``, and ``(6, m)`` its velocity (linear, angular) per joint velocity."""
        T = self.carried(q)
        hand = T[-1] @ se3.pose(p=self.tool)
        R = T[:-1, :3, :3]
        w = np.einsum("jab,jb->ja", R, self.twists[:, 3:])
        v = np.einsum("jab,jb->ja", R, self.twists[:, :3])
        about = se3.act(T[:-1], self.middle[None])[:, 0]
        return hand, np.concatenate([v + np.cross(w, hand[:3, 3] - about), w], axis=1).T

    def save(self, path: Path) -> None:
        """Write an ``.npz``."""
        buffer = io.BytesIO()
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        np.savez_compressed(buffer, allow_pickle=False, **fields)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def open(cls, path: Path) -> SeenJoints:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            names = [f for f in cls.__dataclass_fields__]
            arrays = {name: stored[name] for name in names}
        return cls(**arrays | {"effector": str(arrays["effector"])})


def _flat(T: Array) -> Array:
    """Poses ``(..., 4, 4)`` as points ``(..., 12)`` of a space in which near ones are near."""
    turn = (_TURN / np.sqrt(2)) * T[..., :3, :3]
    return np.concatenate([T[..., :3, 3], turn.reshape(*T.shape[:-2], 9)], axis=-1)


def _part(points: Array) -> Hull:
    """The hull of some points of a surface, and half a cell about them."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return hull_of((points[:, None] + 0.5 * _CELL * corners).reshape(-1, 3))


def _products(twists: Array, angles: Array) -> Array:
    """``exp(twist_1 angle_1) .. exp(twist_j angle_j)`` of every j from none: ``(..., m+1, 4, 4)``.

    Args:
        twists: ``(..., m, 6)``.
        angles: ``(..., m)``.
    """
    each = se3.exp6(twists * angles[..., None])
    out = np.empty((*each.shape[:-3], each.shape[-3] + 1, 4, 4))
    out[..., 0, :, :] = np.eye(4)
    for j in range(each.shape[-3]):
        out[..., j + 1, :, :] = out[..., j, :, :] @ each[..., j, :, :]
    return out


def told_by_seeing(demonstrations: Sequence[Demonstration], joints: Sequence[str]) -> SeenJoints:
    """The arm that some demonstrations show.

    Args:
        demonstrations: With joint positions and fixed depth cameras; actions move joints.
        joints: Names of the robot's joints, as their positions are ordered.

    Raises:
        ReportedError: Actions do not move the joints of one arm, no camera is fixed and measures
            depth, or no hand is seen.
    """
    effector, columns = _arm(demonstrations[0], joints)
    each = [seen_motion(d, columns, effector) for d in demonstrations]
    motions = [m for m in each if m is not None]
    if not motions:
        raise ReportedError(
            "no demonstration shows a hand at work",
            where=repr(demonstrations[0].instruction),
            value=f"{len(demonstrations)} demonstrations",
            remedy="let cameras see the hand, or give the robot's URDF (icl-vla add-embodiment)",
        )
    centre = np.median([m.q[m.at] for m in motions], axis=0)
    middle = np.median(np.concatenate([m.hand for m in motions]), axis=0)
    tries = [fitted(motions, centre, middle, prior) for prior in _PRIORS]
    twists, _ = max(tries, key=lambda fit: fit[1])
    q = np.concatenate([d.q for d in demonstrations])
    nothing = np.zeros((0, 3)), np.zeros(0, dtype=np.int64)
    arm = np.asarray(columns, dtype=np.int64)
    seen = SeenJoints(effector, arm, twists, centre, middle, middle, q, *nothing)
    tips = [_tip(seen, m) for m in motions]
    seen = replace(seen, tool=np.median(tips, axis=0))
    surface, links = _carved(seen, motions)
    return replace(seen, surface=surface, links=links)


def with_poses(d: Demonstration, seen: SeenJoints) -> Demonstration:
    """A demonstration with the hand's measured and commanded poses."""
    d = replace(d, poses=seen.poses(d.q))
    commands, openings = decode_commands(d, seen)
    return replace(d, commands=commands, gripper_commands=openings)


def eyes_for(seen: SeenJoints) -> ComponentEncoder:
    """Looks with such an arm left out of pictures."""
    return ComponentEncoder(seen, seen.hulls(), _BESIDE * seen.reach, robot_margin=_MARGIN)


def _arm(d: Demonstration, joints: Sequence[str]) -> tuple[str, list[int]]:
    """Name and columns of the arm that actions move."""
    kinds = (Kind.JOINT_POSITION, Kind.JOINT_VELOCITY)
    moved = [x for x in d.action_space.dimensions if x.kind in kinds and x.role == "arm"]
    names = [x.joint for x in moved]
    if d.q.shape[1] != len(joints):
        raise ReportedError(
            "a demonstration has joint positions that have no names",
            where=repr(d.instruction),
            value=d.q.shape[1],
            valid=list(joints),
            remedy="keep demonstrations in a bank, or give as many positions as actions move",
        )
    unknown = sorted(set(names) - set(joints))
    effectors = sorted({x.effector for x in moved})
    if unknown or len(effectors) != 1:
        raise ReportedError(
            "actions have to move the joints of one arm, for cameras to tell what they do",
            where=f"action space {d.action_space.name!r}",
            value=unknown or effectors,
            valid=list(joints),
            remedy="give the robot's URDF (icl-vla add-embodiment)",
        )
    return effectors[0], sorted(list(joints).index(name) for name in names)


def fitted(
    motions: Sequence[SeenMotion], centre: Array, middle: Array, prior: float
) -> tuple[Array, float]:
    """Twists ``(m, 6)`` about ``middle`` that carry hands along what was seen; how many points lie.

    Gauss-Newton on the distances of hands' points to what they should lie on.
    """
    m = len(centre)
    frames = [(k, f) for k, motion in enumerate(motions) for f in range(len(motion.q))]
    hands = [_some(motion.hand - middle, _HAND_POINTS) for motion in motions]
    trees, normals = [], []
    for k, f in frames:
        points = motions[k].clouds[f] - middle
        tree = cKDTree(points) if len(points) >= _NEIGHBOURS else None
        trees.append(tree)
        normals.append(None if tree is None else _normals(tree))
    x = np.concatenate([motion.q - centre for motion in motions])  # (F, m)
    at = np.stack([motions[k].q[motions[k].at] - centre for k, _ in frames])
    off = np.abs(x - at).max(axis=1)
    step = 1e-4 * np.eye(6 * m).reshape(6 * m, 1, m, 6)
    twists, count = np.zeros((m, 6)), 0.0
    for r in range(_ROUNDS):
        progress = min(len(_REACHES) * r / (0.6 * _ROUNDS), len(_REACHES) - 1)
        let_in = off <= _REACHES[int(progress)]
        nearest = np.interp(r, [0.6 * _ROUNDS, 0.9 * _ROUNDS], _NEAREST)
        some = np.flatnonzero([a and t is not None for a, t in zip(let_in, trees, strict=True)])
        tried = np.concatenate([twists[None, None], twists + step])  # (1 + 6 m, 1, m, 6)
        M = _products(tried, x[some])[..., -1, :, :]
        M = M @ se3.inverse(_products(tried, at[some])[..., -1, :, :])
        change = (M[1:] @ se3.inverse(M[0]) - np.eye(4)) / 1e-4  # (6 m, F, 4, 4)
        turn = np.stack([change[..., 2, 1], change[..., 0, 2], change[..., 1, 0]], axis=-1)
        V = np.concatenate([change[..., :3, 3], turn], axis=-1)  # of each parameter
        H, g, count = np.zeros((6 * m, 6 * m)), np.zeros(6 * m), 0.0
        for i, s in enumerate(some):
            tree, facing = trees[s], normals[s]
            assert tree is not None and facing is not None
            points = se3.act(M[0, i], hands[frames[s][0]])
            distance, index = tree.query(points, distance_upper_bound=nearest)
            near = np.isfinite(distance)
            if not near.any():
                continue
            p, index = points[near], index[near]
            n = facing[index]
            e = ((tree.data[index] - p) * n).sum(axis=1)
            weight = 1 / (1 + (e / _SCALE) ** 2)
            row = np.concatenate([n, np.cross(p, n)], axis=1)  # (N, 6)
            v = V[:, i]
            H += v @ (row.T @ (weight[:, None] * row)) @ v.T
            g += v @ (row.T @ (weight * e))
            count += weight.sum()
        if count == 0:
            break
        flat = twists.ravel()
        weigh = prior * np.eye(6 * m)
        twists = twists + np.linalg.solve(H / count + weigh, g / count - weigh @ flat).reshape(m, 6)
    return twists, count


def _normals(tree: cKDTree) -> Array:
    """``(N, 3)`` of a cloud."""
    points = np.asarray(tree.data)
    near = points[tree.query(points, k=_NEIGHBOURS)[1]]
    near = near - near.mean(axis=1, keepdims=True)
    return np.linalg.eigh(np.swapaxes(near, 1, 2) @ near)[1][..., 0]


def _some(points: Array, count: int) -> Array:
    return points[np.linspace(0, len(points) - 1, min(count, len(points))).astype(int)]


def _tip(seen: SeenJoints, motion: SeenMotion) -> Array:
    """``(3,)`` the middle of what is lowest of a hand at work, in the centre posture."""
    low = motion.hand[motion.hand[:, 2] < np.quantile(motion.hand[:, 2], 0.02) + _TIP]
    back = se3.inverse(_posed(seen, motion, motion.at)[-1])
    return se3.act(back, np.median(low, axis=0)[None])[0]


def _posed(seen: SeenJoints, motion: SeenMotion, f: int) -> Array:
    """Where each joint has taken what it carries, ``(m + 1, 4, 4)``."""
    q = np.zeros(seen.n)
    q[seen.columns] = motion.q[f]
    return seen.carried(q)


def _carved(seen: SeenJoints, motions: Sequence[SeenMotion]) -> tuple[Array, NDArray[np.int64]]:
    """Points of the robot ``(N, 3)`` in the centre posture, and the links ``(N,)`` they are of."""
    frames = [
        (motion, f, _posed(seen, motion, f))
        for motion in motions
        for f in np.unique(np.linspace(0, len(motion.q) - 1, _CARVING).astype(int))
    ]
    surfaces, links = [], []
    for j in range(1, len(seen.columns) + 1):
        some = np.concatenate([se3.act(se3.inverse(T[j]), m.clouds[f]) for m, f, T in frames])
        cells = np.unique(np.round(some / _CELL), axis=0, return_counts=True)
        points = cells[0][cells[1] >= _SEEN] * _CELL
        through, seen_at, looked = (np.zeros(len(points)) for _ in range(3))
        for motion, f, T in frames:
            there = se3.act(T[j], points)
            for view in motion.views:
                empty, shown, inside = _looked_at(view, f, there)
                through += empty
                seen_at += shown
                looked += inside
        robot = (through <= _SELDOM * looked) & (seen_at >= _SEEN)
        surfaces.append(points[robot])
        links.append(np.full(int(robot.sum()), j))
    return np.concatenate(surfaces), np.concatenate(links)


def _looked_at(
    view: View, f: int, points: Array
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points ``(N, 3)`` a camera sees through, sees something moving at, and has in view."""
    x, y, z = se3.act(view.T_camera_base, points).T
    K = view.intrinsics
    height, width = view.depth.shape[1:]
    ahead = np.maximum(z, 1e-6)
    u = np.round(K[0, 0] * x / ahead + K[0, 2]).astype(int)
    v = np.round(K[1, 1] * y / ahead + K[1, 2]).astype(int)
    inside = (z > 0.05) & (u > 0) & (u < width - 1) & (v > 0) & (v < height - 1)
    u, v = np.clip(u, 1, width - 2), np.clip(v, 1, height - 2)
    about = [view.depth[f, v + a, u + b] for a in (-1, 0, 1) for b in (-1, 0, 1)]
    nearest = np.min([np.where(d > 0, d, np.inf) for d in about], axis=0)
    at = view.moving[f, v, u] & (np.abs(view.depth[f, v, u] - z) < _THROUGH)
    return inside & (nearest > z + _THROUGH), inside & at, inside
