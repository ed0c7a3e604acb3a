"""How often URDF analysis finds what labels say: with the robots' own names and with none.

Run ``OMP_NUM_THREADS=1 python benchmarks/urdf_accuracy.py LABELS [--stripped] [--only a,b]``.
``LABELS`` is a JSON file: robot -> ``urdf`` (a path beside the file, or ``PACKAGE:path`` for the
pip packages ``pybullet_data`` and ``example-robot-data``) and what is true of it (``family``,
``base``, ``arms``, ``ee_links``, ``gripper_joints``, ``feet``, ``wheel_joints``, ``refused``).

Links are compared as rigid bodies; a field counts only where the label or the answer has something
in it. With ``--stripped`` links and joints are called ``link_0``, ``joint_0``, ... first, and
everything but links and joints is left out. An error is *silent* where no flag asks about it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sysconfig
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.summary import summary
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_embodiments.urdf.files import resolve
from icl_vla_embodiments.urdf.read import read_xml

FIELDS = ("load", "family", "base", "arms", "ee", "gripper", "feet", "wheels")


@dataclass(frozen=True)
class Outcome:
    """One robot: which fields are right, which were asked about, and how long it took."""

    robot: str
    right: dict[str, bool]
    asked: frozenset[str]
    seconds: float
    details: dict[str, Any]
    error: str = ""

    @property
    def wrong(self) -> list[str]:
        return [f for f, ok in self.right.items() if not ok]

    @property
    def silent(self) -> list[str]:
        return [f for f in self.wrong if f not in self.asked]


def locate(labels: Path, urdf: str) -> Path:
    """The file that a label names."""
    package, _, rest = urdf.rpartition(":")
    if package == "pybullet_data":
        found = importlib.util.find_spec("pybullet_data")
        assert found is not None and found.origin is not None
        return Path(found.origin).parent / rest
    if package == "example-robot-data":
        data = Path(sysconfig.get_paths()["purelib"]) / "cmeel.prefix/share/example-robot-data"
        return data / "robots" / rest
    return labels.resolve().parent / urdf


def stripped(path: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """The robot without names, and new name -> old name of links and joints."""
    root, _, _ = read_xml(path)
    robot = ET.Element("robot", name="robot")
    robot.extend(e for e in root if e.tag in ("link", "joint"))
    kinds = {tag: [e.get("name", "") for e in robot.findall(tag)] for tag in ("link", "joint")}
    new = {tag: {n: f"{tag}_{i}" for i, n in enumerate(names)} for tag, names in kinds.items()}
    for element in robot.iter():
        if element.tag in new:
            element.set("name", new[element.tag].get(element.get("name", ""), ""))
        if element.tag in ("parent", "child"):
            element.set("link", new["link"].get(element.get("link", ""), ""))
        if element.tag == "mimic":
            element.set("joint", new["joint"].get(element.get("joint", ""), ""))
        if element.tag == "mesh":
            file = resolve(element.get("filename", ""), path.parent.resolve(), {})
            element.set("filename", str(file or "missing.stl"))
    file = folder / "robot.urdf"
    file.write_text(ET.tostring(robot, encoding="unicode"))
    return file, {n: o for names in new.values() for o, n in names.items()}


def bodies(path: Path) -> dict[str, str]:
    """Link -> the link nearest the root that it is rigidly joined to."""
    root, _, _ = read_xml(path)
    up = {}
    for joint in root.iter("joint"):
        child, parent = joint.find("child"), joint.find("parent")
        if child is not None and parent is not None and joint.get("type") == "fixed":
            up[child.get("link", "")] = parent.get("link", "")

    def body(link: str) -> str:
        while link in up:
            link = up[link]
        return link

    return {link: body(link) for e in root.findall("link") if (link := e.get("name", ""))}


def judge(
    name: str,
    label: dict[str, Any],
    labels: Path,
    *,
    strip: bool,
    overrides: dict[str, Any] | None = None,
) -> Outcome:
    """Analyse one robot, with a person's overrides if any, and hold it against its label."""
    path = locate(labels, label["urdf"])
    refused = bool(label.get("refused"))
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            file, old = stripped(path, Path(folder)) if strip else (path, {})
            robot = embodiment_from_urdf(file, allow_missing_meshes=True, overrides=overrides)
    except ReportedError as error:
        seconds = time.perf_counter() - start
        text = " ".join(str(error).split())
        return Outcome(name, {"load": refused}, frozenset(), seconds, {}, "" if refused else text)
    seconds = time.perf_counter() - start
    got = summary(robot)
    body = bodies(path)

    def true(x: str) -> str:
        return old.get(x, x)

    def at(links: list[str]) -> list[str]:
        return sorted(body.get(x, x) for x in links)

    pairs = {
        "arms": (
            sorted(tuple(true(j) for j in a["joints"]) for a in got["arms"]),
            sorted(tuple(a["joints"]) for a in label["arms"]),
        ),
        "ee": (at([true(a["ee_link"]) for a in got["arms"]]), at(label["ee_links"])),
        "gripper": (sorted(map(true, got["gripper_joints"])), sorted(label["gripper_joints"])),
        "feet": (sorted({*at(list(map(true, got["feet"])))}), sorted({*at(label["feet"])})),
        "wheels": (sorted(map(true, got["wheel_joints"])), sorted(label["wheel_joints"])),
    }
    right = {
        "load": True,
        "family": got["family"] in label["family"],
        "base": got["base"] in label["base"],
    }
    right |= {field: x == y for field, (x, y) in pairs.items() if x or y}
    details = {f: pairs[f] for f, ok in right.items() if not ok and f in pairs}
    details |= {f: (got[f], label[f]) for f in ("family", "base") if not right[f]}
    return Outcome(name, right, frozenset(f.field for f in robot.flags), seconds, details)


def report(outcomes: list[Outcome], *, verbose: bool) -> None:
    """Accuracy of each field, what is wrong, how well doubts point at it, and the time."""
    n = len(outcomes)
    for field in FIELDS:
        seen = [o.right[field] for o in outcomes if field in o.right]
        print(f"{field:8} {sum(seen)}/{len(seen)} = {sum(seen) / max(1, len(seen)):.3f}")
    for o in outcomes:
        if o.wrong or (verbose and o.asked):
            asked = ", ".join(sorted(o.asked)) or "nothing"
            print(f"  {o.robot:18} wrong: {', '.join(o.wrong) or '-'}; asked: {asked}  {o.error}")
            for field, (got, label) in o.details.items() if verbose else ():
                print(f"      {field}: got {got}\n      {' ' * len(field)} not {label}")
    faulty = [o for o in outcomes if o.wrong]
    told = [o for o in faulty if not o.silent and len(o.asked) <= 3]
    times = sorted(o.seconds for o in outcomes)
    print(f"all fields {n - len(faulty)}/{n} = {1 - len(faulty) / n:.3f}")
    print(f"wrong and unflagged {sum(bool(o.silent) for o in outcomes)}/{n}")
    print(f"robots with errors, all of them flagged by <= 3 questions: {len(told)}/{len(faulty)}")
    print(
        f"asked {sum(bool(o.asked) for o in outcomes)}/{n},"
        f" most questions {max(len(o.asked) for o in outcomes)}"
    )
    print(f"seconds median {times[n // 2]:.2f} p90 {times[int(0.9 * n)]:.2f} max {times[-1]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path)
    parser.add_argument("--stripped", action="store_true", help="without names")
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--verbose", action="store_true", help="what was found and what is true")
    options = parser.parse_args()
    labels = json.loads(options.labels.read_text())
    chosen = options.only.split(",") if options.only else labels
    report(
        [judge(n, labels[n], options.labels, strip=options.stripped) for n in chosen],
        verbose=options.verbose,
    )


if __name__ == "__main__":
    main()
