"""``icl-vla demos record``: demonstrations by a scripted operator in simulation."""

from __future__ import annotations

from typing import Annotated

import typer


def record(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    task: Annotated[str, typer.Option(help="Simulated task to demonstrate.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the first scene.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Record demonstrations by a task's scripted operator, in physics, unfiltered."""
    from .. import output

    summary = record_and_index(embodiment, task, range(seed, seed + episodes), workers, as_json)
    if as_json:
        output.show_json(summary)


def record_and_index(
    embodiment: str, task: str, seeds: range, workers: int, quiet: bool
) -> dict[str, object]:
    """Record what is missing, then read its scenes into tokens."""
    from ...paths import home
    from ...sim.recording import index_bank, record_demonstrations
    from .. import output

    base = home()
    with output.progress(f"recording {task}", len(seeds), quiet=quiet) as advance:
        done = record_demonstrations(
            base,
            embodiment,
            task,
            seeds,
            workers=workers,
            progress=lambda r: advance(f"seed {r.seed}: {r.frames} frames"),
        )
    episodes = [r.episode for r in done]
    with output.progress("reading the scenes", len(seeds), quiet=quiet) as advance:
        new = index_bank(base, embodiment, episodes, workers=workers, progress=advance)
    frames, successes = sum(r.frames for r in done), sum(r.success for r in done)
    if not quiet:
        output.console.print(
            f"  {len(done)} demonstrations of {task}: {frames} frames, {successes} successful"
            " (all are kept)"
        )
    return {
        "embodiment": embodiment,
        "task": task,
        "episodes": episodes,
        "frames": frames,
        "successes": successes,
        "indexed": new,
    }
