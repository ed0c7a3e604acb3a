"""Several files written as one: all of them or none, by one writer at a time.

Everything is written and flushed to :data:`STAGING` first, then renamed into place in the order
given. A process that dies in between leaves files that nothing refers to yet: the caller puts the
file that refers to the others (the commit) after them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import DatasetBusy, DiskFull

STAGING = ".incoming"
LOCK = ".lock"
PATIENCE = 10.0  # [s] that a writer waits for another one; an append takes a fraction of a second
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def writing(root: Path, patience: float | None = None) -> Iterator[None]:
    """Hold the folder's writer lock.

    Args:
        root: Folder that is written to.
        patience: Longest wait [s]; :data:`PATIENCE` by default.

    Raises:
        DatasetBusy: Another process holds it.
    """
    busy = DatasetBusy(
        "another process is writing to this dataset",
        where=root,
        remedy="wait until it is done, or stop it; reading is possible meanwhile",
    )
    with locked(root / LOCK, busy, PATIENCE if patience is None else patience):
        yield


@contextmanager
def locked(path: Path, busy: DatasetBusy, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock file; raise ``busy`` if another process does for longer than ``patience`` [s].

    The kernel drops the lock with the process, so it cannot be left behind.
    """
    deadline = time.monotonic() + patience
    while True:
        with path.open("w") as file:
            if not _taken(file):
                if time.monotonic() >= deadline:
                    raise busy
                time.sleep(0.02)
            elif os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return
            # else another folder took this one's place while we waited: lock that one


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def commit(root: Path, files: Mapping[str, bytes]) -> None:
    """Write files, named relative to ``root``, in their order; the lock must be held.

    Raises:
        DiskFull: There is no room; ``root`` is as before.
    """
    staging = root / STAGING
    try:
        staging.mkdir(exist_ok=True)
        staged = []
        for i, (name, data) in enumerate(files.items()):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            with (staging / str(i)).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            staged.append((staging / str(i), root / name))
        for source, target in staged:
            source.replace(target)
        for folder in {target.parent for _, target in staged}:
            _sync_folder(folder)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        needed = sum(len(data) for data in files.values())
        raise DiskFull(
            f"no room for {_megabytes(needed)} more ({error.strerror})",
            where=root,
            value=f"needed {needed} bytes, free {shutil.disk_usage(root).free} bytes",
            remedy="make room on this file system and repeat; what was there is untouched",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def discard_staged(root: Path) -> bool:
    """Remove what an interrupted :func:`commit` staged; whether there was anything."""
    found = (root / STAGING).exists()
    shutil.rmtree(root / STAGING, ignore_errors=True)
    return found


def _sync_folder(folder: Path) -> None:
    """Make renames survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _megabytes(n: int) -> str:
    return f"{n / 1e6:.2f} MB"
