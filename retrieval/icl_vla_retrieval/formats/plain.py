"""A plain folder: one ``.npz`` or ``.csv`` an episode, and pictures beside it.

Pictures of ``episode_3.npz`` lie in ``episode_3/`` or ``images/episode_3/`` (one camera), or in
folders in there (a camera each), or are ``episode_3.mp4``, ``episode_3/front.mp4``. In an ``.npz``
an array ``(T, H, W, 3)`` of bytes is a camera. The instruction is an array ``instruction`` of one
text, or the first line of ``instruction.txt`` beside the files. A ``.csv`` has a row of headings;
``state.0``, ``state.1`` or ``state_0``, ``state_1`` are numbers of one column ``state``.
"""

from __future__ import annotations

import csv
import re
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..demonstration import CameraTrack
from ..errors import DatasetError
from . import pictures
from .raw import RawEpisode, as_column, check_size

NAME = "folder"
TIMES = ("time", "times", "timestamp", "timestamps", "t", "stamp")
TEXTS = ("instruction", "task", "language_instruction", "prompt")
_NUMBERED = re.compile(r"(.+?)[_\[ ]\d+\]?")
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,  # numpy's second try at an array's header
    MemoryError,
)


def detect(path: Path) -> bool:
    """Whether a path is such a file, or a folder of them."""
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in (".npz", ".csv") else []
    files = [p for p in path.iterdir() if p.suffix.lower() in (".npz", ".csv") and p.is_file()]
    return sorted(files, key=pictures.natural)


def read(path: Path) -> Iterator[RawEpisode]:
    """Its episodes, in the order of their numbers."""
    for file in _files(path):
        yield _from_npz(file) if file.suffix.lower() == ".npz" else _from_csv(file)


def _from_npz(path: Path) -> RawEpisode:
    columns, cameras = {}, {}
    instruction = ""
    times = None
    for name, dtype, shape in _headers(path):
        if pictures.is_pictures(shape, dtype):
            later = partial(_array, path, name)
            cameras[name] = pictures.array_track(later, str(path), name)
            continue
        if dtype.kind in "US" and name.lower() in TEXTS:
            instruction = str(np.ravel(_array(path, name))[0]) if np.prod(shape) else ""
            continue
        if dtype.kind not in "fiub" or len(shape) not in (1, 2):
            continue
        values = as_column(_array(path, name), str(path), name)
        if values is None:
            continue
        if name.lower() in TIMES and values.shape[1] == 1:
            times = values[:, 0]
        else:
            columns[name] = values
    return _episode(path, columns, {}, times, instruction, cameras)


def _headers(path: Path) -> list[tuple[str, np.dtype, tuple[int, ...]]]:
    """Name, type and shape of every array, read without the arrays; no pickle is ever loaded.

    Raises:
        DatasetError: The file is damaged, or an array claims more numbers than the file has.
    """
    out = []
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.filename.endswith(".npy"):
                    continue
                with archive.open(entry) as file:
                    shape, dtype = _header(file)
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if dtype.hasobject or size > entry.file_size or min(shape, default=0) < 0:
                    raise ValueError(f"{entry.filename} holds {dtype} {shape}")
                check_size(entry.file_size, str(path), entry.filename) if len(shape) < 3 else None
                out.append((entry.filename.removesuffix(".npy"), dtype, shape))
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    return out


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype


def _array(path: Path, name: str) -> NDArray:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return np.asarray(stored[name])
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def _from_csv(path: Path) -> RawEpisode:
    check_size(path.stat().st_size, str(path), "the file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, error) from error
    rows = [row for row in rows if row]
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        raise DatasetError(
            "a table needs a row of headings, and rows of as many numbers",
            where=path,
            value=f"{len(rows)} rows of {sorted({len(r) for r in rows})} cells",
        )
    instruction, times = "", None
    columns: dict[str, list[NDArray]] = {}
    names: dict[str, list[str]] = {}
    prefixes = Counter(p for heading in rows[0] for p in _prefixes(heading.strip()))
    for heading, *cells in zip(*rows, strict=True):
        heading = heading.strip()
        if heading.lower() in TEXTS:
            instruction = cells[0]
            continue
        try:
            values = np.array([float(cell) for cell in cells])
        except ValueError as error:
            raise DatasetError(
                "a cell of a table is not a number", where=f"{path}, {heading!r}", value=str(error)
            ) from error
        if heading.lower() in TIMES:
            times = values
            continue
        numbered = _NUMBERED.fullmatch(heading)
        group = next((g for g in _prefixes(heading) if prefixes[g] > 1), "")
        own = heading.removeprefix(f"{group}.")
        if not group and numbered:
            group = numbered[1]
        columns.setdefault(group, []).append(values)
        names.setdefault(group, []).append(own)
    stacked = {group or "columns": np.column_stack(x) for group, x in columns.items()}
    own_names = {g or "columns": () if _all_digits(n) else tuple(n) for g, n in names.items()}
    return _episode(path, stacked, own_names, times, instruction, {})


def _prefixes(heading: str) -> list[str]:
    """``a.b`` and ``a`` of ``a.b.c``; a column is the longest that several headings share."""
    parts = heading.split(".")
    return [".".join(parts[:k]) for k in range(len(parts) - 1, 0, -1)]


def _all_digits(words: list[str]) -> bool:
    return all(w.isdigit() for w in words)


def _episode(
    path: Path,
    columns: Mapping[str, NDArray],
    names: Mapping[str, tuple[str, ...]],
    times: NDArray | None,
    instruction: str,
    cameras: Mapping[str, CameraTrack],
) -> RawEpisode:
    length = len(next(iter(columns.values()), ()))
    if not instruction and (path.parent / "instruction.txt").is_file():
        lines = (path.parent / "instruction.txt").read_text(errors="replace").splitlines()
        instruction = lines[0].strip() if lines else ""
    return RawEpisode(
        format=f"{NAME} of {path.suffix.lower()[1:]}",
        source=str(path),
        columns=columns,
        names=names,
        cameras={**cameras, **_pictures(path, length)},
        times=None if times is None else _seconds(times),
        instruction=instruction,
    )


def _seconds(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times [s] of a clock in seconds, milli-, micro- or nanoseconds.

    Robots are recorded at 1 to 1,000 frames a second; that leaves one unit.
    """
    if len(times) < 2 or not np.isfinite(times).all():
        return times
    period = float(np.median(np.diff(times)))
    unit = next((u for u in (1.0, 1e-3, 1e-6, 1e-9) if 0.9e-3 <= period * u <= 1.1), 1.0)
    return (times - times[0]) * unit


def _pictures(path: Path, length: int) -> dict[str, CameraTrack]:
    out: dict[str, CameraTrack] = {}
    for home in (path.parent / path.stem, path.parent / "images" / path.stem):
        if not home.is_dir():
            continue
        if files := pictures.in_folder(home):
            out["camera"] = pictures.folder_track(home, files, length)
        for child in sorted(home.iterdir()):
            if child.is_dir() and (files := pictures.in_folder(child)):
                out[child.name] = pictures.folder_track(child, files, length)
            elif child.suffix.lower() in pictures.VIDEOS:
                out[child.stem] = pictures.video_track(child, range(length))
    for suffix in pictures.VIDEOS:
        if path.with_suffix(suffix).is_file():
            out["camera"] = pictures.video_track(path.with_suffix(suffix), range(length))
    return out


def _damaged(path: Path, error: Any) -> DatasetError:
    return DatasetError(
        "a file cannot be read",
        where=path,
        value=str(error),
        remedy="fetch or record it again",
    )
