"""Robots that follow test patterns in physics: what ``icl-vla wbc`` runs, draws and films."""

from __future__ import annotations

from enum import StrEnum


class Pattern(StrEnum):
    """What is followed."""

    CIRCLE = "circle"
    SQUARE = "square"
    EIGHT = "eight"
    BEHIND = "behind"
    PUSH = "push"


class Actuation(StrEnum):
    """What the motors are told."""

    TORQUE = "torque"
    POSITION = "position"
