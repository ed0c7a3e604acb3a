"""Keys of a bank's frames, computed once and kept beside the bank."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.home import write_atomically

from .bank import DemoBank
from .demonstration import Demonstration
from .retriever import EpisodeLabels, Retriever

KEYS = "icl_vla/keys/{schema}/episode_{index:06d}.npy"


class KeyEncoder(Protocol):
    """Turns demonstrations into retrieval keys."""

    @property
    def schema(self) -> str:
        """Names everything that keys depend on; keys of different schemas never mix."""
        ...

    def keys(self, demonstration: Demonstration) -> NDArray[np.float32]:
        """``(T, d)``, one for each frame."""
        ...


def schema_slug(schema: str) -> str:
    """A schema as the name of a folder."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in schema)[:60]
    return f"{safe}-{hashlib.sha256(schema.encode()).hexdigest()[:8]}"


def bank_keys(bank: DemoBank, encoder: KeyEncoder, episode: int) -> NDArray[np.float32]:
    """``(T, d)`` keys of an episode, from the bank's cache or computed and cached."""
    path = bank.path / KEYS.format(schema=schema_slug(encoder.schema), index=episode)
    if path.exists():
        return np.load(path, allow_pickle=False)
    keys = encoder.keys(bank[episode])
    buffer = io.BytesIO()
    np.save(buffer, keys, allow_pickle=False)
    write_atomically(path, buffer.getvalue())
    return keys


def retriever_of(
    bank: DemoBank, encoder: KeyEncoder, episodes: Sequence[int] | None = None
) -> Retriever:
    """A retriever over a bank's episodes, or some of them, labelled for selection."""
    retriever = Retriever(encoder.schema)
    for i in range(len(bank)) if episodes is None else episodes:
        d = bank[i]
        labels = EpisodeLabels(
            embodiment=d.embodiment,
            action_space=d.action_space.name,
            instruction=d.instruction,
            source=str(d.provenance.get("source", bank.path.name)),
        )
        retriever.add(i, bank_keys(bank, encoder, i), labels=labels)
    return retriever
