"""``icl-vla demos add``: demonstrations that were recorded elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from icl_vla_embodiments import Embodiment
    from icl_vla_embodiments.robot_model import RobotModel
    from icl_vla_retrieval.columns import Recording
    from icl_vla_retrieval.formats import Given
    from icl_vla_retrieval.lint import Finding


def add(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    paths: Annotated[
        list[Path],
        typer.Argument(help="LeRobot, robomimic, DROID, or a folder of npz or csv files."),
    ],
    instruction: Annotated[
        str | None, typer.Option(help="What is done, instead of what the data say.")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="What a column, or a number COLUMN.3 of it, is: a joint, gripper, state, action,"
            " delta, velocity, pose, ignore; as COLUMN=MEANING; repeatable.",
        ),
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            help="Its unit: rad, deg, m, mm, 0.05m, or A..B for the numbers at a joint's lower and"
            " upper limit, of a gripper closed and open; as COLUMN=UNIT; repeatable.",
        ),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Frames per second [Hz].")] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(help="Name of a camera in the bank, as RECORDED=NAME; repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take guesses.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, do not keep.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring in demonstrations, whatever their format; what their columns mean is worked out."""
    from dataclasses import asdict

    from icl_vla_embodiments.robot_model import RobotModel
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_retrieval import DemoBank
    from icl_vla_retrieval.formats import Given

    from ...paths import bank_path, home
    from .. import output
    from .lint import show_findings

    given = Given(_pairs(map_, "--map"), _pairs(unit, "--unit"), rate, _pairs(camera, "--camera"))
    base = home()
    robot = EmbodimentStore(base).get(embodiment)
    model = RobotModel(robot)
    asking = not yes and not as_json and sys.stdin.isatty()
    recordings = [_understood(path, robot, model, given, asking, as_json) for path in paths]
    bank = bank_path(base, embodiment)
    if not as_json:
        for recording in recordings:
            _show(recording)
    indices = [] if dry_run else _keep(bank, robot, model, recordings, given, instruction, as_json)
    findings = _faults(bank, robot) if indices else ()
    if as_json:
        told = _summary(embodiment, bank, recordings, instruction, indices)
        output.show_json({**told, "findings": [asdict(finding) for finding in findings]})
        return
    if dry_run:
        output.console.print("  nothing was kept (--dry-run)")
        return
    there = sum(len(r.episodes) for r in recordings) - len(indices)
    output.console.print(
        f"  {len(indices)} demonstrations kept in {bank}"
        + (f", {there} were there already" if there else "")
        + f"; cameras are checked by: icl-vla demos lint {embodiment}",
        soft_wrap=True,
    )
    if findings:
        show_findings(findings, len(DemoBank.open(bank)))


def _faults(bank: Path, robot: Embodiment) -> tuple[Finding, ...]:
    """What is wrong with the bank's motion; cameras take longer and have their own command."""
    from icl_vla_retrieval import DemoBank
    from icl_vla_retrieval.lint import lint

    return lint(DemoBank.open(bank), robot, cameras=False)


def _understood(
    path: Path,
    robot: Embodiment,
    model: RobotModel,
    given: Given,
    asking: bool,
    quiet: bool,
) -> Recording:
    """A recording, its doubts asked about in turn: an answer may settle others."""
    from icl_vla_embodiments import ReportedError
    from icl_vla_retrieval.columns import read_recording, rematch

    from .. import output

    with output.working(f"reading {path}", quiet=quiet):
        recording = read_recording(path, robot, model, given)
    asked: set[tuple[str, str]] = set()
    while asking:
        doubts = [
            d for d in recording.match.flags if d.answerable and (d.aspect, d.column) not in asked
        ]
        if not doubts:
            break
        doubt = doubts[0]
        asked.add((doubt.aspect, doubt.column))
        output.console.print(f"  [yellow]?[/] {doubt.question}", soft_wrap=True)
        while True:
            answer = typer.prompt(f"    {doubt.aspect}", default=doubt.value)
            try:
                more = doubt.answered(answer.strip()).over(given)
                recording, given = rematch(recording, robot, model, more), more
                break
            except ReportedError as error:
                output.show_error(error)
    return recording


def _keep(
    bank: Path,
    robot: Embodiment,
    model: RobotModel,
    recordings: list[Recording],
    given: Given,
    instruction: str | None,
    quiet: bool,
) -> list[int]:
    from icl_vla_retrieval.columns import add_to_bank

    from .. import output

    indices: list[int] = []
    total = sum(len(r.episodes) for r in recordings)
    with output.progress("adding", total, quiet=quiet) as advance:
        for recording in recordings:
            indices += add_to_bank(
                bank,
                robot,
                model,
                recording.demonstrations(model, given, instruction),
                recording.match.space,
                progress=lambda d: advance(f"{len(d)} frames"),
            )
    return indices


def _summary(
    embodiment: str,
    bank: Path,
    recordings: list[Recording],
    instruction: str | None,
    indices: list[int],
) -> dict[str, Any]:
    each = [r.to_json() for r in recordings]
    if instruction is not None:
        each = [{**r, "instructions": [instruction]} for r in each]
    return {
        "embodiment": embodiment,
        "bank": bank,
        "added": indices,
        "episodes": sum(r["episodes"] for r in each),
        "frames": sum(r["frames"] for r in each),
        "rate": recordings[0].match.rate,
        "instructions": sorted({i for r in each for i in r["instructions"]}),
        "flags": [f for r in each for f in r["flags"]],
        "recordings": each,
    }


def _show(recording: Recording) -> None:
    """What was found and decided, and what is doubtful."""
    from .. import output

    found = recording.to_json()
    output.console.print(
        f"  [bold]{recording.path}[/]: {found['format']}, {found['episodes']} episodes,"
        f" {found['frames']} frames at {found['rate']:g} Hz",
        soft_wrap=True,
    )
    rows = [(d.aspect, d.column, d.value, d.why) for d in recording.match.decisions if d.certain]
    output.table("Columns", ("what", "column", "decided", "because"), rows)
    for flag in found["flags"]:
        others = "".join(f", or {other}" for other in flag["others"])
        taken = f". Taken: {flag['guess']}; settle it with {flag['settle']}{others}"
        rest = taken if flag["settle"] else f" ({flag['guess']})"
        output.console.print(f"  [yellow]?[/] {flag['question']}{rest}", soft_wrap=True)
    unused = [
        c for c, numbers in found["columns"].items() if not any(n["meaning"] for n in numbers)
    ]
    if unused:
        output.console.print(f"  not used: {', '.join(unused)}", soft_wrap=True)


def _pairs(options: list[str] | None, option: str) -> dict[str, str]:
    from icl_vla_embodiments import ReportedError

    out = {}
    for text in options or []:
        key, separator, value = text.rpartition("=")
        if not separator or not key or not value:
            raise ReportedError(
                "an option needs a name and a value",
                where=option,
                value=text,
                remedy=f"{option} COLUMN=VALUE",
            )
        out[key.strip()] = value.strip()
    return out
