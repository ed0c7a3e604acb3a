"""What was found out about a robot, as plain data for programs and tables."""

from __future__ import annotations

from typing import Any

from .embodiment import Embodiment


def summary(robot: Embodiment, seconds: float | None = None) -> dict[str, Any]:
    """The outcome of an analysis in words, names and numbers that JSON has.

    ``gripper_joints`` are those of grippers and hands, without mimic followers; ``feet`` are links;
    ``wheel_joints`` the driven wheels. ``flags`` are the doubts left, one question a field.

    Args:
        robot: The robot.
        seconds: What the analysis took; left out where None.
    """
    hands = [*robot.of_kind("gripper"), *robot.of_kind("hand")]
    found: dict[str, Any] = {
        "name": robot.name,
        "family": robot.family,
        "base": robot.base,
        "arms": [
            {"name": a.name, "joints": list(a.joints), "ee_link": a.tip_link} for a in robot.arms
        ],
        "gripper_joints": list(dict.fromkeys(j for g in hands for j in g.joints)),
        "feet": [leg.tip_link for leg in robot.of_kind("leg")],
        "wheel_joints": [j for w in robot.of_kind("wheel") for j in w.joints],
        "groups": [
            {"name": g.name, "kind": g.kind, "joints": list(g.joints)} for g in robot.groups
        ],
        "flags": [
            {"field": f.field, "question": f.question, "guess": f.guess} for f in robot.flags
        ],
        "warnings": list(robot.warnings),
        "repairs": list(robot.repairs),
        "action_spaces": {s.name: s.describe() for s in robot.action_spaces},
        "provenance": {
            field: {"source": p.source, "why": p.why} for field, p in robot.provenance.items()
        },
    }
    if seconds is not None:
        found["seconds"] = round(seconds, 3)
    return found
