"""How often another wording finds the demonstrated instruction, and nonsense none.

Two lists written for this purpose: the constants of ``icl_vla_retrieval.text`` were chosen on the
first, the second is only reported.

    python benchmarks/instructions.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / p) for p in (".", "embodiments", "retrieval", "wbc")]

# demonstrated instruction -> other wordings
DEVELOPMENT = {
    "put the red cube in the blue bowl": [
        "place the red block into the blue bowl",
        "drop the red cube into the bowl that is blue",
        "the red cube goes in the blue bowl",
    ],
    "push the green block to the yellow mark": [
        "slide the green block onto the yellow spot",
        "move the green cube over to the yellow mark by pushing",
        "shove the green block until it is on the yellow mark",
    ],
    "open the top drawer": [
        "pull the upper drawer open",
        "slide out the top drawer",
        "get the top drawer open",
    ],
    "close the microwave door": [
        "shut the microwave",
        "push the microwave door closed",
        "make sure the microwave is shut",
    ],
    "pour water into the cup": [
        "fill the cup with water",
        "tip some water in the cup",
        "put water in the mug",
    ],
    "stack the small box on the large box": [
        "place the small box on top of the big box",
        "the little box goes on the large one",
        "pile the small box onto the large box",
    ],
    "wipe the table with the sponge": [
        "clean the table using the sponge",
        "use the sponge to wipe down the table",
        "scrub the table with a sponge",
    ],
    "hang the towel on the hook": [
        "put the towel on the hook",
        "place the towel over the hook",
        "suspend the towel from the hook",
    ],
}
HELD_OUT = {
    "insert the peg into the round hole": [
        "put the peg in the round hole",
        "place the pin into the circular hole",
        "the peg belongs in the round hole",
    ],
    "turn on the lamp": ["switch the lamp on", "light the lamp", "make the lamp glow"],
    "throw the can in the trash": [
        "toss the can into the bin",
        "put the can in the garbage",
        "discard the can",
    ],
    "fold the shirt in half": [
        "fold the t-shirt once",
        "make one fold in the shirt",
        "fold the shirt over",
    ],
    "put the white mug on the saucer": [
        "place the white cup on the saucer",
        "set the white mug down on the saucer",
        "the white mug goes on its saucer",
    ],
    "move the black bottle to the left": [
        "shift the black bottle leftwards",
        "slide the black bottle left",
        "take the black bottle to the left side",
    ],
    "press the green button": [
        "push the green button",
        "hit the green button",
        "activate the green button",
    ],
    "hand over the screwdriver": [
        "give me the screwdriver",
        "pass the screwdriver",
        "bring the screwdriver to my hand",
    ],
}
UNRELATED = {
    "development": [
        "make coffee",
        "play some music",
        "walk to the kitchen",
        "what is the weather",
        "sort the letters by date",
        "cut the carrot",
        "water the plants",
        "dance",
    ],
    "held-out": [
        "vacuum the carpet",
        "sing a song",
        "peel the potato",
        "call a taxi",
        "read the newspaper",
        "tie the shoelaces",
        "drive home",
        "feed the cat",
    ],
}


def outcomes(
    wordings: dict[str, list[str]], unrelated: list[str], **limits: float
) -> dict[str, float]:
    """Shares of right, refused and wrong answers to other wordings, and of refused nonsense."""
    from icl_vla_retrieval.text import InstructionError, TextEncoder, choose_instruction

    encoder = outcomes.__dict__.setdefault("encoder", TextEncoder())
    known = list(wordings)

    def answer(text: str) -> str | None:
        try:
            return choose_instruction(text, known, encoder, **limits)
        except InstructionError:
            return None

    pairs = [(answer(w), text) for text, others in wordings.items() for w in others]
    return {
        "right": np.mean([a == text for a, text in pairs]),
        "refused": np.mean([a is None for a, _ in pairs]),
        "wrong": np.mean([a not in (None, text) for a, text in pairs]),
        "nonsense refused": np.mean([answer(text) is None for text in unrelated]),
    }


def main() -> None:
    print(f"{'list':14}{'right':>8}{'refused':>9}{'wrong':>8}{'nonsense refused':>18}")
    for name, wordings in (("development", DEVELOPMENT), ("held-out", HELD_OUT)):
        row = outcomes(wordings, UNRELATED[name])
        print(
            f"{name:14}{row['right']:8.0%}{row['refused']:9.0%}{row['wrong']:8.0%}{row['nonsense refused']:18.0%}"
        )


if __name__ == "__main__":
    main()
