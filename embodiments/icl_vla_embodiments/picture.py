"""A picture of a robot in its neutral posture: groups coloured, tool frames and feet drawn.

Links are drawn as their convex hulls by a small z-buffer renderer in numpy; lines, marks and
legend come from matplotlib.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import se3
from .embodiment import Embodiment, Group
from .geometry import Hull, hull_of, hulls_of_tree
from .home import write_atomically
from .robot_model import RobotModel
from .types import Array
from .urdf.normalise import tree_of_text
from .urdf.tree import KinematicTree

SIZE = (1200, 900)  # [px] width, height
SAMPLES = 2  # per pixel and axis
READ_AT_MOST = 40 * 2**20  # [bytes] of meshes; beyond, the collision shapes are drawn
EYE = (1.0, 0.75, 0.55)  # direction from the robot to the camera; x is forward
LIGHT = (0.25, 0.65, 1.0)  # direction to the light
PAPER = (0.975, 0.975, 0.97)
PLAIN = "#c3c7cd"  # what belongs to no group
PALETTE: Mapping[str, tuple[str, ...]] = {
    "arm": ("#3b6fb6", "#5aa5d6", "#27517f", "#86b8dc"),
    "gripper": ("#e2913b", "#efb65c", "#c87422", "#f2c98a"),
    "hand": ("#e2913b", "#efb65c"),
    "leg": ("#3f9b74", "#6bbf97", "#2f7a5a", "#97d3b5"),
    "torso": ("#8a6bb0", "#a98fc8"),
    "head": ("#c8648f", "#dd93b3"),
    "wheel": ("#50565e",),
}
MARKS = ("#1d8a5b", "#b3123f", "#7a4bb0")
CAMERA = "#111111"
AXIS_COLOURS = ("#d63a3a", "#2f9e44", "#2b6cd4")


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
    view = _View.of([p for p, _, _ in parts], places)
    image = _render(view, parts)
    cameras = [poses[c.link] @ c.matrix for c in embodiment.cameras.values() if c.link in poses]
    frames = [poses[f.link] @ f.matrix for f in embodiment.frames.values() if f.link in poses]
    feet = {leg.name: poses[leg.tip_link][:3, 3] for leg in embodiment.of_kind("leg")}
    marked = _Marked(tcps, feet, cameras, frames, marks or {})
    return _annotated(embodiment, view, image, colours, marked)


@dataclass(frozen=True)
class _Marked:
    """What is drawn over the robot, in the base frame."""

    tcps: Mapping[str, Array]  # arm -> (4, 4)
    feet: Mapping[str, Array]  # leg -> (3,)
    cameras: Sequence[Array]  # (4, 4), z ahead
    frames: Sequence[Array]  # (4, 4)
    points: Mapping[str, Array]  # label -> (N, 3)


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
            rod = hull_of(np.concatenate([start + corners, end + corners]))
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


@dataclass(frozen=True)
class _View:
    """A perspective camera: ``R`` rows are its right, up and backward axes."""

    R: Array
    eye: Array
    focal: float  # [px]
    centre: tuple[float, float]  # [px]
    ground: float  # height of the ground [m]
    size: float  # radius of what is seen [m]

    @classmethod
    def of(cls, clouds: Sequence[Array], origins: Sequence[Array]) -> _View:
        points = np.concatenate([*clouds, np.array(origins)])
        lower, upper = points.min(axis=0), points.max(axis=0)
        middle = 0.5 * (lower + upper)
        radius = max(float(np.linalg.norm(points - middle, axis=1).max()), 0.05)
        back = np.array(EYE) / np.linalg.norm(EYE)
        right = np.cross([0.0, 0.0, 1.0], back)
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(back, right), back])
        eye = middle + 5 * radius * back
        seen = (points - eye) @ R.T
        flat = seen[:, :2] / -seen[:, 2:]
        low, high = flat.min(axis=0), flat.max(axis=0)
        w, h = SIZE
        focal = float(min(0.62 * w / np.ptp(flat[:, 0]), 0.74 * h / max(np.ptp(flat[:, 1]), 1e-6)))
        shift = 0.5 * (low + high) * focal
        centre = (0.43 * w - shift[0], 0.52 * h + shift[1])
        return cls(R, eye, focal, (float(centre[0]), float(centre[1])), float(lower[2]), radius)

    def project(self, points: Array) -> Array:
        """``(..., 3)`` to pixels and distance ``(..., 3)``."""
        seen = (np.asarray(points) - self.eye) @ self.R.T
        depth = -seen[..., 2]
        x = self.centre[0] + self.focal * seen[..., 0] / depth
        y = self.centre[1] - self.focal * seen[..., 1] / depth
        return np.stack([x, y, depth], axis=-1)


Part = tuple[Array, NDArray[np.int64], str]


def _render(view: _View, parts: Sequence[Part]) -> Array:
    """``(H, W, 3)`` in 0..1: shaded hulls with drawn edges over a soft shadow."""
    from matplotlib.colors import to_rgb
    from scipy.ndimage import gaussian_filter

    w, h = (SAMPLES * n for n in SIZE)
    depth = np.full((h, w), np.inf)
    colour = np.ones((h, w, 3)) * PAPER
    which = np.zeros((h, w), dtype=np.int32)
    shade = _shadow(view, parts, (h // 4, w // 4))
    shade = gaussian_filter(shade, h / 4 / 90)
    shade = np.kron(shade, np.ones((4, 4)))[:h, :w]
    colour *= 1 - 0.22 * shade[..., None]
    light = np.array(LIGHT) / np.linalg.norm(LIGHT)
    for index, (vertices, faces, name) in enumerate(parts, 1):
        screen = view.project(vertices)
        screen[:, :2] *= SAMPLES
        corners = vertices[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        length = np.linalg.norm(normals, axis=1)
        facing = np.einsum("ij,ij->i", normals, view.eye - corners[:, 0]) > 0
        rgb = np.array(to_rgb(name))
        for k in np.flatnonzero(facing & (length > 0)):
            n = normals[k] / length[k]
            lit = 0.50 + 0.42 * max(float(n @ light), 0.0) + 0.12 * float(n @ view.R[2])
            tint = np.clip(rgb * lit + 0.06 * max(float(n[2]), 0.0), 0, 1)
            _fill(screen[faces[k]], depth, colour, which, tint, index)
    edge = _edges(depth, which, view.size)
    colour *= 1 - 0.45 * edge[..., None]
    return colour.reshape(SIZE[1], SAMPLES, SIZE[0], SAMPLES, 3).mean(axis=(1, 3))


def _fill(
    triangle: Array, depth: Array, colour: Array, which: NDArray[np.int32], tint: Array, index: int
) -> None:
    """One triangle ``(3, 3)`` of pixels and distances into the buffers."""
    box = _barycentric(triangle, depth.shape)
    if box is None:
        return
    rows, columns, a, b, c, inside = box
    z = 1 / (a / triangle[0, 2] + b / triangle[1, 2] + c / triangle[2, 2])
    near = inside & (z < depth[rows, columns])
    depth[rows, columns][near] = z[near]
    colour[rows, columns][near] = tint
    which[rows, columns][near] = index


def _barycentric(
    triangle: Array, shape: tuple[int, ...]
) -> tuple[slice, slice, Array, Array, Array, NDArray[np.bool_]] | None:
    """Rows and columns of a triangle's box, the coordinates in it, and what is inside."""
    h, w = shape[:2]
    (x0, y0), (x1, y1), (x2, y2) = triangle[:, :2]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 2, w)
    top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 2, h)
    if abs(area) < 1e-9 or left >= right or top >= bottom:
        return None
    x = np.arange(left, right)[None] + 0.5
    y = np.arange(top, bottom)[:, None] + 0.5
    a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
    b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
    c = 1 - a - b
    inside = (a >= 0) & (b >= 0) & (c >= 0)
    return slice(top, bottom), slice(left, right), a, b, c, inside


def _shadow(view: _View, parts: Sequence[Part], shape: tuple[int, int]) -> Array:
    """``shape``, 1 where the robot keeps the light from the ground."""
    light = np.array(LIGHT) / np.linalg.norm(LIGHT)
    shadow = np.zeros(shape)
    for vertices, faces, _ in parts:
        fallen = vertices - (vertices[:, 2:] - view.ground) / light[2] * light
        screen = view.project(fallen)
        screen[:, :2] *= shape[1] / SIZE[0]
        for face in faces:
            box = _barycentric(screen[face], shape)
            if box is not None:
                shadow[box[0], box[1]][box[-1]] = 1.0
    return shadow


def _edges(depth: Array, which: NDArray[np.int32], size: float) -> Array:
    """1 where one link ends before another, or before the background."""
    edge = np.zeros(depth.shape)
    near = np.where(np.isfinite(depth), depth, 1e3 * size)
    for axis in (0, 1):
        step = np.abs(np.diff(near, axis=axis)) > 0.02 * size
        change = (np.diff(which, axis=axis) != 0) | step
        pad = [(0, 0), (0, 0)]
        for before in (True, False):
            pad[axis] = (1, 0) if before else (0, 1)
            edge = np.maximum(edge, np.pad(change, pad).astype(float))
    return edge


def _annotated(
    embodiment: Embodiment,
    view: _View,
    image: Array,
    colours: Mapping[str, str],
    marked: _Marked,
) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground=PAPER)]  # labels are read over dark links, too

    w, h = SIZE
    figure = Figure(figsize=(w / 100, h / 100), dpi=100, facecolor=PAPER)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(np.clip(image, 0, 1), extent=(0, w, h, 0), interpolation="nearest")
    axes.set(xlim=(0, w), ylim=(h, 0))
    axes.axis("off")
    _ground(axes, view)
    _triad(axes, view, np.eye(4), 0.16 * view.size, 1.6)
    for T in marked.frames:
        _triad(axes, view, T, 0.08 * view.size, 1.4)
    for T in marked.cameras:
        _frustum(axes, view, T)
    for name, T in marked.tcps.items():
        _triad(axes, view, T, 0.22 * view.size, 2.6)
        x, y, _ = view.project(T[:3, 3])
        axes.annotate(
            f"TCP {name.replace('_', ' ')}" if len(marked.tcps) > 1 else "TCP",
            (x, y),
            xytext=(12, -12),
            textcoords="offset points",
            fontsize=10,
            color="#333",
            path_effects=halo,
        )
    if marked.feet:
        x, y, _ = view.project(np.array(list(marked.feet.values()))).T
        axes.plot(x, y, "o", ms=11, mfc="#ffffffcc", mec="#222", mew=1.6, ls="")
        axes.plot(x, y, ".", ms=4, color="#222", ls="")
    for points, colour in zip(marked.points.values(), MARKS, strict=False):
        x, y, _ = view.project(np.asarray(points)).T
        axes.plot(x, y, "x", ms=7, mew=2, color=colour, ls="")
    _legend(axes, embodiment, colours, marked)
    title = f"{embodiment.family.replace('_', ' ')} · base {embodiment.base.replace('_', ' ')}"
    title += f" · {len(embodiment.joints)} joints"
    axes.text(
        0.035 * w,
        0.062 * h,
        embodiment.name,
        fontsize=20,
        weight="bold",
        color="#222",
        path_effects=halo,
    )
    axes.text(0.035 * w, 0.097 * h, title, fontsize=11.5, color="#666", path_effects=halo)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _ground(axes: Any, view: _View) -> None:
    """A length of reference on the ground."""
    length = 10.0 ** np.floor(np.log10(view.size))
    length = next(k * length for k in (5, 2, 1) if k * length <= 1.2 * view.size)
    text = f"{length:g} m" if length >= 1 else f"{100 * length:g} cm"
    h = SIZE[1]
    pixels = view.focal * length / (5 * view.size)
    x, y = 0.035 * SIZE[0], 0.945 * h
    axes.plot([x, x + pixels], [y, y], color="#777", lw=2, solid_capstyle="butt")
    axes.text(x, y + 0.028 * h, text, fontsize=10, color="#777")


def _triad(axes: Any, view: _View, T: Array, length: float, width: float) -> None:
    """A frame's axes: x red, y green, z blue; the farthest first."""
    tips = se3.act(T, length * np.eye(3))
    ends = view.project(tips)
    start = view.project(T[:3, 3])
    for k in np.argsort(-ends[:, 2]):
        axes.annotate(
            "",
            xy=ends[k, :2],
            xytext=start[:2],
            arrowprops={
                "arrowstyle": "-|>,head_width=0.22,head_length=0.45",
                "color": AXIS_COLOURS[k],
                "lw": width,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def _frustum(axes: Any, view: _View, T: Array) -> None:
    """A camera as the edges of what it sees nearest: apex at its origin, z ahead."""
    corners = (
        0.05
        * view.size
        * np.array([(-1, -0.75, 1.5), (1, -0.75, 1.5), (1, 0.75, 1.5), (-1, 0.75, 1.5)])
    )
    ends = view.project(se3.act(T, corners))[:, :2]
    apex = view.project(T[:3, 3])[:2]
    for k in range(4):
        line = np.array([apex, ends[k], ends[(k + 1) % 4]])
        axes.plot(*line.T, color=CAMERA, lw=1.2)


def _legend(
    axes: Any,
    embodiment: Embodiment,
    colours: Mapping[str, str],
    marked: _Marked,
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    wheels = embodiment.of_kind("wheel")
    rest = [g for g in embodiment.groups if g.kind != "wheel"]
    for group in rest[:14]:
        handles.append(Patch(color=colours[group.name], label=_label(group)))
    if len(rest) > 14:
        handles.append(Patch(color="none", label=f"and {len(rest) - 14} groups more"))
    if wheels:
        noun = "driven wheel" + ("s" if len(wheels) > 1 else "")
        handles.append(Patch(color=PALETTE["wheel"][0], label=f"{len(wheels)} {noun}"))
    handles.append(Patch(color=PLAIN, label="base and other links"))
    for name, colour in zip("xyz", AXIS_COLOURS, strict=True):
        handles.append(Line2D([], [], color=colour, label=f"{name} axis", lw=2.6))
    if marked.cameras:
        label = "camera" if len(marked.cameras) == 1 else f"{len(marked.cameras)} cameras"
        handles.append(Line2D([], [], color=CAMERA, label=label, lw=1.4))
    if marked.feet:
        handles.append(
            Line2D([], [], marker="o", mfc="w", mec="#222", ms=9, mew=1.6, lw=0, label="foot")
        )
    for label, colour in zip(marked.points, MARKS, strict=False):
        handles.append(Line2D([], [], marker="x", color=colour, ms=7, mew=2, lw=0, label=label))
    legend = axes.legend(
        handles=handles,
        loc="center right",
        bbox_to_anchor=(0.985, 0.5),
        frameon=False,
        fontsize=11,
        labelspacing=0.65,
        handlelength=1.3,
        handleheight=1.0,
    )
    for text in legend.get_texts():
        text.set_color("#333")


def _label(group: Group) -> str:
    joints = f"{len(group.joints)} joint" + ("s" if len(group.joints) != 1 else "")
    return f"{group.name.replace('_', ' ')} · {joints}"
