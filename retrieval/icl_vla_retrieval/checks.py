"""What a bank refuses, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .demonstration import Demonstration
from .errors import BankMismatch, DemonstrationError
from .spec import BankSpec, CameraSpec, describe_cameras

RATE_TOLERANCE = 0.1  # share by which the frames' median spacing may miss the rate


def refuse(spec: BankSpec, differences: Sequence[str], other: str, where: Path) -> None:
    """Raise if the bank and another robot's demonstrations (or robot) differ.

    Raises:
        BankMismatch: There are differences; each says what the bank has, and what the other.
    """
    if differences:
        raise BankMismatch(
            f"the bank of {spec.embodiment!r} and {other!r} do not belong together",
            where=where,
            value="the bank has " + "; ".join(differences),
            remedy="use the robot that the bank was recorded with,"
            " or record into a new bank for this one",
        )


def check_kind(spec: BankSpec, d: Demonstration, where: Path) -> None:
    """Whether a demonstration is of the bank's robot, action space and cameras.

    Raises:
        BankMismatch: It is not.
    """
    theirs = replace(spec, embodiment=d.embodiment, action_space=d.action_space)
    differences = spec.differences(theirs)
    if d.q.shape[1] != len(spec.joints):
        differences.append(f"{len(spec.joints)} joints, not {d.q.shape[1]}")
    refuse(spec, differences, d.embodiment, where)
    given = {
        name: CameraSpec(track.rgb.shape[1], track.rgb.shape[2], track.depth is not None)
        for name, track in d.cameras.items()
    }
    if given != dict(spec.cameras):
        raise BankMismatch(
            "the demonstration's cameras are not the bank's",
            where=where,
            value=describe_cameras(given),
            valid=[describe_cameras(spec.cameras)],
            remedy="give every camera of the bank, in its size, and no other",
        )


def check_numbers(d: Demonstration, side: Mapping[str, NDArray]) -> None:
    """Whether a demonstration's numbers are finite and its frames evenly spaced and complete.

    Raises:
        DemonstrationError: They are not.
    """
    for name, track in d.cameras.items():
        shapes = [track.rgb.shape, *([] if track.depth is None else [track.depth.shape])]
        if any(shape[:3] != (len(d), *track.rgb.shape[1:3]) for shape in shapes):
            raise DemonstrationError(
                f"camera {name!r} does not fit the demonstration",
                value=shapes,
                valid=[f"{len(d)} frames of each, of one size"],
            )
    for name, values in {"q": d.q, "actions": d.actions, **side}.items():
        bad = ~np.isfinite(values).reshape(len(d), -1).all(axis=1)
        if bad.any():
            raise DemonstrationError(
                f"{name} holds numbers that are not finite",
                value=f"{int(bad.sum())} of {len(d)} frames, first frame {int(bad.argmax())}",
                remedy="cut these frames, or record the demonstration again",
            )
    if len(d) > 1:
        rate = 1.0 / float(np.median(np.diff(d.times)))
        if abs(rate / d.action_space.rate - 1.0) > RATE_TOLERANCE:
            raise DemonstrationError(
                "the demonstration runs at another rate than its action space",
                value=f"{rate:.2f} Hz",
                valid=[f"{d.action_space.rate:g} Hz"],
                remedy="resample it, or correct the action space's rate",
            )
