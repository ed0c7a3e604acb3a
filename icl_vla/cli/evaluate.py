"""``icl-vla run`` and ``icl-vla eval``."""

from __future__ import annotations

import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import DEFAULT_ENCODER, EncoderName


class Weights(StrEnum):
    """Where task weights come from."""

    equal = "equal"
    demonstrations = "demonstrations"


def run(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    instruction: Annotated[
        str, typer.Argument(help="What to do, as it was demonstrated or in other words.")
    ],
    driver: Annotated[str, typer.Option(help="Which robot: pybullet, or a plugin's.")] = "pybullet",
    driver_options: Annotated[
        list[str] | None,
        typer.Option(
            "--driver-option", help="key=value for a plugin's driver; repeat for several."
        ),
    ] = None,
    scene: Annotated[
        str | None, typer.Option(help="A task's name, or a scene file (YAML).")
    ] = None,
    method: Annotated[str, typer.Option(help="Policy.")] = "vote",
    weights: Annotated[
        Weights,
        typer.Option(
            help="How tightly each direction is held: equally, or as the demonstrations were."
        ),
    ] = Weights.equal,
    encoder: EncoderName = DEFAULT_ENCODER,
    episodes: Annotated[int, typer.Option(min=1, help="New scenes to try.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first scene.")] = 5000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    films: Annotated[int, typer.Option(min=0, help="Episodes to film.")] = 1,
    restart: Annotated[bool, typer.Option("--restart", help="Forget earlier results.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let the policy act: retrieve, condition, act, track with MPC."""
    from icl_vla_retrieval.manner import pace_between

    from ..evaluation.running import numbers_other_way, run_in_scenes, understand
    from ..paths import home
    from . import output
    from .instructions import confirm

    bank, meant = understand(home(), embodiment, instruction, method)
    if meant not in bank.instructions:
        output.errors.print(
            "  nothing like this was shown: it acts on what it remembers of training"
        )
    other_way = numbers_other_way(bank, meant)
    if other_way:
        output.errors.print(
            f"  {', '.join(other_way)}: the demonstrations show that these numbers run the other"
            " way than the action space says; they are read so (icl-vla demos lint)"
        )
    changes = confirm(instruction, meant, ask=not as_json and sys.stdin.isatty())
    pace = pace_between(instruction, meant)
    if pace != 1.0:
        output.errors.print(f"  at {pace:.2g} times the pace that was shown")
    with output.progress(f"running {scene or meant}", episodes, quiet=as_json) as advance:
        report = run_in_scenes(
            home(),
            embodiment,
            instruction,
            driver=driver,
            driver_options=driver_options or (),
            scene=scene,
            method=method,
            weights=weights.value,
            encoder=encoder,
            seeds=range(seed, seed + episodes),
            workers=workers,
            films=films,
            restart=restart,
            progress=lambda r: advance(f"seed {r.seed}: {'success' if r.success else r.ended}"),
            note=advance,
        )
    if as_json:
        output.show_json({**report, "asked": instruction, "different_words": changes})
        return
    if report["judged"]:
        output.results_table(report["results"])
    else:
        output.console.print("  nobody judges this: " + report["ended"])
    for camera, off in report.get("knocked_cameras", {}).items():
        output.errors.print(
            f"  camera {camera} is {1e3 * off['shift']:.0f} mm and"
            f" {math.degrees(off['turn']):.1f} degrees from where it was calibrated, as the robot"
            " and the table show; pictures were taken to be from there (icl-vla demos calibrate)"
        )
    for path in report["pictures"]:
        output.console.print(f"  {path}", soft_wrap=True)


def evaluate(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help="Task; repeat for several. Default: all.")
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option("--method", help="Method; repeat for several. Default: all but trained ones."),
    ] = None,
    encoder: EncoderName = DEFAULT_ENCODER,
    episodes: Annotated[int, typer.Option(min=1, help="Scenes for each task.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the first scene.")] = 5000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    restart: Annotated[bool, typer.Option("--restart", help="Forget earlier results.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How often does it work, against what, and how sure is that. Same scenes for every method."""
    from ..evaluation.running import evaluate as evaluate_
    from ..paths import home
    from . import output

    with output.progress("evaluating", 0, quiet=as_json) as advance:
        report = evaluate_(
            home(),
            embodiment,
            tasks=tasks,
            methods=methods,
            seeds=range(seed, seed + episodes),
            encoder=encoder,
            workers=workers,
            restart=restart,
            progress=lambda r: advance(f"{r.task} {r.method} {r.seed}"),
            total=advance.total,
        )
    if as_json:
        output.show_json(report)
        return
    output.results_table(report["results"])
    output.console.print(f"  {Path(report['folder']) / 'results.jsonl'}", soft_wrap=True)
