"""``icl-vla demos show``: a bank's facts, and a picture of one demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    episode: Annotated[int, typer.Option(min=0, help="Which demonstration to draw.")] = 0,
    picture: Annotated[
        Path | None, typer.Option(help="PNG to write. Default: beside the robot's runs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a bank holds, and draw one demonstration: pictures, joints, the tool's path."""
    from icl_vla_embodiments.home import write_atomically
    from icl_vla_retrieval.lint import read_report
    from icl_vla_retrieval.picture import picture_of_episode

    from ...paths import home, run_path
    from .. import output
    from .banks import episodes, facts, find_bank
    from .lint import show_findings

    base = home()
    robot, bank = find_bank(base, embodiment)
    bank.require(episode)
    file = picture or run_path(base, embodiment) / "demos" / f"episode_{episode:03d}.png"
    report = read_report(bank)
    write_atomically(file, picture_of_episode(bank, episode, robot, report or ()))
    if as_json:
        output.show_json({**facts(robot, bank), "each": episodes(bank), "picture": file})
        return
    told = facts(robot, bank)
    for group, columns in told["columns"].items():
        output.table(
            group,
            ("number", "meaning", "unit", "from", "to"),
            [(c["name"], c["meaning"], c["unit"], c["lower"], c["upper"]) for c in columns],
        )
    rows = [
        (e["episode"], e["instruction"], e["frames"], f"{e['seconds']:.1f} s", _origin(e))
        for e in episodes(bank)
    ]
    columns_ = ("episode", "instruction", "frames", "takes", "origin")
    output.table(f"Demonstrations of {embodiment}", columns_, rows)
    for change in bank.history:
        what = "; ".join(change["what"])
        output.console.print(f"  {change['when']}  {what} (before: {change['before']})")
    if report is None:
        output.console.print(f"  not checked as it is now: icl-vla demos lint {embodiment}")
    else:
        show_findings(report, len(bank))
    output.console.print(f"  {file}", soft_wrap=True)


def _origin(episode: dict[str, object]) -> str:
    notes = episode["provenance"]
    assert isinstance(notes, dict)
    told = [str(notes[k]) for k in ("operator", "source", "task") if k in notes]
    if "seed" in notes:
        told.append(f"seed {notes['seed']}")
    if notes.get("success") is False:
        told.append("not successful")
    return ", ".join(told)
