"""A light URDF for simulators: every mesh replaced by a small convex hull."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial import QhullError

from ..embodiment import Embodiment
from ..errors import UrdfError
from ..geometry import Hull, hull_of
from ..home import write_atomically
from .meshes import mesh_points
from .normalise import tree_of_text
from .tree import Shape
from .write import shape_element

MASSLESS = 1e-5  # [kg]; PyBullet gives a link without inertial 1 kg


def simulation_urdf(embodiment: Embodiment, folder: Path) -> Path:
    """Write the robot for PyBullet and return the file.

    Every visual and collision mesh becomes its convex hull of at most 92 triangles in a small
    ``.obj``; colours are kept. A link without mass gets 1e-5 kg. Fixed links are not merged:
    PyBullet's merging misplaces centres of mass. What was written for the same URDF before is used
    again.
    """
    folder = Path(folder)
    digest = hashlib.sha256(embodiment.urdf.encode()).hexdigest()  # a xacro file has many URDFs
    file = folder / f"{embodiment.name}.{digest[:12]}.sim.urdf"
    if file.is_file():
        return file
    robot = ET.fromstring(embodiment.urdf)
    tree = tree_of_text(embodiment.urdf, embodiment.urdf_path)
    names: dict[tuple[object, ...], Path | None] = {}
    for link in robot.findall("link"):
        for part in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(part)
        _give_mass(link)
        shapes = tree.shapes[link.get("name", "")]
        for shape in shapes:
            if shape.kind == "mesh":
                light = _light(shape, folder, names)
                if light is not None:
                    link.append(shape_element(light))
            else:
                link.append(shape_element(shape))
    ET.indent(robot)
    write_atomically(file, ET.tostring(robot, encoding="unicode"))
    return file


def _give_mass(link: ET.Element) -> None:
    mass, inertia = link.find("inertial/mass"), link.find("inertial/inertia")
    if mass is not None and inertia is not None and float(mass.get("value", "0")) > 0:
        _mend_inertia(inertia)
        return
    old = link.find("inertial")
    if old is not None:
        link.remove(old)
    inertial = ET.SubElement(link, "inertial")
    ET.SubElement(inertial, "mass", value=repr(MASSLESS))
    ET.SubElement(
        inertial, "inertia", ixx="1e-9", ixy="0", ixz="0", iyy="1e-9", iyz="0", izz="1e-9"
    )


def _mend_inertia(inertia: ET.Element) -> None:
    """Make principal moments positive, none above the sum of the other two."""
    xx, xy, xz, yy, yz, zz = (float(inertia.get(k, "0")) for k in _MOMENTS)
    moments, axes = np.linalg.eigh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    mended = np.maximum(moments, 1e-9)
    mended[2] = min(mended[2], mended[0] + mended[1])
    if not np.array_equal(mended, moments):
        tensor = axes @ np.diag(mended) @ axes.T
        for key, (i, j) in _MOMENTS.items():
            inertia.set(key, repr(float(tensor[i, j])))


_MOMENTS = {
    "ixx": (0, 0),
    "ixy": (0, 1),
    "ixz": (0, 2),
    "iyy": (1, 1),
    "iyz": (1, 2),
    "izz": (2, 2),
}


def _light(
    shape: Shape, folder: Path, names: dict[tuple[object, ...], Path | None]
) -> Shape | None:
    """The shape with its mesh's hull instead; None where the mesh cannot be used."""
    key = (shape.mesh, shape.size)
    if key not in names:
        names[key] = None
        if shape.mesh is not None:
            try:
                hull = hull_of(mesh_points(shape.mesh) * shape.size)
            except (UrdfError, QhullError):
                return None  # told when the robot was analysed
            names[key] = folder / "meshes" / f"{len(names):03d}_{shape.mesh.stem}.obj"
            write_atomically(names[key], _obj(hull))  # type: ignore[arg-type]
    path = names[key]
    return None if path is None else replace(shape, mesh=path.absolute(), size=(1.0, 1.0, 1.0))


def _obj(hull: Hull) -> str:
    """Wavefront text with one normal a face, so that edges stay sharp."""
    a, b, c = (hull.vertices[hull.faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    lines = [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in hull.vertices]
    lines += [f"vn {x:.5g} {y:.5g} {z:.5g}" for x, y, z in normals]
    lines += [
        f"f {i + 1}//{n} {j + 1}//{n} {k + 1}//{n}" for n, (i, j, k) in enumerate(hull.faces, 1)
    ]
    return "\n".join(lines) + "\n"
