"""Cameras that do not stand where their calibration says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..calibration import CalibrationError, calibration_error
from .finding import Finding
from .motion import Motion

SHIFT, TURN = 0.006, np.radians(1.0)  # [m], [rad] that the fit itself may err by
SEEN = 0.15  # share of the robot's outline that must be found before the fit is believed


def check_cameras(motions: Sequence[Motion]) -> Iterator[Finding]:
    """Compare where each calibration puts the robot with where the pictures show it.

    Episodes that share a calibration are judged together: more postures tell more.
    """
    groups: dict[tuple[str, bytes], list[Motion]] = {}
    for motion in motions:
        for name, track in motion.d.cameras.items():
            if track.T_mount_camera is not None and track.intrinsics is not None:
                key = (name, track.T_mount_camera.tobytes() + track.intrinsics.tobytes())
                groups.setdefault(key, []).append(motion)
    for (name, _), group in groups.items():
        value = _judge(name, group)
        if value:
            for episode in [None] if len(group) == len(motions) else [m.episode for m in group]:
                yield Finding(
                    "calibration",
                    episode,
                    None,
                    value,
                    f"calibrate it from the demonstrations: icl-vla demos calibrate"
                    f" {group[0].d.embodiment} --camera {name}",
                )


def _judge(name: str, group: Sequence[Motion]) -> str:
    """What is wrong with a camera's calibration, in words; empty where nothing is known to be."""
    try:
        check = calibration_error([m.d for m in group], name, group[0].model)
    except CalibrationError:
        return ""
    if check is None or check.share < SEEN or (check.shift < SHIFT and check.turn < TURN):
        return ""
    return (
        f"camera {name!r} stands {1e3 * check.shift:.0f} mm and {np.degrees(check.turn):.1f} deg"
        f" from where its calibration says; the robot's outline is {check.reprojection:.1f} px off"
    )
