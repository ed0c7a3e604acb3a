"""What an instruction asks for, and of which things: a small network on a sentence's word pieces.

The text encoder's states are read by one layer of attention, which says of each piece whether
another clause begins there and which thing of its clause it names, and of the clause as a whole
what is to be done, whatever the things are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from icl_vla_embodiments.types import Array
from icl_vla_retrieval.text import TextEncoder

STATE = 384  # numbers of MiniLM's states


@dataclass(frozen=True)
class ReaderConfig:
    """Sizes.

    Attributes:
        width: Of the pieces' states.
        heads: Of attention.
        things: Most that a clause names.
        sense: Numbers that say what is to be done.
    """

    width: int = 96
    heads: int = 4
    things: int = 4
    sense: int = 32


@dataclass(frozen=True)
class Clause:
    """One thing that is asked for.

    Attributes:
        words: The part of the sentence.
        things: What the clause calls its things, in the order in which remembered ones stand.
        sense: ``(S,)`` of length 1, what is to be done.
    """

    words: str
    things: tuple[str, ...]
    sense: Array


class Reader(nn.Module):
    """See :mod:`.reader`."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.enter = nn.Sequential(nn.Linear(STATE, w), nn.LayerNorm(w))
        self.layer = nn.TransformerEncoderLayer(
            w, config.heads, 2 * w, dropout=0.1, batch_first=True, norm_first=True
        )
        self.begins = nn.Linear(w, 1)
        self.names = nn.Linear(w, 1 + config.things)
        self.weight = nn.Linear(w, 1)
        self.sense = nn.Linear(w, config.sense)

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read ``n`` sentences.

        Args:
            states: ``(n, L, 384)`` of their pieces.
            mask: ``(n, L)`` whether there is a piece.

        Returns:
            ``(n, L)`` logits that a clause begins; ``(n, L, 1 + things)`` logits of naming nothing,
            or one of the clause's things; ``(n, S)`` of length 1, the sense of the whole.
        """
        there = mask.bool()
        x = self.layer(self.enter(states), src_key_padding_mask=~there)
        share = self.weight(x)[..., 0].masked_fill(~there, -torch.inf).softmax(1)
        sense = F.normalize(torch.einsum("nl,nls->ns", share, self.sense(x)), dim=1)
        return self.begins(x)[..., 0], self.names(x), sense

    def read(self, sentence: str) -> list[Clause]:
        """The clauses of a sentence, in order."""
        with torch.inference_mode():
            states, mask, places = text_encoder().states([sentence])
            starts = self(states, mask)[0][0]
            cuts = [int(a) for (a, b), s in zip(places[0], starts, strict=True) if b > a and s > 0]
            edges = [0, *(c for c in cuts if c > 0), len(sentence)]
            parts = [sentence[a:b] for a, b in pairwise(edges)]
            parts = [part for part in parts if part.strip()]
            states, mask, places = text_encoder().states(parts)
            _, names, senses = self(states, mask)
        return [
            Clause(words.strip(" ,.;"), _things(words, row, place), sense.double().numpy())
            for words, row, place, sense in zip(parts, names, places, senses, strict=True)
        ]


def _things(words: str, names: Tensor, places: Tensor) -> tuple[str, ...]:
    """What is said of each thing that is named, up to the first one that is not.

    Args:
        words: Of a clause.
        names: ``(L, 1 + things)`` logits.
        places: ``(L, 2)`` characters.
    """
    said: dict[int, list[tuple[int, int]]] = {}
    for (a, b), label in zip(places.tolist(), names.argmax(dim=1).tolist(), strict=True):
        if b > a and label:
            said.setdefault(label - 1, []).append((a, b))
    things = []
    for i in range(len(said)):
        if i not in said:
            break
        things.append(words[said[i][0][0] : said[i][-1][1]])
    return tuple(things)


def piece_labels(places: Array, spans: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """``(L,)`` for pieces at characters ``(L, 2)``: which span they lie in, from 1; 0 for none."""
    labels = np.zeros(len(places), dtype=np.int64)
    for i, (start, end) in enumerate(spans):
        inside = (places[:, 0] >= start) & (places[:, 1] <= end) & (places[:, 1] > places[:, 0])
        labels[inside] = i + 1
    return labels


@cache
def text_encoder() -> TextEncoder:
    """Read once a process."""
    return TextEncoder()
