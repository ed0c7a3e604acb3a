"""``icl-vla demos``: bring in, record, check and look at demonstrations. One command a module."""

from __future__ import annotations

import typer

from .listing import list_
from .record import record, record_and_index

__all__ = ["app", "record_and_index"]

app = typer.Typer(help="Demonstrations of a robot.", no_args_is_help=True)
app.command("record")(record)
app.command("list")(list_)
