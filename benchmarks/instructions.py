"""How often another wording finds the demonstrated instruction, and nonsense none.

Siblings (one word makes another task of them) are refused, or at least told with that word.

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


# one word makes it another task: too like to tell apart by similarity alone
SIBLINGS = {
    "development": [
        "put the blue cube in the red bowl",
        "put the green cube in the blue bowl",
        "open the bottom drawer",
        "close the oven door",
        "pour milk into the cup",
        "stack the large box on the small box",
        "wipe the window with the sponge",
        "hang the coat on the hook",
    ],
    "held-out": [
        "insert the peg into the square hole",
        "turn off the lamp",
        "throw the paper in the trash",
        "unfold the shirt",
        "put the black mug on the saucer",
        "move the black bottle to the right",
        "press the red button",
        "hand over the hammer",
    ],
}


def main() -> None:
    from icl_vla_retrieval import InstructionError, TextEncoder, choose_instruction, different_words

    encoder = TextEncoder()

    def answer(text: str, known: list[str]) -> str | None:
        try:
            return choose_instruction(text, known, encoder)
        except InstructionError:
            return None

    def told(text: str, known: list[str]) -> bool:
        """Refused, or understood with the differing words shown."""
        meant = answer(text, known)
        return meant is None or bool(different_words(text, meant))

    heads = ("right", "refused", "wrong", "nonsense refused", "siblings refused", "siblings told")
    print(f"{'list':14}" + "".join(f"{h:>{len(h) + 3}}" for h in heads))
    for name, wordings in (("development", DEVELOPMENT), ("held-out", HELD_OUT)):
        known = list(wordings)
        pairs = [(answer(w, known), text) for text, others in wordings.items() for w in others]
        shares = [
            np.mean([a == text for a, text in pairs]),
            np.mean([a is None for a, _ in pairs]),
            np.mean([a not in (None, text) for a, text in pairs]),
            np.mean([answer(text, known) is None for text in UNRELATED[name]]),
            np.mean([answer(text, known) is None for text in SIBLINGS[name]]),
            np.mean([told(text, known) for text in SIBLINGS[name]]),
        ]
        print(
            f"{name:14}"
            + "".join(f"{s:{len(h) + 3}.0%}" for s, h in zip(shares, heads, strict=True))
        )


if __name__ == "__main__":
    main()
