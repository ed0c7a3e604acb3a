"""What tests of several packages share: the repository's root and commands run as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
os.environ["CC"] = "no-such-compiler"  # no test compiles in the background but those that mean to
SOURCES = (ROOT, ROOT / "embodiments", ROOT / "retrieval", ROOT / "wbc")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


def environment(**extra: str) -> dict[str, str]:
    """Ours, with the packages of this checkout importable and BLAS on one thread."""
    path = os.pathsep.join(map(str, SOURCES))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **extra}


@pytest.fixture(scope="session")
def python():
    """Run code in a fresh interpreter."""

    def run(code: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment(**extra),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def icl_vla(python):
    """Run the command line with its own home, as typed."""

    def run(home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
        code = "from icl_vla.cli import main; main()"
        # wide enough that a message's paths are not folded
        return python(code, *map(str, words), ICL_VLA_HOME=str(home), COLUMNS="400")

    return run


@pytest.fixture(scope="session")
def start_icl_vla():
    """The same without waiting, for commands that are going to be interrupted."""

    def start(home: Path, *words: str | Path) -> subprocess.Popen[bytes]:
        command: Sequence[str] = [sys.executable, "-c", "from icl_vla.cli import main; main()"]
        return subprocess.Popen(
            [*command, *map(str, words)],
            env=environment(ICL_VLA_HOME=str(home)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt must not reach the test itself
        )

    return start
