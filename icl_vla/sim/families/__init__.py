"""Families of table-top tasks: each draws any number of tasks, each task any number of scenes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .family import TableTask

TRAINED = {
    "reach": "Reach",
    "pick": "Pick",
    "place_in": "PlaceIn",
    "press": "Press",
    "push_to": "PushTo",
    "align": "Align",
    "lid": "Lid",
    "follow": "Follow",
    "program": "Program",
}
"""Family -> its class, in the module of the family's name; policies may be trained on these."""

HELD_OUT = {
    "stack": "Stack",
    "swap": "Swap",
    "handover": "Handover",
    "sweep": "Sweep",
    "drawer": "Drawer",
    "insert": "Insert",
    "pour": "Pour",
    "tool": "Tool",
}
"""The same for families that nothing is ever trained or tuned on."""

NEARBY = {
    "clear": "Clear",
    "gate": "Gate",
}
"""The same for families near to held-out ones, to be looked at in their stead; nothing is trained
on these, and no figure is reported of them but as one of development."""

ON_BASES = {
    "go_to": "GoTo",
    "fetch": "Fetch",
    "base_push": "BasePush",
    "press_foot": "PressFoot",
    "base_follow": "BaseFollow",
}
"""The same for robots whose base moves; policies may be trained on these."""

FAMILIES = {**TRAINED, **HELD_OUT, **NEARBY, **ON_BASES}


def draw(family: str, number: int = 0, tag: str = "") -> TableTask:
    """A task of a family; ``tag`` as in :class:`TableTask`."""
    made: TableTask = getattr(import_module(f"{__name__}.{family}"), FAMILIES[family])(number, tag)
    return made
