"""``icl-vla plugins``: what is plugged in."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Plugins: embodiments, tasks and drivers.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every plugin, what it adds, and those that could not be loaded."""
    from icl_vla_embodiments.plugins import list_plugins, plugins

    from ..sim import builtin
    from . import output

    plugins().register(builtin, "simulation")
    found = list_plugins()
    if as_json:
        output.show_json(found)
        return
    rows = [
        (p["name"], p["version"] or "", ", ".join(p["hooks"]), p["error"] or "ok") for p in found
    ]
    output.table("Plugins", ("name", "version", "hooks", "state"), rows)
