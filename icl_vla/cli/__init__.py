"""The command line. Heavy imports happen inside the commands: ``--help`` must stay quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import (
    benchmark,
    demos,
    doctor,
    embodiments,
    evaluate,
    explain,
    plugins,
    quickstart,
    train,
    wbc,
)

app = typer.Typer(
    name="icl-vla",
    help="Robots that learn in context: a URDF and ten demonstrations, with frozen weights.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_settings = {"debug": False}
_INTERRUPTED = 130  # typer's exit code after Ctrl-C


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Settings for every command."""
    _settings["debug"] = debug


app.command("add-embodiment")(embodiments.add_embodiment)
app.add_typer(embodiments.app, name="embodiments")
app.add_typer(demos.app, name="demos")
app.command("run")(evaluate.run)
app.command("eval")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.add_typer(benchmark.app, name="benchmark")
app.command("train")(train.train)
app.add_typer(wbc.app, name="wbc")
app.add_typer(plugins.app, name="plugins")
app.command("quickstart")(quickstart.quickstart)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Entry point: errors that a user can act on end in one block and exit code 2."""
    try:
        app()
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            print(
                "Interrupted. What was finished is kept; the same command goes on.", file=sys.stderr
            )
        raise
    except Exception as error:
        if _settings["debug"] or not _report(error):
            raise
        raise SystemExit(2) from None


def _report(error: Exception) -> bool:
    """Show an error that the user can act on; False if it is ours."""
    import errno

    from icl_vla_embodiments import ReportedError

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        error = ReportedError(
            "the disk is full",
            where=error.filename,
            remedy="free some space, or set ICL_VLA_HOME to a larger disk;"
            " nothing half-written is kept",
        )
    elif isinstance(error, PermissionError):
        error = ReportedError("permission denied", where=error.filename)
    elif isinstance(error, OSError) and error.filename is not None:
        error = ReportedError(
            str(error.strerror).lower(),
            where=error.filename,
            remedy="check this path; ICL_VLA_HOME must be a folder that you can write to",
        )
    if not isinstance(error, ReportedError):
        return False
    from .output import show_error

    show_error(error)
    return True
