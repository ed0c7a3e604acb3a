"""``icl-vla demos lint``: what is wrong with a robot's demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from icl_vla_retrieval.lint import Finding


def lint(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    fix: Annotated[
        bool, typer.Option("--fix", help="Do what is safe, into a new version of the bank.")
    ] = False,
    cameras: Annotated[
        bool, typer.Option(help="Compare the cameras' calibration with their pictures.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is wrong with demonstrations: limits, jumps, idle ends, units, order, cameras ..."""
    from dataclasses import asdict

    from icl_vla_retrieval.lint import fix as mend
    from icl_vla_retrieval.lint import lint as check
    from icl_vla_retrieval.lint import write_report

    from ...paths import home
    from .. import output
    from .banks import find_bank

    robot, bank = find_bank(home(), embodiment)
    with output.progress("reading demonstrations", len(bank), quiet=as_json) as advance:
        findings = check(bank, robot, cameras=cameras, progress=advance)
    done: tuple[str, ...] = ()
    if fix:
        bank, done = mend(bank, findings)
        if done:
            findings = check(bank, robot, cameras=cameras)
    write_report(bank, findings)
    if as_json:
        output.show_json(
            {
                "embodiment": embodiment,
                "episodes": len(bank),
                "fixed": list(done),
                "findings": [asdict(finding) for finding in findings],
                "history": bank.history,
            }
        )
        return
    for line in done:
        output.console.print(f"  {line}")
    if done:
        output.console.print(f"  the version before is kept: {bank.history[-1]['before']}")
    show_findings(findings, len(bank))


def show_findings(findings: tuple[Finding, ...], episodes: int) -> None:
    """A table of what was found, equal findings of several episodes on one line."""
    from rich.markup import escape

    from .. import output

    if not findings:
        output.console.print(f"  {episodes} demonstrations, nothing to find fault with")
        return
    grouped: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        grouped.setdefault((finding.kind, finding.remedy), []).append(finding)
    rows = []
    for (kind, remedy), several in grouped.items():
        for finding in several[:4]:
            rows.append((kind, finding.place, escape(finding.value)))
        if len(several) > 4:
            rest = ", ".join(str(f.episode) for f in several[4:])
            rows.append((kind, f"{len(several) - 4} more", f"episodes {rest}"))
        rows.append(("", "", f"[dim]-> {escape(remedy)}[/dim]"))
    output.findings_table(f"{len(findings)} findings in {episodes} demonstrations", rows)
