"""One picture of a run: the way, the errors, the joints against their limits, the time it took."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from icl_vla_embodiments.types import Array

from .run import BASE, Track

INK, FAINT, PAPER = "#22262c", "#8a9098", "#faf9f6"
DUE, REACHED, BAD = "#3c6ebe", "#d8601e", "#be3c32"
SHARES = {"velocity": "#2f8f7f", "acceleration": "#9a6fb0", "torque": "#c58a1b"}
PARTS = (REACHED, "#2f8f7f", "#9a6fb0")
FLAT = 0.15  # of the widest extent: a way that varies less along an axis is drawn without it


def plot(track: Track) -> bytes:
    """PNG of a run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ways = list(track.parts)
    figure = Figure(figsize=(14, 8.2), dpi=100, facecolor=PAPER)
    grid = figure.add_gridspec(2, 6, left=0.06, right=0.975, top=0.86, bottom=0.08)
    grid.update(hspace=0.36, wspace=1.1)
    tops = [grid[0, 0:3], grid[0, 3:6]] if len(ways) == 1 else [grid[0, 0:2], grid[0, 2:4]]
    for part, place in zip(ways, tops, strict=False):
        _way(figure, place, track, part)
    _errors(figure.add_subplot(grid[0, 3:6] if len(ways) == 1 else grid[0, 4:6]), track)
    _positions(figure.add_subplot(grid[1, 0:2]), track)
    _shares(figure.add_subplot(grid[1, 2:4]), track)
    _seconds(figure.add_subplot(grid[1, 4:6]), track)
    title = f"{track.robot.name}: {track.pattern}"
    figure.text(0.06, 0.945, title, fontsize=17, weight="bold", color=INK)
    about = [track.controller, f"{track.actuation} actuation", *track.remarks]
    about += ["FELL"] if track.fell else []
    figure.text(0.06, 0.912, "  ·  ".join(about), fontsize=11, color=BAD if track.fell else FAINT)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _way(figure: Any, place: Any, track: Track, part: str) -> None:
    """Due and reached way, in the plane where it is flat."""
    due, reached = (T[:, :3, 3] for T in track.parts[part])
    name = part.replace("_", " ") + (", seen from the body" if BASE in track.parts else "")
    if part == BASE:
        axes = figure.add_subplot(place)
        _plane(axes, due[:, :2], reached[:, :2], "x [m]", "y [m]")
        axes.set_title("way of the base, from above", **_TITLE)
        return
    span = np.ptp(np.concatenate([due, reached]), axis=0)
    flat = int(np.argmin(span))
    if span[flat] <= FLAT * span.max():
        kept = [i for i in range(3) if i != flat]
        axes = figure.add_subplot(place)
        label = [f"{'xyz'[i]} [m]" for i in kept]
        _plane(axes, due[:, kept], reached[:, kept], *label)
        axes.set_title(f"way of {name}", **_TITLE)
        return
    axes = figure.add_subplot(place, projection="3d", facecolor=PAPER)
    axes.plot(*due.T, color=DUE, lw=3, alpha=0.6, label="due")
    axes.plot(*reached.T, color=REACHED, lw=1.2, label="reached")
    _equal(axes, np.concatenate([due, reached]))
    axes.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]")
    axes.view_init(22, -60)
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize=7, colors=FAINT)
    axes.legend(fontsize=8, frameon=False)
    axes.set_title(f"way of {name}", **_TITLE)


def _plane(axes: Any, due: Array, reached: Array, x: str, y: str) -> None:
    axes.plot(*due.T, color=DUE, lw=4, alpha=0.45, label="due", solid_capstyle="round")
    axes.plot(*reached.T, color=REACHED, lw=1.4, label="reached")
    axes.plot(*reached[0], "o", ms=7, mfc=PAPER, mec=INK, label="start")
    # room for a way that is a point or a line
    both = np.concatenate([due, reached])
    middle, half = 0.5 * (both.min(0) + both.max(0)), 0.5 * np.ptp(both, axis=0)
    half = np.maximum(1.12 * half, 0.7 * half.max() + 1e-4)
    axes.set(xlim=middle[0] + half[0] * _ENDS, ylim=middle[1] + half[1] * _ENDS)
    axes.set_aspect("equal", adjustable="box")
    axes.locator_params(nbins=5)
    _dress(axes, x, y)
    axes.legend(fontsize=8, frameon=False, loc="best")


def _errors(axes: Any, track: Track) -> None:
    for part, color in zip(track.parts, PARTS, strict=False):
        e = 1e3 * track.error(part)
        label = f"{part.replace('_', ' ')}: rms {_figures(np.sqrt(np.mean(e**2)))} mm"
        label += f", largest {_figures(e.max())}"
        axes.plot(track.times, e, color=color, lw=1.3, label=label)
    axes.set_ylim(0, None)
    axes.margins(x=0)
    _dress(axes, "time [s]", "distance [mm]")
    axes.legend(fontsize=9, frameon=False, loc="upper right")
    axes.set_title("distance from where it should be", **_TITLE)
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])


def _positions(axes: Any, track: Track) -> None:
    from matplotlib import colormaps

    shares = track.shares()["position"]
    hands = (*track.robot.of_kind("gripper"), *track.robot.of_kind("hand"))
    fingers = {j for hand in hands for j in hand.joints}  # these rest at their ends
    arms = np.array([j not in fingers for j in track.robot.joints])
    limited = np.flatnonzero(arms & np.isfinite(shares).all(axis=0))
    for k, j in enumerate(limited):
        color = colormaps["viridis"](0.9 * k / max(len(limited) - 1, 1))
        axes.plot(track.times, shares[:, j], color=color, lw=1.1)
    for end in (-1, 1):
        axes.axhline(end, color=BAD, lw=1.2)
    if len(limited):
        peaks = np.abs(shares[:, limited]).max(axis=0)
        nearest = track.robot.joints[limited[int(np.argmax(peaks))]]
        text = f"nearest to its limit: {nearest}, {peaks.max():.0%}"
        axes.text(0.02, 0.03, text, transform=axes.transAxes, fontsize=8.5, color=INK)
    axes.margins(x=0)
    axes.set_ylim(-1.3, 1.2)
    axes.set_yticks([-1, 0, 1], ["lower", "middle", "upper"])
    _dress(axes, "time [s]", "")
    axes.set_title("joint positions between their limits", **_TITLE)


def _shares(axes: Any, track: Track) -> None:
    shares = track.shares()
    for name, color in SHARES.items():
        if name in shares and np.isfinite(shares[name]).any():
            largest = np.nanmax(np.abs(shares[name]), axis=1)
            axes.plot(track.times, largest, color=color, lw=1.2, label=name)
    axes.axhline(1, color=BAD, lw=1.2)
    axes.margins(x=0)
    axes.set_ylim(0, max(1.3, 1.1 * axes.get_ylim()[1]))
    _dress(axes, "time [s]", "share of the limit")
    axes.legend(fontsize=8, frameon=False, loc="upper right", ncols=3)
    axes.set_title("most strained joint", **_TITLE)


def _seconds(axes: Any, track: Track) -> None:
    ms = 1e3 * track.seconds
    median, p99 = np.median(ms), np.percentile(ms, 99)
    axes.plot(track.times, ms, ".", ms=2.5, color=FAINT, alpha=0.6)
    for value, name in ((median, "median"), (p99, "99th percentile")):
        style = "-" if name == "median" else "--"
        axes.axhline(value, color=INK, lw=1.2, ls=style, label=f"{name} {value:.2f} ms")
    over = int((ms > 2.5 * p99).sum())
    axes.set_ylim(0, 2.5 * p99)
    if over:
        text = f"{over} beyond, largest {ms.max():.1f} ms"
        axes.text(0.02, 0.03, text, transform=axes.transAxes, fontsize=8.5, color=INK)
    axes.margins(x=0)
    _dress(axes, "time [s]", "CPU time [ms]")
    axes.legend(fontsize=9, frameon=False, loc="upper right")
    axes.set_title(f"controller, every {1e3 * track.times[0]:.3g} ms", **_TITLE)


_TITLE: dict[str, Any] = {"fontsize": 11.5, "color": INK, "loc": "left"}
_ENDS = np.array([-1.0, 1.0])


def _equal(axes: Any, points: Array) -> None:
    """The same scale on all three axes."""
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    half = 0.5 * float(np.ptp(points, axis=0).max())
    axes.set(**{f"{a}lim": (m - half, m + half) for a, m in zip("xyz", middle, strict=True)})


def _dress(axes: Any, x: str, y: str) -> None:
    axes.set_facecolor(PAPER)
    axes.set_xlabel(x, fontsize=9.5, color=INK)
    axes.set_ylabel(y, fontsize=9.5, color=INK)
    axes.tick_params(labelsize=8.5, colors=FAINT)
    axes.grid(color="#e4e2dc", lw=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)


def _figures(value: float) -> str:
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"
