"""``icl-vla add-embodiment`` and ``icl-vla embodiments``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from icl_vla_embodiments import Embodiment, Group

app = typer.Typer(help="Robots that are known.", no_args_is_help=True)


def add_embodiment(
    urdf: Annotated[Path, typer.Argument(help="URDF or xacro file of the robot.")],
    name: Annotated[str | None, typer.Option(help="Name; default: the robot's own.")] = None,
    package: Annotated[
        list[str] | None, typer.Option(help="Folder of a ROS package, as NAME=DIR; repeatable.")
    ] = None,
    xacro_arg: Annotated[
        list[str] | None, typer.Option(help="Argument of a xacro file, as NAME:=VALUE; repeatable.")
    ] = None,
    tcp: Annotated[
        str | None, typer.Option(help='Tool centre point "x y z roll pitch yaw" in the last link.')
    ] = None,
    srdf: Annotated[
        Path | None, typer.Option(help="SRDF file that says which links never collide.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field of your own, as FIELD=YAML; repeatable."),
    ] = None,
    describe: Annotated[
        str | None, typer.Option(help="The default action space in words; see docs/describe.md.")
    ] = None,
    language_model: Annotated[
        str | None,
        typer.Option(
            envvar="ICL_VLA_LANGUAGE_MODEL",
            help="Reads free text in --describe: a transformers model, or an endpoint's.",
        ),
    ] = None,
    language_model_url: Annotated[
        str | None,
        typer.Option(
            envvar="ICL_VLA_LANGUAGE_MODEL_URL",
            help="OpenAI-compatible endpoint that has the language model.",
        ),
    ] = None,
    accept_reading: Annotated[
        bool,
        typer.Option("--accept-reading", help="Take what the language model reads unconfirmed."),
    ] = False,
    allow_missing_meshes: Annotated[
        bool, typer.Option("--allow-missing-meshes", help="Go on without files that are missing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: take guesses, allow missing meshes.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, do not keep.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Derive an embodiment from a URDF: groups, limits, frames, action spaces."""
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_embodiments.summary import summary

    from . import output

    start = time.perf_counter()
    ask = not yes and not as_json and sys.stdin.isatty()
    options: dict[str, Any] = {
        "name": name,
        "packages": _packages(package or []),
        "xacro_arguments": _arguments(xacro_arg or []),
        "tcp": None if tcp is None else _tcp(tcp),
        "allow_missing_meshes": allow_missing_meshes or yes,
        "srdf": srdf,
        "own_spaces": describe is None,
    }
    given = _given(set_ or [])
    with output.working(f"reading {urdf.name}", quiet=as_json):
        robot = analysed(urdf, given, **options)
    seconds = time.perf_counter() - start
    description = None
    if describe is not None:
        from ..language_models import chosen_model
        from .describing import understood

        model = chosen_model(language_model, language_model_url)
        description = understood(robot, describe, model, accept=accept_reading, ask=ask)
    if robot.flags and ask:
        from .answers import Questions

        answers = Questions(robot).ask(robot.flags)
        robot = analysed(urdf, {**answers, **given}, **options)
    if description is not None:
        robot = description.applied(robot)
    if not dry_run:
        robot = EmbodimentStore().add(robot)
    picture = None if dry_run else _draw(robot)
    if as_json:
        output.show_json(summary(robot, seconds) | ({"picture": picture} if picture else {}))
        return
    show_robot(robot)
    if picture is not None:
        output.console.print(f"  kept in {picture.parent}", soft_wrap=True)
        output.console.print(f"  picture {picture}", soft_wrap=True)


def analysed(
    urdf: Path, given: Mapping[str, Any], *, own_spaces: bool = True, **options: Any
) -> Embodiment:
    """Analyse a URDF with what the user gave, now or in an earlier file of that name.

    Without ``own_spaces`` the action spaces are derived anew, whatever an earlier file says.
    """
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_embodiments.urdf import embodiment_from_urdf

    robot = embodiment_from_urdf(urdf, overrides=given, **options)
    fresh = {f for f, p in robot.provenance.items() if p.source == "user"}
    kept = {f: v for f, v in EmbodimentStore().edited(robot.name).items() if f not in fresh}
    if not own_spaces:
        kept.pop("action_spaces", None)
    if kept:  # so that what follows from them follows
        robot = embodiment_from_urdf(urdf, overrides={**kept, **given}, **options)
    return robot


def add(urdf: Path, *, keep: bool = True, **options: Any) -> Embodiment:
    """Analyse a URDF and, unless told not to, keep the result."""
    from icl_vla_embodiments.store import EmbodimentStore

    robot = analysed(urdf, {}, **options)
    return EmbodimentStore().add(robot) if keep else robot


def _draw(robot: Embodiment) -> Path:
    from icl_vla_embodiments.picture import draw_robot
    from icl_vla_embodiments.store import EmbodimentStore

    return draw_robot(robot, EmbodimentStore().folder(robot.name) / f"{robot.name}.png")


def _given(pairs: list[str]) -> dict[str, Any]:
    import yaml

    from icl_vla_embodiments import ReportedError

    given: dict[str, Any] = {}
    for pair in pairs:
        field, separator, text = pair.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            separator = ""
        if not separator:
            raise ReportedError(
                "a field needs a name and a value",
                where="--set",
                value=pair,
                remedy='--set family=arm, or --set "groups={arm: {joints: [a, b]}}"',
            )
        old = given.get(field)
        both = isinstance(old, dict) and isinstance(value, dict)
        given[field] = {**old, **value} if both else value  # type: ignore[dict-item]
    return given


def _arguments(pairs: list[str]) -> dict[str, str]:
    from icl_vla_embodiments import ReportedError

    out = {}
    for pair in pairs:
        name, separator, value = pair.partition(":=")
        if not separator or not name:
            raise ReportedError(
                "an argument needs a name and a value",
                where="--xacro-arg",
                value=pair,
                remedy="--xacro-arg prefix:=left_",
            )
        out[name] = value
    return out


def _packages(pairs: list[str]) -> dict[str, Path]:
    from icl_vla_embodiments import ReportedError

    out = {}
    for pair in pairs:
        name, separator, folder = pair.partition("=")
        if not separator or not Path(folder).is_dir():
            raise ReportedError(
                "a package needs a name and a folder that exists",
                where="--package",
                value=pair,
                remedy="--package my_robot_description=path/to/my_robot_description",
            )
        out[name] = Path(folder)
    return out


def _tcp(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    from icl_vla_embodiments import ReportedError

    try:
        numbers = tuple(float(x) for x in text.replace(",", " ").split())
    except ValueError:
        numbers = ()
    if len(numbers) != 6:
        raise ReportedError(
            "a tool centre point has six numbers",
            where="--tcp",
            value=text,
            remedy='--tcp "0 0 0.1 0 0 0": metres, then radians',
        )
    return numbers[:3], numbers[3:]


def show_robot(robot: Embodiment) -> None:
    """Print what was found, and what is doubtful."""
    from . import output

    output.console.print(
        f"  [bold]{robot.name}[/]: {robot.family.replace('_', ' ')}, base {robot.base},"
        f" {len(robot.joints)} actuated joints"
    )
    for field in ("family", "base"):
        output.console.print(f"  [dim]{field}: {robot.provenance[field].why}[/]")
    rows = [
        (
            g.name,
            g.kind,
            len(g.joints),
            f"{g.base_link} to {g.tip_link}",
            _motion(g),
        )
        for g in robot.groups
    ]
    output.table("Groups", ("name", "kind", "joints", "links", "remark"), rows)
    limits = [
        (
            joint,
            f"{at.lower:.3g} to {at.upper:.3g}",
            f"{at.velocity:.3g}",
            f"{at.acceleration:.3g}",
            f"{at.effort:.3g}",
        )
        for joint, at in robot.limits.items()
    ]
    output.table("Limits (SI)", ("joint", "position", "velocity", "acceleration", "effort"), limits)
    spaces = ", ".join(f"{s.name} ({len(s)})" for s in robot.action_spaces)
    output.console.print(f"  action spaces: {spaces}; the first is the default")
    for text in robot.repairs:
        output.console.print(f"  [dim]repaired:[/] {text}")
    for text in robot.warnings:
        output.console.print(f"  [yellow]note:[/] {text}")
    for flag in robot.flags:
        output.console.print(f"  [yellow]?[/] {flag.field}: {flag.question} Taken: {flag.guess}")
    if robot.flags:
        output.console.print(
            "  settle a question by editing the embodiment file, or with --set", style="dim"
        )


def _motion(group: Group) -> str:
    """A gripper's closed and open positions, a wheel's radius."""
    if group.kind == "gripper":
        ends = zip(group.closed, group.open, strict=True)
        return "closed to open: " + ", ".join(f"{a:.3g} to {b:.3g}" for a, b in ends)
    return "" if group.radius is None else f"radius {group.radius:.3g} m"


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the robots that were added and those that plugins bring."""
    from icl_vla_embodiments.store import EmbodimentStore

    from . import output

    names = EmbodimentStore().names()
    if as_json:
        output.show_json(names)
        return
    for name in names:
        output.console.print(f"  {name}")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is known about a robot."""
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_embodiments.summary import summary

    from . import output

    robot = EmbodimentStore().get(name)
    if as_json:
        output.show_json(summary(robot))
    else:
        show_robot(robot)


@app.command("describe")
def describe(
    name: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    space: Annotated[str | None, typer.Option(help="Action space; default: the first.")] = None,
) -> None:
    """Print an action space as the text that the policy reads."""
    from icl_vla_embodiments.store import EmbodimentStore

    print(EmbodimentStore().get(name).action_space(space).describe(), end="")


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    configurations: Annotated[int, typer.Option(help="Random configurations to compare.")] = 1000,
    reaches: Annotated[int, typer.Option(help="Random poses for each arm.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try a robot in simulation: kinematics, reaches, joints, grippers, self-collision."""
    from dataclasses import asdict

    from icl_vla_embodiments.home import write_atomically
    from icl_vla_embodiments.store import EmbodimentStore

    from ..sim.check import check_embodiment, check_picture
    from . import output

    store = EmbodimentStore()
    robot = store.get(name)
    folder = store.folder(name)
    with output.working("trying", quiet=as_json) as say:
        report = check_embodiment(
            robot, folder, configurations=configurations, reaches=reaches, watch=say
        )
    picture = folder / f"{name}.check.png"
    write_atomically(picture, check_picture(robot, report))
    if as_json:
        output.show_json(
            {
                "name": name,
                "passed": report.passed,
                "checks": [asdict(r) for r in report.results],
                "seconds": round(report.seconds, 2),
                "picture": picture,
            }
        )
    else:
        rows = [(r.name, "ok" if r.passed else "FAILED", r.remark) for r in report.results]
        output.table(f"Check of {name}", ("check", "outcome", "remark"), rows)
        output.console.print(f"  {report.seconds:.1f} s; picture {picture}", soft_wrap=True)
    if not report.passed:
        raise typer.Exit(1)


@app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="Name of an embodiment.")]) -> None:
    """Forget a robot that was added. Its demonstrations stay."""
    from icl_vla_embodiments.store import EmbodimentStore

    EmbodimentStore().remove(name)
