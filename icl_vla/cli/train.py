"""``icl-vla train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ENCODERS

if TYPE_CHECKING:
    from ..training.encoder_recipe import EncoderRecipe
    from ..training.recipe import Recipe
    from ..training.words_recipe import WordsRecipe


def train(
    recipe: Annotated[
        str, typer.Argument(help="A packaged recipe's name, or a YAML file.")
    ] = "small",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default: in ICL_VLA_HOME.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Instead of the recipe's; of policies.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help=f"Whose tokens a policy shall read: {ENCODERS}.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train on what is made as it learns; the same command goes on where it ended.

    The recipe says what is trained: a policy, on random tasks; the encoder that makes tokens of
    pictures, or what guesses depth from colours, on random scenes; or acting by words, on the
    trained families' instructions.
    """
    from icl_vla_embodiments import ReportedError

    from ..paths import home
    from ..training.encoder_recipe import EncoderRecipe
    from ..training.recipe import read_recipe
    from ..training.words_recipe import WordsRecipe
    from . import output

    chosen = read_recipe(recipe)
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    folder = out or home() / "training" / f"{Path(recipe).stem}-{chosen.seed}"
    of_policies = rounds is not None or encoder is not None
    if of_policies and isinstance(chosen, EncoderRecipe | WordsRecipe):
        raise ReportedError(
            "the option is for recipes that train policies",
            where=recipe,
            value="--rounds" if rounds is not None else "--encoder",
            valid=["--out", "--seed"],
        )
    if isinstance(chosen, EncoderRecipe):
        size = _pictures(chosen, folder, as_json)
    elif isinstance(chosen, WordsRecipe):
        size = _words(chosen, folder, as_json)
    else:
        size = _policy(chosen, folder, rounds, encoder, as_json)
    if as_json:
        output.show_json({"folder": folder, "parameters": size})
        return
    output.console.print(f"  {size:,} parameters: {folder / 'checkpoint'}", soft_wrap=True)
    if (folder / "curves.png").exists():
        output.console.print(f"  curves: {folder / 'curves.png'}", soft_wrap=True)


def _policy(
    recipe: Recipe, folder: Path, rounds: int | None, encoder: str | None, quiet: bool
) -> int:
    """How many parameters it has."""
    from ..perception.encoders import schema_of
    from ..training.trainer import train
    from . import output

    if rounds is not None:
        recipe = replace(recipe, rounds=rounds)
    if encoder is not None:
        recipe = replace(recipe, network={**recipe.network, "encoder": schema_of(encoder)})
    with output.progress("training a policy", recipe.rounds, quiet=quiet) as advance:
        network = train(recipe, folder, progress=advance)
    return sum(p.numel() for p in network.parameters())


def _pictures(recipe: EncoderRecipe, folder: Path, quiet: bool) -> int:
    """How many parameters what learns from pictures has."""
    from ..training import depth, encoder
    from ..training.encoder_recipe import DepthRecipe
    from ..training.fitting import KEEP
    from . import output

    pieces = -(-recipe.total // KEEP)
    flat = isinstance(recipe, DepthRecipe)
    title = "learning to guess depth" if flat else "training an encoder"
    with output.progress(title, pieces, quiet=quiet) as advance:
        network = (depth if flat else encoder).train(recipe, folder, progress=advance)
    return sum(p.numel() for p in network.parameters())


def _words(recipe: WordsRecipe, folder: Path, quiet: bool) -> int:
    """How many parameters it has."""
    from ..training.sentences import count_senses
    from ..training.words import KEEP, train
    from . import output

    pieces = recipe.steps // KEEP + count_senses()
    with output.progress("learning words", pieces, quiet=quiet) as advance:
        made = train(recipe, folder, workers=2, progress=advance)
    return sum(p.numel() for p in made.reader.parameters())
