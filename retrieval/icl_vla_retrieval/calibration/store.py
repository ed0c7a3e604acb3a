"""A found calibration in a bank: a new version of it, so that the old one is kept."""

from __future__ import annotations

import datetime
from dataclasses import replace

from ..bank import DemoBank
from ..demonstration import Demonstration
from ..versions import Taken, revise
from .calibrate import Calibration


def store_calibration(bank: DemoBank, calibration: Calibration) -> DemoBank:
    """The bank with every episode's camera where it was found.

    Each episode's provenance tells that it was calibrated, when, and how well
    (``calibration.CAMERA``). The change is whole or not at all.

    Raises:
        DatasetBusy: Another process is writing to the bank.
        DiskFull: There is no room; the bank is as before.
    """
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    note = f"{calibration.summary} ({when})"
    return revise(
        bank,
        lambda now: [
            Taken(now, i, relabelled=calibrated(now[i], calibration, note)) for i in range(len(now))
        ],
        [f"camera {calibration.camera}: {calibration.summary}"],
    )


def calibrated(
    demonstration: Demonstration, calibration: Calibration, note: str = ""
) -> Demonstration:
    """A demonstration with the camera where it was found, and a note of it."""
    name = calibration.camera
    track = replace(
        demonstration.cameras[name],
        intrinsics=calibration.pinhole.intrinsics,
        mount=None,
        T_mount_camera=calibration.pinhole.T_base_camera,
    )
    return replace(
        demonstration,
        cameras={**demonstration.cameras, name: track},
        provenance={
            **demonstration.provenance,
            f"calibration.{name}": note or calibration.summary,
        },
    )
