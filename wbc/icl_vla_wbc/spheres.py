"""Links covered by spheres: distances between spheres are cheap, and so are their gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from icl_vla_embodiments.geometry import Hull
from icl_vla_embodiments.types import Array

BUDGET = 8  # spheres for each hull
FINE = 0.01  # [m]; a sphere that pokes out of its hull by less than this is not divided
ROUNDING = 1e-6  # [m] that every sphere is grown by


@dataclass(frozen=True)
class Spheres:
    """Spheres in one frame.

    Attributes:
        centers: ``(S, 3)`` [m].
        radii: ``(S,)`` [m].
    """

    centers: Array
    radii: Array

    @classmethod
    def covering(cls, hull: Hull, budget: int = BUDGET, fine: float = FINE) -> Spheres:
        """Spheres whose union holds a convex polytope.

        The polytope is cut in two across the longest side of the piece whose sphere pokes out most,
        again and again. A sphere that holds all vertices of a convex piece holds the piece, so the
        union holds the polytope, with no sampling. Taken from the faces' planes and not from the
        vertices, which simplification may have cut back.

        Args:
            hull: The polytope.
            budget: Largest number of spheres.
            fine: How far spheres may poke out without being divided [m].
        """
        pieces = [corners(hull)]
        balls = [enclosing_ball(pieces[0])]
        while len(pieces) < budget:
            out = [_protrusion(ball, hull) for ball in balls]
            worst = int(np.argmax(out))
            if out[worst] <= fine:
                break
            halves = [piece for piece in _halves(pieces[worst]) if len(piece)]
            pieces[worst : worst + 1] = halves
            balls[worst : worst + 1] = [enclosing_ball(piece) for piece in halves]
        return cls(np.array([c for c, _ in balls]), np.array([r for _, r in balls]))


def corners(hull: Hull) -> Array:
    """Vertices ``(V, 3)`` of the polytope that the hull's planes bound, which holds the mesh.

    Simplification drops vertices of a hull and keeps its planes outside of all of them.
    """
    planes = np.column_stack([hull.normals, -hull.offsets])
    found = HalfspaceIntersection(planes, hull.vertices.mean(axis=0)).intersections
    return found[np.isfinite(found).all(axis=1)]


def _halves(piece: Array) -> tuple[Array, Array]:
    """A convex piece, cut across the longest side of its box along its principal axes."""
    axes = np.linalg.svd(piece - piece.mean(axis=0), full_matrices=False)[2]
    spans = np.ptp(piece @ axes.T, axis=0)
    axis = axes[int(np.argmax(spans))]
    along = piece @ axis
    height = along - 0.5 * (along.min() + along.max())
    try:
        triangles = ConvexHull(piece).simplices
    except QhullError:  # a sliver: any two corners may bound an edge, which only adds points inside
        triangles = np.array([(i, j, j) for i in range(len(piece)) for j in range(i)])
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    a, b = edges[height[edges[:, 0]] * height[edges[:, 1]] < 0].T
    share = (height[a] / (height[a] - height[b]))[:, None]
    cut = piece[a] + share * (piece[b] - piece[a])
    return (
        np.concatenate([piece[height <= 0], cut]),
        np.concatenate([piece[height >= 0], cut]),
    )


def enclosing_ball(points: Array, rounds: int = 60) -> tuple[Array, float]:
    """A small enclosing ball (Badoiu and Clarkson, *Smaller core-sets for balls*, 2003)."""
    center = 0.5 * (points.min(axis=0) + points.max(axis=0))
    best, radius = center, np.inf
    for k in range(1, rounds + 1):
        distances = np.linalg.norm(points - center, axis=1)
        far = int(np.argmax(distances))
        if distances[far] < radius:
            best, radius = center, float(distances[far])
        center = center + (points[far] - center) / (k + 1)
    return best, radius + ROUNDING


def _protrusion(ball: tuple[Array, float], hull: Hull) -> float:
    """How far a ball reaches through one of the hull's faces [m]."""
    center, radius = ball
    return float((hull.normals @ center - hull.offsets).max() + radius)
