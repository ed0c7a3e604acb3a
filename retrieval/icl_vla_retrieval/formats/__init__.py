"""Recordings from elsewhere, one module a format, chosen by what a path holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import DatasetError
from . import droid, lerobot, plain, robomimic
from .raw import Given, RawEpisode

__all__ = ["Given", "RawEpisode", "read_episodes"]

FORMATS = (lerobot, robomimic, droid, plain)  # in the order of asking


def read_episodes(path: Path) -> Iterator[RawEpisode]:
    """Episodes of a file or folder in any known format, or of a folder of HDF5 files.

    Raises:
        DatasetError: The format is not known, or the data are damaged.
    """
    if not path.exists():
        raise DatasetError("no such file or folder", where=path)
    for module in FORMATS:
        if module.detect(path):
            yield from module.read(path)
            return
    files = sorted([*path.glob("*.hdf5"), *path.glob("*.h5")]) if path.is_dir() else []
    if files and all(map(robomimic.detect, files)):
        for file in files:
            yield from robomimic.read(file)
        return
    raise DatasetError(
        "no demonstrations are found here",
        where=path,
        valid=[
            "a LeRobotDataset folder (meta/info.json)",
            "a robomimic .hdf5 file (data/demo_0)",
            "a DROID folder (trajectory.h5)",
            "a folder of .npz or .csv files",
        ],
        remedy="give the path of the folder that holds one of these",
    )
