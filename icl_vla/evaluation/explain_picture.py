"""One look of a run as a picture: what was seen, remembered, weighed, asked for and done."""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import CameraImage, Neighbour, se3
from icl_vla_embodiments.types import Array

from ..policy.frames import thing_of
from .explain import Account, Look
from .explain_words import nearest, story, words

INK, FAINT, LINE, PAPER = "#22262c", "#8a9098", "#dedbd4", "#faf9f6"
ASKED, WENT = "#d8601e", "#22262c"
_THINGS = ("#3c6ebe", "#2f8f7f", "#b8467a", "#c58a1b", "#7a5fb0", "#6e8f2f", "#4f9fc0")
_FRAMES = 8
_TITLE: dict[str, Any] = {"loc": "left", "fontsize": 11, "color": INK, "pad": 6}


def draw(account: Account, step: int) -> bytes:
    """PNG of one look."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    look = account.looks[step]
    figure = Figure(figsize=(14, 11.5), dpi=100, facecolor=PAPER)
    grid = figure.add_gridspec(
        2, 1, left=0.035, right=0.97, top=0.892, bottom=0.15, hspace=0.14, height_ratios=(1.42, 1)
    )
    above = grid[0].subgridspec(2, 3, wspace=0.04, hspace=0.12, width_ratios=(2.12, 1, 1))
    below = grid[1].subgridspec(1, 4, wspace=0.2, width_ratios=(0.5, 0.75, 1, 1.35))
    _present(figure.add_subplot(above[:, 0]), account, step)
    places = ((0, 1), (0, 2), (1, 1), (1, 2))
    for place, neighbour in zip(places, nearest(look), strict=False):
        _remembered(figure.add_subplot(above[place]), account, look, neighbour)
    _weights(figure.add_subplot(below[1]), look)
    _ways(figure.add_subplot(below[2]), account, step)
    lines = below[3].subgridspec(3, 1, hspace=0.16, height_ratios=(1.2, 0.8, 1))
    _course(figure, [figure.add_subplot(lines[i]) for i in range(3)], account, step)
    _heading(figure, account, step)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _heading(figure: Any, account: Account, step: int) -> None:
    result, look = account.result, account.looks[step]
    title = account.instruction
    figure.text(0.035, 0.962, title, fontsize=18, weight="bold", color=INK, va="center")
    facts = [
        f"{result.embodiment}, {result.method}, seed {result.seed}",
        f"look {step} of 0 to {len(account.looks) - 1}, at {look.observation.time:.1f} s",
        f"{'success' if result.success else 'failure'}: {result.ended}"
        f" after {result.seconds:.1f} s",
    ]
    figure.text(0.035, 0.933, "   ·   ".join(facts), fontsize=11.5, color=FAINT, va="center")
    said = fill(" ".join(words(account, step)), 162)
    figure.text(0.035, 0.1, said, fontsize=10.5, color=INK, va="top", linespacing=1.45)


def _present(axes: Any, account: Account, step: int) -> None:
    """What is seen, the things in it, and the way asked for and gone."""
    look = account.looks[step]
    name = next((n for n, i in look.observation.cameras.items() if i.rgb is not None), None)
    axes.set_title("now", **_TITLE)
    if name is None:
        _no_picture(axes)
        return
    camera = look.observation.cameras[name]
    q = look.observation.q
    T = placed(camera, {} if q is None else account.model.link_poses(q))
    _show(axes, camera.rgb)
    trace = look.chunk.trace
    places, shared = trace.get("tokens", np.zeros((0, 3))), trace.get("shared_tokens", ())
    leader = look.leader
    for row, at in enumerate(projected(camera, T, places)):
        if row in shared:
            _ring(axes, at, row, bold=leader == f"thing {row}", size=13)
        else:
            axes.plot(*at, "x", color=PAPER, ms=5, mew=1.4, alpha=0.8)
    e = look.effector
    if e is None:
        return
    after = account.times[account.times >= look.observation.time - 1e-9]
    gone = account.executed(e, after[after <= look.due()[-1] + 1e-6])
    _way(axes, projected(camera, T, gone), WENT, "gone after this look", width=3.4)
    _way(axes, projected(camera, T, look.path()), ASKED, "asked for", dots=True, width=1.8)
    axes.legend(
        loc="lower left", fontsize=9, frameon=True, facecolor=PAPER, edgecolor="none",
        framealpha=0.85, labelcolor=INK,
    )  # fmt: skip


def _remembered(axes: Any, account: Account, look: Look, neighbour: Neighbour) -> None:
    """What a demonstration showed then, and the way that followed."""
    if "clause" in look.chunk.trace:
        axes.set_title(f"remembered from training   {neighbour.weight:.0%}", **_TITLE)
        _note(axes, "kept without pictures")
        return
    shown = account.bank[neighbour.episode]
    t = neighbour.step
    axes.set_title(
        f"demonstration {neighbour.episode}, frame {t} of {len(shown)}   {neighbour.weight:.0%}",
        **_TITLE | {"fontsize": 9.5},
    )
    name = next(iter(shown.cameras), None)
    if name is None:
        _no_picture(axes)
        return
    camera = shown.cameras[name].image(t)
    T = placed(camera, account.model.link_poses(shown.q[t]))
    _show(axes, camera.rgb)
    trace = look.chunk.trace
    row = next(i for i, n in enumerate(look.chunk.neighbours) if n.episode == neighbour.episode)
    if "tokens_then" in trace:
        for m, at in enumerate(projected(camera, T, trace["tokens_then"][row])):
            if m in trace["shared_tokens"]:
                _ring(axes, at, m, bold=look.leader == f"thing {m}", size=8)
    e = look.effector
    if e is not None and e in shown.commands:
        way = shown.commands[e][t : t + len(look.chunk), :3, 3]
        _way(axes, projected(camera, T, way), ASKED, "", dots=True, width=1.6)


def _weights(axes: Any, look: Look) -> None:
    """Shares of the frames, beside what agreement alone would give them."""
    from matplotlib.ticker import MaxNLocator

    frames = look.chunk.trace.get("frames", {})
    before = look.chunk.trace.get("agreement")
    axes.set_title("frames that it is carried over in", **_TITLE)
    if not frames:
        _note(axes, "the policy tells nothing of frames")
        return
    best = sorted(frames, key=lambda f: -max(frames[f], (before or {}).get(f, 0.0)))[:_FRAMES]
    rows = np.arange(len(best))
    axes.barh(rows, [frames[f] for f in best], height=0.62, color=[_color(f) for f in best])
    if before is not None:
        was = [before.get(f, 0.0) for f in best]
        axes.barh(rows, was, height=0.62, fill=False, edgecolor=INK, lw=1.1)
        axes.set_xlabel("outlined: if agreement alone decided", fontsize=9, color=INK)
    widest = max(max(frames.values()), max((before or {"": 0}).values()))
    axes.set_xlim(0, widest * 1.02)
    axes.set_ylim(_FRAMES - 0.5, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    _plain(axes)
    axes.set_yticks(rows, [_label(f) for f in best], fontsize=9, color=INK)
    axes.tick_params(axis="y", length=0)


def _ways(axes: Any, account: Account, step: int) -> None:
    """Asked for and gone, from above."""
    look, e = account.looks[step], account.looks[step].effector
    axes.set_title("the way from above [m]", **_TITLE)
    if e is None:
        _note(axes, "no hand is moved")
        return
    trace, path = look.chunk.trace, look.path()
    whole = account.poses[e][:, :3, 3]
    axes.plot(*whole[:, :2].T, color=LINE, lw=2, zorder=1, label="whole run")
    times = account.times[account.times >= look.observation.time - 1e-9]
    gone = account.executed(e, times[times <= look.due()[-1] + 1e-6])
    axes.plot(*gone[:, :2].T, color=WENT, lw=3, label="gone after this look")
    axes.plot(*path[:, :2].T, "o-", color=ASKED, lw=1.6, ms=3.5, label="asked for")
    for m in trace.get("shared_tokens", ()):
        _ring(axes, trace["tokens"][m][:2], m, bold=look.leader == f"thing {m}", size=11)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.12)
    axes.legend(fontsize=8.5, frameon=False, labelcolor=INK, loc="best")
    _plain(axes)


def _course(figure: Any, rows: Sequence[Any], account: Account, step: int) -> None:
    """Height, gripper and confidence over the whole run."""
    height, grip, sure = rows
    look, looks = account.looks[step], account.looks
    times = [x.observation.time for x in looks]
    for axes in rows:
        for s in (s for s in story(account) if s.leader):
            axes.axvspan(s.begin, s.end, color=_color(s.leader), alpha=0.09, lw=0)
        axes.axvline(look.observation.time, color=ASKED, lw=1.2)
        axes.set_xlim(0, max(account.times[-1], 1e-3))
        _plain(axes)
    height.set_title("over the run, tinted by what leads", **_TITLE)
    e = look.effector
    if e is not None:
        for x in looks:
            if x.effector == e:
                lit = x is look
                height.plot(x.due(), x.path()[:, 2], color=ASKED, lw=1.8 if lit else 0.6,
                            alpha=1.0 if lit else 0.45, zorder=3 if lit else 2)  # fmt: skip
        height.plot(account.times, account.poses[e][:, 2, 3], color=WENT, lw=1.6)
        asked = [(x.observation.time, x.opening) for x in looks if x.opening is not None]
        if e in account.openings:
            grip.plot(account.times, account.openings[e], color=WENT, lw=1.6)
        if asked:
            grip.step(*zip(*asked, strict=True), where="post", color=ASKED, lw=1.2)
    told = [
        (t, x.confidence) for t, x in zip(times, looks, strict=True) if x.confidence is not None
    ]
    if told:
        sure.plot(*zip(*told, strict=True), "o-", color=INK, lw=1.4, ms=3)
    for axes, name in zip(rows, ("height [m]", "opening", "confidence"), strict=True):
        axes.set_ylabel(name, fontsize=9, color=INK)
    grip.set_ylim(-0.06, 1.06)
    sure.set_ylim(-0.04, 1.04)
    for axes in (height, grip):
        axes.tick_params(labelbottom=False)
    sure.set_xlabel("time [s]", fontsize=9, color=INK)


def placed(camera: CameraImage, links: dict[str, Array]) -> Array | None:
    """``T_base_camera``; None without calibration."""
    if camera.T_mount_camera is None or camera.intrinsics is None:
        return None
    T = np.asarray(camera.T_mount_camera)
    return T if camera.mount is None else links[camera.mount] @ T


def projected(camera: CameraImage, T: Array | None, points: Array) -> Array:
    """Pixels ``(n, 2)`` of points ``(n, 3)`` of the base frame; NaN behind the camera."""
    out = np.full((len(points), 2), np.nan)
    if T is None or not len(points):
        return out
    assert camera.intrinsics is not None and camera.rgb is not None
    seen = se3.act(se3.inverse(T), points) @ np.asarray(camera.intrinsics).T
    with np.errstate(invalid="ignore"):
        there = seen[:, 2] > 1e-6
    out[there] = seen[there, :2] / seen[there, 2:]
    size = np.array(camera.rgb.shape[1::-1])
    out[(out < 0).any(1) | (out > size - 1).any(1)] = np.nan
    return out


def _show(axes: Any, rgb: NDArray[np.uint8] | None) -> None:
    axes.imshow(rgb, interpolation="bicubic")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_anchor("W")
    axes.autoscale(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ring(axes: Any, at: Array, thing: int, *, bold: bool, size: float) -> None:
    if not np.isfinite(at).all():
        return
    color = _THINGS[thing % len(_THINGS)]
    axes.plot(*at, "o", ms=size * 1.45, mfc="none", mec=PAPER, mew=4.2 if bold else 3, alpha=0.9)
    axes.plot(*at, "o", ms=size * 1.45, mfc="none", mec=color, mew=2.8 if bold else 1.6)
    text = axes.annotate(
        str(thing), at, xytext=(size * 0.72, size * 0.62), textcoords="offset points",
        fontsize=max(size * 0.8, 7.5), weight="bold", color=color,
    )  # fmt: skip
    _lit(text)


def _way(
    axes: Any, pixels: Array, color: str, label: str, *, dots: bool = False, width: float = 2.2
) -> None:
    from matplotlib.patheffects import Normal, Stroke

    axes.plot(
        *pixels.T, "o-" if dots else "-", color=color, lw=width, ms=1.7 * width, label=label,
        path_effects=[Stroke(linewidth=width + 2, foreground=PAPER, alpha=0.8), Normal()],
    )  # fmt: skip


def _lit(text: Any) -> None:
    """A light rim, so that it can be read on anything."""
    from matplotlib.patheffects import Normal, Stroke

    text.set_path_effects([Stroke(linewidth=2.6, foreground=PAPER, alpha=0.9), Normal()])


def _color(frame: str) -> str:
    """Of a frame, or of what it hangs on."""
    if frame.startswith("thing "):
        return _THINGS[int(frame.split()[1]) % len(_THINGS)]
    row = thing_of(frame) if frame else None
    return FAINT if row is None else _THINGS[row % len(_THINGS)]


_WHEN = {"now": "now", "first": "at first", "end": "in the end"}


def _label(frame: str) -> str:
    """A frame's name for people."""
    hand, _, name = frame.rpartition(": ")
    parts = name.split()
    if parts[0] == "token":
        name = f"thing {parts[1]} {_WHEN[parts[2]]}"
        if parts[3:4] == ["turned"]:
            name += ", turned"
        elif parts[3:4] == ["towards"]:
            name += f", facing {parts[4]}" + (" at first" if parts[5] == "first" else "")
        elif parts[3:4] == ["along"]:
            name += ", along its way"
    return f"{hand}: {name}" if hand else name


def _no_picture(axes: Any) -> None:
    _note(axes, "no picture")


def _note(axes: Any, text: str) -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", color=FAINT, transform=axes.transAxes)


def _plain(axes: Any) -> None:
    axes.set_facecolor(PAPER)
    axes.tick_params(colors=FAINT, labelsize=8.5, length=2.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("bottom", "left"))
        spine.set_color(LINE)
