"""Which bodies of a robot and its surroundings come near each other, and the gaps between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .bodies import Bodies
from .obstacles import Obstacles
from .vectors import dot, norm


@dataclass(frozen=True)
class Near:
    """Pairs of bodies that come near at one of ``C`` postures.

    Attributes:
        first: ``(P,)`` body of the robot.
        second: ``(P,)`` body of the robot, -1 for an obstacle.
        obstacle: ``(P,)`` index of the obstacle, -1 for a body of the robot.
        distance: ``(C, P)`` of the nearest spheres [m].
        normal: ``(C, P, 3)`` from the second to the first, between the nearest spheres.
        margin: ``(P,)`` [m].
        spheres: ``(2, C, P)`` which of the first and of the second body are the nearest ones.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    obstacle: NDArray[np.intp]
    distance: Array
    normal: Array
    margin: Array
    spheres: NDArray[np.intp]

    def only(self, which: NDArray[np.intp]) -> Near:
        """Some of the pairs, by index."""
        return Near(
            self.first[which],
            self.second[which],
            self.obstacle[which],
            self.distance[:, which],
            self.normal[:, which],
            self.margin[which],
            self.spheres[..., which],
        )

    def within(self, slack: float) -> Near:
        """What comes nearer than its margin and ``slack`` at some posture."""
        return self.only(np.flatnonzero((self.distance < self.margin + slack).any(axis=0)))

    def joined(self, more: Near) -> Near:
        """These pairs and others."""
        return Near(
            np.concatenate([self.first, more.first]),
            np.concatenate([self.second, more.second]),
            np.concatenate([self.obstacle, more.obstacle]),
            np.concatenate([self.distance, more.distance], axis=1),
            np.concatenate([self.normal, more.normal], axis=1),
            np.concatenate([self.margin, more.margin]),
            np.concatenate([self.spheres, more.spheres], axis=2),
        )


class Proximity:
    """Finds near pairs with the spheres that cover the bodies, and measures gaps between hulls.

    Args:
        pairs: ``(2, P)`` bodies of the robot that must not touch each other.
        margins: ``(P,)`` distances that they keep [m].
        movable: Bodies that obstacles are looked at for.
        margin: Distance kept from obstacles [m].
    """

    def __init__(
        self, pairs: NDArray[np.intp], margins: Array, movable: NDArray[np.intp], margin: float
    ) -> None:
        self._pairs, self._margins, self._movable, self._margin = pairs, margins, movable, margin

    def find(self, bodies: Bodies, obstacles: Obstacles, times: Array, slack: float) -> Near:
        """Pairs that come nearer than their margin and ``slack`` [m] at some posture.

        Args:
            bodies: Placed at ``C`` postures.
            obstacles: Where they are now.
            times: ``(C,)`` when the postures are taken [s].
            slack: [m].
        """
        near = self._between_links(bodies, slack)
        if not len(obstacles):
            return near
        return near.joined(self._to_obstacles(bodies, obstacles, times, slack))

    def extremes(
        self,
        bodies: Bodies,
        obstacles: Obstacles,
        near: Near,
        postures: NDArray[np.intp],
        times: Array,
        normal: Array,
    ) -> tuple[Array, Array]:
        """The points of both bodies of each pair that a direction separates last.

        Args:
            bodies: Placed.
            obstacles: Where they are now.
            near: Pairs.
            postures: ``(S,)``.
            times: ``(C,)`` of all postures [s].
            normal: ``(S, P, 3)`` directions from the second body to the first.

        Returns:
            ``(S, P, 3)`` each; the gap along the direction is ``normal @ (first - second)``.
        """
        second = np.empty_like(normal)
        links = near.obstacle < 0
        second[:, links] = bodies.farthest(postures, near.second[links], normal[:, links])
        if not links.all():
            which = near.obstacle[~links]
            at = obstacles.at(times)[postures[:, None], which]
            second[:, ~links] = at + obstacles.farthest(which, normal[:, ~links])
        return bodies.farthest(postures, near.first, -normal), second

    def displacements(
        self, bodies: Bodies, obstacles: Obstacles, near: Near, times: Array
    ) -> tuple[Array, Array]:
        """How the nearest spheres of each pair move past each other between moments.

        Args:
            bodies: Placed at ``S`` motions' ``C`` postures.
            obstacles: Where they are now.
            near: Pairs.
            times: ``(C,)`` of the postures [s].

        Returns:
            ``(S, C - 1, P, 3)`` each, of those that are nearest at the earlier and at the later
            moment.
        """
        C, links = len(times), near.obstacle < 0
        spheres = bodies.spheres.reshape(-1, C, *bodies.spheres.shape[1:])
        which = near.spheres.reshape(2, len(spheres), C, -1)
        motion = np.arange(len(spheres))[:, None, None]
        drift = np.diff(times)[:, None, None] * obstacles.velocity[near.obstacle[~links]]
        found = []
        for at in (slice(None, -1), slice(1, None)):
            first, second = which[:, :, at]
            moment = np.arange(C - 1)[:, None]
            moved = (
                spheres[motion, moment + 1, near.first, first]
                - spheres[motion, moment, near.first, first]
            )
            moved[:, :, links] -= (
                spheres[motion, moment + 1, near.second, second]
                - spheres[motion, moment, near.second, second]
            )[:, :, links]
            moved[:, :, ~links] -= drift
            found.append(moved)
        return found[0], found[1]

    def _between_links(self, bodies: Bodies, slack: float) -> Near:
        """Pairs of links: balls around the links first, then the spheres of those that are near."""
        spheres, radii = bodies.spheres, bodies.radii
        first, second = self._pairs
        apart = spheres[:, first, 0] - spheres[:, second, 0]
        gap = norm(apart) - radii[first, 0] - radii[second, 0]
        close = np.flatnonzero((gap < self._margins + slack).any(axis=0))
        first, second = first[close], second[close]
        a, b = spheres[:, first, 1:], spheres[:, second, 1:]  # (C, P, m, 3)
        squares = dot(a, a)[..., None] + dot(b, b)[..., None, :]
        squares -= 2 * a @ b.transpose(0, 1, 3, 2)
        gap = np.sqrt(np.maximum(squares, 0.0)) - radii[first, 1:, None] - radii[second, None, 1:]
        C, P, m = a.shape[:3]
        gap = gap.reshape(C, P, m * m)
        which = gap.argmin(axis=2)
        posture, pair = np.arange(C)[:, None], np.arange(P)
        apart = a[posture, pair, which // m] - b[posture, pair, which % m]
        length = norm(apart)[..., None]
        nobody = np.full(P, -1)
        least, normal = gap[posture, pair, which], apart / np.maximum(length, 1e-9)
        margin = self._margins[close]
        nearest = np.stack([which // m, which % m]) + 1
        return Near(first, second, nobody, least, normal, margin, nearest).within(slack)

    def _to_obstacles(
        self, bodies: Bodies, obstacles: Obstacles, times: Array, slack: float
    ) -> Near:
        """Pairs of a body and an obstacle, the same way."""
        margin, at = self._margin, obstacles.at(times)
        apart = bodies.spheres[:, self._movable, :1] - at[:, None]  # (C, B, O, 3)
        gap = norm(apart) - obstacles.reach
        gap -= bodies.radii[self._movable, :1]
        body, which = np.nonzero((gap < margin + slack).any(axis=0))
        body = self._movable[body]
        relative = bodies.spheres[:, body, 1:] - at[:, which, None]  # (C, P, m, 3)
        gap = obstacles.distance(which, relative) - bodies.radii[body, 1:]
        posture, pair = np.arange(len(times))[:, None], np.arange(len(body))
        nearest = gap.argmin(axis=2)
        normal = obstacles.normal(which, relative[posture, pair, nearest])
        least, margins = gap[posture, pair, nearest], np.full(len(body), margin)
        nobody = np.full(len(body), -1)
        spheres = np.stack([nearest, np.zeros_like(nearest)]) + 1
        return Near(body, nobody, which, least, normal, margins, spheres).within(slack)
