"""What the commands on a bank share: finding it, and its facts for people and programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icl_vla_embodiments import Embodiment
    from icl_vla_retrieval import DemoBank


def find_bank(base: Path, embodiment: str) -> tuple[Embodiment, DemoBank]:
    """A robot and its bank.

    Raises:
        UnknownName: There is no such robot.
        BankError: It has no demonstrations yet.
        BankMismatch: They are of another robot of that name.
    """
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_retrieval import BankError, DemoBank
    from icl_vla_retrieval.versions import settle

    from ...paths import bank_path

    robot = EmbodimentStore(base).get(embodiment)
    path = bank_path(base, embodiment)
    settle(path)
    if not path.exists():
        raise BankError(
            f"there are no demonstrations of {embodiment!r} yet",
            where=path,
            remedy=f"icl-vla demos add {embodiment} FOLDER, or"
            f" icl-vla demos record {embodiment} --task TASK",
        )
    bank = DemoBank.open(path)
    bank.check(robot)
    return robot, bank


def facts(robot: Embodiment, bank: DemoBank) -> dict[str, Any]:
    """Everything that `list` and `show` tell, ready for JSON."""
    from icl_vla_retrieval.lint import read_report

    report = read_report(bank)
    return {
        **bank.summary(),
        "columns": columns(robot, bank),
        "flags": [asdict(flag) for flag in robot.flags],
        "findings": None if report is None else [asdict(finding) for finding in report],
    }


def columns(robot: Embodiment, bank: DemoBank) -> dict[str, list[dict[str, Any]]]:
    """What each number of the state and of the actions means, with its unit and limits."""
    from icl_vla_embodiments.robot_model import RobotModel

    slides = RobotModel(robot).prismatic
    state = [
        {
            "name": name,
            "meaning": "measured joint position",
            "unit": "m" if slides[i] else "rad",
            "lower": _finite(robot.limits[name].lower),
            "upper": _finite(robot.limits[name].upper),
        }
        for i, name in enumerate(bank.spec.joints)
    ]
    action = [
        {
            "name": d.name,
            "meaning": f"{d.kind}{f' of {d.joint or d.effector}' if d.joint or d.effector else ''},"
            f" {d.reference}",
            "unit": d.unit,
            "lower": _finite(d.lower),
            "upper": _finite(d.upper),
        }
        for d in bank.action_space.dimensions
    ]
    return {"state": state, "action": action}


def _finite(x: float) -> float | None:
    """JSON has no infinity."""
    return round(x, 6) if math.isfinite(x) else None


def episodes(bank: DemoBank) -> list[dict[str, Any]]:
    """One line an episode: length, instruction, where it came from."""
    return [
        {
            "episode": i,
            "frames": len(d),
            "seconds": len(d) / bank.rate,
            "instruction": d.instruction,
            "provenance": dict(d.provenance),
        }
        for i, d in enumerate(bank)
    ]
