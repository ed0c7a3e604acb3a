"""LeRobotDataset folders, v2.x and v3.0; :mod:`icl_vla_retrieval.lerobot` has the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..demonstration import CameraTrack
from ..errors import DatasetError
from ..lerobot import Episode, LeRobotReader, layout
from .raw import RawEpisode, as_column

NAME = "lerobot"


def detect(path: Path) -> bool:
    """Whether a path is such a folder."""
    return (path / layout.INFO).is_file()


def read(path: Path) -> Iterator[RawEpisode]:
    """Its episodes."""
    reader = LeRobotReader(path)
    for i in range(len(reader)):
        yield _episode(reader, reader[i])


def _episode(reader: LeRobotReader, episode: Episode) -> RawEpisode:
    source = f"{reader.path}, episode {episode.record.index}"
    columns, names = {}, {}
    for key, values in episode.columns.items():
        column = None if key in layout.STANDARD else as_column(values, source, key)
        if column is not None:
            columns[key] = column
            own = reader.names(key)
            names[key] = own if len(own) == column.shape[1] else ()
    times = episode.columns.get("timestamp")
    return RawEpisode(
        format=f"{NAME} v{'.'.join(map(str, reader.version))}",
        source=source,
        columns=columns,
        names=names,
        cameras={
            key.removeprefix(layout.IMAGES).removeprefix("observation."): CameraTrack(
                frames=partial(_pictures, decode, source, key)
            )
            for key, decode in episode.frames.items()
        },
        times=None if times is None else np.asarray(times, dtype=float).reshape(-1),
        rate=float(reader.fps),
        instruction=episode.task,
        notes={"robot_type": reader.robot_type} if reader.robot_type else {},
    )


def _pictures(decode: Callable[[], NDArray[np.uint8]], source: str, key: str) -> NDArray[np.uint8]:
    frames = decode()
    if frames.ndim != 4:
        raise DatasetError("a camera's frames are not pictures", where=source, value=key)
    return frames
