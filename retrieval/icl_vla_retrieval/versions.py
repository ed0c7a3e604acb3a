"""Changes to a bank: a new one is written beside it and takes its place; the old one is kept.

::

    banks/my_robot          the bank
    banks/my_robot.v1       as it was before the first change
    banks/.my_robot.new     being written; never read

The swap is two renames under the writer's lock. A process killed between them leaves no
``my_robot``, and only then is ``.my_robot.new`` whole: :func:`settle` finishes the swap.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import transaction
from .demonstration import Demonstration

if TYPE_CHECKING:
    from .bank import DemoBank

HISTORY = "icl_vla/history.json"


@dataclass(frozen=True)
class Taken:
    """An episode of a bank, taken as it is, or with a changed demonstration.

    ``relabelled`` differs in provenance and calibration only, so its pictures are copied;
    ``instead`` is written anew.
    """

    bank: DemoBank
    episode: int
    instead: Demonstration | None = None
    relabelled: Demonstration | None = None


def revise(
    bank: DemoBank, plan: Callable[[DemoBank], Iterable[Taken]], changes: Sequence[str]
) -> DemoBank:
    """Put a bank of other episodes in a bank's place.

    Files of unchanged episodes are copied byte for byte, cached ones too; pictures are not encoded
    a second time.

    Args:
        bank: The bank to change.
        plan: The bank as it stands (others may have added to it) -> what the new one holds.
        changes: What is done, in words; kept in the bank's history.

    Returns:
        The new bank, under the old one's path.

    Raises:
        DatasetBusy: Another process is writing to it.
        DiskFull: There is no room; the bank is as before.
    """
    path = bank.path
    staged = _staged(path)
    with transaction.writing(path):
        kept = _next_version(path)
        change = {
            "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "what": list(changes),
            "before": kept.name,
        }
        shutil.rmtree(staged, ignore_errors=True)
        try:
            new = type(bank).of_spec(staged, bank.spec, history=[*bank.history, change])
            for taken in plan(type(bank).open(path)):
                if taken.instead is None:
                    new.append_copy(taken.bank, taken.episode, relabelled=taken.relabelled)
                else:
                    new.append(taken.instead)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        path.rename(kept)
        settle(path)
    return type(bank).open(path)


def settle(path: Path) -> None:
    """Finish a swap that was interrupted between its two renames."""
    staged = _staged(path)
    if path.exists() or not staged.exists():
        return
    try:
        staged.rename(path)
    except FileNotFoundError:  # another process was faster
        if not path.exists():
            raise


def read_history(path: Path) -> list[dict[str, Any]]:
    """What was done to a bank: when, what, and where the version before is kept."""
    file = path / HISTORY
    history: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    return history


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _next_version(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.v{number}")).exists():
        number += 1
    return kept
