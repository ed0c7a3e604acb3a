"""Plots as SVG text: a matrix, intervals, curves, points, stacked bars."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

INK, DIM, LINE = "#22262c", "#6e737a", "#e4e2dc"
COLORS = {
    "learned": "#154c79",
    "vote": "#2e7d50",
    "lwr_frames": "#2b6cb0",
    "knn": "#8e5bb5",
    "nearest": "#b7791f",
    "mean_trajectory": "#c05746",
    "random": "#a39d92",
    "nothing": "#c9c6bf",
    "expert": "#6e737a",
}
_OTHERS = ("#1f8a8a", "#d1618f", "#7a8f2a", "#4a4a8f", "#a0522d", "#3f7fbf")
CAUSE_COLORS = {
    "perception": "#7b6fb0",
    "choice": "#c05746",
    "reach": "#d99a3d",
    "grasp": "#3f8fa8",
    "phase": "#8aa04a",
    "contact": "#5f87c4",
    "refused": "#4a4f57",
    "unknown": "#dedbd4",
}
_TOLD = 3  # tasks that a circle names


def color_of(method: str, methods: Sequence[str]) -> str:
    """A method's colour, the same on a whole page."""
    others = [m for m in methods if m not in COLORS]
    return COLORS[method] if method in COLORS else _OTHERS[others.index(method) % len(_OTHERS)]


def tint(rate: float) -> str:
    """Background of a rate: from paper at 0 to green at 1."""
    low, high = (250, 249, 246), (122, 184, 147)
    mixed = [round(a + (b - a) * rate) for a, b in zip(low, high, strict=True)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def forest(rows: Sequence[tuple[str, float, float, float, str]], width: int = 420) -> str:
    """Differences with intervals round a line at 0.

    Args:
        rows: Label, value, low, high, colour; -1 to 1.
        width: Of the part with the intervals [px].
    """
    left, step = 20 + round(6.6 * max((len(row[0]) for row in rows), default=0)), 22
    height = step * len(rows) + 34

    def x(value: float) -> float:
        return left + (value + 1) / 2 * width

    parts = [_svg(left + width + 60, height)]
    for tick in (-1, -0.5, 0, 0.5, 1):
        stroke = INK if tick == 0 else LINE
        parts.append(_line(x(tick), 4, x(tick), height - 24, stroke))
        parts.append(_text(x(tick), height - 8, f"{tick:+.0%}".replace("+0%", "0"), "middle"))
    for i, (label, value, low, high, color) in enumerate(rows):
        y = 14 + i * step
        parts.append(_text(left - 12, y + 4, label, "end", INK))
        parts.append(_line(x(low), y, x(high), y, color, 2.5))
        parts.append(f"<circle cx={x(value):.1f} cy={y} r=4.5 fill='{color}'/>")
    return "".join(parts) + "</svg>"


def curves(
    series: Mapping[str, Sequence[tuple[float, float, float, float]]],
    colors: Mapping[str, str],
    label: str,
    width: int = 460,
    height: int = 260,
) -> str:
    """Rates over something, with bands.

    Args:
        series: Name -> ``(x, rate, low, high)``, by rising x.
        colors: Name -> colour.
        label: Of the x axis.
        width: Of the plot [px].
        height: Of the plot [px].
    """
    xs = sorted({p[0] for points in series.values() for p in points})
    place = {v: 44 + i * (width - 60) / max(len(xs) - 1, 1) for i, v in enumerate(xs)}
    parts = [_svg(width, height), *_rates(44, width - 16, height)]
    for name, points in series.items():
        upper = [f"{place[p[0]]:.1f},{_y(p[3], height):.1f}" for p in points]
        lower = [f"{place[p[0]]:.1f},{_y(p[2], height):.1f}" for p in reversed(points)]
        color = colors[name]
        parts.append(f"<polygon points='{' '.join(upper + lower)}' fill='{color}' opacity=.12 />")
        middle = " ".join(f"{place[p[0]]:.1f},{_y(p[1], height):.1f}" for p in points)
        parts.append(f"<polyline points='{middle}' fill=none stroke='{color}' stroke-width=2 />")
        parts += [
            f"<circle cx={place[p[0]]:.1f} cy={_y(p[1], height):.1f} r=3 fill='{color}'/>"
            for p in points
        ]
    parts += [_text(place[v], height - 22, f"{v:g}", "middle") for v in xs]
    return "".join([*parts, _text(width / 2, height - 4, label, "middle")]) + "</svg>"


def scatter(
    points: Sequence[tuple[float, float, str, str]],
    label: str,
    width: int = 960,
    height: int = 320,
) -> str:
    """Success of tasks over a number; larger circles are several tasks.

    Args:
        points: ``(x, rate, colour, tooltip)``.
        label: Of the x axis.
        width: Of the plot [px].
        height: Of the plot [px].
    """
    most = max([p[0] for p in points] + [1.0]) * 1.04
    parts = [_svg(width, height), *_rates(44, width - 16, height)]
    step = 0.5 if most <= 4 else 1.0
    for i in range(int(most / step) + 1):
        at = 52 + i * step / most * (width - 76)
        parts.append(_text(at, height - 22, f"{i * step:g}", "middle"))
    heaps: dict[tuple[float, float, str], list[str]] = {}
    for value, rate, color, tip in points:
        heaps.setdefault((round(value, 2), round(rate, 2), color), []).append(tip)
    colors = list(dict.fromkeys(p[2] for p in points))
    for (value, rate, color), tips in sorted(heaps.items(), key=lambda heap: -len(heap[1])):
        at = 52 + value / most * (width - 76)
        y = _y(rate, height) + 5 * (colors.index(color) - (len(colors) - 1) / 2)  # side by side
        told = "; ".join(tips[:_TOLD]) + ("" if len(tips) <= _TOLD else f"; {len(tips)} in all")
        parts.append(
            f"<circle cx={at:.1f} cy={y:.1f} r={2 + 2 * len(tips) ** 0.5:.1f} fill='{color}'"
            f" fill-opacity=.5 stroke='{color}'><title>{html.escape(told)}</title></circle>"
        )
    return "".join([*parts, _text(width / 2, height - 4, label, "middle")]) + "</svg>"


def stacked(rows: Sequence[tuple[str, Mapping[str, float]]], width: int = 560) -> str:
    """One bar a row, cut into coloured shares of 1.

    Args:
        rows: Label, and name of the part -> its share.
        width: Of a whole bar [px].
    """
    left, step = 150, 28
    parts = [_svg(left + width + 20, step * len(rows) + 4)]
    for i, (label, shares) in enumerate(rows):
        y, at = 4 + i * step, float(left)
        parts.append(_text(left - 12, y + 14, label, "end", INK))
        parts.append(f"<rect x={left} y={y} width={width} height=18 rx=3 fill='#f1efe9'/>")
        for name, share in shares.items():
            wide = share * width
            color = CAUSE_COLORS[name]
            tip = f"{name}: {share:.0%} of the episodes"
            parts.append(
                f"<rect x={at:.1f} y={y} width={wide:.1f} height=18 fill='{color}'>"
                f"<title>{html.escape(tip)}</title></rect>"
            )
            at += wide
    return "".join(parts) + "</svg>"


def legend(colors: Mapping[str, str]) -> str:
    """Names beside dots of their colours."""
    items = (
        f"<span><i style='background:{color}'></i>{html.escape(name.replace('_', ' '))}</span>"
        for name, color in colors.items()
    )
    return "<p class=legend>" + "".join(items) + "</p>"


def _svg(width: float, height: float) -> str:
    return (
        f"<svg viewBox='0 0 {width} {height}' width={width} role=img"
        " style='max-width:100%;overflow:visible'>"
    )


def _y(rate: float, height: float) -> float:
    return 12 + (1 - rate) * (height - 60)


def _rates(left: float, right: float, height: float) -> list[str]:
    """Grid lines of rates."""
    parts = []
    for rate in (0, 0.25, 0.5, 0.75, 1):
        y = _y(rate, height)
        parts += [_line(left, y, right, y, LINE), _text(left - 6, y + 4, f"{rate:.0%}", "end")]
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1) -> str:
    return (
        f"<line x1={x1:.1f} y1={y1:.1f} x2={x2:.1f} y2={y2:.1f} stroke='{stroke}'"
        f" stroke-width={width} stroke-linecap=round />"
    )


def _text(x: float, y: float, text: str, anchor: str, fill: str = DIM) -> str:
    return (
        f"<text x={x:.1f} y={y:.1f} text-anchor={anchor} style='fill:{fill}'>"
        f"{html.escape(text)}</text>"
    )
