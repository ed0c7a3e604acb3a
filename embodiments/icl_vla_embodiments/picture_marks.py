"""What is drawn over a robot's picture: frames, feet, cameras, marks, legend and scale."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import se3
from .embodiment import Embodiment, Group
from .picture_render import PAPER, SIZE, View
from .types import Array

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


@dataclass(frozen=True)
class Marked:
    """What is drawn over the robot, in the base frame."""

    tcps: Mapping[str, Array]  # arm -> (4, 4)
    feet: Mapping[str, Array]  # leg -> (3,)
    cameras: Sequence[Array]  # (4, 4), z ahead
    frames: Sequence[Array]  # (4, 4)
    points: Mapping[str, Array]  # label -> (N, 3)


def annotated(
    embodiment: Embodiment,
    view: View,
    image: Array,
    colours: Mapping[str, str],
    marked: Marked,
) -> bytes:
    """PNG of a rendered ``image`` ``(H, W, 3)`` with everything that is drawn over it."""
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


def _ground(axes: Any, view: View) -> None:
    """A length of reference on the ground."""
    length = 10.0 ** np.floor(np.log10(view.size))
    length = next(k * length for k in (5, 2, 1) if k * length <= 1.2 * view.size)
    text = f"{length:g} m" if length >= 1 else f"{100 * length:g} cm"
    h = SIZE[1]
    pixels = view.focal * length / (5 * view.size)
    x, y = 0.035 * SIZE[0], 0.945 * h
    axes.plot([x, x + pixels], [y, y], color="#777", lw=2, solid_capstyle="butt")
    axes.text(x, y + 0.028 * h, text, fontsize=10, color="#777")


def _triad(axes: Any, view: View, T: Array, length: float, width: float) -> None:
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


def _frustum(axes: Any, view: View, T: Array) -> None:
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
    marked: Marked,
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
