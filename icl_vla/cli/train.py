"""``icl-vla train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[
        str, typer.Argument(help="A packaged recipe's name, or a YAML file.")
    ] = "small",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: in ICL_VLA_HOME.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a policy on random tasks made as it learns; the same command goes on where it ended."""
    from ..paths import home
    from ..training.recipe import read_recipe
    from . import output

    chosen = read_recipe(recipe)
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    if rounds is not None:
        chosen = replace(chosen, rounds=rounds)
    folder = out or home() / "training" / f"{Path(recipe).stem}-{chosen.seed}"
    from ..training.trainer import train as train_

    with output.progress("training", chosen.rounds, quiet=as_json) as advance:
        network = train_(chosen, folder, progress=advance)
    size = sum(p.numel() for p in network.parameters())
    if as_json:
        output.show_json({"folder": folder, "parameters": size})
        return
    output.console.print(f"  {size:,} parameters: {folder / 'checkpoint'}", soft_wrap=True)
    output.console.print(f"  curves: {folder / 'curves.png'}", soft_wrap=True)
