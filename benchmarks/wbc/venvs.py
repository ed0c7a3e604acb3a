"""Virtual environments for peers that need another Pinocchio than ours."""

from __future__ import annotations

import os
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = (
    "casadi",
    "daqp",
    "numpy",
    "scipy",
    "trimesh",
    "pyyaml",
    "platformdirs",
    "pluggy",
    "packaging",
)


def environment(folder: Path, peers: Sequence[str]) -> Path:
    """Python of a virtual environment with the peers and what ours needs; made if not there."""
    python = folder.resolve() / "bin" / "python"
    if not python.exists():
        print(f"making {folder}", flush=True)
        venv.create(folder, with_pip=True)
    wanted = [*peers, *OURS]
    check = "import sys; from importlib.metadata import version; [version(p) for p in sys.argv[1:]]"
    names = [w.split("==")[0] for w in wanted]
    if subprocess.run([python, "-c", check, *names], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    return python


def variables() -> dict[str, str]:
    """Environment of a process that finds our packages, with BLAS on one thread."""
    packages = [ROOT, *(ROOT / name for name in ("embodiments", "retrieval", "wbc"))]
    path = os.pathsep.join(str(package) for package in packages)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
