"""Instructions to learn reading from: what is asked for, and of which things.

Two sentences mean the same where some task is asked for with both, whatever its things are called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from ..sim.families import TRAINED, draw
from ..sim.families.family import TableTask

Span = tuple[int, int]
FORMS = Path(__file__).with_name("wordings.yaml")
_SLOT = "_"  # stands for a thing in a pattern
SINGLE = tuple(f for f in TRAINED if f != "program")  # families that ask for one thing at a time
_LEADS = ("please ", "can you ", "could you please ", "now ", "go and ", "i want you to ", "and ",
          "then ", "and then ")  # fmt: skip
_ENDS = (".", " please", " for me", " now", "!", " if you can")
_JOINTS = (", and ", ", then ", " and then ", ". ", ", ", " and ", "; ", ", after that ")
_ARTICLES = ("the ", "the ", "the ", "that ", "this ", "a ", "my ", "")


@dataclass(frozen=True)
class Said:
    """A sentence.

    Attributes:
        text: Of one clause, or of several.
        things: Characters in which each thing is named, in the order of the task's roles.
        sense: Number of what it asks for; -1 for several things at once.
        wording: Which of the sense's wordings it is.
        begins: Characters at which clauses after the first begin.
    """

    text: str
    things: tuple[Span, ...]
    sense: int = -1
    wording: int = 0
    begins: tuple[int, ...] = ()


def named_things(task: TableTask) -> list[str]:
    """Roles that the instruction speaks of, in the task's order."""
    return [role for role in task.roles if role in task.named]


def spans(task: TableTask, text: str) -> tuple[Span, ...]:
    """Where a sentence names each of the task's named things: what it looks like, and a noun."""
    found = []
    for role in named_things(task):
        place = re.search(re.escape(task.roles[role].called("").strip()) + r" [\w-]+", text)
        assert place is not None, (task.name, text)
        found.append(place.span())
    return tuple(found)


def pattern(text: str, things: Sequence[Span]) -> str:
    """A sentence without what its things are called."""
    for start, end in sorted(things, reverse=True):
        text = text[:start] + _SLOT + text[end:]
    return text


@lru_cache(maxsize=1)
def senses(tasks: int = 400) -> dict[str, int]:
    """Pattern -> number of its sense, from the first so many tasks of each trained family."""
    of: dict[str, int] = {}
    alike: list[set[str]] = []
    for task in single_tasks(range(tasks)):
        said = {pattern(text, spans(task, text)) for text in task.sentences}
        same = [group for group in alike if group & said]
        alike = [group for group in alike if not group & said] + [said.union(*same)]
    for number, group in enumerate(sorted(alike, key=min)):
        of |= dict.fromkeys(group, number)
    return of


def count_senses() -> int:
    """How many different things tasks ask for."""
    return max(senses().values()) + 1


@lru_cache(maxsize=1)
def wordings() -> dict[int, list[str]]:
    """Number of a sense -> further patterns, with the numbers of their things in braces."""
    of = senses()
    return {of[known]: forms for known, forms in _said_instead()["patterns"].items()}


@lru_cache(maxsize=1)
def _said_instead() -> dict[str, dict[str, list[str]]]:
    made: dict[str, dict[str, list[str]]] = yaml.safe_load(FORMS.read_text())
    return made


def single_tasks(numbers: Iterable[int]) -> Iterator[TableTask]:
    """Tasks of these numbers that ask for one thing."""
    return (draw(family, number) for number in numbers for family in SINGLE)


def meant(task: TableTask) -> int:
    """Number of the sense that a task of a single clause is asked for with."""
    return senses()[pattern(task.instruction, spans(task, task.instruction))]


def clauses_of(task: TableTask) -> list[Said]:
    """All that a task of a single clause may be asked for with, by itself and by :data:`FORMS`."""
    sense, text = meant(task), task.instruction
    names = [text[start:end] for start, end in spans(task, text)]
    said = [Said(text, spans(task, text), sense) for text in task.sentences]
    said.sort(key=lambda s: pattern(s.text, s.things))
    said += [_filled(form, names, sense) for form in wordings().get(sense, ())]
    return [replace(s, wording=i) for i, s in enumerate(said)]


def _filled(form: str, names: Sequence[str], sense: int) -> Said:
    """A pattern with its things' names."""
    text, where = "", {}
    for i, piece in enumerate(re.split(r"\{(\d)\}", form)):
        if i % 2:
            where[int(piece)] = (len(text), len(text) + len(names[int(piece)]))
        text += names[int(piece)] if i % 2 else piece
    return Said(text, tuple(where[i] for i in range(len(names))), sense)


def clause(rng: np.random.Generator, task: TableTask) -> Said:
    """One of a task's sentences, said as somebody might say it."""
    known = clauses_of(task)
    return spoken(rng, known[int(rng.integers(len(known)))])


def together(rng: np.random.Generator, clauses: Sequence[Said]) -> Said:
    """Several clauses in one sentence; what things are called is then a clause's own matter."""
    text, begins = clauses[0].text.rstrip(".!"), []
    for said in clauses[1:]:
        joint = _JOINTS[int(rng.integers(len(_JOINTS)))]
        begins.append(len(text) + len(joint) - len(joint.lstrip(",.; ")))
        text += joint + said.text.rstrip(".!")
    return Said(text, (), begins=tuple(begins))


def spoken(rng: np.random.Generator, said: Said) -> Said:
    """With other articles and nouns, polite words about it, and a capital now and then."""
    pieces, things, last = "", [], 0
    order = sorted(range(len(said.things)), key=lambda i: said.things[i])
    where: dict[int, Span] = {}
    for i in order:
        start, end = said.things[i]
        before = said.text[last:start]
        if before.endswith("the "):
            before = before[:-4] + _ARTICLES[int(rng.integers(len(_ARTICLES)))]
        words = said.text[start:end].split()
        others = _said_instead()["nouns"].get(words[-1], ())
        if others and rng.random() < 0.3:
            words[-1] = others[int(rng.integers(len(others)))]
        pieces += before
        where[i] = (len(pieces), len(pieces) + len(" ".join(words)))
        pieces += " ".join(words)
        last = end
    text = pieces + said.text[last:]
    if rng.random() < 0.3:
        lead = _LEADS[int(rng.integers(len(_LEADS)))]
        text = lead + text
        where = {i: (a + len(lead), b + len(lead)) for i, (a, b) in where.items()}
    if rng.random() < 0.3:
        text += _ENDS[int(rng.integers(len(_ENDS)))]
    if rng.random() < 0.3:
        text = text[0].upper() + text[1:]
    things = [where[i] for i in range(len(said.things))]
    return replace(said, text=text, things=tuple(things))
