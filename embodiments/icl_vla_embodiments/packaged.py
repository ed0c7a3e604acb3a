"""An embodiment as a folder that can be moved: YAML, URDF and meshes, named relative to it.

A home's embodiment (``store.py``) refers to meshes where they lie on that machine; a plugin brings
its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

from .embodiment import Embodiment
from .errors import EmbodimentError
from .yaml_io import load_embodiment, save_embodiment

MESHES = "meshes"


def save_packaged(embodiment: Embodiment, folder: Path) -> Path:
    """Write an embodiment with copies of its meshes; return the YAML file.

    Meshes keep their places relative to each other, and what a mesh file names (materials,
    textures) is copied along. The packaged URDF is the normalised one.

    Raises:
        EmbodimentError: A mesh file is missing.
    """
    folder = Path(folder)
    robot = ET.fromstring(embodiment.urdf)
    meshes = {Path(m.get("filename", "")) for m in robot.iter("mesh")}
    missing = sorted(str(m) for m in meshes if not m.is_file())
    if missing:
        raise EmbodimentError(
            "mesh files are missing; a package must bring them",
            where=embodiment.urdf_path,
            value=", ".join(missing[:10]),
        )
    root = Path(os.path.commonpath([m.parent for m in meshes])) if meshes else Path()
    for mesh in meshes:
        for file in (mesh, *_named_by(mesh, root)):
            copy = folder / MESHES / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for element in robot.iter("mesh"):
        inside = Path(element.get("filename", "")).relative_to(root)
        element.set("filename", (Path(MESHES) / inside).as_posix())
    text = ET.tostring(robot, encoding="unicode")
    digest = hashlib.sha256(text.encode()).hexdigest()
    moved = embodiment.with_(
        urdf=text, urdf_path=Path(f"{embodiment.name}.urdf"), urdf_sha256=digest
    )
    return save_embodiment(moved, folder)


def load_packaged(folder: Path) -> Embodiment:
    """Read what :func:`save_packaged` wrote, wherever the folder lies now.

    Mesh file names become absolute again. A URDF that was edited since is told in
    :attr:`Embodiment.warnings`.
    """
    embodiment = load_embodiment(Path(folder))
    robot = ET.fromstring(embodiment.urdf)
    for element in robot.iter("mesh"):
        mesh = embodiment.urdf_path.parent / element.get("filename", "")
        element.set("filename", str(mesh.absolute()))
    return embodiment.with_(urdf=ET.tostring(robot, encoding="unicode"))


_REFERENCES = {
    ".obj": re.compile(rb"^\s*mtllib\s+(.+?)\s*$", re.MULTILINE),
    ".mtl": re.compile(rb"^\s*(?:map_\w+|bump|disp|refl)\b.*?(\S+)\s*$", re.MULTILINE),
    ".dae": re.compile(rb"<init_from>\s*([^<]+?)\s*</init_from>"),
}


def _named_by(file: Path, root: Path) -> list[Path]:
    """Files below ``root`` that a mesh or material file refers to, and those that they refer to."""
    pattern = _REFERENCES.get(file.suffix.lower())
    if pattern is None:
        return []
    names = {name.decode(errors="replace") for name in pattern.findall(file.read_bytes())}
    found = [(file.parent / name.replace("\\", "/")).resolve() for name in sorted(names)]
    inside = [f for f in found if f.is_file() and f.is_relative_to(root.resolve())]
    return inside + [more for f in inside for more in _named_by(f, root)]
