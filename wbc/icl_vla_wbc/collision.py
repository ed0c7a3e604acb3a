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
from .near import Near, Proximity
from .obstacles import Obstacle, Obstacles
from .qp import QuadraticProgram, row_kinds
from .vectors import dot, norm

AROUND = 1.1  # [s]; later than this a body may have gone round an obstacle
SWEPT = 0.06  # [m] beyond a margin at all moments; bodies this far apart do not meet in between
TINY = 0.01  # [m]; smaller margins are not told apart
SHORTFALL = 1e4  # [s^2/m^2]; price of a distance that shrinks too fast
DAMPING_TIME = 0.2  # [s]; distances may close by the excess over the margin in this time


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

    @property
    def broken(self) -> Array:
        """``(M,)`` share of the margin that is missing; negative where there is more room."""
        return missing(self.distance, self.margin)


def missing(distance: Array, margin: Array) -> Array:
    """Share of margins that distances fall short of; tiny margins count as :data:`TINY`."""
    share: Array = (margin - distance) / np.maximum(margin, TINY)
    return share


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

    Attributes:
        bodies: The hulls at the postures last looked at.
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
        bodies = self.bodies = Bodies(model, hulls, joints, effectors, postures)
        watched = {frozenset(pair) for pair in model.embodiment.collision_pairs}
        pairs = [
            (a, b)
            for a, b in itertools.combinations(range(len(bodies.links)), 2)
            if frozenset((bodies.links[a], bodies.links[b])) in watched
            and (bodies.moved[a] != bodies.moved[b]).any()
        ]
        self._distances = HullDistances(bodies.hulls)
        self._shapes: list[Shape] = []  # of the obstacles
        self._obstacles = Obstacles(())
        self._near: Near | None = None
        self._sides = np.zeros((len(bodies.links), 1, 3))  # directions from obstacles to bodies now
        self._close: NDArray[np.intp] = np.zeros(0, dtype=np.intp)  # pairs that are near now
        self._contacts: list[Contact] = []  # theirs
        self._closing: tuple[Array, Array, Array] | None = None  # how their distances change
        self._placed: dict[int, Shape] = {}
        # what lies close in the robot's own neutral posture is meant to
        apart = [self._distances.between(self._shape(a), self._shape(b)).distance for a, b in pairs]
        self._proximity = Proximity(
            np.array(pairs, dtype=np.intp).reshape(-1, 2).T,
            np.clip(0.5 * np.array(apart), 0.0, config.self_margin),
            np.flatnonzero(bodies.moved.any(axis=1)),
            config.margin,
        )

    def look(self, Q: Array, times: Array, obstacles: Sequence[Obstacle]) -> DistanceRows:
        """Rows of the nearest bodies at the postures ``Q`` ``(C, n_all)``, present one first.

        Args:
            Q: Positions of all actuated joints.
            times: ``(C,)`` when these postures are taken; obstacles move on meanwhile [s].
            obstacles: Where they are now. Those of the configuration are added.
        """
        bodies = self.bodies
        bodies.place(Q)
        everything = (*obstacles, *self.config.keep_out)
        self._obstacles = Obstacles(everything)
        self._shapes = [obstacle_shape(obstacle) for obstacle in everything]
        slack = self.config.range - self.config.margin
        near = self._near = self._proximity.find(bodies, self._obstacles, times, slack)
        self._close = np.flatnonzero(near.distance[0] < self.config.range)
        self._placed = {}
        self._contacts = [self._contact(int(p)) for p in self._close]
        self._sides = np.zeros((len(bodies.links), len(everything) + 1, 3))  # the last: links
        for p, contact in zip(self._close, self._contacts, strict=True):
            if near.obstacle[p] >= 0:
                self._sides[near.first[p], near.obstacle[p]] = contact.normal
        self._closing = self._how_they_close(near) if self._contacts else None
        return self._rows(near, times)

    def _rows(self, near: Near, times: Array) -> DistanceRows:
        """The most pressing pairs of each later posture, with the better of two directions."""
        C, P = near.distance.shape
        normals = np.empty((2 * C, P, 3))
        normals[:C], normals[C:] = near.normal, near.normal[0]
        if len(self._close):
            normals[C:, self._close] = [contact.normal for contact in self._contacts]
        postures = np.tile(np.arange(C), 2)
        a, b = self._proximity.extremes(
            self.bodies, self._obstacles, near, postures, times, normals
        )
        gaps = dot(a - b, normals)  # (2 C, P)
        second = (gaps[C:] > gaps[:C]) | self._through(near, times)
        gap = np.where(second, gaps[C:], gaps[:C])
        stage, pair = self._pressing(gap[1:] - near.margin)
        stage = stage + 1
        row = stage + C * second[stage, pair]
        gradient = self._gradient(stage, near, pair, normals[row, pair], a[row, pair], b[row, pair])
        rows = DistanceRows(stage, gradient, gap[stage, pair], near.margin[pair])
        return rows if self.config.workspace is None else self._confined(rows)

    def broken(self, bodies: Bodies, Q: Array, times: Array, headway: float = 0.0) -> Array:
        r"""Largest share of a margin that is missing along motions: ``(S, C - 1)``.

        Between one moment and the next, all points are taken to move on straight lines. The
        distance of convex bodies is then convex in time, so it lies above its tangents at both
        moments, and above the point where these meet.

        Args:
            bodies: Those of this model, for ``S C`` postures.
            Q: ``(S, C, n_all)`` positions of all actuated joints.
            times: ``(C,)`` when they are taken, among the obstacles last looked at [s].
            headway: Time in which an obstacle may come nearer than is known [s].
        """
        S, C = Q.shape[:2]
        bodies.place(Q.reshape(S * C, -1))
        obstacles, postures = self._obstacles, np.arange(S * C)
        near = self._proximity.find(bodies, obstacles, np.tile(times, S), SWEPT)
        a, b = self._proximity.extremes(
            bodies, obstacles, near, postures, np.tile(times, S), near.normal
        )
        gap = dot(a - b, near.normal).reshape(S, C, -1)
        earlier, later = (
            dot(near.normal.reshape(S, C, -1, 3)[:, at], moved)
            for at, moved in zip(
                (slice(None, -1), slice(1, None)),
                self._proximity.displacements(bodies, obstacles, near, times),
                strict=True,
            )
        )
        least = np.minimum(gap[:, :-1], gap[:, 1:])
        turns = (earlier < 0) & (later > 0)
        share = (gap[:, 1:] - gap[:, :-1] - later) / np.where(turns, earlier - later, 1.0)
        between = gap[:, :-1] + np.clip(share, 0.0, 1.0) * earlier
        least = np.where(turns, np.minimum(least, between), least)
        speeds = np.append(norm(obstacles.velocity), 0.0)  # the last: links
        least -= headway * speeds[near.obstacle]
        return missing(least, near.margin).max(axis=2, initial=-np.inf)

    def _through(self, near: Near, times: Array) -> NDArray[np.bool_]:
        """``(C, P)`` where a body that is near an obstacle now would soon be on its other side.

        It could hardly have come there but through the obstacle, unseen between two postures.
        """
        now = self._sides[near.first, near.obstacle]
        return np.asarray((dot(near.normal, now) < 0) & (times < AROUND)[:, None])

    def damped(self, program: QuadraticProgram) -> QuadraticProgram:
        """A program for joint velocities ``(n,)`` that keeps distances now; see :func:`damped`."""
        return damped(program, *self.dampers())

    def dampers(self) -> tuple[Array, Array]:
        r"""Gradients ``(M, n)`` of the distances now, and how slowly they may change ``(M,)``.

        Velocity dampers, :math:`\dot d \ge -(d - margin) / \tau` (Faverjon and
        Tournassoud, *A local based approach for path planning of manipulators with a high number of
        degrees of freedom*, 1987), of the posture last looked at; what moves is counted in.
        """
        if self._near is None or self._closing is None:
            return np.zeros((0, 0)), np.zeros(0)
        distance, gradient, drift = self._closing
        room = (distance - self._near.margin[self._close]) / DAMPING_TIME
        return gradient, -room - drift

    def danger(self, v: Array, following: Array, acceleration: Array, period: float) -> str:
        """Why the motion must be braked, from the posture last looked at; empty if it need not be.

        Args:
            v: ``(n,)`` velocities of the controlled joints.
            following: ``(n,)`` velocities a period on, as proposed.
            acceleration: ``(n,)`` with which they brake.
            period: [s].
        """
        near, close = self._near, self._close
        if near is None or self._closing is None:
            return ""
        distance, gradient, drift = self._closing
        stop = self.config.stop * near.margin[close]
        reason = must_brake(distance, stop, gradient, drift, v, following, acceleration, period)
        if reason is None:
            return ""
        p = close[reason]
        other = f"obstacle {near.obstacle[p]}"
        if near.obstacle[p] < 0:
            other = self.bodies.links[near.second[p]]
        first = self.bodies.links[near.first[p]]
        return f"{first} is {1e3 * distance[reason]:.0f} mm from {other} and closing"

    def _how_they_close(self, near: Near) -> tuple[Array, Array, Array]:
        """Distances now of what is near, their gradients, and their growth without the robot."""
        contacts, close = self._contacts, self._close
        distance = np.array([contact.distance for contact in contacts])
        normal = np.array([contact.normal for contact in contacts])
        a = np.array([contact.first for contact in contacts])
        b = np.array([contact.second for contact in contacts])
        gradient = self._gradient(np.zeros(len(close), dtype=np.intp), near, close, normal, a, b)
        velocity = np.vstack([self._obstacles.velocity, np.zeros(3)])[near.obstacle[close]]
        return distance, gradient, -(normal * velocity).sum(axis=1)  # -1: what does not move

    def _shape(self, body: int) -> Shape:
        """A body in the present posture."""
        if body not in self._placed:
            self._placed[body] = self._distances.placed(body, *self.bodies.pose(body))
        return self._placed[body]

    def _contact(self, p: int) -> Contact:
        """Nearest points of the hulls of a near pair, now."""
        near = self._near
        assert near is not None
        if near.obstacle[p] >= 0:
            other = self._shapes[near.obstacle[p]]
        else:
            other = self._shape(int(near.second[p]))
        return self._distances.between(self._shape(int(near.first[p])), other)

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
        near: Near,
        pair: NDArray[np.intp],
        normal: Array,
        a: Array,
        b: Array,
    ) -> Array:
        """``(M, n)``: change of ``normal @ (a - b)`` for each joint, points fixed to the bodies."""
        own = self.bodies.gradient(posture, near.first[pair], normal, a)
        other = self.bodies.gradient(posture, near.second[pair], normal, b)
        return own - np.where(near.obstacle[pair, None] < 0, other, 0.0)

    def _confined(self, rows: DistanceRows) -> DistanceRows:
        """With the rows that keep the tool centre points in the workspace."""
        box = self.config.workspace
        assert box is not None
        R, half = np.asarray(box.rotation, dtype=float), 0.5 * np.asarray(box.size, dtype=float)
        points = self.bodies.tools[1:]
        local = (points - np.asarray(box.center)) @ R
        room = half - np.abs(local)
        stage, tool, axis = np.nonzero(room < self.config.range)
        inward = -np.where(local[stage, tool, axis] >= 0, 1.0, -1.0)[:, None] * R.T[axis]
        gradient = self.bodies.tool_gradient(stage + 1, tool, inward)
        return DistanceRows(
            np.concatenate([rows.stage, stage + 1]),
            np.concatenate([rows.gradient, gradient]),
            np.concatenate([rows.distance, room[stage, tool, axis]]),
            np.concatenate([rows.margin, np.zeros(len(stage))]),
        )


def damped(program: QuadraticProgram, gradient: Array, slowest: Array) -> QuadraticProgram:
    """A program for joint velocities ``(n,)`` that keeps distances as well as it can.

    Its unknowns are the velocities and, after them, by how much each distance shrinks faster
    than it should [m/s]. All of these have one price: a link that can hardly move is not
    obeyed at the cost of one that can.

    Args:
        program: For the velocities alone, with bounds only.
        gradient: ``(M, n)`` of the distances [m/rad or 1].
        slowest: ``(M,)`` how they may change [m/s].
    """
    n, m = len(program.g), len(slowest)
    if not m:
        return program
    H = SHORTFALL * np.eye(n + m)
    H[:n, :n] = program.H
    endless = np.full(m, np.inf)
    return QuadraticProgram(
        H,
        np.concatenate([program.g, np.zeros(m)]),
        np.hstack([gradient, np.eye(m)]),
        np.concatenate([program.lower, np.zeros(m), slowest]),
        np.concatenate([program.upper, endless, endless]),
        row_kinds(n + m, m),
    )
