"""``icl-vla demos record``: demonstrations by a scripted operator, a person, or a recording."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from ..options import DEFAULT_ENCODER, EncoderName


class Operator(StrEnum):
    """Who drives the robot."""

    scripted = "scripted"
    keyboard = "keyboard"
    replay = "replay"


def record(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    task: Annotated[str | None, typer.Option(help="Simulated task to demonstrate.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the first scene.")] = 0,
    operator: Annotated[Operator, typer.Option(help="Who drives the robot.")] = Operator.scripted,
    episode: Annotated[
        int | None, typer.Option(min=0, help="For --operator replay: what is played.")
    ] = None,
    driver: Annotated[
        str, typer.Option(help="Which robot: pybullet, or a plugin's driver.")
    ] = "pybullet",
    driver_options: Annotated[
        list[str] | None,
        typer.Option(
            "--driver-option", help="key=value for a plugin's driver; repeat for several."
        ),
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="What is shown. Default: the task's own words.")
    ] = None,
    encoder: EncoderName = DEFAULT_ENCODER,
    workers: Annotated[int, typer.Option(min=1, help="Processes, for the scripted operator.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Record demonstrations, unfiltered: a task's scripted operator, your keys, or a recording."""
    from icl_vla_embodiments import ReportedError

    from ...paths import home
    from .. import output

    if operator is Operator.keyboard:
        summary = _by_hand(
            embodiment, driver, driver_options or (), task, instruction, episodes, seed
        )
    elif driver != "pybullet" or task is None:
        raise ReportedError(
            f"the {operator.value} operator needs a simulated task",
            value=f"--driver {driver}, --task {task}",
            remedy="give --task TASK with the pybullet driver, or --operator keyboard",
        )
    elif operator is Operator.replay:
        from ...sim.replay import record_replay

        if episode is None:
            raise ReportedError(
                "which demonstration shall be played?", remedy="add --episode NUMBER"
            )
        with output.working(f"playing episode {episode}", quiet=as_json):
            new = record_replay(home(), embodiment, task, episode, seed)
        summary = {"embodiment": embodiment, "task": task, "episodes": [new]}
    else:
        seeds = range(seed, seed + episodes)
        summary = record_and_index(embodiment, task, seeds, workers, as_json, encoder)
    if as_json:
        output.show_json(summary)


def _by_hand(
    embodiment: str,
    driver: str,
    driver_options: Sequence[str],
    task: str | None,
    instruction: str | None,
    episodes: int,
    seed: int,
) -> dict[str, object]:
    """A person at the keyboard."""
    from ...paths import home
    from ...runtime.keyboard import Terminal
    from ...runtime.live import LivePage
    from ...sim.recording import session
    from .. import output

    sitting = session(home(), embodiment, driver, task, instruction, driver_options)
    with Terminal() as terminal, LivePage() as page:
        kept = sitting.run(
            episodes, seed, terminal, page, lambda line: output.errors.print(f"  {line}")
        )
    return {
        "embodiment": embodiment,
        "task": task,
        "instruction": sitting.instruction,
        "episodes": kept,
    }


def record_and_index(
    embodiment: str,
    task: str,
    seeds: range,
    workers: int,
    quiet: bool,
    encoder: str = DEFAULT_ENCODER,
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
        new = index_bank(
            base, embodiment, episodes, encoder=encoder, workers=workers, progress=advance
        )
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
