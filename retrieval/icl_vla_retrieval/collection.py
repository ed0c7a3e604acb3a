"""Several banks read as one: demonstrations of many tasks by many bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from .bank import DemoBank
from .demonstration import Demonstration
from .errors import BankError


class BankCollection(DemoBank):
    """Banks of one or several robots, each as it is on disk, for one robot that acts.

    Episodes are numbered through, bank by bank. Effectors of other robots go by the names of the
    acting one's, in order. A collection is read only.

    Args:
        banks: The first one is the acting robot's: its action space is the collection's.
        limit: Only the first so many episodes of each bank.

    Raises:
        BankError: There is no bank.
    """

    def __init__(self, banks: Sequence[DemoBank], limit: int | None = None) -> None:
        if not banks:
            raise BankError("a collection needs at least one bank", value=0)
        self.path, self.spec, self.repairs = banks[0].path, banks[0].spec, banks[0].repairs
        self.banks = tuple(banks)
        self._places = [
            (bank, i)
            for bank in banks
            for i in range(len(bank) if limit is None else min(limit, len(bank)))
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: int) -> Demonstration:
        bank, local = self._places[i]
        d = bank[local]
        if bank.embodiment == self.embodiment:
            return d
        names = dict(zip(bank.action_space.effectors, self.action_space.effectors, strict=False))

        def renamed(arrays: Any) -> dict[str, Any]:
            return {names.get(e, e): x for e, x in arrays.items()}

        return replace(
            d,
            grippers=renamed(d.grippers),
            poses=renamed(d.poses),
            commands=renamed(d.commands),
            gripper_commands=renamed(d.gripper_commands),
        )

    def select(self, instruction: str | None = None) -> list[int]:
        """Episodes with exactly this instruction: the acting robot's, else those of others."""
        found = super().select(instruction)
        if instruction is None:
            return found
        own = [i for i in found if self._places[i][0].embodiment == self.embodiment]
        return own or found

    def source(self, i: int) -> tuple[Path, int]:
        bank, local = self._places[i]
        return bank.source(local)

    def fingerprint(self) -> str:
        return " ".join([*(bank.fingerprint() for bank in self.banks), str(len(self))])

    def _instruction(self, i: int) -> str:
        bank, local = self._places[i]
        return bank._instruction(local)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise BankError("a collection of banks is only read", remedy="write to one of its banks")

    append = append_copy = remove = merge = _refuse
