"""``icl-vla wbc``: see a robot's controller at work, and measure it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..tracking import Actuation, Pattern

if TYPE_CHECKING:
    from ..tracking.run import Track

app = typer.Typer(help="Whole-body control, tried in simulation.", no_args_is_help=True)


Effector = Annotated[str | None, typer.Option(help="The arm that draws; default: the first.")]
ActuationOption = Annotated[
    Actuation | None,
    typer.Option(help="What the motors are told; default: torque on legs, position otherwise."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("track")
def track(
    name: Annotated[str, typer.Argument(metavar="EMBODIMENT", help="Name of an embodiment.")],
    pattern: Annotated[Pattern, typer.Argument(help="What is followed.")],
    actuation: ActuationOption = None,
    effector: Effector = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the pictures; default: in ICL_VLA_HOME.")
    ] = None,
    film: Annotated[bool, typer.Option(help="Make the film, which takes longest.")] = True,
    as_json: Json = False,
) -> None:
    """Follow a pattern in physics; make a plot and a film of it."""
    from icl_vla_embodiments.home import write_atomically
    from icl_vla_embodiments.store import EmbodimentStore

    from ..paths import home, run_path
    from ..tracking.plot import plot
    from ..tracking.rigs import rig_for
    from ..tracking.run import follow
    from . import output

    store = EmbodimentStore()
    robot = store.get(name)
    folder = out or run_path(home(), name) / "wbc" / pattern
    with output.working(f"preparing {name}", quiet=as_json) as say:
        rig = rig_for(robot, pattern, store.folder(name), actuation, effector)
        watch = None
        if film:
            from ..tracking.film import Film

            watch = Film(f"{name} · {pattern} · {rig.actuation} actuation")
        say(f"{name} follows the {pattern} for {rig.duration:.0f} s")
        try:
            done = follow(rig, pattern, watch)
        finally:
            rig.close()
        files = {"plot": folder / "track.png"}
        write_atomically(files["plot"], plot(done))
        if watch is not None:
            files["film"] = folder / "track.mp4"
            watch.write(files["film"])
    if as_json:
        output.show_json(done.figures() | files)
        return
    _show(f"{done.controller}, {done.actuation} actuation", [done])
    if done.remarks:
        output.console.print(f"  [dim]{'; '.join(done.remarks)}[/]")
    for what, path in files.items():
        output.console.print(f"  {what} {path}", soft_wrap=True)


@app.command("bench")
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EMBODIMENT]...", help="Default: all that are known."),
    ] = None,
    pattern: Annotated[
        list[Pattern] | None, typer.Option(help="What is followed; repeatable. Default: all.")
    ] = None,
    actuation: ActuationOption = None,
    as_json: Json = False,
) -> None:
    """Measure several patterns on several robots; a robot without a controller is named."""
    from icl_vla_embodiments import ReportedError
    from icl_vla_embodiments.store import EmbodimentStore

    from ..tracking.rigs import rig_for
    from ..tracking.run import follow
    from . import output

    store = EmbodimentStore()
    patterns = pattern or list(Pattern)
    robots = {name: store.get(name) for name in names or store.names()}
    if not robots:
        raise ReportedError(
            "no robot is known", where=store.root, remedy="icl-vla add-embodiment ROBOT.urdf"
        )
    done: list[Track] = []
    skipped: list[dict[str, str]] = []
    with output.progress("tracking", len(robots) * len(patterns), quiet=as_json) as advance:
        for name, robot in robots.items():
            for wanted in patterns:
                try:
                    rig = rig_for(robot, wanted, store.folder(name), actuation)
                except ReportedError as error:
                    why = {"robot": name, "pattern": wanted, "problem": error.problem}
                    skipped.append(why)
                else:
                    try:
                        done.append(follow(rig, wanted))
                    finally:
                        rig.close()
                advance(f"{name}, {wanted}")
    if as_json:
        output.show_json({"runs": [t.figures() for t in done], "skipped": skipped})
    else:
        if done:
            _show("Tracking", done)
        for row in skipped:
            output.console.print(f"  [yellow]{row['robot']}, {row['pattern']}:[/] {row['problem']}")
    if not done:
        raise ReportedError(
            "nothing could be tracked",
            value=sorted(robots),
            remedy="icl-vla wbc track EMBODIMENT PATTERN says why",
        )


def _show(title: str, tracks: Sequence[Track]) -> None:
    """A row for each part of each run."""
    from . import output

    columns = ("run", "part", "rms, max, end mm", "deg", "tick, p99 ms", "broken", "levels")
    rows = [row for done in tracks for row in _rows(done.figures())]
    output.table(title, columns, rows)


def _rows(run: dict[str, Any]) -> list[tuple[str, ...]]:
    from math import degrees

    broken = ", ".join(f"{name} {x:.2g}" for name, x in run["violations"].items()) or "none"
    ticks = sum(run["levels"].values())
    levels = ", ".join(f"{name} {n / ticks:.4g}" for name, n in run["levels"].items())
    levels = next(iter(run["levels"])) if len(run["levels"]) == 1 else levels
    return [
        (
            f"{run['robot']} {run['pattern']}",
            part.replace("_", " "),
            ", ".join(_mm(e[name]) for name in ("rms", "max", "last")),
            f"{degrees(e['turn_rms']):.2f}",
            ", ".join(f"{1e3 * run['tick'][name]:.2f}" for name in ("median", "p99")),
            broken,
            ("FELL, " if run["fell"] else "") + levels,
        )
        for part, e in run["errors"].items()
    ]


def _mm(x: float) -> str:
    """A distance [m] in millimetres, to 10 micrometres where it is short."""
    return f"{1e3 * x:.2f}" if x < 0.01 else f"{1e3 * x:.0f}"
