"""``icl-vla explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DEFAULT_ENCODER, EncoderName


def explain(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    instruction: Annotated[str, typer.Argument(help="As it was given to `icl-vla run`.")],
    step: Annotated[
        int | None,
        typer.Option(help="Number of the look, from 0. Default: the least confident one."),
    ] = None,
    scene: Annotated[str | None, typer.Option(help="A task's name.")] = None,
    method: Annotated[str, typer.Option(help="Policy.")] = "vote",
    encoder: EncoderName = DEFAULT_ENCODER,
    seed: Annotated[int, typer.Option(help="Of the scene.")] = 5000,
    picture: Annotated[
        Path | None, typer.Option(help="PNG to write; default: with the run's pictures.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Why the policy did that: one look of a run, in words and as a picture."""
    from icl_vla_embodiments.home import write_atomically

    from ..evaluation.explain import relive
    from ..evaluation.explain_picture import draw
    from ..evaluation.explain_words import story, words
    from ..evaluation.methods import folder_name
    from ..paths import home, run_path
    from . import output

    with output.working("living through the run again", quiet=as_json):
        account = relive(
            home(),
            embodiment,
            instruction,
            scene=scene,
            method=method,
            seed=seed,
            encoder=encoder,
        )
        chosen = account.look(step)
        look, result = account.looks[chosen], account.result
        folder = run_path(home(), embodiment) / folder_name(result.task, method, "equal", encoder)
        path = picture or folder / f"seed_{seed}" / f"look_{chosen:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, draw(account, chosen))
    said, stretches = words(account, chosen), story(account)
    if as_json:
        output.show_json(
            {
                "embodiment": embodiment,
                "instruction": account.instruction,
                "method": result.method,
                "seed": seed,
                "success": result.success,
                "ended": result.ended,
                "look": chosen,
                "looks": len(account.looks),
                "time": look.observation.time,
                "words": said,
                "shares": look.shares,
                "confidence": look.confidence,
                "neighbours": [n.__dict__ for n in look.chunk.neighbours],
                "run": [s.__dict__ for s in stretches],
                "picture": path,
            }
        )
        return
    output.table(
        f"{account.instruction}: {'success' if result.success else 'failure'}"
        f" ({result.ended} after {result.seconds:.1f} s)",
        ("looks", "seconds", "led by", "gripper", "least confidence"),
        [
            (
                f"{s.first} to {s.last}" if s.last > s.first else s.first,
                f"{s.begin:.1f} to {s.end:.1f}",
                s.leader or "-",
                "-" if s.opening is None else f"{s.opening:.0%}",
                "-" if s.confidence is None else f"{s.confidence:.2f}",
            )
            for s in stretches
        ],
    )
    why = "" if step is not None else ", the least confident one"
    output.console.print(f"\n  [bold]Look {chosen}, at {look.observation.time:.1f} s{why}[/]")
    for sentence in said:
        output.console.print(f"  {sentence}")
    output.console.print(f"  {path}", soft_wrap=True)
