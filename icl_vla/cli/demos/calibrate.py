"""``icl-vla demos calibrate``: where a bank's camera stands, from the robot's own motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from icl_vla_embodiments.types import Array
    from icl_vla_retrieval.calibration import Calibration


def calibrate(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    camera: Annotated[
        str | None, typer.Option(help="Which camera; needed where there are several.")
    ] = None,
    intrinsics: Annotated[
        str | None, typer.Option(help="Known ones as fx,fy,cx,cy in pixels; else found, too.")
    ] = None,
    depth: Annotated[bool, typer.Option(help="Use depth where there is some.")] = True,
    store: Annotated[bool, typer.Option(help="Write it into the bank (a new version).")] = True,
    force: Annotated[bool, typer.Option("--force", help="Write a doubtful one, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find a fixed camera's pose and focal length from the robot's motion before it."""
    from icl_vla_embodiments.home import write_atomically
    from icl_vla_embodiments.robot_model import RobotModel
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_retrieval import BankError, DemoBank
    from icl_vla_retrieval.calibration import calibrate_camera, overlay, store_calibration

    from ...paths import bank_path, home, run_path
    from .. import output

    base = home()
    robot = EmbodimentStore(base).get(embodiment)
    bank = DemoBank.open(bank_path(base, embodiment))
    bank.check(robot)
    known = sorted(bank.spec.cameras)
    if len(known) == 1 and camera is None:
        camera = known[0]
    if camera is None or camera not in known or not len(bank):
        raise BankError(
            "there is nothing to calibrate" if not (known and len(bank)) else "which camera?",
            where=bank.path,
            value=camera,
            valid=known,
            remedy=f"icl-vla demos calibrate {embodiment} --camera NAME",
        )
    model, demonstrations = RobotModel(robot), list(bank)
    with output.working("calibrating", quiet=as_json) as say:
        found = calibrate_camera(
            demonstrations,
            camera,
            model,
            intrinsics=None if intrinsics is None else _matrix(intrinsics),
            depth=depth,
            say=say,
        )
        say("drawing the robot's outline")
        picture = run_path(base, embodiment) / f"calibration-{camera}.png"
        write_atomically(picture, overlay(demonstrations, found, model))
        stored = store and (force or not found.doubts)
        if stored:
            say("writing a new version of the bank")
            store_calibration(bank, found)
    if as_json:
        output.show_json(_report(found, picture, stored))
        return
    _show(found, picture, stored, store)


def _matrix(text: str) -> Array:
    """``(3, 3)`` of ``fx,fy,cx,cy``."""
    import numpy as np

    from icl_vla_embodiments import ReportedError

    try:
        fx, fy, cx, cy = (float(x) for x in text.split(","))
    except ValueError:
        fx = fy = cx = cy = np.nan
    if not (np.isfinite([fx, fy, cx, cy]).all() and min(fx, fy) > 0):
        raise ReportedError(
            "intrinsics are four numbers [px]",
            where="--intrinsics",
            value=text,
            valid=["fx,fy,cx,cy"],
        )
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _report(found: Calibration, picture: Path, stored: bool) -> dict[str, Any]:
    return {
        "camera": found.camera,
        "intrinsics": found.pinhole.intrinsics,
        "T_base_camera": found.pinhole.T_base_camera,
        "reprojection_px": found.reprojection,
        "outline_found": found.share,
        "surface_m": found.surface,
        "position_error_m": found.position_error,
        "angle_error_rad": found.angle_error,
        "focal_error": found.focal_error,
        "demonstrations": found.demonstrations,
        "frames": found.frames,
        "doubts": found.doubts,
        "stored": stored,
        "picture": picture,
    }


def _show(found: Calibration, picture: Path, stored: bool, wanted: bool) -> None:
    import numpy as np

    from .. import output

    T = found.pinhole.T_base_camera
    rows = [
        ("position in the base frame, m", " ".join(f"{x:.3f}" for x in T[:3, 3])),
        ("looks along", " ".join(f"{x:.3f}" for x in T[:3, 2])),
        ("focal length, px", f"{found.pinhole.focal:.1f}"),
        ("outline off, px", f"{found.reprojection:.2f}"),
        ("outline found", f"{found.share:.0%}"),
        ("position to, mm", f"{1e3 * found.position_error:.1f}"),
        ("direction to, deg", f"{np.degrees(found.angle_error):.2f}"),
    ]
    if found.surface is not None:
        rows.insert(5, ("surface off, mm", f"{1e3 * found.surface:.1f}"))
    output.table(f"Camera {found.camera}", ("", ""), rows)
    for doubt in found.doubts:
        output.console.print(f"  [yellow]doubtful:[/] {doubt}")
    output.console.print(f"  the robot's outline over the pictures: {picture}")
    if stored:
        output.console.print("  written into a new version of the bank")
    elif wanted:
        output.console.print("  not written, being doubtful; look at the picture, then --force")
