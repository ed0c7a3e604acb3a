"""One self-contained HTML page: the figures, the films, every scene."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STYLE = """
:root { --ink:#22262c; --dim:#6e737a; --line:#e4e2dc; --paper:#faf9f6; --vote:#2e7d50;
  --nearest:#b7791f; --expert:#8a8f98; --nothing:#c9c6bf; }
* { box-sizing:border-box }
body { margin:0; background:var(--paper); color:var(--ink);
  font:16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
main { max-width:1040px; margin:0 auto; padding:48px 24px 80px }
h1 { font-size:30px; line-height:1.2; margin:0 0 6px; letter-spacing:-.01em }
h2 { font-size:20px; margin:44px 0 12px }
p.lead { color:var(--dim); margin:0 0 28px; max-width:70ch }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
th { text-align:left; font-weight:600; color:var(--dim); font-size:13px; padding:6px 10px 6px 0 }
td { padding:8px 10px 8px 0; border-top:1px solid var(--line); vertical-align:middle }
td.number, th.number { text-align:right } td:first-child { white-space:nowrap }
.films { display:grid; grid-template-columns:repeat(auto-fit,minmax(300px,1fr)); gap:20px }
figure { margin:0 } figcaption { color:var(--dim); font-size:14px; margin-top:6px }
video, img { width:100%; height:auto; border-radius:8px; border:1px solid var(--line);
  background:#fff; display:block }
pre { white-space:pre-wrap; overflow-wrap:anywhere; background:#f1efe9; border-radius:8px;
  padding:14px 16px; overflow-x:auto; font-size:13.5px }
svg text { font:12px system-ui, sans-serif; fill:var(--dim) }
footer { color:var(--dim); font-size:13px; margin-top:48px }
"""

_BAR = 280  # [px] width of a full bar


def write_report(
    path: Path,
    *,
    title: str,
    lead: str,
    results: Sequence[Mapping[str, Any]],
    methods: Mapping[str, str],
    films: Sequence[tuple[str, Path]],
    sheets: Sequence[tuple[str, Path]],
    commands: Sequence[str],
    notes: Sequence[str],
    facts: Mapping[str, str],
) -> Path:
    """Write the page; everything it shows is inside it.

    Args:
        path: Of the page.
        title: Heading.
        lead: One paragraph below it.
        results: Rows of :func:`icl_vla.evaluation.trials.summarise`.
        methods: Method -> one line that says what it is.
        films: Caption and mp4.
        sheets: Caption and PNG.
        commands: What was typed.
        notes: Sentences under the table.
        facts: Machine and versions.
    """
    body = [
        f"<h1>{html.escape(title)}</h1><p class=lead>{html.escape(lead)}</p>",
        _table(results, methods),
        "".join(f"<p>{html.escape(note)}</p>" for note in notes),
        "<h2>Films</h2><div class=films>" + "".join(film_figure(*f) for f in films) + "</div>",
        *(f"<h2>{html.escape(c)}</h2>{_image(c, p)}" for c, p in sheets),
        "<h2>The commands</h2><pre>" + html.escape("\n".join(commands)) + "</pre>",
        "<footer>"
        + " · ".join(f"{html.escape(k)} {html.escape(v)}" for k, v in facts.items())
        + "</footer>",
    ]
    from icl_vla_embodiments.home import write_atomically

    write_atomically(path, html_page(title, body))
    return path


def html_page(title: str, body: Sequence[str], style: str = "") -> str:
    """A whole page that needs no other file."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}{style}</style><main>"
        + "".join(body)
        + "</main></html>\n"
    )


def _table(results: Sequence[Mapping[str, Any]], methods: Mapping[str, str]) -> str:
    rows = []
    last = None
    for row in results:
        task = html.escape(str(row["task"])) if row["task"] != last else ""
        last = row["task"]
        rows.append(
            f"<tr><td><b>{task}</b></td>"
            f"<td>{html.escape(methods.get(row['method'], row['method']))}</td>"
            f"<td class=number>{row['successes']}/{row['episodes']}</td>"
            f"<td class=number>{row['rate']:.0%}</td><td>{_bar(row)}</td></tr>"
        )
    return (
        "<table><tr><th>task</th><th>method</th><th class=number>success</th>"
        "<th class=number>rate</th><th>Wilson 95% interval</th></tr>" + "".join(rows) + "</table>"
    )


def _bar(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    rate = row["rate"]
    color = f"var(--{html.escape(str(row['method']))}, #557)"
    label = f"{low:.0%} to {high:.0%}"
    return (
        f"<svg width={_BAR + 90} height=22 role=img aria-label='{label}'>"
        f"<rect x=0 y=7 width={_BAR} height=8 rx=4 fill='#eceae4'/>"
        f"<rect x=0 y=7 width={rate * _BAR:.1f} height=8 rx=4 fill='{color}'/>"
        f"<line x1={low * _BAR:.1f} x2={high * _BAR:.1f} y1=11 y2=11 stroke='#22262c'"
        " stroke-width=1.5 />"
        f"<line x1={low * _BAR:.1f} x2={low * _BAR:.1f} y1=5 y2=17 stroke='#22262c'/>"
        f"<line x1={high * _BAR:.1f} x2={high * _BAR:.1f} y1=5 y2=17 stroke='#22262c'/>"
        f"<text x={_BAR + 8} y=15>{label}</text></svg>"
    )


def film_figure(caption: str, path: Path, controls: str = "controls") -> str:
    """A film inside the page; without ``controls`` it just runs."""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f"<figure><video {controls} muted loop autoplay playsinline preload=auto"
        f" src='data:video/mp4;base64,{data}'></video>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _image(caption: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{html.escape(caption)}' src='data:image/png;base64,{data}'>"
