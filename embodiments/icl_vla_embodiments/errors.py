"""Errors that a user can act on: what is wrong, where, what would be right, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ReportedError(Exception):
    """An error that is the input's or the machine's, not the program's.

    The command line shows it as one block and exits with code 2.

    Args:
        problem: One sentence that says what is wrong.
        where: The file, and the element in it, that the problem was found in.
        value: The offending value.
        valid: The values that would have been accepted.
        remedy: What to do about it, best as a command to type.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: object = None,
        value: object = None,
        valid: Iterable[object] | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.where = None if where is None else str(where)
        self.value = value
        self.valid = None if valid is None else tuple(str(v) for v in valid)
        self.remedy = remedy
        super().__init__(problem)

    def lines(self) -> list[tuple[str, str]]:
        """Label and text of each known part, in reading order."""
        parts = [("where", self.where), ("value", None if self.value is None else repr(self.value))]
        parts.append(("valid", None if self.valid is None else ", ".join(self.valid) or "(none)"))
        parts.append(("remedy", self.remedy))
        return [(label, text) for label, text in parts if text is not None]

    def __str__(self) -> str:
        return "\n".join([self.problem, *(f"  {label}: {text}" for label, text in self.lines())])


class EmbodimentError(ReportedError):
    """Root of this package's errors."""


class UrdfError(EmbodimentError):
    """A robot description that cannot be read, or that means nothing."""


class FrameNotFound(EmbodimentError):
    """A link, joint or frame name that the robot does not have."""


class ActionSpaceError(EmbodimentError):
    """An action space, its text or its vectors that contradict themselves."""


class PluginError(EmbodimentError):
    """A plugin that cannot be loaded or that breaks a hook's contract."""


class UnknownName(EmbodimentError):
    """A name that nothing is registered under."""

    def __init__(
        self, noun: str, name: str, known: Iterable[str], *, remedy: str | None = None
    ) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if near:
            remedy = f"did you mean {near[0]!r}?" + (f" Else: {remedy}" if remedy else "")
        super().__init__(f"no {noun} is called {name!r}", valid=known, remedy=remedy)
