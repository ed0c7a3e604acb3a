"""Fingerprints of the code and the libraries that a result depends on."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = ("numpy", "scipy", "pybullet", "pin", "casadi", "daqp", "torch", "faiss-cpu")
PHYSICS = ("icl_vla.sim", "icl_vla.runtime", "icl_vla_wbc", "icl_vla_embodiments")
POLICIES = ("icl_vla.policy", "icl_vla.perception", "icl_vla_retrieval")
JUDGING = (
    "icl_vla.evaluation.methods",
    "icl_vla.evaluation.artifacts",
    "icl_vla.evaluation.attempt",
    "icl_vla.evaluation.context",
    "icl_vla.evaluation.conventions",
    "icl_vla.evaluation.demonstrations",
    "icl_vla.evaluation.disturbances",
    "icl_vla.evaluation.rigs",
    "icl_vla.evaluation.robots",
    "icl_vla.evaluation.two_tasks",
)


@cache
def code_digest(*modules: str) -> str:
    """Hex digest of what modules and packages do; comments and docstrings do not count."""
    digest = hashlib.sha256()
    for module in modules:
        for path in _files(module):
            tree = ast.parse(path.read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                    node.value.value = None
            digest.update(f"{module} {path.name} {ast.dump(tree)}".encode())
    return digest.hexdigest()


def _files(module: str) -> list[Path]:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, module
    if spec.submodule_search_locations is None:
        return [Path(spec.origin)]
    return sorted(Path(spec.origin).parent.rglob("*.py"))


@cache
def library_versions() -> dict[str, str]:
    """Name -> version of what computes."""
    return {name: version(name) for name in LIBRARIES}


def fingerprint(*facts: object) -> str:
    """Sixteen hex digits of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def everything() -> str:
    """Fingerprint of all code and libraries that a result depends on."""
    return fingerprint(*map(code_digest, (*PHYSICS, *POLICIES, *JUDGING)), library_versions())


def machine() -> dict[str, str]:
    """Where a report was made."""
    return {
        "machine": f"{_processor()}, {_cores()} cores",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **library_versions(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines: Iterable[str] = info.read_text().splitlines() if info.exists() else ()
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
