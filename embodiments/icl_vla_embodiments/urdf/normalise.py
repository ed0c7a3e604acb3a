"""From XML to a :class:`KinematicTree` and a plain URDF that every reader understands."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import se3
from ..embodiment import Base, Mimic
from ..errors import UrdfError
from ..types import Array
from .base_joints import base_of_joints
from .files import resolve
from .read import line_of, name_of, number, numbers, parse_xml, place
from .tree import Joint, KinematicTree, Shape
from .write import joint_element, shape_element

FREE = 8  # joints, fixed ones included, within which a base's motion is looked for
UPRIGHT_LINK = "upright"  # name of a root link that is put before one on its side
NO_STOP = 1e4  # [rad or m], a limit beyond this is a placeholder
TYPES = ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")


_OPTENV = re.compile(r"\$\(optenv\s+(\S+)\s*([^)]*)\)")


def _environment(match: re.Match[str]) -> str:
    return os.environ.get(match[1], match[2])


class Document:
    """A URDF being read; :attr:`tree` and :attr:`text` are the outcome.

    Attributes:
        repairs: What was mended.
        warnings: What the user should know.
        missing: Mesh file names that were not found.
        masterless: Joints that mimic a joint which does not exist.
        base: How the file itself lets the root move: by a floating or planar joint, or by a chain
            of joints between links without shape. Such joints are taken out, so that a base is one
            thing however a file spells it. None where it says nothing.
    """

    def __init__(
        self,
        root: ET.Element,
        path: Path,
        packages: Mapping[str, Path],
        *,
        keep_base_joints: bool = False,
    ) -> None:
        self.path, self.packages = path, packages
        self.repairs: list[str] = []
        self.warnings: list[str] = []
        self.missing: list[str] = []
        self.masterless: list[str] = []
        self.base: Base | None = None
        self._found: dict[str, Path | None] = {}
        self.root = root
        self._mend_text()
        self.links = self._unique("link")
        if not self.links:
            raise UrdfError("the robot has no links", where=path)
        self._colours = {
            m.get("name"): numbers(c, "rgba", (0, 0, 0, 1), path)
            for m in root.iter("material")
            if (c := m.find("color")) is not None
        }
        joints = {n: self._joint(n, e) for n, e in self._unique("joint").items()}
        root_link = self._root_link(joints)
        root_link = self._drop_free_root(root_link, joints)
        if not keep_base_joints:
            root_link = self._drop_base_joints(root_link, joints)
        self._check_mimic(joints)
        shapes = {name: tuple(self._shapes(element)) for name, element in self.links.items()}
        self.tree = KinematicTree(
            name=(root.get("name") or path.stem).strip() or path.stem,
            root=root_link,
            shapes=shapes,
            joints=joints,
            masses={name: self._mass(element) for name, element in self.links.items()},
            driven=frozenset(
                j.get("name", "") for t in root.findall("transmission") for j in t.iter("joint")
            ),
            camera_links=frozenset(
                g.get("reference", "")
                for g in root.findall("gazebo")
                if any(s.get("type") in ("camera", "depth") for s in g.iter("sensor"))
            ),
            holonomic_hint=any(
                re.search("mecanum|planar_move|force_based_move", plugin.get("filename") or "")
                for plugin in root.iter("plugin")
            ),
        )
        unreached = set(self.links) - set(self.tree.body)
        if unreached:
            raise UrdfError(
                "links go round in a circle", where=path, value=", ".join(sorted(unreached))
            )
        self.text = self._write()

    def turned(self, up: Array) -> KinematicTree:
        """The tree on a new root link, whose z axis is the old root's axis ``up`` ``(3,)``.

        Its x axis is the old root's x axis or, where that points up, its y axis.
        """
        root, name = self.tree.root, UPRIGHT_LINK
        while name in self.links or name in self.tree.joints:
            name += "_"
        forward = np.eye(3)[0 if up[0] == 0 else 1]
        T = se3.pose(np.stack([forward, np.cross(up, forward), up]))
        joint = Joint(name, "fixed", name, root, T, np.array([1.0, 0.0, 0.0]))
        self.links = {name: ET.Element("link", name=name), **self.links}
        self.tree = replace(
            self.tree,
            root=name,
            shapes={name: (), **self.tree.shapes},
            joints={name: joint, **self.tree.joints},
        )
        letter = "xyz"[int(np.argmax(np.abs(up)))]
        self.repairs.append(
            f"{'-' if up.sum() < 0 else ''}{letter} points up in the root frame of {root}:"
            f" a link {name} is put before it, whose z axis does"
        )
        self.text = self._write()
        return self.tree

    def _mend_text(self) -> None:
        for element in self.root.iter():
            for key, value in element.attrib.items():
                if "$(optenv" in value:
                    element.set(key, _OPTENV.sub(_environment, value))
                    self.repairs.append(f"line {line_of(element)}: {value} replaced by its default")
            for key in ("xyz", "rpy", "scale"):
                if len(words := (element.get(key) or "").split()) > 3:
                    element.set(key, " ".join(words[:3]))
                    self.repairs.append(f"line {line_of(element)}: {key} cut to three numbers")
            for key in ("xyz", "rpy", "size", "scale", "rgba"):
                if "," in (element.get(key) or ""):
                    element.set(key, (element.get(key) or "").replace(",", " "))
                    self.repairs.append(f"line {line_of(element)}: commas in {key} made blanks")

    def _unique(self, tag: str) -> dict[str, ET.Element]:
        found: dict[str, ET.Element] = {}
        for element in self.root.findall(tag):
            name = name_of(element, self.path)
            if name in found:
                raise UrdfError(
                    f"two {tag}s have the same name",
                    where=f"{self.path}, lines {line_of(found[name])} and {line_of(element)}",
                    value=name,
                    remedy="rename one of them",
                )
            found[name] = element
        return found

    def _end(self, element: ET.Element, tag: str) -> str:
        part = element.find(tag)
        link = "" if part is None else (part.get("link") or "").strip()
        if link not in self.links:
            raise UrdfError(
                f"the joint's {tag} link does not exist",
                where=place(self.path, element),
                value=link,
                valid=sorted(self.links)[:40],
            )
        return link

    def _joint(self, name: str, element: ET.Element) -> Joint:
        where = place(self.path, element)
        kind = (element.get("type") or "").strip()
        if kind not in TYPES:
            raise UrdfError(
                "an unknown joint type",
                where=where,
                value=kind,
                valid=TYPES,
                remedy="write a ball joint as three revolute joints",
            )
        T = self._origin(element)
        axis = numbers(element.find("axis"), "xyz", (1, 0, 0), self.path)
        limit = element.find("limit")
        lower, upper, velocity, effort = (
            number(limit, key, self.path) for key in ("lower", "upper", "velocity", "effort")
        )
        if kind in ("floating", "planar"):
            return Joint(name, kind, *self._ends(element), T, axis)  # type: ignore[arg-type]
        if kind != "fixed":
            length = float(np.linalg.norm(axis))
            if length < 1e-9:
                raise UrdfError("the joint's axis is zero", where=where, value="0 0 0")
            if abs(length - 1) > 1e-6:
                self.repairs.append(f"joint {name}: axis of length {length:.6g} made a unit vector")
            axis = axis / length
        if kind in ("revolute", "prismatic"):
            lower, upper, kind = self._range(name, kind, lower, upper, velocity, effort)
        mimic = None
        if (m := element.find("mimic")) is not None and kind != "fixed":
            multiplier, offset = (number(m, k, self.path) for k in ("multiplier", "offset"))
            mimic = Mimic(
                name,
                (m.get("joint") or "").strip(),
                1.0 if multiplier is None else multiplier,
                offset or 0.0,
            )
        ends = self._ends(element)
        return Joint(name, kind, *ends, T, axis, lower, upper, velocity, effort, mimic)  # type: ignore[arg-type]

    def _ends(self, element: ET.Element) -> tuple[str, str]:
        return self._end(element, "parent"), self._end(element, "child")

    def _range(
        self,
        name: str,
        kind: str,
        lower: float | None,
        upper: float | None,
        velocity: float | None,
        effort: float | None,
    ) -> tuple[float | None, float | None, str]:
        """Limits that can be used, and the joint type that they amount to."""
        if max(abs(lower or 0.0), abs(upper or 0.0)) > NO_STOP:
            self.repairs.append(f"joint {name}: limits {lower} to {upper} taken as none")
            lower = upper = None
        if lower is None and upper is None:
            if kind == "revolute":
                self.repairs.append(f"joint {name}: revolute without limits made continuous")
                return None, None, "continuous"
            self.repairs.append(f"joint {name}: prismatic without limits")
        lower, upper = lower or 0.0, upper or 0.0
        if lower > upper:
            self.repairs.append(f"joint {name}: lower limit {lower} above upper {upper}, swapped")
            lower, upper = upper, lower
        if lower == upper:
            if velocity and effort and lower != 0.0:
                self.repairs.append(f"joint {name}: lower and upper limit are equal, fixed")
                return None, None, "fixed"
            bound = np.pi if kind == "revolute" else 1.0
            self.warnings.append(
                f"joint {name}: the limits are placeholders ({lower} to {upper});"
                f" +-{bound:.3g} is used, give the true ones"
            )
            lower, upper = -bound, bound
        return lower, upper, kind

    def _origin(self, element: ET.Element) -> Array:
        origin = element.find("origin")
        zero = (0.0, 0.0, 0.0)
        return se3.pose(
            se3.from_euler_xyz(numbers(origin, "rpy", zero, self.path)),
            numbers(origin, "xyz", zero, self.path),
        )

    def _mass(self, element: ET.Element) -> float:
        inertial = element.find("inertial")
        return number(None if inertial is None else inertial.find("mass"), "value", self.path) or 0

    def _root_link(self, joints: Mapping[str, Joint]) -> str:
        parent: dict[str, str] = {}
        for joint in joints.values():
            if joint.child in parent:
                raise UrdfError(
                    "a link hangs on two joints; a URDF must be a tree",
                    where=self.path,
                    value=f"link {joint.child!r} on {parent[joint.child]!r} and {joint.name!r}",
                    remedy="cut the loop at one of the joints",
                )
            parent[joint.child] = joint.name
        roots = [link for link in self.links if link not in parent]
        if not roots:
            raise UrdfError("links go round in a circle; there is no root", where=self.path)
        if len(roots) > 1:
            raise UrdfError(
                "the links are not connected",
                where=self.path,
                value="roots: " + ", ".join(roots),
                remedy="join them by a joint, or remove the links that nothing is joined to",
            )
        return roots[0]

    def _drop_free_root(self, root: str, joints: dict[str, Joint]) -> str:
        """A floating or planar joint at the root is the base's motion; elsewhere it is fixed."""
        from_root = [j for j in joints.values() if j.parent == root]
        if len(from_root) == 1 and from_root[0].type in ("floating", "planar"):
            self.base = "floating" if from_root[0].type == "floating" else "planar_holo"
            self.repairs.append(f"{from_root[0].type} joint {from_root[0].name} is the base's")
            del joints[from_root[0].name]
            del self.links[root]
            root = from_root[0].child
        for name, joint in joints.items():
            if joint.type in ("floating", "planar"):
                self.warnings.append(f"joint {name} is {joint.type}; it is taken as fixed")
                joints[name] = Joint(name, "fixed", joint.parent, joint.child, joint.T, joint.axis)
        return root

    def _drop_base_joints(self, root: str, joints: dict[str, Joint]) -> str:
        """Slides and turns between links without shape, at the root, are the base's motion."""
        chain: list[Joint] = []
        here = root
        while len(chain) < FREE and not any(
            self.links[here].find(role) is not None for role in ("visual", "collision")
        ):
            beyond = [j for j in joints.values() if j.parent == here]
            if len(beyond) != 1:
                break
            chain += beyond
            here = beyond[0].child
        base, count = base_of_joints(chain)
        if base is None:
            return root
        self.base = base
        names = ", ".join(j.name for j in chain[:count] if j.moves)
        self.repairs.append(
            f"joints {names} move the whole robot: they are the {base} base's motion"
            " (--set base=fixed keeps them as joints)"
        )
        for joint in chain[:count]:
            del joints[joint.name]
            del self.links[joint.parent]
        return chain[count - 1].child

    def _check_mimic(self, joints: dict[str, Joint]) -> None:
        for joint in list(joints.values()):
            self._find_master(joint, joints)
        for name, joint in list(joints.items()):
            seen, here = [name], joint
            while here.mimic is not None:
                master = here.mimic.master
                if master in seen:
                    raise UrdfError(
                        "joints mimic each other in a circle",
                        where=self.path,
                        value=" -> ".join([*seen, master]),
                    )
                seen.append(master)
                here = joints[master]
            if joint.mimic is not None and not here.moves:
                self.repairs.append(f"joint {name} mimics the fixed joint {here.name}: fixed")
                joints[name] = Joint(name, "fixed", joint.parent, joint.child, joint.T, joint.axis)

    def _find_master(self, joint: Joint, joints: dict[str, Joint]) -> None:
        """A master that does not exist: the one meant, with the follower's prefix, or none."""
        if joint.mimic is None or joint.mimic.master in joints:
            return
        wanted = joint.mimic.master
        meant = [
            n
            for n, j in joints.items()
            if wanted and j.moves and n.endswith(wanted) and n != joint.name
            if joint.name.startswith(n.removesuffix(wanted))
        ]
        if len(meant) == 1:
            joints[joint.name] = replace(joint, mimic=replace(joint.mimic, master=meant[0]))
            self.repairs.append(f"joint {joint.name} mimics {wanted!r}: {meant[0]} is meant")
            return
        joints[joint.name] = replace(joint, mimic=None)
        self.masterless.append(joint.name)
        self.repairs.append(
            f"joint {joint.name} mimics {wanted!r}, which does not exist: it is driven by itself"
        )

    def _shapes(self, element: ET.Element) -> Iterable[Shape]:
        for role in ("visual", "collision"):
            for part in element.findall(role):
                yield from self._shape(role, part)

    def _shape(self, role: str, part: ET.Element) -> list[Shape]:
        geometry = part.find("geometry")
        kind = None if geometry is None else next(iter(geometry), None)
        if kind is None:
            self.repairs.append(f"line {line_of(part)}: {role} without geometry removed")
            return []
        T, path, mesh = self._origin(part), self.path, None
        if kind.tag == "box":
            size = tuple(numbers(kind, "size", (0, 0, 0), path))
        elif kind.tag in ("cylinder", "capsule"):
            size = (number(kind, "radius", path) or 0.0, number(kind, "length", path) or 0.0)
        elif kind.tag == "sphere":
            size = (number(kind, "radius", path) or 0.0,)
        elif kind.tag == "mesh":
            size = tuple(self._scale(kind))
            filename = kind.get("filename") or ""
            if filename not in self._found:
                self._found[filename] = resolve(filename, path.parent.resolve(), self.packages)
            mesh = self._found[filename]
            if mesh is None and filename not in self.missing:
                self.missing.append(filename)
        else:
            raise UrdfError(
                "an unknown shape",
                where=place(path, kind),
                value=kind.tag,
                valid=["box", "cylinder", "sphere", "mesh"],
            )
        shape = Shape(role, kind.tag, tuple(float(s) for s in size), T, mesh, self._colour(part))
        return _plain_shapes(shape) if kind.tag == "capsule" else [shape]

    def _scale(self, mesh: ET.Element) -> Array:
        if len((mesh.get("scale") or "").split()) == 1:  # one number for all axes is common
            return np.full(3, number(mesh, "scale", self.path))
        return numbers(mesh, "scale", (1, 1, 1), self.path)

    def _colour(self, part: ET.Element) -> tuple[float, ...] | None:
        material = part.find("material")
        if material is None:
            return None
        colour = material.find("color")
        rgba = self._colours.get(material.get("name"))
        if colour is not None and colour.get("rgba"):
            rgba = numbers(colour, "rgba", (0, 0, 0, 1), self.path)
        return None if rgba is None else tuple(float(x) for x in np.clip(rgba, 0, 1))

    def _write(self) -> str:
        """The robot again, with nothing but links and joints, and absolute mesh paths."""
        robot = ET.Element("robot", name=self.tree.name)
        for name, element in self.links.items():
            link = ET.SubElement(robot, "link", name=name)
            inertial = element.find("inertial")
            if inertial is not None and self._usable_inertial(name, inertial):
                link.append(inertial)
            for shape in self.tree.shapes[name]:
                if shape.kind != "mesh" or shape.mesh is not None:
                    link.append(shape_element(shape))
        for joint in self.tree.joints.values():
            robot.append(joint_element(joint))
        ET.indent(robot)
        return ET.tostring(robot, encoding="unicode")

    def _usable_inertial(self, name: str, inertial: ET.Element) -> bool:
        mass, inertia = inertial.find("mass"), inertial.find("inertia")
        if mass is None or inertia is None or not mass.get("value"):
            self.repairs.append(f"link {name}: incomplete inertial removed")
            return False
        for key in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz"):
            value = number(inertia, key, self.path)
            inertia.set(key, repr(value or 0.0))
        self._origin(inertial)
        if (number(mass, "value", self.path) or 0.0) < 0:
            raise UrdfError(
                "a negative mass", where=f"{self.path}, link {name!r}", value=mass.get("value")
            )
        return True


def _plain_shapes(capsule: Shape) -> list[Shape]:
    """A capsule as a cylinder and two spheres; few readers know capsules."""
    radius, length = capsule.size
    ends = [capsule.T_link_shape @ se3.pose(p=(0, 0, z)) for z in (-length / 2, length / 2)]
    spheres = [replace(capsule, kind="sphere", size=(radius,), T_link_shape=T) for T in ends]
    return [replace(capsule, kind="cylinder"), *spheres]


def tree_of_text(text: str, path: Path) -> KinematicTree:
    """The tree of an already normalised URDF (:attr:`Embodiment.urdf`)."""
    return Document(parse_xml(text.encode(), path), path, {}).tree
