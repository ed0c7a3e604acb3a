"""What was decided about recorded columns, and what a person should be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..formats.raw import Given

Option = Literal["map", "unit", "rate"]


@dataclass(frozen=True)
class Decision:
    """One decision, its reason, and whether it should be asked about.

    Attributes:
        aspect: What is decided: "joints", "unit", "gripper", "actions", "rate", "pose" ...
        column: The column that it is about; empty for the whole recording.
        value: The decision, as the option on the command line takes it.
        why: Its reason.
        certain: Whether the data leave no reasonable doubt.
        option: Option that settles it.
        others: Values that it may have instead.
    """

    aspect: str
    column: str
    value: str
    why: str
    certain: bool = True
    option: Option = "map"
    others: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """The doubt in words."""
        of = f" of {self.column!r}" if self.column else ""
        return f"{self.aspect}{of}: {self.why}"

    @property
    def answerable(self) -> bool:
        """Whether an option settles it; what was never recorded stays unknown."""
        return bool(self.column) or self.option == "rate"

    def flag(self) -> dict[str, Any]:
        """The doubt as JSON; ``settle`` is the option that confirms the guess, if one can."""
        key = f"{self.column}={self.value}" if self.column else self.value
        key = f"{key!r}" if " " in key else key
        return {
            "field": self.aspect,
            "column": self.column,
            "question": self.question,
            "guess": self.value,
            "others": list(self.others),
            "settle": f"--{self.option} {key}" if self.answerable else "",
        }

    def answered(self, answer: str) -> Given:
        """What a person's answer settles."""
        if self.option == "rate":
            return Given(rate=float(answer))
        return Given(**{self.option: {self.column: answer}})  # type: ignore[arg-type]

    def to_json(self) -> Mapping[str, Any]:
        """Everything, ready for JSON."""
        return {
            "field": self.aspect,
            "column": self.column,
            "value": self.value,
            "why": self.why,
            "certain": self.certain,
        }
