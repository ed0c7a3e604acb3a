"""``icl-vla add-embodiment`` and ``icl-vla embodiments``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from icl_vla_embodiments import Embodiment

app = typer.Typer(help="Robots that are known.", no_args_is_help=True)


def add_embodiment(
    urdf: Annotated[Path, typer.Argument(help="URDF file of the robot.")],
    name: Annotated[str | None, typer.Option(help="Name; default: the robot's own.")] = None,
    package: Annotated[
        list[str] | None, typer.Option(help="Folder of a ROS package, as NAME=DIR; repeatable.")
    ] = None,
    tcp: Annotated[
        str | None, typer.Option(help='Tool centre point "x y z roll pitch yaw" in the last link.')
    ] = None,
    allow_missing_meshes: Annotated[
        bool, typer.Option("--allow-missing-meshes", help="Go on without files that are missing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show, do not keep.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Derive an embodiment from a URDF: groups, limits, frames, action spaces."""
    from icl_vla_embodiments.store import EmbodimentStore

    from . import output

    robot = add(
        urdf,
        keep=not dry_run,
        name=name,
        packages=_packages(package or []),
        tcp=None if tcp is None else _tcp(tcp),
        allow_missing_meshes=allow_missing_meshes,
    )
    if as_json:
        output.show_json(_summary(robot))
        return
    show_robot(robot)
    if not dry_run:
        folder = EmbodimentStore().folder(robot.name)
        output.console.print(f"  kept in {folder}", soft_wrap=True)


def add(urdf: Path, *, keep: bool = True, **options: Any) -> Embodiment:
    """Analyse a URDF and, unless told not to, keep the result."""
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_embodiments.urdf import embodiment_from_urdf

    robot = embodiment_from_urdf(urdf, **options)
    return EmbodimentStore().add(robot) if keep else robot


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


def _summary(robot: Embodiment) -> dict[str, object]:
    return {
        "name": robot.name,
        "family": robot.family,
        "base": robot.base,
        "arms": [{"joints": a.joints, "ee_link": a.tip_link} for a in robot.arms],
        "gripper_joints": [j for g in robot.of_kind("gripper") for j in g.joints],
        "groups": [{"name": g.name, "kind": g.kind, "joints": g.joints} for g in robot.groups],
        "action_spaces": {s.name: s.describe() for s in robot.action_spaces},
        "warnings": robot.warnings,
        "repairs": robot.repairs,
        "provenance": {
            field: {"source": p.source, "why": p.why} for field, p in robot.provenance.items()
        },
    }


def show_robot(robot: Embodiment) -> None:
    """Print what was found, and what is doubtful."""
    from . import output

    output.console.print(
        f"  [bold]{robot.name}[/]: {robot.family.replace('_', ' ')}, base {robot.base},"
        f" {len(robot.joints)} actuated joints"
    )
    rows = [(g.name, g.kind, len(g.joints), f"{g.base_link} to {g.tip_link}") for g in robot.groups]
    output.table("Groups", ("name", "kind", "joints", "links"), rows)
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

    from . import output

    robot = EmbodimentStore().get(name)
    if as_json:
        output.show_json(_summary(robot))
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


@app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="Name of an embodiment.")]) -> None:
    """Forget a robot that was added. Its demonstrations stay."""
    from icl_vla_embodiments.store import EmbodimentStore

    EmbodimentStore().remove(name)
