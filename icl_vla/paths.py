"""What lies where in an ``ICL_VLA_HOME``."""

from __future__ import annotations

from pathlib import Path

from icl_vla_embodiments.home import home

__all__ = ["bank_path", "home", "run_path"]


def bank_path(base: Path, embodiment: str) -> Path:
    """The bank of an embodiment: one a robot, many instructions in it."""
    return base / "banks" / embodiment


def run_path(base: Path, embodiment: str) -> Path:
    """Results of a robot's runs and evaluations, and their pictures."""
    return base / "runs" / embodiment
