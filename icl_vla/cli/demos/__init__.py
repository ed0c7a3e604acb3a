"""``icl-vla demos``: bring in, record, check and look at demonstrations. One command a module."""

from __future__ import annotations

import typer

from .add import add
from .calibrate import calibrate
from .export import export
from .lint import lint
from .listing import list_
from .merge import merge
from .record import record, record_and_index
from .remove import remove
from .replay import replay
from .show import show

__all__ = ["app", "record_and_index"]

app = typer.Typer(help="Demonstrations of a robot.", no_args_is_help=True)
app.command("add")(add)
app.command("record")(record)
app.command("list")(list_)
app.command("show")(show)
app.command("replay")(replay)
app.command("lint")(lint)
app.command("calibrate")(calibrate)
app.command("export")(export)
app.command("merge")(merge)
app.command("remove")(remove)
