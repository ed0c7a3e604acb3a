"""What is measured: cells, and suites of them, as data that a YAML file can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from icl_vla_embodiments import ReportedError, UnknownName

from ..perception.encoders import DEFAULT
from ..sim.families import FAMILIES
from ..sim.foreign import foreign_task
from ..sim.operators import OPERATORS
from .context import CONTEXTS
from .conventions import CONVENTIONS
from .disturbances import DISTURBANCES
from .methods import find_method
from .rigs import RIGS
from .robots import body_name
from .splits import NUMBERS, shown_scene, task_number, trial_scene

_FOLDER = Path(__file__).with_name("suites")
HIGHEST = 20  # demonstrations in a set


@dataclass(frozen=True)
class Cell:
    """One condition under which every method is measured.

    Attributes:
        family: Of the tasks; or ``module:Class`` of somebody else's (:mod:`icl_vla.sim.foreign`).
        body: Name of the robot; empty for the suite's. "drawn" is one of its own for each task, of
            any kind; "drawn_gantry" and so on one of a kind.
        operator: Style of who demonstrated.
        context: What the method is given to read.
        disturbance: What goes wrong meanwhile, or with the pictures.
        severity: Of that, 1 to 5.
        convention: What the robot's action vector means.
        demonstrations: How many there are in a set: the first so many, good or bad.
        other: Family of the other task where there are two in the scene, or another one is shown.
    """

    family: str
    body: str = ""
    operator: str = "planned"
    context: str = "right"
    disturbance: str = "none"
    severity: int = 3
    convention: str = "plain"
    demonstrations: int = 10
    other: str = ""

    def __post_init__(self) -> None:
        known: Mapping[str, Sequence[str] | Mapping[str, Any]] = {
            "family": FAMILIES,
            "operator": OPERATORS,
            "context": CONTEXTS,
            "disturbance": DISTURBANCES,
            "convention": CONVENTIONS,
        }
        for field_, valid in known.items():
            value = getattr(self, field_)
            if field_ == "family" and ":" in value:
                foreign_task(value)
                continue
            if value not in valid:
                raise UnknownName(field_, value, list(valid))
        if self.severity not in range(1, 6):
            raise ReportedError("a severity is 1 to 5", value=self.severity)
        if not 0 <= self.demonstrations <= HIGHEST:
            raise ReportedError(
                "a cell has too many demonstrations",
                value=self.demonstrations,
                valid=[f"0 to {HIGHEST}"],
            )
        context = CONTEXTS[self.context]
        if (context.two_tasks or context.shows_other) and self.other not in FAMILIES:
            raise UnknownName("family of the other task", self.other, FAMILIES)

    @property
    def name(self) -> str:
        """Family and whatever differs from the usual: unique in a suite."""
        parts = [self.family]
        for field_ in fields(self)[1:]:
            value = getattr(self, field_.name)
            words = {"demonstrations": f"{value} shown", "severity": f"severity {value}"}
            words["body"] = f"body {value}".replace("_", " ")
            if value != field_.default and field_.name != "other":
                parts.append(words.get(field_.name, str(value).replace("_", " ")))
        return ", ".join(parts)


@dataclass(frozen=True)
class Suite:
    """Cells and methods, and how often each is tried.

    Attributes:
        name: Of the suite.
        cells: What is measured.
        methods: Who is measured, all in the same episodes.
        tasks: Numbers drawn of each family.
        sets: Sets of demonstrations for each task.
        episodes: New scenes for each set.
        rig: Cameras.
        body: Name of the robot, where a cell names none.
        mixed_tasks: How many tasks there are in a mixed bank.
        mixed_bodies: Robots whose demonstrations are in it beside the acting one's.
        seed: Which tasks, demonstrations and scenes; two seeds share none.
        numbers: Whether those are the "test"'s or for "development": to look at, and to change on.
        encoder: What looks at the pictures, by name.
        summary: One line for people.
    """

    name: str
    cells: tuple[Cell, ...]
    methods: tuple[str, ...]
    tasks: int = 4
    sets: int = 1
    episodes: int = 5
    rig: str = "pair"
    body: str = ""
    mixed_tasks: int = 50
    mixed_bodies: tuple[str, ...] = ()
    seed: int = 0
    numbers: str = "test"
    encoder: str = DEFAULT
    summary: str = ""

    def __post_init__(self) -> None:
        for method in self.methods:
            find_method(method)
        if self.rig not in RIGS:
            raise UnknownName("rig of cameras", self.rig, RIGS)
        if self.numbers not in NUMBERS:
            raise UnknownName("part of the numbers", self.numbers, NUMBERS)
        if not self.body and not all(cell.body for cell in self.cells):
            raise ReportedError(
                "a suite does not say which robot",
                where=self.name,
                remedy="add a line `body: NAME`",
            )
        names = [cell.name for cell in self.cells]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ReportedError("a suite has a cell twice", value=twice)

    @property
    def size(self) -> int:
        """Episodes in all."""
        return len(self.cells) * len(self.methods) * self.tasks * self.sets * self.episodes

    def body_of(self, cell: Cell, number: int) -> str:
        """Name of the robot that does a cell's task of this number."""
        return body_name(cell.body or self.body, number)

    def number(self, index: int) -> int:
        """Number of a task within its family."""
        return task_number(self.seed, index, self.numbers)

    def shown_scene(self, group: int, index: int) -> int:
        """Seed of a scene that is demonstrated in."""
        return shown_scene(self.seed, group, index, self.numbers)

    def trial_scene(self, group: int, episode: int) -> int:
        """Seed of a scene that methods are tried in."""
        return trial_scene(self.seed, group, episode, self.numbers)

    def with_(self, **changes: Any) -> Suite:
        """A changed copy."""
        return replace(self, **changes)

    def to_yaml(self) -> str:
        """As :meth:`from_yaml` reads it."""
        usual = {f.name: f.default for f in fields(Cell)}
        data = asdict(self) | {
            "methods": list(self.methods),
            "mixed_bodies": list(self.mixed_bodies),
            "cells": [
                {k: v for k, v in asdict(cell).items() if v != usual[k]} for cell in self.cells
            ],
        }
        return yaml.safe_dump(data, sort_keys=False)

    @classmethod
    def from_yaml(cls, path: Path) -> Suite:
        """Read a suite.

        Raises:
            ReportedError: Not readable, an unknown key, name or value.
        """
        try:
            data = yaml.safe_load(path.read_text())
            cells = tuple(
                Cell(**row) for entry in data.pop("cells") for row in _spread(dict(entry))
            )
            for key in ("methods", "mixed_bodies"):
                data[key] = tuple(data.get(key, ()))
            return cls(cells=cells, **{"name": path.stem, **data})
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ReportedError("a suite cannot be read", where=path, value=str(error)) from error
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ReportedError("a suite is malformed", where=path, value=str(error)) from error


def _spread(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry with lists in it stands for every combination."""
    rows: list[dict[str, Any]] = [{}]
    for key, value in entry.items():
        values = value if isinstance(value, list) else [value]
        rows = [{**row, key: v} for row in rows for v in values]
    return rows


def suite_names() -> list[str]:
    """Suites that ship with the program."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def find_suite(name: str) -> Suite:
    """A suite by name, or from a YAML file.

    Raises:
        UnknownName: There is none; the message lists the known ones.
        ReportedError: The file is no suite.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return Suite.from_yaml(Path(name))
    if name not in suite_names():
        raise UnknownName("suite", name, suite_names())
    return Suite.from_yaml(_FOLDER / f"{name}.yaml")
