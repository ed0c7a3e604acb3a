"""Where things are kept: ``ICL_VLA_HOME``, or the platform's user data folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs


def home() -> Path:
    """The folder that holds embodiments, banks, runs and checkpoints."""
    chosen = os.environ.get("ICL_VLA_HOME")
    return (
        Path(chosen).expanduser().resolve()
        if chosen
        else Path(platformdirs.user_data_dir("icl-vla"))
    )


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file whole or not at all; an interrupted or full disk leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
