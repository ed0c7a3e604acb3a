"""The same column of several episodes, taken together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from ..formats.raw import Given, RawEpisode
from .names import pose_part, role

ROLES = ("state", "action", "gripper", "pose", "ignore")
REFERENCES = ("absolute", "delta", "velocity")  # of an action


@dataclass(frozen=True)
class Slot:
    """One number of one column."""

    column: str
    index: int
    name: str = ""

    @property
    def key(self) -> str:
        return f"{self.column}.{self.index}"

    @property
    def label(self) -> str:
        """The key by name, where it has one: easier to recognise."""
        return f"{self.column}.{self.name}" if self.name else self.key


class Pool:
    """Episodes that have the same columns.

    Args:
        episodes: At least one.
        given: What a person settled; it goes before what the format says.

    Raises:
        DatasetError: The episodes differ in their columns, or a key of ``given`` is none of them.
    """

    def __init__(self, episodes: Sequence[RawEpisode], given: Given) -> None:
        self.episodes = tuple(episodes)
        first = self.episodes[0]
        widths = {name: x.shape[1] for name, x in first.columns.items()}
        for e in self.episodes[1:]:
            if {name: x.shape[1] for name, x in e.columns.items()} != widths:
                raise DatasetError(
                    "the episodes differ in their columns",
                    where=e.source,
                    value=", ".join(sorted(set(e.columns) ^ set(widths)) or sorted(widths)),
                    valid=[f"{n} ({w})" for n, w in widths.items()],
                    remedy="import them one after the other",
                )
        self.widths: Mapping[str, int] = widths
        self.names = {c: first.names.get(c) or () for c in widths}
        self._check(given)
        self.given = given.over(first.given)

    def _check(self, given: Given) -> None:
        known = {key for c in self.widths for s in self.slots(c) for key in self._keys(s)}
        for option, keys in (("--map", given.map), ("--unit", given.unit)):
            if unknown := sorted(set(keys) - known):
                raise DatasetError(
                    "no such column",
                    where=option,
                    value=", ".join(unknown),
                    valid=[f"{c} ({w})" for c, w in self.widths.items()],
                    remedy="name a column, or one of its numbers as COLUMN.3",
                )

    def slots(self, column: str) -> list[Slot]:
        names = self.names[column] or ("",) * self.widths[column]
        return [Slot(column, i, n) for i, n in enumerate(names)]

    def _keys(self, slot: Slot) -> list[str]:
        named = [f"{slot.column}.{slot.name}", slot.name] if slot.name else []
        return [*named[:1], slot.key, *named[1:], slot.column]

    def told(self, option: str, slot: Slot) -> str:
        """What was given about a number itself, or else its column."""
        table: Mapping[str, str] = getattr(self.given, option)
        return next((table[k] for k in self._keys(slot) if k in table), "")

    def told_role(self, column: str) -> str:
        """What a column is: as given, else as its name and its numbers' names say."""
        given = self.given.map.get(column, "")
        if given in REFERENCES:
            return "action"
        if given in ROLES:
            return given
        if given:
            return "action" if role(column) == "action" else "state"
        found = role(column)
        names = self.names[column]
        parts = [pose_part(n) for n in names]
        # joints may be called shoulder_pitch, elbow_pitch ...; a pose has each coordinate once
        once = bool(parts) and all(parts) and len({*parts}) == len(parts)
        return "pose" if found in ("state", "") and once else found

    def episode_values(self, slot: Slot) -> list[NDArray[np.float64]]:
        """``(T,)`` of each episode."""
        return [e.columns[slot.column][:, slot.index] for e in self.episodes]

    def values(self, slot: Slot) -> NDArray[np.float64]:
        """``(N,)`` of all episodes."""
        return self.column(slot.column)[:, slot.index]

    def column(self, name: str) -> NDArray[np.float64]:
        """``(N, D)`` of all episodes."""
        return np.concatenate([e.columns[name] for e in self.episodes])

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First row of each episode, and the number of rows."""
        return np.concatenate([[0], np.cumsum([len(e) for e in self.episodes])])

    def pairs(self, lag: int) -> NDArray[np.int64]:
        """Rows that have a row ``lag`` later in their episode."""
        return np.concatenate(
            [np.arange(a, b - lag) for a, b in zip(self.starts, self.starts[1:], strict=False)]
            or [np.empty(0, int)]
        ).astype(np.int64)
