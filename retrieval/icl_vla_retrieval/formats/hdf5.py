"""HDF5 files from elsewhere: numbers, text and attributes, and errors that can be acted on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .raw import as_column, check_size

DEEPEST = 6  # folders in folders that a recording has


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file for reading.

    Raises:
        DatasetError: It is none, or damaged where it was read.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise DatasetError(
            "an HDF5 file cannot be read",
            where=path,
            value=str(error),
            remedy="fetch or record this dataset again",
        ) from error


def member(group: Any, name: str) -> Any:
    """What a group holds under a name; None where it holds nothing, or only points elsewhere.

    A link into another file would read what the user did not name.
    """
    import h5py

    part, _, rest = name.partition("/")
    if part not in group or not isinstance(group.get(part, getlink=True), h5py.HardLink):
        return None
    found = group[part]
    if rest:
        return member(found, rest) if isinstance(found, h5py.Group) else None
    if isinstance(found, h5py.Dataset):
        return None if found.external or found.is_virtual else found
    return found if isinstance(found, h5py.Group) else None


def datasets(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and dataset of everything below a group."""
    import h5py

    if prefix.count("/") > DEEPEST:
        return
    for name in group:
        found = member(group, name)
        if isinstance(found, h5py.Group):
            yield from datasets(found, f"{prefix}{name}/")
        elif isinstance(found, h5py.Dataset):
            yield f"{prefix}{name}", found


def columns(group: Any, source: str, prefix: str = "") -> dict[str, NDArray[np.float64]]:
    """Every dataset of numbers below a group as ``(T, D)``, by its path."""
    out = {}
    for name, found in datasets(group):
        if found.dtype.kind not in "fiub" or found.ndim not in (1, 2):
            continue
        values = as_column(read(found, source, name), source, name)
        if values is not None:
            out[prefix + name] = values
    return out


def read(dataset: Any, source: str, name: str) -> NDArray:
    """The numbers of a dataset, unless the file only claims to hold them."""
    check_size(dataset.size * dataset.dtype.itemsize, source, name)
    return np.asarray(dataset[()])


def read_later(path: Path, name: str, keep: NDArray | None = None) -> partial[NDArray]:
    """A function that opens the file and reads a dataset, or the frames of it that are kept."""
    return partial(_read_again, path, name, keep)


def _read_again(path: Path, name: str, keep: NDArray | None) -> NDArray:
    with opened(path) as file:
        found = member(file, name)
        if found is None:
            raise KeyError(name)
        frames = np.asarray(found[()])
    return frames if keep is None else frames[keep]


def text(value: object) -> str:
    """An attribute as text."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""
