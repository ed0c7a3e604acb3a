"""``icl-vla demos list``: what a robot's bank holds."""

from __future__ import annotations

from typing import Annotated

import typer


def list_(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the instructions that a robot's bank holds."""
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_retrieval import DemoBank

    from ...paths import bank_path, home
    from .. import output

    base = home()
    EmbodimentStore(base).get(embodiment)
    summary = DemoBank.open(bank_path(base, embodiment)).summary()
    if as_json:
        output.show_json(summary)
        return
    rows = list(summary["instructions"].items())
    output.table(f"Demonstrations of {embodiment}", ("instruction", "episodes"), rows)
