"""``icl-vla demos replay``: play a demonstration again in simulation."""

from __future__ import annotations

from typing import Annotated

import typer


def replay(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    episode: Annotated[int, typer.Argument(min=0, help="Which demonstration.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a demonstration through the controller in physics: how far from the recording is it?"""
    from dataclasses import asdict

    from ...paths import home
    from ...sim.replay import replay as play
    from .. import output
    from .banks import find_bank

    base = home()
    _, bank = find_bank(base, embodiment)
    bank.require(episode)
    with output.working(f"playing episode {episode}", quiet=as_json):
        result = play(base, embodiment, bank[episode])
    if as_json:
        output.show_json({"embodiment": embodiment, "episode": episode, **asdict(result)})
        return
    judged = {None: "", True: "; the task was done", False: "; the task was not done"}
    output.console.print(
        f"  {result.steps} steps in {result.scene}: the tool stayed {1e3 * result.mean:.1f} mm from"
        f" its recorded way on average, {1e3 * result.worst:.1f} mm and"
        f" {result.turn * 57.29578:.1f} deg at worst; {result.violations} limits exceeded"
        f"{judged[result.success]}"
    )
