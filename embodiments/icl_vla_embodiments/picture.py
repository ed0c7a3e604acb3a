"""A picture of a robot in its neutral posture: groups coloured, tool frames and feet drawn.

Links are drawn as their convex hulls by a small z-buffer renderer in numpy
(``picture_render.py``); lines, marks and legend come from matplotlib (``picture_marks.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .embodiment import Embodiment
from .geometry import Hull, hull_of, hulls_of_tree
from .home import write_atomically
from .picture_marks import PALETTE, PLAIN, Marked, annotated
from .picture_render import View, render
from .robot_model import RobotModel
from .types import Array
from .urdf.foot import Foot
from .urdf.normalise import tree_of_text
from .urdf.tree import KinematicTree

TAPER = 0.8  # of a rod towards its end, so that no two rods have sides in one plane
READ_AT_MOST = 40 * 2**20  # [bytes] of meshes; beyond, the collision shapes are drawn


def draw_robot(embodiment: Embodiment, file: Path) -> Path:
    """Write a PNG of the robot in its neutral posture and return its path."""
    write_atomically(file, picture_of(embodiment))
    return file


def picture_of(
    embodiment: Embodiment,
    q: Array | None = None,
    *,
    marks: Mapping[str, Array] | None = None,
) -> bytes:
    """PNG of the robot.

    Args:
        embodiment: The robot.
        q: ``(n,)`` actuated positions; None: neutral.
        marks: Label -> ``(N, 3)`` points in the base frame to mark with crosses.
    """
    model = RobotModel(embodiment)
    q = model.neutral if q is None else np.asarray(q, dtype=float)
    poses = model.link_poses(q)
    tree = tree_of_text(embodiment.urdf, embodiment.urdf_path)
    hulls, _ = hulls_of_tree(tree, "visual" if _light(tree) else "collision")
    owners = _owners(embodiment, tree)
    colours = _colours(embodiment)
    parts = [
        (h.moved(poses[link]), h.faces, colours.get(owners.get(link, ""), PLAIN))
        for link, hs in hulls.items()
        if link in poses
        for h in hs
    ]
    parts += [
        (points, faces, colours.get(owners.get(link, ""), PLAIN))
        for link, points, faces in _sticks(tree, hulls, poses)
    ]
    tcps = model.poses(q)
    places = [T[:3, 3] for T in (*poses.values(), *tcps.values())]
    places += [p for points in (marks or {}).values() for p in np.asarray(points)]
    view = View.of([p for p, _, _ in parts], places)
    image = render(view, parts)
    cameras = [poses[c.link] @ c.matrix for c in embodiment.cameras.values() if c.link in poses]
    frames = [poses[f.link] @ f.matrix for f in embodiment.frames.values() if f.link in poses]
    legs = embodiment.of_kind("leg")
    feet = {leg.name: Foot.of(tree, hulls, leg).pose(model, q)[:3, 3] for leg in legs}
    marked = Marked(tcps, feet, cameras, frames, marks or {})
    return annotated(embodiment, view, image, colours, marked)


def _light(tree: KinematicTree) -> bool:
    """Whether what is meant to be seen can be read in a moment."""
    files = {s.mesh for shapes in tree.shapes.values() for s in shapes if s.role == "visual"}
    return sum(f.stat().st_size for f in files if f is not None) < READ_AT_MOST


def _sticks(
    tree: KinematicTree, hulls: Mapping[str, Sequence[Hull]], poses: Mapping[str, Array]
) -> list[tuple[str, Array, NDArray[np.int64]]]:
    """Rods between joints, in the base frame, for bodies of which nothing is drawn."""
    origins = np.array([T[:3, 3] for T in poses.values()])
    width = 0.015 * float(np.linalg.norm(np.ptp(origins, axis=0)))
    corners = width * np.array(list(itertools.product((-1, 1), repeat=3)))
    rods = []
    for body, links in tree.members.items():
        if any(hulls.get(link) for link in links) or width == 0:
            continue
        start = poses[body][:3, 3]
        for joint in tree.children.get(body, []):
            end = poses[joint.child][:3, 3]
            rod = hull_of(np.concatenate([start + corners, end + TAPER * corners]))
            rods.append((body, rod.vertices, rod.faces))
    return rods


def _owners(embodiment: Embodiment, tree: KinematicTree) -> dict[str, str]:
    """Link -> name of the group that moves it."""
    group_of = {j: g.name for g in embodiment.groups for j in g.joints}
    masters = {m.joint: m.master for m in embodiment.mimic}
    owners: dict[str, str] = {}
    for link in tree.links:
        body = tree.body[link]
        joint = None if body == tree.root else tree.above[body]
        while joint is not None:
            name = joint.name
            while name in masters and name not in group_of:
                name = masters[name]
            if name in group_of:
                owners[link] = group_of[name]
                break
            joint = tree.up(joint)
    return owners


def _colours(embodiment: Embodiment) -> dict[str, str]:
    """Group -> colour; groups of a kind share a hue."""
    counts: dict[str, int] = {}
    colours = {}
    for group in embodiment.groups:
        shades = PALETTE[group.kind]
        k = counts.get(group.kind, 0)
        colours[group.name] = shades[k % len(shades)]
        counts[group.kind] = k + 1
    return colours
