"""One demonstration on one page: what was seen, how the joints moved, where the tool went."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .bank import DemoBank
from .demonstration import Demonstration

if TYPE_CHECKING:
    from .lint import Finding

STRIP = 8  # pictures of each camera
CAMERAS = 3  # that are shown at most
INK, DIM, LINE, PAPER = "#22262c", "#6e737a", "#e4e2dc", "#faf9f6"
MEASURED, COMMANDED, BAND, FAULT = "#27517f", "#e2913b", "#eef1f4", "#be3c32"
OTHERS = "#cfccc4"


def picture_of_episode(
    bank: DemoBank, episode: int, robot: Embodiment, findings: Sequence[Finding] = ()
) -> bytes:
    """PNG of an episode: film strip, joints within their limits, tool path among the others'.

    Args:
        bank: Where it is.
        episode: Its index.
        robot: The robot, for limits and kinematics.
        findings: What lint said; frames of this episode are marked.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    d = bank[episode]
    model = RobotModel(robot)
    names = list(d.cameras)[:CAMERAS]
    rows = len(names)
    lanes = len(robot.joints) + len(d.grippers)
    strip = 1.55 * rows
    height = 1.15 + strip + max(0.46 * lanes, 4.6) + 0.75
    figure = Figure(figsize=(15, height), facecolor=PAPER)
    _title(figure, d, bank, episode, height)
    top = 1 - 1.15 / height
    bottom = 0.75 / height
    split = top - strip / height
    _film(figure, d, names, split, top)
    mine = [f for f in findings if f.episode == episode]
    _joints(figure, d, robot, model, mine, (bottom, split - 0.3 / height))
    _path(figure, bank, episode, d, model, (bottom - 0.03, split - 0.05 / height))
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={})
    return buffer.getvalue()


def _title(figure: Any, d: Demonstration, bank: DemoBank, episode: int, height: float) -> None:
    left, line = 0.035, 0.3 / height
    y = 1 - 0.5 / height
    figure.text(left, y, d.instruction or "no instruction", size=19, color=INK, weight="bold")
    told = [f"{d.embodiment}", f"episode {episode} of {len(bank)}", f"{len(d)} frames"]
    told += [
        f"{len(d) / bank.rate:.1f} s at {bank.rate:g} Hz",
        f"actions: {bank.spec.action_space.name}",
    ]
    if "success" in d.provenance:
        told.append("successful" if d.provenance["success"] else "not successful")
    figure.text(left, y - line, "   ·   ".join(told), size=11.5, color=DIM)


def _film(figure: Any, d: Demonstration, names: Sequence[str], low: float, high: float) -> None:
    """A row of pictures for each camera, evenly spaced in time."""
    frames = np.round(np.linspace(0, len(d) - 1, min(STRIP, len(d)))).astype(int)
    width = 0.93 / STRIP
    for row, name in enumerate(names):
        size = (high - low) / len(names)
        for column, frame in enumerate(frames):
            box = (
                0.035 + column * width,
                high - (row + 1) * size + 0.1 * size,
                0.96 * width,
                0.8 * size,
            )
            axes = figure.add_axes(box)
            axes.imshow(d.cameras[name].rgb[frame], aspect="equal")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(LINE)
            seconds = d.times[frame] - d.times[0]
            label = f"{name}   {seconds:.1f} s" if column == 0 else f"{seconds:.1f} s"
            axes.set_title(label, size=9, color=DIM, loc="left", pad=3)


def _joints(
    figure: Any,
    d: Demonstration,
    robot: Embodiment,
    model: RobotModel,
    findings: Sequence[Finding],
    span: tuple[float, float],
) -> None:
    """A lane for each joint from its lower to its upper limit, and one for each gripper."""
    from .lint import Motion

    motion = Motion(d, 0, robot, model)
    time = d.times - d.times[0]
    lanes: list[tuple[str, Array, Array | None, float, float, str]] = [
        (
            name,
            d.q[:, k],
            motion.joint_commands.get(k),
            robot.limits[name].lower,
            robot.limits[name].upper,
            "m" if motion.prismatic[k] else "rad",
        )
        for k, name in enumerate(robot.joints)
    ]
    lanes += [
        (
            f"{e} gripper" if len(d.grippers) > 1 else "gripper",
            x,
            d.gripper_commands.get(e),
            0.0,
            1.0,
            "open",
        )
        for e, x in d.grippers.items()
    ]
    low, high = span
    size = (high - low) / len(lanes)
    for row, (name, measured, commanded, lower, upper, unit) in enumerate(lanes):
        axes = figure.add_axes((0.135, high - (row + 1) * size + 0.12 * size, 0.39, 0.76 * size))
        axes.set_facecolor(PAPER)
        if not (np.isfinite(lower) and np.isfinite(upper) and upper > lower):
            lower, upper = float(measured.min()) - 0.1, float(measured.max()) + 0.1
        axes.axhspan(lower, upper, color=BAND, zorder=0)
        for f in findings:
            first, last = f.frames or (0, len(d) - 1)
            if f.frames is not None:
                axes.axvspan(
                    time[first], time[min(last, len(d) - 1)] + 0.02, color=FAULT, alpha=0.18, lw=0
                )
        if commanded is not None:
            axes.plot(time, commanded, color=COMMANDED, lw=1.1)
        axes.plot(time, measured, color=MEASURED, lw=1.6)
        margin = 0.06 * (upper - lower)
        axes.set_ylim(
            min(lower - margin, float(measured.min())), max(upper + margin, float(measured.max()))
        )
        axes.set_xlim(time[0], max(time[-1], 1e-3))
        axes.set_yticks([lower, upper], [f"{lower:.3g}", f"{upper:.3g} {unit}"])
        axes.yaxis.tick_right()
        axes.tick_params(labelsize=7.5, colors=DIM, length=0)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", size=9.5, color=INK)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom" and row == len(lanes) - 1)
            spine.set_color(LINE)
        if row < len(lanes) - 1:
            axes.set_xticks([])
        else:
            axes.set_xlabel("seconds", size=9, color=DIM)
    _legend(figure, findings, motion, high)


def _legend(figure: Any, findings: Sequence[Finding], motion: Any, high: float) -> None:
    from matplotlib.lines import Line2D

    parts = [("measured", MEASURED)]
    if motion.joint_commands or motion.d.gripper_commands:
        parts.append(("commanded", COMMANDED))
    parts.append(("between the limits", BAND))
    kinds = list(dict.fromkeys(f.kind for f in findings))
    if kinds:
        parts.append(("lint: " + ", ".join(kinds), FAULT))
    handles = [Line2D([], [], color=c, lw=8 if c == BAND else 2.4) for _, c in parts]
    figure.legend(
        handles,
        [name for name, _ in parts],
        loc="lower left",
        bbox_to_anchor=(0.13, high),
        ncols=len(parts),
        frameon=False,
        fontsize=9.5,
        labelcolor=DIM,
        borderaxespad=0,
    )


def _path(
    figure: Any,
    bank: DemoBank,
    episode: int,
    d: Demonstration,
    model: RobotModel,
    span: tuple[float, float],
) -> None:
    """The tool's way in the base frame, coloured by time; other demonstrations in grey."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    ways = _tool_paths(d, model)
    if not ways:
        return
    axes = figure.add_axes((0.57, span[0], 0.40, span[1] - span[0]), projection="3d")
    axes.set_facecolor(PAPER)
    others = [
        p
        for i in bank.select(d.instruction)
        if i != episode
        for p in _tool_paths(bank[i], model).values()
    ][:30]
    for way in others:
        axes.plot(*way.T, color=OTHERS, lw=0.9, zorder=1)
    time = d.times - d.times[0]
    for arm, way in ways.items():
        segments = np.stack([way[:-1], way[1:]], axis=1)
        lines = Line3DCollection(segments, cmap="viridis", array=time[:-1], lw=2.8, zorder=5)
        axes.add_collection(lines)
        axes.scatter(*way[0], s=46, color="white", edgecolor=MEASURED, lw=1.8, depthshade=False)
        axes.scatter(*way[-1], s=46, color=MEASURED, depthshade=False)
        for frame, closes in _grips(d, arm):
            axes.scatter(
                *way[frame],
                s=80,
                marker="v" if closes else "^",
                color=COMMANDED,
                edgecolor="white",
                lw=0.8,
                depthshade=False,
            )
            axes.text(*way[frame], "  closes" if closes else "  opens", size=9, color=INK)
    cloud = np.concatenate([*ways.values(), *others])
    middle, half = 0.5 * (cloud.min(0) + cloud.max(0)), 0.5 * np.ptp(cloud, axis=0).max() + 0.02
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_zlim(middle[2] - half, middle[2] + half)
    floor = middle[2] - half
    for way in ways.values():
        axes.plot(way[:, 0], way[:, 1], floor, color=OTHERS, lw=1.2, ls=":")
    axes.set_box_aspect((1, 1, 1), zoom=0.95)
    axes.view_init(elev=24, azim=40)
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y"), (axes.zaxis, "z")):
        axis.set_pane_color((1, 1, 1, 0))
        axis._axinfo["grid"].update(color=LINE, linewidth=0.8)
        axis.line.set_color(LINE)
        axis.set_tick_params(labelsize=8, colors=DIM)
        axis.set_label_text(f"{name} [m]", size=9, color=DIM)
        axis.set_major_locator(MaxNLocator(5))
    axes.set_title("tool in the base frame", size=11, color=INK, pad=0)
    colour = figure.colorbar(
        ScalarMappable(Normalize(0, max(time[-1], 1e-3)), "viridis"),
        ax=axes,
        shrink=0.55,
        pad=0.06,
        aspect=28,
    )
    colour.outline.set_visible(False)
    colour.ax.tick_params(labelsize=8, colors=DIM, length=0)
    colour.set_label("seconds", size=9, color=DIM)


def _tool_paths(d: Demonstration, model: RobotModel) -> dict[str, Array]:
    """Arm -> ``(T, 3)`` measured tool positions."""
    poses = d.poses or {
        arm: np.stack([model.T_base_frame(q, arm) for q in d.q])
        for arm in (a.name for a in model.embodiment.arms)
    }
    return {arm: T[:, :3, 3] for arm, T in poses.items()}


def _grips(d: Demonstration, arm: str) -> list[tuple[int, bool]]:
    """Frames in which a gripper is told to close (True) or to open."""
    command = d.gripper_commands.get(arm)
    if command is None:
        return []
    change = np.diff(command)
    return [(int(t), bool(change[t] < 0)) for t in np.flatnonzero(np.abs(change) > 0.3)]
