"""How long ``icl-vla --help`` takes, against a bare typer program of the same shape.

The bare program has as many commands, sub-programs and parameters, and nothing behind them: what
typer itself costs. Both run in fresh interpreters, in turns, so that a busy machine slows both.

    python benchmarks/command_line.py --json result.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer.main

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / p) for p in (".", "embodiments", "retrieval", "wbc")]

BAR = 1.5


def bare_program() -> str:
    """Source of a typer program with the command tree of ours."""
    from icl_vla.cli import app

    lines = [
        "from typing import Annotated",
        "import typer",
        "app = typer.Typer(no_args_is_help=True)",
    ]
    lines += ["app.callback()(lambda: None)"]

    def add(group: object, parent: str, prefix: str) -> None:
        for i, (name, command) in enumerate(group.commands.items()):  # type: ignore[attr-defined]
            own = f"{prefix}{i}"
            if getattr(command, "commands", None):
                lines.append(f"app{own} = typer.Typer(help={command.help!r})")
                lines.append(f"{parent}.add_typer(app{own}, name={name!r})")
                add(command, f"app{own}", f"{own}_")
                continue
            options = [p.name for p in command.params if p.name != "help"]
            parameters = ", ".join(
                f"{p}: Annotated[str, typer.Option(help='An option.')] = ''" for p in options
            )
            lines.append(f"def command{own}({parameters}) -> None:")
            lines.append(f"    {command.help!r}")
            lines.append(f"{parent}.command({name!r})(command{own})")

    add(typer.main.get_command(app), "app", "_")
    return "\n".join([*lines, "app()", ""])


def seconds(command: list[str]) -> float:
    """Wall-clock time of one run [s]."""
    path = os.pathsep.join(sys.path[:4])
    begin = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path}
    )
    return time.perf_counter() - begin


def measure(runs: int) -> dict[str, float | int]:
    """Medians [s] of alternating runs, after one of each to warm the caches."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bare.py"
        file.write_text(bare_program())
        ours = [sys.executable, "-c", "from icl_vla.cli import main; main()", "--help"]
        bare = [sys.executable, str(file), "--help"]
        times: dict[str, list[float]] = {"icl_vla": [], "bare": []}
        for turn in range(runs + 1):
            for name, command in (("icl_vla", ours), ("bare", bare)):
                taken = seconds(command)
                if turn:
                    times[name].append(taken)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "runs": runs,
        "icl_vla_seconds": round(medians["icl_vla"], 4),
        "bare_seconds": round(medians["bare"], 4),
        "ratio": round(medians["icl_vla"] / medians["bare"], 3),
        "bar": BAR,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=21, help="of each program")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    result = measure(max(15, options.runs))
    text = json.dumps(result, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    sys.exit(result["ratio"] > BAR)


if __name__ == "__main__":
    main()
