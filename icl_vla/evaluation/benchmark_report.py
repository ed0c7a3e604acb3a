"""The benchmark's page: what was measured, how sure it is, and what to look at."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import write_atomically

from ..sim.families import draw
from .benchmark import known_results, plan
from .causes import CAUSES
from .demonstrations import benchmark_path
from .distances import PROGRAMS, training_programs
from .plots import CAUSE_COLORS, color_of, curves, forest, legend, scatter, stacked, tint
from .provenance import machine
from .report import film_figure, html_page
from .suite import Cell, Suite
from .summary import PARTS, summarise_suite
from .trials import Result

_STYLE = """
main { max-width:1180px }
.matrix { table-layout:fixed }
.matrix th:first-child { width:23% } .matrix tr > :first-child { white-space:normal }
.matrix td { padding:0; text-align:center; border-top:3px solid var(--paper) }
.matrix td:first-child { text-align:left; padding-right:14px; border-top:1px solid var(--line) }
.matrix th { text-align:center; padding:6px 4px } .matrix th:first-child { text-align:left }
.matrix div { margin-right:3px; border-radius:4px; padding:5px 2px 4px; line-height:1.2 }
.matrix b { font-weight:600; font-size:16px } .matrix small { color:#565b62; font-size:11px;
  display:block } .matrix tr.group td { font-size:12px; color:var(--dim); letter-spacing:.06em;
  text-transform:uppercase; padding-top:18px; border-top:0 }
.doubts { background:#fbf3e2; border:1px solid #ecd9ae; border-radius:8px; padding:12px 16px;
  margin:18px 0 } .doubts ul { margin:6px 0 0; padding-left:20px; font-size:14.5px }
.legend span { display:inline-flex; align-items:center; gap:6px; margin-right:18px;
  font-size:13.5px; color:var(--dim) } .legend i { width:10px; height:10px; border-radius:5px }
.side { display:grid; grid-template-columns:repeat(auto-fill,minmax(200px,1fr)); gap:12px;
  margin-bottom:26px } .yes { color:#2e7d50 } .no { color:#be3c32 }
.small { font-size:14px; color:var(--dim); max-width:80ch }
code { font-size:12.5px; overflow-wrap:anywhere }
"""

_FILMS = 16  # rows: a page that opens quickly
_TOGETHER = "together, without doubtful ones"


def report_suite(
    suite: Suite,
    home: Path,
    out: Path | None = None,
    *,
    distances: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write the page of a suite, and JSON beside it.

    Args:
        suite: What was measured.
        home: Where its results are.
        out: The page; beside the results where None.
        distances: Whether to measure how far each task is from what is trained on.
        say: Told what is done.

    Raises:
        ReportedError: There are no results, or the suite was not run to its end.
    """
    folder = benchmark_path(home) / suite.name
    results = known_results(suite, home)
    ended = folder / "summary.json"
    if not ended.exists():
        raise ReportedError(
            "the suite was not run to its end",
            where=folder,
            value=f"{len(results)} of {suite.size} episodes",
            remedy=f"icl-vla benchmark run {suite.name}",
        )
    stored = json.loads(ended.read_text())
    summary = summarise_suite(suite, results, stored["demonstrations"])
    if distances:
        _add_distances(summary["tasks"], say)
    summary |= {"machine": machine(), "run": stored["run"], "summary": suite.summary}
    summary["episodes"] = {"planned": suite.size, "known": len(results)}
    path = out or folder / "report.html"
    write_atomically(path.with_suffix(".json"), json.dumps(summary, indent=1) + "\n")
    write_atomically(path, render(suite, summary, _films(suite, home, results)))
    return path


def _add_distances(tasks: Sequence[dict[str, Any]], say: Callable[[str], None]) -> None:
    """How far each task is from the nearest one to train on."""
    programs = training_programs(say=say)
    for row in tasks:
        family, _, number = row["task"].rpartition(":")
        if ":" in family:  # somebody else's task tells no steps
            continue
        nearest = programs.nearest(draw(family, int(number)).steps)
        row |= {"distance": round(nearest.distance, 4), "nearest": nearest.task}


def _films(
    suite: Suite, home: Path, results: Sequence[Result]
) -> list[tuple[str, list[tuple[str, bool, str, Path]]]]:
    """One row an episode: caption, and method, verdict, cause and film of each who tried it."""
    known = {r.key: r for r in results}
    rows: dict[tuple[str, int], tuple[str, list[tuple[str, bool, str, Path]]]] = {}
    for trial in plan(suite, home, films=suite.tasks):
        film = None if trial.pictures is None else Path(trial.pictures) / "film.mp4"
        if film is None or not film.exists() or trial.key not in known or trial.setting is None:
            continue
        result = known[trial.key]
        cell = trial.setting.cell.name
        caption = f"{cell}: “{trial.setting.task().instruction}”"
        row = rows.setdefault((cell + trial.task, trial.seed), (caption, []))
        row[1].append((trial.method, result.success, result.cause, film))
    return list(rows.values())


def render(
    suite: Suite,
    summary: Mapping[str, Any],
    films: Sequence[tuple[str, list[tuple[str, bool, str, Path]]]],
) -> str:
    """The page."""
    methods = list(suite.methods)
    colors = {m: color_of(m, methods) for m in methods}
    known, planned = summary["episodes"]["known"], summary["episodes"]["planned"]
    lead = f"{suite.summary}. " if suite.summary else ""
    lead += (
        f"{known} of {planned} episodes: {len(suite.cells)} conditions, {len(methods)} methods;"
        f" tasks a family: {suite.tasks}, sets of demonstrations a task: {suite.sets},"
        f" new scenes a set: {suite.episodes}, the same ones for every method."
    )
    body = [
        f"<h1>Benchmark: {html.escape(suite.name)}</h1><p class=lead>{html.escape(lead)}</p>",
        _doubts(summary["doubts"]),
        "<h2>Success</h2>",
        _matrix(suite, summary),
        "<p class=small>Below each rate its 95% interval: hierarchical bootstrap over tasks, sets"
        " of demonstrations and episodes, or Wilson’s where that is wider. The verdict is the"
        " judge’s, on where things are in the end.</p>",
        _differences(suite, summary, colors),
        _over_demonstrations(suite, summary, colors),
        _over_distance(summary, colors),
        _causes(summary, methods),
        _knowledge(summary),
        _film_rows(films, methods),
        _methods(summary),
        _facts(summary),
    ]
    return html_page(f"Benchmark: {suite.name}", body, _STYLE)


def _doubts(doubts: Sequence[str]) -> str:
    if not doubts:
        return ""
    items = "".join(f"<li>{html.escape(d)}</li>" for d in doubts)
    return f"<div class=doubts><b>Not to be believed yet</b><ul>{items}</ul></div>"


def _matrix(suite: Suite, summary: Mapping[str, Any]) -> str:
    rows = {(r["cell"], r["method"]): r for r in summary["rows"]}
    held_out = set(summary["held_out"])
    usual = [c for c in suite.cells if c.name == c.family]
    groups = [(title, [c for c in usual if (c.name in held_out) == out]) for title, out in PARTS]
    groups.append(("other conditions", [c for c in suite.cells if c not in usual]))
    pooled = {(r["cell"], r["method"]): r for r in summary["together"]["rows"]}
    head = "".join(f"<th>{html.escape(m.replace('_', ' '))}</th>" for m in suite.methods)
    lines = [f"<tr><th>condition</th>{head}</tr>"]
    for title, cells in groups:
        if not cells:
            continue
        lines.append(f"<tr class=group><td colspan={len(suite.methods) + 1}>{title}</td></tr>")
        named = [(cell.name.replace("_", " "), cell.name, rows) for cell in cells]
        if len(cells) > 1 and any(part == title for part, _ in pooled):
            named.insert(0, (_TOGETHER, title, pooled))
        for label, name, known in named:
            entries = "".join(_entry(known.get((name, m))) for m in suite.methods)
            lines.append(f"<tr><td>{html.escape(label)}</td>{entries}</tr>")
    return "<table class=matrix>" + "".join(lines) + "</table>"


def interval(row: Mapping[str, Any]) -> tuple[float, float]:
    """The wider of bootstrap and Wilson, on either side: a bootstrap of equal values has none."""
    low = min(row["interval"][0], row["wilson"][0])
    return low, max(row["interval"][1], row["wilson"][1])


def _entry(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "<td><div>–</div></td>"
    low, high = interval(row)
    tip = f"{row['successes']} of {row['episodes']} episodes"
    more = ""
    if "did the other" in row:
        tip += f"; the other task instead: {row['did the other']:.0%}"
        more = f"<small>other {row['did the other']:.0%}</small>"
    return (
        f"<td title='{tip}'><div style='background:{tint(row['rate'])}'><b>{row['rate']:.0%}</b>"
        f"<small>{low:.0%} to {high:.0%}</small>{more}</div></td>"
    )


def _differences(suite: Suite, summary: Mapping[str, Any], colors: Mapping[str, str]) -> str:
    rows = [
        (
            f"{d['cell'].replace('_', ' ')}: {d['methods'][0]} − {d['methods'][1]}".replace(
                "_", " "
            ),
            d["difference"],
            *d["interval"],
            colors[d["methods"][1]],
        )
        for d in summary["together"]["differences"] or summary["differences"]
        if d["methods"][1] not in ("expert", "nothing", "random")
    ]
    if not rows:
        return ""
    return (
        f"<h2>Differences to {html.escape(suite.methods[0])}, in the same episodes</h2>"
        + forest(rows)
        + "<p class=small>To the right the first method is better. Where the interval leaves 0 out,"
        " the difference is more than the luck of tasks, demonstrations and scenes. Those of each"
        " condition are in the JSON beside this page.</p>"
    )


def _over_demonstrations(
    suite: Suite, summary: Mapping[str, Any], colors: Mapping[str, str]
) -> str:
    rows = {(r["cell"], r["method"]): r for r in summary["rows"]}
    groups: dict[Cell, list[Cell]] = {}
    for cell in suite.cells:
        groups.setdefault(replace(cell, demonstrations=10), []).append(cell)
    plots = []
    for usual, cells in groups.items():
        if len(cells) < 2:
            continue
        cells = sorted(cells, key=lambda c: c.demonstrations)
        series = {
            m: [
                (float(c.demonstrations), r["rate"], *interval(r))
                for c in cells
                if (r := rows.get((c.name, m))) is not None
            ]
            for m in suite.methods
        }
        drawn = curves({m: p for m, p in series.items() if p}, colors, "demonstrations")
        plots.append(f"<figure>{drawn}<figcaption>{html.escape(usual.name)}</figcaption></figure>")
    if not plots:
        return ""
    return (
        "<h2>How many demonstrations it takes</h2>"
        + legend(colors)
        + f"<div class=films>{''.join(plots)}</div>"
    )


def _over_distance(summary: Mapping[str, Any], colors: Mapping[str, str]) -> str:
    usual = {c["name"] for c in summary["cells"] if c["name"] == c["family"]}
    points = [
        (t["distance"], rate, colors[method], f"{t['task']}, {method}: {rate:.0%}")
        for t in summary["tasks"]
        if "distance" in t and t["cell"] in usual
        for method, rate in t["rates"].items()
        if method not in ("nothing", "random", "expert")
    ]
    if not points:
        return ""
    shown = {m: c for m, c in colors.items() if m not in ("nothing", "random", "expert")}
    return (
        "<h2>Success against distance to what is trained on</h2>"
        + legend(shown)
        + scatter(points, f"edit distance to the nearest of {PROGRAMS:,} training tasks, in steps")
        + "<p class=small>One point a task and method; larger ones are several tasks. 0: the same"
        " steps occur in training, with other things; 1: one step more, less, or of another"
        " kind.</p>"
    )


def _causes(summary: Mapping[str, Any], methods: Sequence[str]) -> str:
    episodes: Counter[str] = Counter()
    causes: dict[str, Counter[str]] = {m: Counter() for m in methods}
    for row in summary["rows"]:
        episodes[row["method"]] += row["episodes"]
        causes[row["method"]].update(row["causes"])
    rows = [
        (
            m.replace("_", " "),
            {c: causes[m][c] / episodes[m] for c in CAUSES if causes[m][c]},
        )
        for m in methods
        if episodes[m] and m != "nothing"
    ]
    present = {c: CAUSE_COLORS[c] for c in CAUSES if any(c in shares for _, shares in rows)}
    if not present:
        return ""
    words = "; ".join(f"<b>{c}</b>: {CAUSES[c]}" for c in present)
    return (
        "<h2>Why they fail</h2>"
        + legend(present)
        + stacked(rows)
        + f"<p class=small>Shares of all episodes; what is left empty succeeded. {words}.</p>"
    )


def _knowledge(summary: Mapping[str, Any]) -> str:
    rows = summary.get("knows", [])
    if not rows:
        return ""

    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    lines = "".join(
        f"<tr><td>{html.escape(r['method'].replace('_', ' '))}</td><td>{share(r['success'])}</td>"
        f"<td>{share(r['task'])}</td><td>{r['episodes'][0]} and {r['episodes'][1]}</td></tr>"
        for r in rows
    )
    return (
        "<h2>What they know of themselves</h2><table><tr><th>method</th><th>its success</th>"
        f"<th>the right task</th><th>episodes</th></tr>{lines}</table>"
        "<p class=small>How often what was said last in an episode that succeeded is above that of"
        " one that failed, and of one whose own task was shown above that of one where another was"
        " (AUROC; 0.5 is chance).</p>"
    )


def _film_rows(
    films: Sequence[tuple[str, list[tuple[str, bool, str, Path]]]], methods: Sequence[str]
) -> str:
    if not films:
        return ""
    parts = ["<h2>The same scene, by each method</h2>"]
    if len(films) > _FILMS:
        parts.append(
            f"<p class=small>{_FILMS} of {len(films)}, in which methods differ most; all are in the"
            " folder <code>films</code> beside this page.</p>"
        )
        ends = [len({(done, cause) for _, done, cause, _ in row}) for _, row in films]
        most = sorted(range(len(films)), key=lambda i: -ends[i])[:_FILMS]
        films = [films[i] for i in sorted(most)]
    for title, row in films:
        ordered = sorted(row, key=lambda f: methods.index(f[0]))
        figures = "".join(
            film_figure(f"{m.replace('_', ' ')}: {'done' if done else cause}", path, "")
            for m, done, cause, path in ordered
        )
        parts.append(f"<p>{html.escape(title)}</p><div class=side>{figures}</div>")
    return "".join(parts)


def _methods(summary: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(m.replace('_', ' '))}</td><td>{html.escape(words)}</td></tr>"
        for m, words in summary["methods"].items()
    )
    return f"<h2>The methods</h2><table>{rows}</table>"


def _facts(summary: Mapping[str, Any]) -> str:
    costs = summary["costs"]
    shown = sum(d["shown"] for d in summary["demonstrations"])
    good = sum(d["succeeded"] for d in summary["demonstrations"])
    parts = ", ".join(f"{name} {s:.2f} s" for name, s in costs["parts"].items())
    facts = " · ".join(f"{k} {v}" for k, v in summary["machine"].items())
    return (
        "<h2>What stands behind it</h2><p class=small>"
        f"{shown} demonstrations, unfiltered, of which {good} succeeded."
        f" An episode takes {costs['cpu_seconds_an_episode']:.2f} s of a core ({parts}):"
        f" {costs['episodes_a_minute_a_core']:.0f} episodes a minute and core.<br>"
        f"Splits <code>{summary['splits_sha256']}</code><br>"
        f"Table <code>{summary['table_sha256']}</code></p>"
        f"<footer>{html.escape(facts)}</footer>"
    )
