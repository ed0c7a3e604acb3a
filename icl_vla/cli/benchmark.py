"""``icl-vla benchmark``: measure methods under many conditions, and show what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import ENCODERS

if TYPE_CHECKING:
    from ..evaluation.suite import Suite

app = typer.Typer(
    help="An evaluation of methods: tasks, contexts, disturbances, statistics, report.",
    no_args_is_help=True,
)

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="Name of a suite, or a YAML file.")]
Seed = Annotated[
    int | None, typer.Option(help="Which tasks and scenes; two seeds share none.", min=0, max=99)
]
Methods = Annotated[list[str] | None, typer.Option("--method", help="Method; repeat for several.")]
Encoder = Annotated[
    str | None, typer.Option("--encoder", help=f"Instead of the suite's: {ENCODERS}.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _suite(name: str, seed: int | None, methods: list[str] | None, encoder: str | None) -> Suite:
    from ..evaluation.suite import find_suite

    suite = find_suite(name)
    if seed is not None:
        suite = suite.with_(seed=seed)
    if encoder is not None:
        suite = suite.with_(encoder=encoder)
    return suite.with_(methods=tuple(methods)) if methods else suite


@app.command("run")
def run(
    suite: SuiteName = "headline",
    methods: Methods = None,
    seed: Seed = None,
    encoder: Encoder = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster to run on; 'local' starts one here."),
    ] = None,
    films: Annotated[int, typer.Option(min=0, help="Tasks of each cell to film.")] = 1,
    as_json: Json = False,
) -> None:
    """Run what is not known yet of a suite; interrupt it at will, the same command goes on."""
    from ..evaluation.benchmark import Progress, run_suite
    from ..paths import home
    from . import output

    chosen = _suite(suite, seed, methods, encoder)
    with output.progress(f"benchmark {chosen.name}", 0, quiet=as_json) as advance:

        def tell(progress: Progress) -> None:
            if progress.note:
                advance(progress.note)
            else:
                advance.begin(progress.stage, progress.total)

        summary = run_suite(chosen, home(), workers=workers, ray=ray, films=films, tell=tell)
    if as_json:
        output.show_json(summary)
        return
    _show(summary)


def _show(summary: dict[str, Any]) -> None:
    from . import output

    output.table(
        f"{summary['suite']}: success (95% interval over tasks, demonstrations, episodes)",
        ("cell", "method", "success", "rate", "interval", "Wilson"),
        [
            (
                row["cell"],
                row["method"],
                f"{row['successes']}/{row['episodes']}",
                f"{row['rate']:.0%}",
                "{:.0%} to {:.0%}".format(*row["interval"]),
                "{:.0%} to {:.0%}".format(*row["wilson"]),
            )
            for row in summary["rows"]
        ],
    )
    costs = summary["costs"]
    parts = ", ".join(f"{name} {s:.2f}" for name, s in costs["parts"].items())
    output.console.print(
        f"  {costs['cpu_seconds_an_episode']:.2f} s of a core an episode ({parts}):"
        f" {costs['episodes_a_minute_a_core']:.0f} episodes a minute and core"
    )
    for doubt in summary["doubts"]:
        output.console.print(f"  [yellow]{doubt}[/]")
    output.console.print(f"  table {summary['table_sha256'][:16]}", soft_wrap=True)
    output.console.print(f"  {summary['folder']}", soft_wrap=True)


@app.command("report")
def report(
    suite: SuiteName = "headline",
    seed: Seed = None,
    methods: Methods = None,
    encoder: Encoder = None,
    out: Annotated[Path | None, typer.Option(help="The page; default: in ICL_VLA_HOME.")] = None,
    distances: Annotated[
        bool, typer.Option(help="Measure each task's distance to what is trained on.")
    ] = True,
    as_json: Json = False,
) -> None:
    """One self-contained page of what is known of a suite, and JSON beside it."""
    from ..evaluation.benchmark_report import report_suite
    from ..paths import home
    from . import output

    chosen = _suite(suite, seed, methods, encoder)
    with output.working("writing the report", quiet=as_json) as say:
        page = report_suite(chosen, home(), out, distances=distances, say=say)
    if as_json:
        output.show_json({"page": page, "json": page.with_suffix(".json")})
        return
    output.console.print(f"  {page}", soft_wrap=True)


@app.command("splits")
def splits(
    out: Annotated[Path | None, typer.Option(help="Write them to this file.")] = None,
    as_json: Json = False,
) -> None:
    """What policies may be trained on and what not, and the hash that stands in every report."""
    from icl_vla_embodiments.home import write_atomically

    from ..evaluation.splits import splits as splits_
    from ..evaluation.splits import splits_sha256, splits_yaml
    from . import output

    if out is not None:
        write_atomically(out, splits_yaml())
    if as_json:
        output.show_json({"sha256": splits_sha256(), "splits": splits_()})
        return
    output.console.print(splits_yaml(), markup=False, end="")
    output.console.print(f"sha256 {splits_sha256()}", soft_wrap=True)
