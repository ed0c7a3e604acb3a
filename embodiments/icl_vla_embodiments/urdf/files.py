"""Find the files that a URDF names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlparse

from .read import read_xml


def resolve(filename: str, folder: Path, packages: Mapping[str, Path]) -> Path | None:
    """The file that a mesh's ``filename`` means, or None.

    ``package://NAME/rest`` and ``model://NAME/rest`` are looked for, in this order: in
    ``packages``; in a folder above with a ``package.xml`` of that name; in a folder above, or
    beside one above, called NAME; in ROS's environment; then any tail of the path relative to the
    URDF's folder and those above it. ``file://`` and plain names are taken as they are, relative
    ones from the URDF's folder.
    """
    filename = filename.strip()
    scheme, _, rest = filename.partition("://")
    if scheme in ("package", "model"):
        package, _, inside = rest.partition("/")
        candidates = _package_candidates(package, inside, folder, packages)
        tail = rest
    else:
        plain = unquote(urlparse(filename).path) if scheme == "file" and rest else filename
        candidates = [folder / plain.replace("\\", "/")]
        tail = plain
    parts = [p for p in tail.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    above = [folder, *list(folder.parents)[:4]]
    candidates += [base.joinpath(*parts[k:]) for k in range(len(parts)) for base in above]
    return next((c.resolve() for c in candidates if c.is_file()), None)


def _package_candidates(
    package: str, inside: str, folder: Path, packages: Mapping[str, Path]
) -> list[Path]:
    found = [Path(packages[package]) / inside] if package in packages else []
    above = [folder, *folder.parents]
    for base in above:
        if (manifest := base / "package.xml").is_file() and _package_name(manifest) == package:
            found.append(base / inside)
    for base in above:
        if base.name == package:
            found.append(base / inside)
        found.append(base / package / inside)
    for variable in ("ROS_PACKAGE_PATH", "AMENT_PREFIX_PATH"):
        for entry in filter(None, os.environ.get(variable, "").split(os.pathsep)):
            found += [Path(entry) / package / inside, Path(entry) / "share" / package / inside]
    return found


def find_package(name: str, folder: Path, packages: Mapping[str, Path]) -> Path | None:
    """The folder of a ROS package, looked for as by :func:`resolve`, or None."""
    if not name or name != Path(name).name or name in (".", ".."):
        return None
    found = _package_candidates(name, "", folder, packages)
    beside = [p for base in (folder, *list(folder.parents)[:4]) for p in _packages_in(base, name)]
    return next((p.absolute() for p in (*found, *beside) if p.is_dir()), None)


def _packages_in(folder: Path, name: str) -> list[Path]:
    """Folders in a folder whose package.xml has that name."""
    return [m.parent for m in sorted(folder.glob("*/package.xml")) if _package_name(m) == name]


def _package_name(manifest: Path) -> str | None:
    from ..errors import UrdfError

    try:
        root, _, _ = read_xml(manifest, root="package")
    except UrdfError:  # a broken manifest names no package
        return None
    name = root.find("name")
    return name.text.strip() if name is not None and name.text else None
