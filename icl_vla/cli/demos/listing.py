"""``icl-vla demos list``: what a robot's bank holds."""

from __future__ import annotations

from typing import Annotated

import typer


def list_(
    embodiment: Annotated[
        str | None, typer.Argument(help="Name of an embodiment. Default: all that have some.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the instructions that a robot's bank holds, or all banks."""
    from ...paths import home
    from .. import output
    from .banks import facts, find_bank

    if embodiment is None:
        _list_all(as_json)
        return
    robot, bank = find_bank(home(), embodiment)
    if as_json:
        output.show_json(facts(robot, bank))
        return
    lengths: dict[str, list[int]] = {}
    for record in bank.records:
        lengths.setdefault(record.tasks[0], []).append(record.length)
    rows = [
        (words, len(frames), sum(frames), f"{sum(frames) / len(frames) / bank.rate:.1f} s")
        for words, frames in lengths.items()
    ]
    columns = ("instruction", "episodes", "frames", "each takes")
    output.table(f"Demonstrations of {embodiment}", columns, rows)


def _list_all(as_json: bool) -> None:
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_retrieval import DemoBank

    from ...paths import bank_path, home
    from .. import output

    base = home()
    paths = {name: bank_path(base, name) for name in EmbodimentStore(base).names()}
    banks = {name: DemoBank.open(path) for name, path in paths.items() if path.exists()}
    if as_json:
        output.show_json({name: bank.summary() for name, bank in banks.items()})
        return
    if not banks:
        output.console.print(
            "  no demonstrations yet: icl-vla demos add ROBOT FOLDER, or"
            " icl-vla demos record ROBOT --task TASK",
            soft_wrap=True,
        )
        return
    rows = [
        (name, len(bank), len(bank.instructions), f"{bank.rate:g} Hz", str(bank.path))
        for name, bank in banks.items()
    ]
    output.table("Demonstrations", ("robot", "episodes", "instructions", "rate", "kept in"), rows)
