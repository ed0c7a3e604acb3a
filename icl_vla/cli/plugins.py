"""``icl-vla plugins``: what is plugged in, a new plugin, and whether one does what it must."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from icl_vla_embodiments import Embodiment

_COLOURS = {"passed": "green", "failed": "red", "unfinished": "yellow"}
app = typer.Typer(help="Plugins: embodiments, tasks and drivers.", no_args_is_help=True)


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every plugin, what it adds, and those that could not be loaded."""
    from rich.markup import escape

    from icl_vla_embodiments.plugins import list_plugins

    from . import output

    found = list_plugins()
    if as_json:
        output.show_json(found)
        return
    for plugin in found:
        origin = " ".join(filter(None, (plugin["distribution"], plugin["version"])))
        requires = f", for icl-vla {plugin['requires']}" if plugin["requires"] else ""
        lines = [f"  [bold]{escape(plugin['name'])}[/] [dim]{origin or 'built in'}{requires}[/]"]
        lines += [
            f"    {kind}: {escape(', '.join(names))}" for kind, names in plugin["adds"].items()
        ]
        if plugin["error"]:
            lines.append(f"    [red]broken:[/] {escape(plugin['error'])}")
        output.console.print("\n".join(lines), soft_wrap=True)


@app.command("new")
def new(
    robot: Annotated[str, typer.Argument(help="URDF file, or the name of a known embodiment.")],
    out: Annotated[
        Path, typer.Option(help="Folder of the new package; its name is the package's.")
    ],
    name: Annotated[str | None, typer.Option(help="Robot's name; default: its own.")] = None,
) -> None:
    """Write an installable package around a robot: a vendor's plugin."""
    from rich.text import Text

    from icl_vla_embodiments.scaffold import new_plugin

    from .. import __version__
    from . import output

    made = _robot(robot)
    folder = new_plugin(made, out, version=__version__, name=name)
    doubts = [f"{flag.question} Taken: {flag.guess}" for flag in made.flags]
    for remark in (*made.warnings, *doubts):
        output.console.print(Text(f"  note: {remark}"), soft_wrap=True)
    output.console.print(f"  written: {folder}", soft_wrap=True)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "meshes" not in path.parts:
            output.console.print(f"    {path.relative_to(folder)}", style="dim", soft_wrap=True)
    output.console.print(f"  next: icl-vla plugins check {out}", soft_wrap=True)


def _robot(name: str) -> Embodiment:
    """A robot from a file or, with everything that the user corrected, from the store."""
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_embodiments.urdf import embodiment_from_urdf

    if Path(name).suffix or Path(name).is_file():
        return embodiment_from_urdf(Path(name))
    return EmbodimentStore().get(name)


@app.command("check")
def check(
    plugin: Annotated[str, typer.Argument(help="Name of a plugin, or the folder of its package.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the conformance suite on a plugin. Exit code 1 where a check fails."""
    from dataclasses import asdict

    from rich.markup import escape

    from icl_vla_embodiments.conformance import conformance

    from . import output

    results = conformance(plugin)
    failed = [r for r in results if r.outcome == "failed"]
    if as_json:
        output.show_json({"passed": not failed, "results": [asdict(r) for r in results]})
    else:
        for r in results:
            title = (
                f"  [{_COLOURS[r.outcome]}]{r.outcome:<10}[/] {escape(f'{r.subject}: {r.check}')}"
            )
            first, *more = r.remark.splitlines() or [""]
            output.console.print(f"{title} [dim]{escape(first)}[/]", soft_wrap=True)
            for line in more:
                output.console.print(f"             {escape(line)}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)
