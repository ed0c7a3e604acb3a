"""How near the links come to each other and to obstacles along a plan, as rows of its program."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.geometry import Hull
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .bodies import Bodies
from .config import SafetyConfig
from .monitor import Contact, HullDistances, Shape, must_brake, obstacle_shape
from .obstacles import Obstacle


@dataclass(frozen=True)
class DistanceRows:
    """Linearised distances: ``d(q_k + dq) = distance + gradient @ dq >= margin``.

    Attributes:
        stage: ``(M,)`` which of the postures looked at.
        gradient: ``(M, n)`` in the controlled joints [m/rad or 1].
        distance: ``(M,)`` [m].
        margin: ``(M,)`` [m].
    """

    stage: NDArray[np.intp]
    gradient: Array
    distance: Array
    margin: Array


@dataclass(frozen=True)
class _Near:
    """Pairs of bodies that come near at one of ``C`` postures.

    Attributes:
        first: ``(P,)`` body of the robot.
        second: ``(P,)`` body of the robot, -1 for an obstacle.
        obstacle: ``(P,)`` index of the obstacle, -1 for a body of the robot.
        distance: ``(C, P)`` of the nearest spheres [m].
        normal: ``(C, P, 3)`` from the second to the first, between the nearest spheres.
        margin: ``(P,)`` [m].
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    obstacle: NDArray[np.intp]
    distance: Array
    normal: Array
    margin: Array

    def only(self, which: NDArray[np.intp]) -> _Near:
        """Some of the pairs, by index."""
        return _Near(
            self.first[which],
            self.second[which],
            self.obstacle[which],
            self.distance[:, which],
            self.normal[:, which],
            self.margin[which],
        )

    @classmethod
    def joined(cls, parts: Sequence[_Near]) -> _Near:
        """All pairs of the parts."""
        return cls(
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.second for part in parts]),
            np.concatenate([part.obstacle for part in parts]),
            np.concatenate([part.distance for part in parts], axis=1),
            np.concatenate([part.normal for part in parts], axis=1),
            np.concatenate([part.margin for part in parts]),
        )


class CollisionModel:
    r"""Distances of a robot's links from each other and from obstacles, along a plan.

    Spheres that cover the links find the pairs that come near, and the direction ``u`` between
    them. Along any direction the gap between two convex bodies,

    .. math:: g_u = \min_{a \in A} u \cdot a - \max_{b \in B} u \cdot b \le d(A, B),

    bounds their distance from below, with equality along the line of their nearest points. Of
    the spheres' direction at a posture and the direction of the nearest points of the hulls now,
    the one with the larger gap makes the row: rows are exact where the robot is, and never promise
    more room than there is.

    Args:
        model: The robot.
        hulls: Link -> its convex hulls (:attr:`LinkHulls.hulls`), each a body.
        joints: ``(n,)`` indices of the controlled joints; what they do not move is not looked at.
        effectors: Arms whose tool centre points the workspace confines.
        postures: How many postures :meth:`look` is given: the present one first.
        config: Margins.
    """

    def __init__(
        self,
        model: RobotModel,
        hulls: Mapping[str, Sequence[Hull]],
        joints: NDArray[np.intp],
        effectors: Sequence[str],
        postures: int,
        config: SafetyConfig,
    ) -> None:
        self.config = config
        bodies = self._bodies = Bodies(model, hulls, joints, effectors, postures)
        self._movable = np.flatnonzero(bodies.moved.any(axis=1))
        watched = {frozenset(pair) for pair in model.embodiment.collision_pairs}
        pairs = [
            (a, b)
            for a, b in itertools.combinations(range(len(bodies.links)), 2)
            if frozenset((bodies.links[a], bodies.links[b])) in watched
            and (bodies.moved[a] != bodies.moved[b]).any()
        ]
        self._pairs = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        self._distances = HullDistances(bodies.hulls)
        self._obstacles: tuple[Obstacle, ...] = ()
        self._near: _Near | None = None
        self._close: NDArray[np.intp] = np.zeros(0, dtype=np.intp)  # pairs that are near now
        self._contacts: list[Contact] = []  # theirs
        self._placed: dict[int, Shape] = {}
        # what lies close in the robot's own neutral posture is meant to
        apart = [self._distances.between(self._shape(a), self._shape(b)).distance for a, b in pairs]
        self._self_margins = np.clip(0.5 * np.array(apart), 0.0, config.self_margin)

    def look(self, Q: Array, times: Array, obstacles: Sequence[Obstacle]) -> DistanceRows:
        """Rows of the nearest bodies at the postures ``Q`` ``(C, n_all)``, present one first.

        Args:
            Q: Positions of all actuated joints.
            times: ``(C,)`` when these postures are taken; obstacles move on meanwhile [s].
            obstacles: Where they are now. Those of the configuration are added.
        """
        self._bodies.place(Q)
        self._obstacles = (*obstacles, *self.config.keep_out)
        found = [self._between_links()]
        found += [self._to_obstacle(i, times) for i in range(len(self._obstacles))]
        near = self._near = _Near.joined(found)
        self._close = np.flatnonzero(near.distance[0] < self.config.range)
        self._placed = {}
        self._contacts = [self._contact(int(p)) for p in self._close]
        return self._rows(near, times)

    def _rows(self, near: _Near, times: Array) -> DistanceRows:
        """The most pressing pairs of each later posture, with the better of two directions."""
        C, P = near.distance.shape
        normals = np.empty((2 * C, P, 3))
        normals[:C], normals[C:] = near.normal, near.normal[0]
        if len(self._close):
            normals[C:, self._close] = [contact.normal for contact in self._contacts]
        postures = np.tile(np.arange(C), 2)
        a = self._bodies.farthest(postures, near.first, -normals)
        b = self._farthest(near, postures, times, normals)
        gaps = ((a - b) * normals).sum(axis=2)  # (2 C, P)
        second = gaps[C:] > gaps[:C]
        gap = np.where(second, gaps[C:], gaps[:C])
        stage, pair = self._pressing(gap[1:] - near.margin)
        stage = stage + 1
        row = stage + C * second[stage, pair]
        gradient = self._gradient(stage, near, pair, normals[row, pair], a[row, pair], b[row, pair])
        rows = DistanceRows(stage, gradient, gap[stage, pair], near.margin[pair])
        return rows if self.config.workspace is None else self._confined(rows)

    def danger(self, v: Array, following: Array, acceleration: Array, period: float) -> str:
        """Why the motion must be braked, from the posture last looked at; empty if it need not be.

        Args:
            v: ``(n,)`` velocities of the controlled joints.
            following: ``(n,)`` velocities a period on, as proposed.
            acceleration: ``(n,)`` with which they brake.
            period: [s].
        """
        near, contacts, close = self._near, self._contacts, self._close
        if near is None or not contacts:
            return ""
        distance = np.array([contact.distance for contact in contacts])
        normal = np.array([contact.normal for contact in contacts])
        a = np.array([contact.first for contact in contacts])
        b = np.array([contact.second for contact in contacts])
        gradient = self._gradient(np.zeros(len(close), dtype=np.intp), near, close, normal, a, b)
        still = np.zeros(3)
        velocity = [self._obstacles[i].velocity if i >= 0 else still for i in near.obstacle[close]]
        drift = -(normal * np.asarray(velocity)).sum(axis=1)
        stop = self.config.stop * near.margin[close]
        reason = must_brake(distance, stop, gradient, drift, v, following, acceleration, period)
        if reason is None:
            return ""
        p = close[reason]
        other = f"obstacle {near.obstacle[p]}"
        if near.obstacle[p] < 0:
            other = self._bodies.links[near.second[p]]
        first = self._bodies.links[near.first[p]]
        return f"{first} is {1e3 * distance[reason]:.0f} mm from {other} and closing"

    def _shape(self, body: int) -> Shape:
        """A body in the present posture."""
        if body not in self._placed:
            self._placed[body] = self._distances.placed(body, *self._bodies.pose(body))
        return self._placed[body]

    def _contact(self, p: int) -> Contact:
        """Nearest points of the hulls of a near pair, now."""
        near = self._near
        assert near is not None
        if near.obstacle[p] >= 0:
            other = obstacle_shape(self._obstacles[near.obstacle[p]])
        else:
            other = self._shape(int(near.second[p]))
        return self._distances.between(self._shape(int(near.first[p])), other)

    def _between_links(self) -> _Near:
        """Pairs of links: balls around the links first, then the spheres of those that are near."""
        spheres, radii = self._bodies.spheres, self._bodies.radii
        first, second = self._pairs
        apart = spheres[:, first, 0] - spheres[:, second, 0]
        gap = np.sqrt((apart * apart).sum(axis=2)) - radii[first, 0] - radii[second, 0]
        close = np.flatnonzero((gap < self.config.range).any(axis=0))
        first, second = first[close], second[close]
        a, b = spheres[:, first, 1:], spheres[:, second, 1:]  # (C, P, m, 3)
        squares = (a * a).sum(axis=3)[..., None] + (b * b).sum(axis=3)[..., None, :]
        squares -= 2 * a @ b.transpose(0, 1, 3, 2)
        gap = np.sqrt(np.maximum(squares, 0.0)) - radii[first, 1:, None] - radii[second, None, 1:]
        C, P, m = a.shape[:3]
        gap = gap.reshape(C, P, m * m)
        which = gap.argmin(axis=2)
        posture, pair = np.arange(C)[:, None], np.arange(P)
        apart = a[posture, pair, which // m] - b[posture, pair, which % m]
        length = np.sqrt((apart * apart).sum(axis=2))[..., None]
        nobody = np.full(P, -1)
        least, normal = gap[posture, pair, which], apart / np.maximum(length, 1e-9)
        margin = self._self_margins[close]
        return self._kept(_Near(first, second, nobody, least, normal, margin))

    def _to_obstacle(self, i: int, times: Array) -> _Near:
        """Links near an obstacle."""
        obstacle, links = self._obstacles[i], self._movable
        relative = self._bodies.spheres[:, links] - obstacle.at(times)[:, None, None]
        middle = relative[:, :, 0]
        gap = np.sqrt((middle * middle).sum(axis=2)) - obstacle.reach - self._bodies.radii[links, 0]
        close = (gap < self.config.range).any(axis=0)
        links, relative = links[close], relative[:, close, 1:]
        gap, normal = obstacle.away(relative)  # (C, P, m), (C, P, m, 3)
        gap = gap - self._bodies.radii[links, 1:]
        posture, pair = np.arange(len(times))[:, None], np.arange(len(links))
        which = gap.argmin(axis=2)
        least, normal = gap[posture, pair, which], normal[posture, pair, which]
        nobody, it = np.full(len(links), -1), np.full(len(links), i)
        margin = np.full(len(links), self.config.margin)
        return self._kept(_Near(links, nobody, it, least, normal, margin))

    def _kept(self, near: _Near) -> _Near:
        """What comes near at some posture."""
        return near.only(np.flatnonzero((near.distance < self.config.range).any(axis=0)))

    def _farthest(
        self, near: _Near, postures: NDArray[np.intp], times: Array, direction: Array
    ) -> Array:
        """The same for the second bodies of the pairs."""
        found = np.empty_like(direction)
        links = near.obstacle < 0
        found[:, links] = self._bodies.farthest(postures, near.second[links], direction[:, links])
        for i, obstacle in enumerate(self._obstacles):
            own = near.obstacle == i
            at = obstacle.at(times)[postures]
            found[:, own] = at[:, None] + obstacle.farthest(direction[:, own])
        return found

    def _pressing(self, excess: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Stages and pairs of the rows: at each stage the least excess over the margin."""
        rows = self.config.rows
        chosen = excess < self.config.range
        if excess.shape[1] > rows:
            chosen &= excess <= np.partition(excess, rows - 1, axis=1)[:, rows - 1 : rows]
        stage, pair = np.nonzero(chosen)
        return stage, pair

    def _gradient(
        self,
        posture: NDArray[np.intp],
        near: _Near,
        pair: NDArray[np.intp],
        normal: Array,
        a: Array,
        b: Array,
    ) -> Array:
        """``(M, n)``: change of ``normal @ (a - b)`` for each joint, points fixed to the bodies."""
        own = self._bodies.gradient(posture, near.first[pair], normal, a)
        other = self._bodies.gradient(posture, near.second[pair], normal, b)
        return own - np.where(near.obstacle[pair, None] < 0, other, 0.0)

    def _confined(self, rows: DistanceRows) -> DistanceRows:
        """With the rows that keep the tool centre points in the workspace."""
        box = self.config.workspace
        assert box is not None
        R, half = np.asarray(box.rotation, dtype=float), 0.5 * np.asarray(box.size, dtype=float)
        points = self._bodies.tools[1:]
        local = (points - np.asarray(box.center)) @ R
        room = half - np.abs(local)
        stage, tool, axis = np.nonzero(room < self.config.range)
        inward = -np.where(local[stage, tool, axis] >= 0, 1.0, -1.0)[:, None] * R.T[axis]
        gradient = self._bodies.tool_gradient(stage + 1, tool, inward)
        return DistanceRows(
            np.concatenate([rows.stage, stage + 1]),
            np.concatenate([rows.gradient, gradient]),
            np.concatenate([rows.distance, room[stage, tool, axis]]),
            np.concatenate([rows.margin, np.zeros(len(stage))]),
        )
