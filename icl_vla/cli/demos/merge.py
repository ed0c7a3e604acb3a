"""``icl-vla demos merge``: bring the episodes of another bank of the same robot in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    other: Annotated[Path, typer.Argument(help="Folder of another bank of this robot.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring in what another bank of the same robot holds, less what is there already."""
    from icl_vla_retrieval import DemoBank

    from ...paths import home
    from .. import output
    from .banks import find_bank

    _, bank = find_bank(home(), embodiment)
    before = len(bank)
    bank = bank.merge(DemoBank.open(other))
    if as_json:
        output.show_json(bank.summary())
        return
    output.console.print(
        f"  {len(bank) - before} demonstrations came in, {len(bank)} in all; the version before:"
        f" {bank.history[-1]['before']}"
    )
