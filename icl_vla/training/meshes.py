"""Triangle meshes to draw: boxes, cylinders, spheres, and files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

SEGMENTS = 24  # of a circle
REPEAT = 0.25  # share of a texture that an edge of a box shows, as in PyBullet


@dataclass(frozen=True)
class Mesh:
    """Triangles with normals and places in a texture.

    Attributes:
        vertices: ``(V, 3)`` [m].
        normals: ``(V, 3)`` unit.
        uv: ``(V, 2)``.
        triangles: ``(F, 3)`` anticlockwise seen from outside.
    """

    vertices: Array
    normals: Array
    uv: Array
    triangles: NDArray[np.int64]


def joined(meshes: list[Mesh]) -> Mesh:
    """One mesh of several."""
    offsets = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.uv for m in meshes]),
        np.concatenate([m.triangles + o for m, o in zip(meshes, offsets[:-1], strict=True)]),
    )


@lru_cache
def box() -> Mesh:
    """Of edge 1 about the origin."""
    faces = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            n = np.zeros(3)
            n[axis] = sign
            a = np.roll([0.0, 1.0, 0.0], axis)
            b = np.cross(n, a)
            square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
            corners = 0.5 * n + (square[:, :1] - 0.5) * a + (square[:, 1:] - 0.5) * b
            quad = np.array([[0, 1, 2], [0, 2, 3]])
            faces.append(Mesh(corners, np.tile(n, (4, 1)), REPEAT * square, quad))
    return joined(faces)


@lru_cache
def cylinder(segments: int = SEGMENTS) -> Mesh:
    """Of diameter and height 1 about the origin, along z."""
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    wall = np.concatenate([np.c_[0.5 * ring, np.full(len(ring), z)] for z in (-0.5, 0.5)])
    n = len(ring)
    i = np.arange(segments)
    quads = np.concatenate(
        [np.stack([i, i + 1, i + n + 1], axis=1), np.stack([i, i + n + 1, i + n], axis=1)]
    )
    uv = np.concatenate([np.c_[angle / (2 * np.pi), np.full(n, t)] for t in (0.0, 1.0)])
    side = Mesh(wall, np.tile(np.c_[ring, np.zeros(n)], (2, 1)), uv, quads)
    caps = [side]
    for sign in (-1.0, 1.0):
        rim = np.c_[0.5 * ring[:-1], np.full(segments, 0.5 * sign)]
        middle = np.array([[0.0, 0.0, 0.5 * sign]])
        fan = np.stack([np.full(segments, segments), i, (i + 1) % segments], axis=1)
        vertices = np.concatenate([rim, middle])
        normal = np.tile([0.0, 0.0, sign], (segments + 1, 1))
        turned = fan if sign > 0 else fan[:, ::-1]
        caps.append(Mesh(vertices, normal, REPEAT * vertices[:, :2], turned))
    return joined(caps)


@lru_cache
def sphere(segments: int = SEGMENTS) -> Mesh:
    """Of diameter 1 about the origin."""
    rows = segments // 2
    theta, phi = np.meshgrid(
        np.linspace(0, np.pi, rows + 1), np.linspace(0, 2 * np.pi, segments + 1), indexing="ij"
    )
    n = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)
    uv = np.stack([phi / (2 * np.pi), theta / np.pi], -1)
    at = np.arange((rows + 1) * (segments + 1)).reshape(rows + 1, segments + 1)
    a, b, c, d = (at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:])
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    flat = n.reshape(-1, 3)
    return Mesh(0.5 * flat, flat, uv.reshape(-1, 2), triangles)


@lru_cache(maxsize=256)
def of_file(file: Path) -> Mesh:
    """A mesh file that trimesh reads; all its parts in one."""
    import trimesh

    loaded: Any = trimesh.load(file, force="mesh", process=False)
    vertices = np.asarray(loaded.vertices, dtype=np.float64)
    uv = getattr(loaded.visual, "uv", None)
    return Mesh(
        vertices,
        np.asarray(loaded.vertex_normals, dtype=np.float64),
        np.zeros((len(vertices), 2)) if uv is None else np.asarray(uv, dtype=np.float64),
        np.asarray(loaded.faces, dtype=np.int64),
    )


def coarsened(mesh: Mesh, cell: float) -> Mesh:
    """A mesh whose vertices in one cubic cell of this edge [m] come to lie in one place.

    Those that face the same way become one. Vertex clustering (Rossignac and Borrel,
    *Multi-resolution 3D approximations for rendering complex scenes*, 1993).
    """
    at = np.floor(mesh.vertices / cell)
    place = _numbered(at)
    of = _numbered(np.c_[at, np.sign(np.round(mesh.normals))])
    _, one = np.unique(of, return_index=True)
    normals = _means(mesh.normals, of)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    a, b, c = place[mesh.triangles].T
    kept = (a != b) & (b != c) & (a != c)
    vertices = _means(mesh.vertices, place)[place[one]]
    return Mesh(vertices, normals, _means(mesh.uv, of), of[mesh.triangles[kept]])


def _numbered(rows: Array) -> NDArray[np.int64]:
    """A number for each row ``(V, k)``, the same for equal ones: ``(V,)``."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)


def _means(values: Array, of: NDArray[np.int64]) -> Array:
    """Means ``(C, k)`` of the rows ``(V, k)`` of each of ``C`` numbers ``(V,)``."""
    sums = np.stack([np.bincount(of, column) for column in values.T], axis=1)
    return np.asarray(sums / np.bincount(of)[:, None])
