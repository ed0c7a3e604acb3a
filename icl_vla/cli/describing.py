"""``--describe``: phrases that the parser knows, or free text that a language model reads."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icl_vla_embodiments import Embodiment
    from icl_vla_embodiments.action_reading import LanguageModel


@dataclass(frozen=True)
class Description:
    """What makes an embodiment's default action space.

    Attributes:
        phrases: In the vocabulary of docs/describe.md.
        prompt: As the user wrote it; the policy reads it.
        reader: Name of the language model that read the phrases in the prompt; empty without one.
        confirmed: Whether a person has looked at them.
    """

    phrases: str
    prompt: str
    reader: str = ""
    confirmed: bool = True

    def applied(self, robot: Embodiment) -> Embodiment:
        """The robot with these action spaces, as the user's own.

        Raises:
            ActionSpaceError: The phrases do not fit the robot.
        """
        from icl_vla_embodiments import Provenance
        from icl_vla_embodiments.action_phrases import amend
        from icl_vla_embodiments.yaml_io import apply_overrides

        spaces = amend(robot, self.phrases, prompt=self.prompt)
        robot = apply_overrides(robot, {"action_spaces": spaces})
        if not self.reader:
            return robot
        why = f"the language model {self.reader} read {self.prompt!r} as {self.phrases!r}"
        origin = {**robot.provenance, "action_spaces": Provenance("user", why)}
        warnings = () if self.confirmed else (f"action space: {why}; nobody has confirmed it",)
        return robot.with_(provenance=origin, warnings=(*robot.warnings, *warnings))


def understood(
    robot: Embodiment, text: str, model: LanguageModel | None, *, accept: bool, ask: bool
) -> Description:
    """A description that the parser takes, read by a language model where the text is none.

    Args:
        robot: What it is about.
        text: The user's words.
        model: Reads what the parser refuses; None refuses it.
        accept: Take the model's reading unconfirmed.
        ask: There is a person to confirm it.

    Raises:
        ActionSpaceError: The text is in other words, and there is no model.
        LanguageModelError: The model gives no usable answer.
        ReportedError: Nobody has confirmed what the model read.
    """
    from icl_vla_embodiments import ActionSpaceError, ReportedError
    from icl_vla_embodiments.action_phrases import amend
    from icl_vla_embodiments.action_reading import read_phrases

    from . import output

    try:
        amend(robot, text)
    except ActionSpaceError:
        if model is None:
            raise
    else:
        return Description(text, text)
    with output.working(f"asking {model.name}", quiet=not ask):
        phrases = read_phrases(robot, text, model)
    found = Description(phrases, text, model.name, confirmed=not accept)
    if accept or (ask and _confirmed(robot, found)):
        return found
    raise ReportedError(
        "what the language model read is not confirmed; nothing is kept",
        where=model.name,
        value=phrases,
        remedy="correct it and give it as --describe, or take it as it is with --accept-reading",
    )


def _confirmed(robot: Embodiment, found: Description) -> bool:
    """Show the default action space before and after, and ask."""
    import typer
    from rich.text import Text

    from . import output

    before = robot.action_spaces[0].describe()
    after = found.applied(robot).action_spaces[0].describe()
    output.console.print(Text(f"  {found.reader} reads: {found.phrases}"), soft_wrap=True)
    output.console.print("  The default action space, before (-) and after (+):")
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=99)
    for line in list(lines)[3:]:
        style = {"-": "red", "+": "green"}.get(line[:1], "dim")
        output.console.print(Text(f"    {line}", style), soft_wrap=True)
    return typer.confirm("  Is this what you mean?", default=False)
