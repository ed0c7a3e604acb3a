"""Vertices of mesh files, all that a convex hull needs, and triangles where surfaces count."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import se3
from ..errors import UrdfError
from ..types import Array
from .read import read_xml

OTHER = (".ply", ".glb", ".gltf", ".off", ".3mf")  # read by trimesh


def mesh_points(path: Path) -> Array:
    """``(N, 3)`` vertices in the file's own axes and, for COLLADA, scaled to metres.

    A COLLADA file's up axis is ignored, as URDF viewers do.

    Raises:
        UrdfError: The file cannot be read as a mesh.
    """
    suffix = path.suffix.lower()
    reader = {".stl": _stl, ".obj": _obj, ".dae": _dae}.get(suffix, _other)
    if reader is _other and suffix not in OTHER:
        raise UrdfError(
            "not a mesh file that can be read",
            where=path,
            value=suffix or "no suffix",
            valid=[".stl", ".obj", ".dae", *OTHER],
        )
    try:
        points = reader(path)
    except (ValueError, OSError, LookupError, RecursionError) as error:
        raise UrdfError("cannot read the mesh", where=path, value=str(error)[:200]) from error
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise UrdfError("the mesh has no vertices", where=path)
    return points


def mesh_triangles(path: Path) -> Array:
    """``(F, 3, 3)`` corners of a mesh's triangles, scaled as :func:`mesh_points` scales.

    Raises:
        UrdfError: The file cannot be read as a mesh.
    """
    try:
        if path.suffix.lower() == ".dae":
            corners = _dae(path, _corners).reshape(-1, 3, 3)
        elif path.suffix.lower() == ".stl":
            corners = _stl_corners(path).reshape(-1, 3, 3)
        else:
            mesh = _loaded(path)
            corners = np.asarray(mesh.vertices, dtype=np.float64)[np.asarray(mesh.faces)]
    except (ValueError, OSError, LookupError, RecursionError) as error:
        raise UrdfError("cannot read the mesh", where=path, value=str(error)[:200]) from error
    return corners[np.isfinite(corners).all(axis=(1, 2))]


def _stl(path: Path) -> Array:
    return np.unique(_stl_corners(path), axis=0)


def _stl_corners(path: Path) -> Array:
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little")
    if len(data) >= 84 + 50 * count and count:  # binary, whatever the header says
        facet = np.dtype([("normal", "<f4", 3), ("vertices", "<f4", (3, 3)), ("extra", "<u2")])
        facets = np.frombuffer(data, facet, count, 84)
        return facets["vertices"].reshape(-1, 3).astype(float)
    lines = [x.split()[1:4] for x in data.splitlines() if x.strip().startswith(b"vertex")]
    return np.array(lines, dtype=float).reshape(-1, 3)


def _obj(path: Path) -> Array:
    rows = [line for line in path.read_bytes().splitlines() if line[:2] in (b"v ", b"v\t")]
    if not rows:
        return np.zeros((0, 3))
    text = b"\n".join(b" ".join(row.split()[1:4]) for row in rows)
    return np.loadtxt(io.BytesIO(text), ndmin=2).reshape(-1, 3)


def _other(path: Path) -> Array:
    return np.asarray(_loaded(path).vertices, dtype=np.float64)


def _loaded(path: Path) -> Any:
    import trimesh

    try:
        return trimesh.load_mesh(path)
    except Exception as error:  # whatever its many parsers raise on a damaged file
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _dae(path: Path, part_of: Callable[..., Array] | None = None) -> Array:
    """``(N, 3)``: what ``part_of`` takes of each geometry, by default its vertices, in place."""
    take = part_of or _positions
    root, _, _ = read_xml(path, root="COLLADA")
    by_id = {e.get("id", ""): e for e in root.iter()}
    unit = root.find("asset/unit")
    metre = float(unit.get("meter", "1")) if unit is not None else 1.0
    out: list[Array] = []

    def visit(node: ET.Element, T: Array) -> None:
        for part in node:
            if part.tag in ("matrix", "translate", "rotate", "scale"):
                T = T @ _transform(part.tag, np.array((part.text or "").split(), dtype=float))
        for part in node:
            if part.tag == "node":
                visit(part, T)
            elif part.tag == "instance_node":
                visit(by_id[part.get("url", "")[1:]], T)
            elif part.tag == "instance_geometry":
                points = take(by_id[part.get("url", "")[1:]], by_id)
                out.append(points @ T[:3, :3].T + T[:3, 3])

    for scene in root.iter("visual_scene"):
        for node in scene.findall("node"):
            visit(node, np.eye(4))
    return metre * np.concatenate(out) if out else np.zeros((0, 3))


def _transform(tag: str, x: Array) -> Array:
    if tag == "matrix":
        return x.reshape(4, 4)
    if tag == "translate":
        return se3.pose(p=x)
    if tag == "scale":
        return np.diag([*x, 1.0])
    return se3.pose(se3.exp3(x[:3] * np.radians(x[3])))


def _positions(geometry: ET.Element, by_id: Mapping[str, ET.Element]) -> Array:
    parts = []
    for vertices in geometry.iter("vertices"):
        for source in vertices.findall("input[@semantic='POSITION']"):
            floats = by_id[source.get("source", "")[1:]].findtext("float_array", "")
            parts.append(np.array(floats.split(), dtype=float).reshape(-1, 3))
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def _corners(geometry: ET.Element, by_id: Mapping[str, ET.Element]) -> Array:
    """``(3 F, 3)`` corners of a COLLADA geometry's polygons, cut into fans of triangles."""
    out = [np.zeros((0, 3))]
    for primitive in geometry.iter():
        if primitive.tag not in ("triangles", "polylist", "polygons"):
            continue
        inputs = primitive.findall("input")
        vertex = next(e for e in inputs if e.get("semantic") == "VERTEX")
        source = by_id[vertex.get("source", "")[1:]].find("input[@semantic='POSITION']")
        if source is None:
            continue
        floats = by_id[source.get("source", "")[1:]].findtext("float_array", "")
        points = np.array(floats.split(), dtype=float).reshape(-1, 3)
        stride = 1 + max(int(e.get("offset", "0")) for e in inputs)
        lists = [np.array((p.text or "").split(), dtype=int) for p in primitive.findall("p")]
        rings = [p[int(vertex.get("offset", "0")) :: stride] for p in lists]
        if primitive.tag != "polygons" and rings:
            counts = np.array(primitive.findtext("vcount", "").split(), dtype=int)
            counts = counts if len(counts) else np.full(len(rings[0]) // 3, 3)
            rings = np.split(rings[0], np.cumsum(counts)[:-1])
        fans = [(r[0], r[i], r[i + 1]) for r in rings for i in range(1, len(r) - 1)]
        out.append(points[np.array(fans, dtype=int).ravel()])
    return np.concatenate(out)
