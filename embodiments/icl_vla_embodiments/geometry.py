"""A robot's links as convex hulls: which points of a depth image are the robot itself?"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from . import se3
from .embodiment import Embodiment
from .errors import UrdfError
from .home import write_atomically
from .types import Array

if TYPE_CHECKING:
    from .urdf.tree import KinematicTree, Shape

MAX_VERTICES = 48  # a closed triangle mesh of V vertices has 2 V - 4 faces: 92


@dataclass(frozen=True)
class Hull:
    """A convex polytope in its link's frame.

    Attributes:
        vertices: ``(V, 3)``.
        faces: ``(F, 3)`` vertex indices, counter-clockwise from outside.
        normals: ``(F, 3)`` outward unit normals.
        offsets: ``(F,)``: a point is inside where ``normals @ x <= offsets``. After
            simplification they still hold every original vertex.
    """

    vertices: Array
    faces: NDArray[np.int64]
    normals: Array
    offsets: Array

    @cached_property
    def box(self) -> tuple[Array, Array]:
        """Lower and upper corner; simplification keeps the extreme points along the axes."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def moved(self, T: Array) -> Array:
        """Vertices in the frame that ``T`` maps to."""
        return se3.act(T, self.vertices)


def hull_of(points: Array, max_vertices: int = MAX_VERTICES) -> Hull:
    """Convex hull of ``(N, 3)`` points, simplified to at most ``max_vertices``.

    Starts from the extreme points along the axes and adds, again and again, the points farthest
    outside (a truncated quickhull: Barber et al. 1996). Flat or thin clouds are thickened to 1 mm.
    """
    points = _thick(np.asarray(points, dtype=float))
    outer = points[ConvexHull(points).vertices]
    if len(outer) <= max_vertices:
        return _polytope(outer, outer)
    chosen = set(np.argmax(outer @ _DIRECTIONS.T, axis=0))
    while len(chosen) < max_vertices:
        shell = ConvexHull(outer[sorted(chosen)])
        outside = outer @ shell.equations[:, :3].T + shell.equations[:, 3]
        farthest = np.argmax(outside, axis=0)
        gap = outside[farthest, np.arange(len(farthest))]
        ranked = [int(farthest[k]) for k in np.argsort(-gap) if gap[k] > 1e-6]
        fresh = [i for i in dict.fromkeys(ranked) if i not in chosen]
        if not fresh:
            break
        chosen.update(fresh[: max(1, min(8, max_vertices - len(chosen)))])
    return _polytope(outer[sorted(chosen)], outer)


_DIRECTIONS = np.array(
    [
        (x, y, z)
        for x in (-1, 0, 1)
        for y in (-1, 0, 1)
        for z in (-1, 0, 1)
        if (x, y, z) != (0, 0, 0)
    ]
)


def _thick(points: Array) -> Array:
    """The points, spread along the directions in which they have no extent."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1].T
    for axis in axes[np.ptp(centred @ axes.T, axis=0) < 1e-3]:
        points = np.concatenate([points - 5e-4 * axis, points + 5e-4 * axis])
    return points


def _polytope(vertices: Array, outer: Array) -> Hull:
    try:
        hull = ConvexHull(vertices)
    except QhullError:
        hull = ConvexHull(vertices, qhull_options="QJ")  # joggle degenerate input
    normals = hull.equations[:, :3]
    faces = hull.simplices.astype(np.int64)
    a, b, c = (hull.points[faces[:, k]] for k in range(3))
    flip = np.einsum("ij,ij->i", np.cross(b - a, c - a), normals) < 0
    faces[flip] = faces[flip][:, ::-1]
    unique = np.unique(np.round(normals, 6), axis=0, return_index=True)[1]
    planes = normals[unique]
    return Hull(np.array(hull.points), faces, planes, (planes @ outer.T).max(axis=1))


def shape_points(shape: Shape) -> Array:
    """``(N, 3)`` points in the link's frame whose hull is (or, if round, approximates) a shape."""
    from .urdf.meshes import mesh_points

    if shape.kind == "mesh":
        if shape.mesh is None:
            return np.zeros((0, 3))
        points = mesh_points(shape.mesh) * shape.size
    elif shape.kind == "box":
        points = 0.5 * np.array(shape.size) * _DIRECTIONS[np.abs(_DIRECTIONS).sum(axis=1) == 3]
    elif shape.kind == "cylinder":
        radius, length = shape.size
        angle = np.arange(16) * np.pi / 8
        ring = radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
        points = np.concatenate([ring + np.array([0, 0, z]) for z in (-length / 2, length / 2)])
    else:
        unit = _DIRECTIONS / np.linalg.norm(_DIRECTIONS, axis=1, keepdims=True)
        points = 1.03 * shape.size[0] * unit
    return se3.act(shape.T_link_shape, points)


def hulls_of_tree(
    tree: KinematicTree, role: Literal["collision", "visual"] = "collision"
) -> tuple[dict[str, tuple[Hull, ...]], list[str]]:
    """Hulls of every link, one for each shape of a role (of the other where there is none).

    Returns:
        The hulls, and what could not be read.
    """
    made: dict[tuple[object, ...], Hull | None] = {}
    hulls: dict[str, tuple[Hull, ...]] = {}
    problems: list[str] = []
    for link, shapes in tree.shapes.items():
        for wanted in (role, "visual" if role == "collision" else "collision"):
            parts = [h for s in shapes if s.role == wanted and (h := _cached(s, made, problems))]
            if parts:
                hulls[link] = tuple(parts)
                break
    return hulls, problems


def _cached(
    shape: Shape, made: dict[tuple[object, ...], Hull | None], problems: list[str]
) -> Hull | None:
    key = (shape.kind, shape.size, shape.mesh, shape.T_link_shape.tobytes())
    if key not in made:
        made[key] = None
        try:
            points = shape_points(shape)
            made[key] = hull_of(points) if len(points) else None
        except (UrdfError, QhullError) as error:
            problems.append(" ".join(str(error).split()))
    return made[key]


class LinkHulls:
    """The convex hulls of a robot's links, in their links' frames.

    Args:
        embodiment: The robot; its meshes are read, unless ``cache`` holds this URDF's hulls.
        cache: Folder that a ``hulls.npz`` is kept in.
    """

    def __init__(self, embodiment: Embodiment, *, cache: Path | None = None) -> None:
        self.hulls = hulls_of_embodiment(embodiment, cache)
        self._balls: dict[str, tuple[Array, float]] = {}

    @classmethod
    def of(cls, hulls: Mapping[str, tuple[Hull, ...]]) -> LinkHulls:
        """Hulls that are known already: link -> one or more."""
        made = cls.__new__(cls)
        made.hulls, made._balls = dict(hulls), {}
        return made

    def ball(self, link: str) -> tuple[Array, float]:
        """Middle ``(3,)`` in a link's frame and radius [m] of a ball about its hulls."""
        if link not in self._balls:
            corners = np.concatenate([np.stack(hull.box) for hull in self.hulls[link]])
            low, high = corners.min(axis=0), corners.max(axis=0)
            self._balls[link] = 0.5 * (low + high), 0.5 * float(np.linalg.norm(high - low))
        return self._balls[link]

    def mask(
        self, points: Array, link_poses: Mapping[str, Array], margin: float = 0.01
    ) -> NDArray[np.bool_]:
        """Which points lie in a hull or nearer to one than ``margin``.

        Near an edge the hull grown plane by plane reaches a little farther than ``margin``, so
        the mask errs to the robot's side.

        Args:
            points: ``(M, 3)`` in the base frame [m].
            link_poses: Link -> ``T_base_link`` ``(4, 4)``; links that are not in it are skipped.
            margin: [m].

        Returns:
            ``(M,)``.
        """
        inside = np.zeros(len(points), dtype=bool)
        columns = np.ascontiguousarray(np.asarray(points, dtype=np.float32).T)  # (3, M)
        for link, hulls in self.hulls.items():
            if link not in link_poses:
                continue
            T = np.asarray(link_poses[link])
            for hull in hulls:
                _mark(inside, columns, hull, T, margin)
        return inside

    def along(
        self,
        eye: Array,
        rays: NDArray[np.floating],
        link_poses: Mapping[str, Array],
        margin: float = 0.0,
    ) -> NDArray[np.float32]:
        """How far along rays from one point the robot begins, in lengths of each ray.

        Args:
            eye: ``(3,)`` in the base frame [m].
            rays: ``(N, 3)`` directions of any length, base frame.
            link_poses: As in :meth:`mask`.
            margin: Hulls are grown by that much [m].

        Returns:
            ``(N,)``; infinite where there is none, or where the point lies in it.
        """
        nearest = np.full(len(rays), np.inf, dtype=np.float32)
        columns = np.ascontiguousarray(np.asarray(rays, dtype=np.float32).T)  # (3, N)
        for link, hulls in self.hulls.items():
            if link not in link_poses:
                continue
            T = np.asarray(link_poses[link])
            for hull in hulls:
                _enter(nearest, columns, eye, hull, T, margin)
        return nearest


def _mark(
    inside: NDArray[np.bool_], columns: NDArray[np.float32], hull: Hull, T: Array, margin: float
) -> None:
    """Set ``inside`` where a point is in one hull: base-frame box first, then the half-spaces."""
    lower, upper = hull.box
    centre = T[:3, :3] @ (0.5 * (lower + upper)) + T[:3, 3]
    reach = np.abs(T[:3, :3]) @ (0.5 * (upper - lower)) + margin
    index = np.flatnonzero(np.abs(columns[0] - np.float32(centre[0])) <= reach[0])
    for k in (1, 2):
        index = index[np.abs(columns[k, index] - np.float32(centre[k])) <= reach[k]]
    index = index[~inside[index]]
    if not len(index):
        return
    normals = (hull.normals @ T[:3, :3].T).astype(np.float32)  # (F, 3), base frame
    offsets = (hull.offsets + normals @ T[:3, 3] + margin).astype(np.float32)
    for start in range(0, len(normals), 16):  # most points fail at one of the first planes
        part = slice(start, start + 16)
        ok = (normals[part] @ columns[:, index] <= offsets[part, None]).all(axis=0)
        index = index[ok]
        if not len(index):
            return
    inside[index] = True


def _enter(
    nearest: NDArray[np.float32],
    columns: NDArray[np.float32],
    eye: Array,
    hull: Hull,
    T: Array,
    margin: float,
) -> None:
    """Lower ``nearest`` where rays enter one hull: a bounding sphere first, then the half-spaces.

    Between its planes a ray is inside from the last that it enters to the first that it leaves
    (Cyrus & Beck 1978).
    """
    lower, upper = hull.box
    centre = T[:3, :3] @ (0.5 * (lower + upper)) + T[:3, 3] - eye
    radius = 0.5 * np.linalg.norm(upper - lower) + margin
    ahead = columns.T @ centre.astype(np.float32)
    squared = (columns**2).sum(axis=0)
    off = float(centre @ centre) - ahead**2 / squared  # squared distance of the ray's line
    index = np.flatnonzero((off < radius**2) & (ahead > 0))
    if not len(index):
        return
    normals = (hull.normals @ T[:3, :3].T).astype(np.float32)  # (F, 3), base frame
    room = (hull.offsets + normals @ (T[:3, 3] - eye) + margin).astype(np.float32)
    rate = normals @ columns[:, index]  # (F, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        met = room[:, None] / rate
    enter = np.where(rate < 0, met, -np.inf).max(axis=0)
    leave = np.where(rate > 0, met, np.inf).min(axis=0)
    missed = ((rate == 0) & (room[:, None] < 0)).any(axis=0)
    hit = (enter > 0) & (enter <= leave) & ~missed
    nearest[index[hit]] = np.minimum(nearest[index[hit]], enter[hit])


def hulls_of_embodiment(
    embodiment: Embodiment, cache: Path | None = None
) -> dict[str, tuple[Hull, ...]]:
    """Hulls from the cache if it fits, else from the meshes (and into the cache)."""
    from .urdf.normalise import tree_of_text

    file = None if cache is None else cache / "hulls.npz"
    key = hashlib.sha256(embodiment.urdf.encode()).hexdigest()
    if file is not None and file.is_file():
        stored = _load(file, key)
        if stored is not None:
            return stored
    hulls, _ = hulls_of_tree(tree_of_text(embodiment.urdf, embodiment.urdf_path))
    if file is not None:
        save_hulls(file, hulls, key)
    return hulls


def save_hulls(file: Path, hulls: Mapping[str, Sequence[Hull]], key: str) -> None:
    """Write hulls; ``key`` is the hash of the URDF that they belong to."""
    arrays: dict[str, Any] = {"key": np.array(key)}
    for i, (link, parts) in enumerate(hulls.items()):
        for j, hull in enumerate(parts):
            arrays[f"{i}/{j}/link"] = np.array(link)
            for name in ("vertices", "faces", "normals", "offsets"):
                arrays[f"{i}/{j}/{name}"] = getattr(hull, name)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(file, buffer.getvalue())


def _load(file: Path, key: str) -> dict[str, tuple[Hull, ...]] | None:
    try:
        with np.load(file, allow_pickle=False) as data:
            if str(data["key"]) != key:
                return None
            hulls: dict[str, tuple[Hull, ...]] = {}
            prefixes: Iterable[str] = (k[: -len("link")] for k in data.files if k.endswith("/link"))
            for p in prefixes:
                parts = [data[p + name] for name in ("vertices", "faces", "normals", "offsets")]
                link = str(data[p + "link"])
                hulls[link] = (*hulls.get(link, ()), Hull(*parts))
            return hulls
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # a damaged cache is made again
