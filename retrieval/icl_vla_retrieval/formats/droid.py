"""DROID as recorded: a folder with ``trajectory.h5`` and ``recordings/``.

Layout from droid-dataset/droid: ``droid/trajectory_utils/trajectory_writer.py`` (nested
dictionaries become groups, one row a step; attributes hold ``current_task``),
``droid/trajectory_utils/misc.py`` (``observation/timestamp/skip_action`` marks the steps in which
the operator had let go: the robot was not commanded), ``droid/robot_env.py`` (15 Hz) and
its robot server, ``robot.py``: ``joint_positions`` [rad]; ``cartesian_position`` x y z [m] and
fixed-axis roll pitch yaw (scipy's lower-case "xyz", ``droid/misc/transformations.py``);
``gripper_position`` = 1 - width / largest width, so 0 is open and 1 is closed; ``action`` holds
one command in every form, of which the joint positions are what was sent to the robot. Pictures:
``recordings/MP4/SERIAL.mp4`` (``droid/postprocessing/util/svo2mp4.py``, left view), or
``recordings/frames/CAMERA/NNN.jpg`` without the skipped steps
(``preprocessing/process_collected_demos.py`` of ricl-vla/ricl_openpi, which also names the folder
of a task ``YYYY-MM-DD_the_prompt``). ZED's own ``.svo`` files need its SDK and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..demonstration import CameraTrack, Value
from ..errors import DatasetError
from . import hdf5, pictures
from .raw import Given, RawEpisode

NAME = "droid"
FILE = "trajectory.h5"
RATE = 15.0  # [Hz]
_STATE, _ACTION = "observation/robot_state/", "action/"
_GIVEN = Given(
    map={
        _STATE + "joint_positions": "state",
        _STATE + "gripper_position": "gripper",
        _STATE + "cartesian_position": "pose",
        _ACTION + "joint_position": "absolute",
        _ACTION + "gripper_position": "action",
    },
    unit={
        _STATE + "joint_positions": "rad",
        _STATE + "gripper_position": "1..0",
        _STATE + "cartesian_position": "euler_xyz",
        _ACTION + "joint_position": "rad",
        _ACTION + "gripper_position": "1..0",
    },
)
_CLOCK = "observation/timestamp/control/step_start"  # [ms]
_SKIP = "observation/timestamp/skip_action"
_ENABLED = "observation/controller_info/movement_enabled"
_DATED = re.compile(r"\d{4}-\d\d-\d\d_(.+)")


def detect(path: Path) -> bool:
    """Whether a path is such a folder, or a folder of them."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name == FILE else []
    depths = (FILE, f"*/{FILE}", f"*/*/{FILE}", f"*/*/*/{FILE}")
    return next((files for d in depths if (files := sorted(path.glob(d)))), [])


def read(path: Path) -> Iterator[RawEpisode]:
    """Its episodes."""
    for file in _files(path):
        yield _episode(file)


def _episode(path: Path) -> RawEpisode:
    with hdf5.opened(path) as file:
        source = str(path)
        every = {
            name: values
            for prefix in (_STATE, _ACTION)
            if (group := hdf5.member(file, prefix.rstrip("/"))) is not None
            and not hasattr(group, "dtype")
            for name, values in hdf5.columns(group, source, prefix).items()
        }
        missing = [c for c in _GIVEN.map if c not in every and "cartesian" not in c]
        if missing:
            raise DatasetError("a trajectory lacks columns", where=path, value=", ".join(missing))
        keep = _keep(file, len(every[_ACTION + "joint_position"]), source)
        clock = _optional(file, _CLOCK, source)
        task = hdf5.text(file.attrs.get("current_task", ""))
        notes: dict[str, Value] = {
            key: bool(file.attrs[key]) if key == "success" else hdf5.text(file.attrs[key])
            for key in ("success", "robot_serial_number", "building")
            if key in file.attrs and np.ndim(file.attrs[key]) == 0
        }
    lengths = {len(x) for x in every.values()}
    if lengths != {len(keep)} or not keep.any():
        raise DatasetError(
            "the columns of a trajectory have different lengths, or every step was skipped",
            where=path,
            value=f"{sorted(lengths)} steps, {int(keep.sum())} of them commanded",
        )
    if dated := _DATED.fullmatch(path.parent.parent.name):
        task = task or dated[1].replace("_", " ")
    ignored = {c: "ignore" for c in every if c not in _GIVEN.map}
    return RawEpisode(
        format=NAME,
        source=source,
        columns={name: values[keep] for name, values in every.items()},
        cameras=_cameras(path.parent / "recordings", keep),
        times=_times(clock, keep),
        rate=RATE,
        instruction=task,
        given=_GIVEN.over(Given(map=ignored)),
        notes={**notes, "skipped_frames": int((~keep).sum())},
    )


def _optional(file: Any, name: str, source: str) -> NDArray | None:
    found = hdf5.member(file, name)
    good = found is not None and hasattr(found, "dtype") and found.dtype.kind in "fiub"
    return hdf5.read(found, source, name).reshape(-1) if good else None


def _keep(file: Any, length: int, source: str) -> NDArray[np.bool_]:
    """``(T,)``: whether the robot was commanded in a step."""
    skip = _optional(file, _SKIP, source)
    if skip is not None:
        return ~skip.astype(bool)
    enabled = _optional(file, _ENABLED, source)  # what newer recordings have instead
    return np.ones(length, bool) if enabled is None else enabled.astype(bool)


def _times(clock: NDArray | None, keep: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Times of the kept steps [s]; pauses of the operator are closed, as if never made."""
    if clock is None or len(clock) != len(keep):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        periods = np.diff(clock.astype(float) / 1000.0, append=np.nan)
    kept = periods[keep][:-1]
    return np.concatenate([[0.0], np.cumsum(np.where(_across(keep), 1 / RATE, kept))])


def _across(keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether something was left out between a kept step and the next kept one."""
    return np.asarray(np.diff(np.flatnonzero(keep)) > 1)


def _cameras(folder: Path, keep: NDArray[np.bool_]) -> dict[str, CameraTrack]:
    out: dict[str, CameraTrack] = {}
    frames = folder / "frames"
    if frames.is_dir():
        for home in sorted(p for p in frames.iterdir() if p.is_dir()):
            files = pictures.in_folder(home)
            if len(files) == len(keep):
                files = [f for f, kept in zip(files, keep, strict=True) if kept]
            out[home.name] = pictures.folder_track(home, files, int(keep.sum()))
        return out
    for file in sorted([*folder.glob("MP4/*.mp4"), *folder.glob("*.mp4")]):
        if not file.stem.endswith("-stereo"):  # both views side by side; the left one is beside it
            out[file.stem] = pictures.video_track(file, np.flatnonzero(keep).tolist())
    return out
