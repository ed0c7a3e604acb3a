"""``icl-vla demos``: record and look at demonstrations."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Demonstrations of a robot.", no_args_is_help=True)


@app.command("record")
def record(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    task: Annotated[str, typer.Option(help="Simulated task to demonstrate.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the first scene.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Record demonstrations by a task's scripted operator, in physics, unfiltered."""
    from ..paths import home
    from ..sim.recording import index_bank, record_demonstrations
    from . import output

    base = home()
    with output.progress(f"recording {task}", episodes, quiet=as_json) as advance:
        done = record_demonstrations(
            base,
            embodiment,
            task,
            range(seed, seed + episodes),
            workers=workers,
            progress=lambda r: advance(f"seed {r.seed}: {r.frames} frames"),
        )
    with output.progress("reading the scenes", episodes, quiet=as_json) as advance:
        new = index_bank(
            base, embodiment, [r.episode for r in done], workers=workers, progress=advance
        )
    summary = {
        "embodiment": embodiment,
        "task": task,
        "episodes": [r.episode for r in done],
        "frames": sum(r.frames for r in done),
        "successes": sum(r.success for r in done),
        "indexed": new,
    }
    if as_json:
        output.show_json(summary)
    else:
        output.console.print(
            f"  {len(done)} demonstrations of {task}: {summary['frames']} frames,"
            f" {summary['successes']} of them successful (all are kept)"
        )


@app.command("list")
def list_(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a robot's bank holds."""
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_retrieval import DemoBank

    from ..paths import bank_path, home
    from . import output

    base = home()
    EmbodimentStore(base).get(embodiment)
    summary = DemoBank.open(bank_path(base, embodiment)).summary()
    if as_json:
        output.show_json(summary)
        return
    rows = list(summary["instructions"].items())
    output.table(f"Demonstrations of {embodiment}", ("instruction", "episodes"), rows)
