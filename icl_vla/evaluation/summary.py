"""A suite's results as figures: rates, intervals, differences, causes, and doubts about it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ..sim.families import HELD_OUT
from .methods import find_method
from .splits import splits_sha256
from .statistics import Group, auroc, hierarchical, paired, wilson
from .suite import Cell, Suite
from .trials import Result

BLIND = ("nothing", "mean_trajectory")  # what must not win
BLIND_MOST = 0.20
EXPERT_LEAST = 0.95
PARTS = (("families that nothing is trained on", True), ("families to train on", False))
_APART = 1_000_000  # between the tasks of two cells that are counted together


def summarise_suite(
    suite: Suite, results: Sequence[Result], shown: Sequence[Mapping[str, object]]
) -> dict[str, Any]:
    """Everything that a report shows, as JSON would hold it.

    Args:
        suite: What was measured.
        results: Of its trials.
        shown: What became of the demonstrations.
    """
    by = _by_cell(results)
    rows = [
        _row(cell.name, method, by[cell.name, method])
        for cell in suite.cells
        for method in suite.methods
        if (cell.name, method) in by
    ]
    table = {
        "suite": suite.name,
        "seed": suite.seed,
        "numbers": suite.numbers,
        "splits_sha256": splits_sha256(),
        "rows": rows,
        "differences": _differences(suite, [cell.name for cell in suite.cells], by),
        "together": _together(suite, by, rows),
    }
    knows = _knowledge(suite, results)
    if knows:
        table["knows"] = knows
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()
    return table | {
        "table_sha256": digest,
        "cells": [asdict(cell) | {"name": cell.name} for cell in suite.cells],
        "held_out": [c.name for c in suite.cells if _held_out(c)],
        "methods": {m: find_method(m).summary for m in suite.methods},
        "tasks": _tasks(suite, results),
        "doubts": doubts(rows),
        "demonstrations": list(shown),
        "costs": costs(results),
    }


def _held_out(cell: Cell) -> bool:
    """Whether nothing is trained on its family; somebody else's (``module:Class``) never are."""
    return cell.family in HELD_OUT or ":" in cell.family


def _by_cell(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    by: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        by.setdefault((result.cell, result.method), []).append(result)
    return by


def _success(results: Sequence[Result]) -> dict[Group, float]:
    return {r.group: float(r.success) for r in results}


def _row(cell: str, method: str, results: Sequence[Result]) -> dict[str, Any]:
    wins = sum(r.success for r in results)
    estimate = hierarchical(_success(results))
    others = [r.other for r in results if r.other is not None]
    row: dict[str, Any] = {
        "cell": cell,
        "method": method,
        "successes": wins,
        "episodes": len(results),
        "rate": round(estimate.value, 4),
        "interval": [round(estimate.low, 4), round(estimate.high, 4)],
        "wilson": [round(x, 4) for x in wilson(wins, len(results))],
        "causes": dict(sorted(Counter(r.cause for r in results if r.cause).items())),
        "seconds": round(sum(r.seconds for r in results) / len(results), 2),
        "limit_violations": sum(any(v > 1e-6 for v in r.violations.values()) for r in results),
    }
    return row | ({"did the other": round(sum(others) / len(others), 4)} if others else {})


def _together(
    suite: Suite,
    by: Mapping[tuple[str, str], Sequence[Result]],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Families in their usual condition as one: held out, and to train on; no doubtful ones."""
    doubted = {row["cell"] for row in rows if _doubt(row)}
    usual = [c for c in suite.cells if c.name == c.family and c.name not in doubted]
    parts = {title: [c for c in usual if _held_out(c) == out] for title, out in PARTS}
    pooled = {}
    for title, cells in parts.items():
        for method in suite.methods:
            found = [
                replace(r, group=(_APART * i + r.group[0], *r.group[1:]))
                for i, cell in enumerate(cells)
                for r in by.get((cell.name, method), ())
            ]
            if found:
                pooled[title, method] = found
    return {
        "rows": [_row(title, method, found) for (title, method), found in pooled.items()],
        "differences": _differences(suite, list(parts), pooled),
    }


def _differences(
    suite: Suite, cells: Sequence[str], by: Mapping[tuple[str, str], Sequence[Result]]
) -> list[dict[str, Any]]:
    """Of every method to the first one, in the same episodes."""
    first = suite.methods[0]
    rows = []
    for cell in cells:
        for method in suite.methods[1:]:
            if (cell, method) not in by or (cell, first) not in by:
                continue
            d = paired(_success(by[cell, first]), _success(by[cell, method]))
            rows.append(
                {
                    "cell": cell,
                    "methods": [first, method],
                    "difference": round(d.value, 4),
                    "interval": [round(d.low, 4), round(d.high, 4)],
                    "p": round(d.p, 4),
                }
            )
    return rows


def _knowledge(suite: Suite, results: Sequence[Result]) -> list[dict[str, Any]]:
    """How well each method's confidence tells success, and the right task from another one."""
    contexts = {cell.name: cell.context for cell in suite.cells}
    rows = []
    for method in suite.methods:
        told = [
            (r.confidence, r.success, contexts[r.cell])
            for r in results
            if r.method == method and r.confidence is not None
        ]
        right = [(sure, success) for sure, success, context in told if context == "right"]
        wrong = [sure for sure, _, context in told if context == "another task"]
        success = auroc([sure for sure, _ in right], [success for _, success in right])
        task = auroc(
            [sure for sure, _ in right] + wrong, [True] * len(right) + [False] * len(wrong)
        )
        if success is not None or task is not None:
            rows.append(
                {
                    "method": method,
                    "success": None if success is None else round(success, 4),
                    "task": None if task is None else round(task, 4),
                    "episodes": [len(right), len(wrong)],
                }
            )
    return rows


def _tasks(suite: Suite, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Each task's success by method, for plots against its distance."""
    by: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        by.setdefault((result.cell, result.task), []).append(result)
    rows = []
    for (cell, task), found in by.items():
        rates = {}
        for method in suite.methods:
            own = [r.success for r in found if r.method == method]
            if own:
                rates[method] = round(sum(own) / len(own), 4)
        rows.append({"cell": cell, "task": task, "rates": rates})
    return rows


def doubts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What must be mended before a cell says anything about a policy."""
    return [f"{row['cell']}: {doubt}" for row in rows if (doubt := _doubt(row))]


def _doubt(row: Mapping[str, Any]) -> str:
    if row["method"] in BLIND and row["rate"] > BLIND_MOST:
        return (
            f"{row['method']} wins {row['rate']:.0%}; the cell leaves the headline"
            f" (at most {BLIND_MOST:.0%})"
        )
    if row["method"] == "expert" and row["rate"] < EXPERT_LEAST:
        return (
            f"the expert wins {row['rate']:.0%} only; the cell must be mended"
            f" (at least {EXPERT_LEAST:.0%})"
        )
    return ""


def costs(results: Sequence[Result]) -> dict[str, Any]:
    """Where this machine's time went, a mean episode; not part of the table."""
    parts: Counter[str] = Counter()
    for result in results:
        parts.update(result.timings)
    total = sum(r.cpu_seconds for r in results)
    count = max(len(results), 1)
    named = {name: round(s / count, 3) for name, s in sorted(parts.items())}
    return {
        "cpu_seconds_an_episode": round(total / count, 3),
        "parts": named | {"other": round((total - sum(parts.values())) / count, 3)},
        "episodes_a_minute_a_core": round(60 * count / total, 2) if total else None,
    }
