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
from .tree import KinematicTree, Shape
from .write import shape_element

MASSLESS = 1e-5  # [kg]; PyBullet gives a link without inertial 1 kg
# PyBullet's shared memory has room for 128 links and 128 coordinates, the base's seven included;
# states beyond read as errors or as zeros (measured).
MOST_JOINTS, MOST_MOVING = 127, 121


def simulation_urdf(embodiment: Embodiment, folder: Path) -> Path:
    """Write the robot for PyBullet and return the file.

    Every visual and collision mesh becomes its convex hull of at most 92 triangles in a small
    ``.obj``; colours are kept. A link without mass gets 1e-5 kg. Fixed links are not merged:
    PyBullet's merging misplaces centres of mass. Of more joints than PyBullet can hold, fixed ones
    at the tree's ends without shape and mass (frames of tools and sensors) are left out. What was
    written for the same URDF before is used again.

    Raises:
        UrdfError: Too many joints are left.
    """
    folder = Path(folder)
    digest = hashlib.sha256(embodiment.urdf.encode()).hexdigest()  # a xacro file has many URDFs
    file = folder / f"{embodiment.name}.{digest[:12]}.sim.urdf"
    if file.is_file():
        return file
    robot = ET.fromstring(embodiment.urdf)
    tree = tree_of_text(embodiment.urdf, embodiment.urdf_path)
    _leave_out_frames(robot, tree, len(tree.joints) - MOST_JOINTS)
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


def _leave_out_frames(robot: ET.Element, tree: KinematicTree, count: int) -> None:
    """Remove ``count`` fixed links at the tree's ends that have neither shape nor mass."""
    joints = {j.get("name", ""): j for j in robot.findall("joint")}
    links = {link.get("name", ""): link for link in robot.findall("link")}
    kept = {link: len(below) for link, below in tree.below.items()}  # joints that start from it
    for joint in reversed(tree.ordered):  # leaves before what carries them
        bare = not tree.shapes[joint.child] and not tree.masses.get(joint.child)
        if count > 0 and not joint.moves and bare and not kept[joint.child]:
            robot.remove(joints[joint.name])
            robot.remove(links[joint.child])
            kept[joint.parent] -= 1
            count -= 1
    if count > 0 or len(tree.moving) > MOST_MOVING:
        raise UrdfError(
            "PyBullet cannot hold a robot of so many joints",
            where=tree.name,
            value=f"{len(tree.moving)} that move, {len(robot.findall('joint'))} with what is fixed",
            valid=[f"at most {MOST_MOVING} that move and {MOST_JOINTS} in all"],
            remedy="make joints fixed that need not move, and join links that are fixed together",
        )


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
