"""Families of table-top tasks: each draws any number of tasks, each task any number of scenes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .family import TableTask

TRAINED = {
    "reach": "Reach",
}
"""Family -> its class, in the module of the family's name; policies may be trained on these."""

HELD_OUT = {
    "stack": "Stack",
}
"""The same for families that nothing is ever trained or tuned on."""

FAMILIES = {**TRAINED, **HELD_OUT}


def draw(family: str, number: int = 0) -> TableTask:
    """A task of a family."""
    made: TableTask = getattr(import_module(f"{__name__}.{family}"), FAMILIES[family])(number)
    return made
