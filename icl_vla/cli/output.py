"""What commands print: blocks, tables, progress, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from icl_vla_embodiments import ReportedError

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def show_error(error: ReportedError) -> None:
    """One block: the problem, then where, value, valid and remedy."""
    body = Text(error.problem, style="bold")
    for label, text in error.lines():
        body.append(f"\n{label + ':':8}", style="dim")
        body.append(text, style="default not bold")
    errors.print(Panel(body, title="error", title_align="left", border_style="red"))


def show_json(data: object) -> None:
    """Machine-readable result on standard output."""
    json.dump(data, sys.stdout, indent=2, default=_plain)
    sys.stdout.write("\n")


def _plain(value: Any) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A titled table."""
    out = Table(title=title, title_justify="left", header_style="bold", border_style="dim")
    for i, column in enumerate(columns):
        out.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        out.add_row(*(str(cell) for cell in row))
    console.print(out)


def findings_table(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """What was found, where and with which value; text folds instead of being cut."""
    out = Table(title=title, title_justify="left", header_style="bold", border_style="dim")
    for column in ("what", "where", "value"):
        out.add_column(column, overflow="fold")
    for row in rows:
        out.add_row(*row)
    console.print(out)


def results_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Success of every task and method with its interval."""
    table(
        "Success (Wilson 95% interval)",
        ("task", "method", "success", "rate", "interval"),
        [
            (
                row["task"],
                row["method"],
                f"{row['successes']}/{row['episodes']}",
                f"{row['rate']:.0%}",
                "{:.0%} to {:.0%}".format(*row["interval"]),
            )
            for row in rows
        ],
    )


@contextmanager
def working(label: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A spinner with a changing label, for work of unknown length."""
    if quiet:
        yield lambda _: None
        return
    with console.status(f"  {label}") as status:
        yield lambda text: status.update(f"  {text}")


class Advance:
    """Moves a progress bar: call it for each finished piece."""

    def __init__(self, bar: Progress, label: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(label, total=total, note="")

    def __call__(self, note: str = "") -> None:
        self._bar.update(self._task, advance=1, note=note)

    def begin(self, label: str, pieces: int) -> None:
        """Go over to the next stage of the work."""
        self._bar.reset(self._task, total=pieces, description=label, note="")

    def total(self, pieces: int) -> None:
        """Say how many pieces there are, where that was not known at first."""
        self._bar.update(self._task, total=pieces)


@contextmanager
def progress(label: str, total: int, *, quiet: bool = False) -> Iterator[Advance]:
    """A progress bar for ``total`` pieces."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=quiet) as bar:
        yield Advance(bar, label, total)
