"""Whether links touch as their meshes are, not as the convex hulls around them."""

from __future__ import annotations

import coal
import numpy as np

from .. import se3
from ..errors import UrdfError
from ..geometry import hull_of, shape_points
from ..types import Array
from .meshes import mesh_triangles
from .tree import KinematicTree, Shape

NEAR = 1e-3  # [m]; nearer surfaces count as touching


def surfaces_apart(tree: KinematicTree, poses: dict[str, Array], a: str, b: str) -> bool:
    """Whether the surfaces of two links keep a millimetre between them.

    The shapes for collision are taken, or the visual ones of a link that has no others. False where
    a mesh cannot be read.

    Args:
        tree: The robot.
        poses: Link -> ``T_root_link`` ``(4, 4)``.
        a: One link.
        b: The other.
    """
    try:
        one, other = (_surface(tree, link, poses[link]) for link in (a, b))
    except UrdfError:
        return False
    if not len(one) or not len(other):
        return False
    one, other = _within(one, other), _within(other, one)
    if not len(one) or not len(other):
        return True
    still, result = coal.Transform3s.Identity(), coal.DistanceResult()
    gap = coal.distance(_model(one), still, _model(other), still, coal.DistanceRequest(), result)
    return bool(gap > NEAR)


def _surface(tree: KinematicTree, link: str, T: Array) -> Array:
    """``(F, 3, 3)`` corners of a link's triangles in the root frame."""
    parts = [np.zeros((0, 3, 3)), *(_triangles(s) for s in _shapes(tree, link))]
    return se3.act(T, np.concatenate(parts).reshape(-1, 3)).reshape(-1, 3, 3)


def _within(triangles: Array, others: Array) -> Array:
    """The triangles whose boxes come near the box around others."""
    lower, upper = others.min(axis=(0, 1)) - NEAR, others.max(axis=(0, 1)) + NEAR
    inside = (triangles.max(axis=1) >= lower) & (triangles.min(axis=1) <= upper)
    return triangles[inside.all(axis=1)]


def _shapes(tree: KinematicTree, link: str) -> list[Shape]:
    shapes = tree.shapes[link]
    return [s for s in shapes if s.role == "collision"] or list(shapes)


def _triangles(shape: Shape) -> Array:
    """``(F, 3, 3)`` in the link's frame."""
    if shape.kind == "mesh":
        if shape.mesh is None:
            return np.zeros((0, 3, 3))
        corners = mesh_triangles(shape.mesh) * shape.size
        return se3.act(shape.T_link_shape, corners.reshape(-1, 3)).reshape(-1, 3, 3)
    hull = hull_of(shape_points(shape))
    return hull.vertices[hull.faces]


def _model(triangles: Array) -> object:
    model = coal.BVHModelOBBRSS()
    model.beginModel(len(triangles), 3 * len(triangles))
    points, faces = coal.StdVec_Vec3s(), coal.StdVec_Triangle()
    for k, corner in enumerate(triangles.reshape(-1, 3)):
        points.append(corner)
        if k % 3 == 2:
            faces.append(coal.Triangle(k - 2, k - 1, k))
    model.addSubModel(points, faces)
    model.endModel()
    return model
