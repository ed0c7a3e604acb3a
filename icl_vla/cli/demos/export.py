"""``icl-vla demos export``: a plain LeRobotDataset for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Version(StrEnum):
    """Of the LeRobotDataset format."""

    v3_0 = "v3.0"
    v2_1 = "v2.1"


def export(
    embodiment: Annotated[str, typer.Argument(help="Name of an embodiment.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; must not exist.")],
    version: Annotated[
        Version, typer.Option("--format", help="Of the LeRobotDataset.")
    ] = Version.v3_0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a plain LeRobotDataset folder; what only a bank keeps (depth, calibration) stays."""
    from icl_vla_retrieval.export import export_dataset

    from ...paths import home
    from .. import output
    from .banks import find_bank

    _, bank = find_bank(home(), embodiment)
    export_dataset(bank, folder, version.value)
    if as_json:
        output.show_json({"path": folder, "format": version.value, "episodes": len(bank)})
        return
    output.console.print(f"  {len(bank)} demonstrations, LeRobotDataset {version.value}: {folder}")
