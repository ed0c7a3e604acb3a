"""``icl-vla demos remove``: take episodes out of a bank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer


def remove(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    episodes: Annotated[list[str], typer.Argument(help="Numbers and ranges: 3 7-9.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take episodes out; the others move up, and the version before is kept."""
    from ...paths import home
    from .. import output
    from .banks import find_bank

    _, bank = find_bank(home(), embodiment)
    bank = bank.remove(parse_episodes(episodes))
    if as_json:
        output.show_json(bank.summary())
        return
    output.console.print(
        f"  {len(bank)} demonstrations left; the version before: {bank.history[-1]['before']}"
    )


def parse_episodes(words: Sequence[str]) -> list[int]:
    """``["3", "7-9"]`` to ``[3, 7, 8, 9]``.

    Raises:
        BankError: A word is neither a number nor a range.
    """
    from icl_vla_retrieval import BankError

    out: set[int] = set()
    for word in words:
        first, _, last = word.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise BankError("not an episode", value=word, valid=["3", "7-9"])
        out.update(range(int(first), int(last or first) + 1))
    return sorted(out)
