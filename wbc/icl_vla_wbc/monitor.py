"""Exact distances between hulls, and whether the robot can still stop before it touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import coal
import numpy as np

from icl_vla_embodiments.geometry import Hull, hull_of
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf.collision import convex_body

from .obstacles import Obstacle, Sphere
from .spheres import corners

CLOSING = 1e-3  # [m/s]; slower than this two bodies are taken to rest against each other


@dataclass(frozen=True)
class Contact:
    """The nearest points of two bodies.

    Attributes:
        distance: [m]; negative is the depth of penetration.
        normal: ``(3,)`` unit vector from the second body to the first.
        first: ``(3,)`` point of the first body.
        second: ``(3,)`` point of the second.
    """

    distance: float
    normal: Array
    first: Array
    second: Array


Shape = tuple[object, object]  # coal's geometry and its placement


class HullDistances:
    """Distances between hulls, and from them to obstacles (GJK and EPA of coal).

    Args:
        hulls: The bodies.
    """

    def __init__(self, hulls: Sequence[Hull]) -> None:
        self._bodies = [convex_body(_whole(hull)) for hull in hulls]
        self._request, self._result = coal.DistanceRequest(), coal.DistanceResult()

    def placed(self, body: int, R: Array, p: Array) -> Shape:
        """A body at a pose in the base frame."""
        return self._bodies[body], coal.Transform3s(R, p)

    def between(self, first: Shape, second: Shape) -> Contact:
        """The nearest points of two bodies."""
        result = self._result
        result.clear()
        distance = coal.distance(*first, *second, self._request, result)
        return Contact(
            distance,
            -np.array(result.normal),
            np.array(result.getNearestPoint1()),
            np.array(result.getNearestPoint2()),
        )


def _whole(hull: Hull) -> Hull:
    """The polytope of a hull's planes, which holds also what simplification cut off."""
    points = corners(hull)
    return hull_of(points, len(points))


def obstacle_shape(obstacle: Obstacle) -> Shape:
    """An obstacle where it is now."""
    if isinstance(obstacle, Sphere):
        return coal.Sphere(obstacle.radius), coal.Transform3s(
            np.eye(3), np.asarray(obstacle.center, dtype=float)
        )
    R = np.asarray(obstacle.rotation, dtype=float)
    size = np.asarray(obstacle.size, dtype=float)
    return coal.Box(size), coal.Transform3s(R, np.asarray(obstacle.center, dtype=float))


def must_brake(
    distance: Array,
    stop: Array,
    gradient: Array,
    drift: Array,
    v: Array,
    following: Array,
    acceleration: Array,
    period: float,
) -> int | None:
    r"""Whether the robot should brake, and because of which pair of bodies.

    It should where a motion that closes a gap could no longer be stopped before the allowed
    distance, and braking leaves more room than going on does, over the time that braking takes.
    The second keeps a robot moving that flees from something: against what comes towards it,
    standing still is no help.

    Args:
        distance: ``(P,)`` of the bodies now [m].
        stop: ``(P,)`` allowed distances [m].
        gradient: ``(P, n)`` of the distances in the joints.
        drift: ``(P,)`` speed at which the distances grow without the robot's doing [m/s].
        v: ``(n,)`` velocities now.
        following: ``(n,)`` velocities a period on, as proposed.
        acceleration: ``(n,)`` with which the joints brake.
        period: [s].

    Returns:
        The pair that is nearest to its allowed distance, or None to go on.
    """
    stopping = following * (period + np.abs(following) / (2 * acceleration))
    left = distance + gradient @ stopping - stop
    late = (gradient @ following < -CLOSING) & (left < 0)
    if not late.any():
        return None
    time = period + float((np.abs(following) / acceleration).max())
    going = time * following + 0.5 * time**2 * (following - v) / period
    on = distance + gradient @ going - stop
    if (left + time * drift).min() <= (on + time * drift).min():
        return None
    return int(np.where(late, left, np.inf).argmin())
