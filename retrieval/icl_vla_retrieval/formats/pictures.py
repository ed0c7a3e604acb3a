"""Pictures of a camera: a folder of files, a video file, or an array in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..demonstration import CameraTrack
from ..errors import DatasetError
from ..lerobot.video import decode_frames
from ..pictures import decode_picture, stack

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
VIDEOS = (".mp4", ".mkv", ".avi", ".mov", ".webm")


def natural(path: Path) -> tuple[object, ...]:
    """Sorting key that puts frame_2 before frame_10."""
    return tuple(int(w) if w.isdigit() else w for w in re.split(r"(\d+)", path.name.lower()))


def in_folder(folder: Path) -> list[Path]:
    """Picture files of a folder, in the order of their numbers."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file()]
    return sorted(files, key=natural)


def folder_track(folder: Path, files: Sequence[Path], length: int) -> CameraTrack:
    """A camera whose frames are files; there must be one for each frame."""
    if len(files) != length:
        raise DatasetError(
            "a camera has another number of pictures than its episode has frames",
            where=folder,
            value=f"{len(files)} pictures",
            valid=[f"{length} pictures"],
            remedy="remove this camera's folder, or restore its pictures",
        )
    return CameraTrack(frames=partial(_read_files, tuple(files), folder))


def video_track(file: Path, frames: Sequence[int]) -> CameraTrack:
    """A camera whose frames are those of a video, by their number."""
    return CameraTrack(frames=partial(decode_frames, file, tuple(frames)))


def array_track(read: Callable[[], NDArray], source: str, name: str) -> CameraTrack:
    """A camera whose frames are an array ``(T, H, W, 3)``, or ``(T, 3, H, W)``, of numbers."""
    return CameraTrack(frames=partial(_checked, read, source, name))


def is_pictures(shape: Sequence[int], dtype: np.dtype) -> bool:
    """Whether an array can be a camera's frames."""
    return (
        len(shape) == 4 and dtype == np.uint8 and 3 in (shape[3], shape[1]) and min(shape[2:]) > 0
    )


def _checked(read: Callable[[], NDArray], source: str, name: str) -> NDArray[np.uint8]:
    frames = read()
    if not is_pictures(frames.shape, frames.dtype):
        raise DatasetError(
            "a camera's frames are not pictures",
            where=source,
            value=f"{name}: {frames.shape} {frames.dtype}",
            valid=["(T, H, W, 3) uint8"],
        )
    return frames if frames.shape[3] == 3 else np.ascontiguousarray(frames.transpose(0, 2, 3, 1))


def _read_files(files: tuple[Path, ...], folder: Path) -> NDArray[np.uint8]:
    return stack([decode_picture(f, f) for f in files], folder)
