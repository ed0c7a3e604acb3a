"""Free text about actions, read by a language model into the words of ``action_phrases``.

A model's answer counts only once :func:`~.action_phrases.amend` takes it: what is executed was
read by the same strict parser as what a person types. An answer that the parser refuses goes back
to the model with the parser's error, a few times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from .action_phrases import VOCABULARY, amend
from .embodiment import Embodiment
from .errors import ActionSpaceError, EmbodimentError

LONGEST = 1000  # characters of an answer that can be a description

_TASK = """\
You translate what a person says about the numbers that command a robot into a fixed vocabulary.
Answer with one line in that vocabulary and nothing else.

The line is clauses separated by ";", each made of phrases separated by ",". A clause that begins
with "gripper" is about the gripper, one that begins with "joint NUMBER" about that joint, any other
about the motion. N stands for a number. Leave out what the person does not say, and never make up
a number.

Phrases about the motion: {motion}
Phrases about the gripper: {gripper}
Phrases about a joint: {joint}

Text: small steps of the hand as seen from the robot's foot, in mm, ten times a second. The fingers
are shut at 0 and wide open at 255. The third joint turns the wrong way round.
Line: delta end-effector pose, base frame, millimetres, 10 Hz; gripper 0 closed, 255 open; \
joint 3 inverted

The robot "{name}" has {arms} and {grippers}. Its joints: {joints}."""


class LanguageModel(Protocol):
    """Anything that answers a conversation.

    Attributes:
        name: For messages and for the record of who read a text.
    """

    @property
    def name(self) -> str:
        """See the class."""
        ...

    def complete(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The answer to messages, each ``{"role": system | user | assistant, "content": text}``.

        Raises:
            LanguageModelError: There is no answer.
        """
        ...


class LanguageModelError(EmbodimentError):
    """A language model that cannot be reached or loaded, or whose answers are of no use."""


def read_phrases(embodiment: Embodiment, text: str, model: LanguageModel, *, tries: int = 3) -> str:
    """The description, in the vocabulary, that a model reads in free text.

    Raises:
        LanguageModelError: No answer, or none in ``tries`` that the parser takes.
    """
    messages = [
        {"role": "system", "content": _task(embodiment)},
        {"role": "user", "content": f"Text: {text.strip()}\nLine:"},
    ]
    for _ in range(tries):
        answer = model.complete(messages)
        phrases = _line(answer)
        try:
            if not phrases or len(phrases) > LONGEST:
                raise ActionSpaceError("the answer is no line in the vocabulary")
            amend(embodiment, phrases)
        except ActionSpaceError as error:
            refused = error
        else:
            return phrases
        messages += [
            {"role": "assistant", "content": answer[:LONGEST]},
            {"role": "user", "content": f"That line is refused: {refused}\nThe line anew:"},
        ]
    raise LanguageModelError(
        f"the language model found no description that can be read, in {tries} tries",
        where=model.name,
        value=phrases[:120],
        valid=refused.valid,
        remedy=f"the last answer was refused: {refused.problem}; say it in the words of"
        " docs/describe.md, or use a more able model",
    ) from refused


def _task(embodiment: Embodiment) -> str:
    order = [j for arm in embodiment.arms for j in arm.joints] or list(embodiment.joints)
    arms, grippers = len(embodiment.arms), len(embodiment.of_kind("gripper"))
    return _TASK.format(
        **{kind: ", ".join(words) for kind, words in VOCABULARY.items()},
        name=embodiment.name,
        arms=f"{arms} arm{'s' * (arms != 1)}",
        grippers=f"{grippers} gripper{'s' * (grippers != 1)}",
        joints=", ".join(f"{i} {name}" for i, name in enumerate(order, 1)),
    )


def _line(answer: str) -> str:
    """The answer without thoughts, code fences, quotes and a final stop."""
    text = re.sub(r"<think>.*?(</think>|\Z)", " ", answer, flags=re.DOTALL)
    text = re.sub(r"^\s*```.*$", " ", text, flags=re.MULTILINE)
    text = " ".join(text.split()).strip("`\"' ").removeprefix("Line: ")
    return text.rstrip(";. ")
