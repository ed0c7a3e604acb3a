"""Demonstrations as a policy reads them: motions beside tracked scene tokens, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank, Demonstration, choose_instruction
from icl_vla_retrieval.keys import schema_slug

from ..perception.memory import tracked_tokens
from ..perception.tokens import Encoder


@dataclass(frozen=True)
class DemoContext:
    """One demonstration of ``T`` frames with ``M`` tokens, for one effector.

    Attributes:
        episode: Index in the bank.
        tcp: ``(T, 4, 4)`` measured ``T_base_ee``.
        opening: ``(T,)`` measured gripper opening.
        commands: ``(T, 4, 4)`` commanded ``T_base_ee``; row t is due one step after frame t.
        gripper: ``(T,)`` commanded opening.
        tokens: ``(T, M, 3)`` tracked token positions.
        first: ``(M, 3)`` their positions when first seen.
        features: ``(M, F)``.
        clouds: ``(M, P, 3)`` their surfaces when first seen.
    """

    episode: int
    tcp: Array
    opening: Array
    commands: Array
    gripper: Array
    tokens: Array
    first: Array
    features: Array
    clouds: Array

    def __len__(self) -> int:
        return len(self.tcp)


def read_context(
    bank: DemoBank | Sequence[Demonstration],
    instruction: str,
    encoder: Encoder,
    effector: str,
    limit: int = 20,
) -> list[DemoContext]:
    """The demonstrations of an instruction, with tokens (cached beside a bank).

    Other words for an instruction of the bank are understood (:func:`choose_instruction`).

    Raises:
        InstructionError: The bank knows no such instruction; the known ones are listed.
    """
    if isinstance(bank, DemoBank):
        episodes = bank.select(choose_instruction(instruction, bank.instructions))
        cache: Path | None = bank.path / "icl_vla" / "tokens" / schema_slug(encoder.schema)
    else:
        meant = choose_instruction(instruction, list(dict.fromkeys(d.instruction for d in bank)))
        episodes = [i for i, d in enumerate(bank) if d.instruction == meant]
        cache = None
    return [_read_one(bank[i], i, encoder, effector, cache) for i in episodes[:limit]]


def _read_one(
    demonstration: Demonstration,
    episode: int,
    encoder: Encoder,
    effector: str,
    cache: Path | None,
) -> DemoContext:
    path = None if cache is None else cache / f"episode_{episode:06d}.npz"
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
    else:
        arrays = tracked_tokens(demonstration, encoder)
        if path is not None:
            write_atomically(path, _npz(arrays))
    return DemoContext(
        episode=episode,
        tcp=demonstration.poses[effector],
        opening=demonstration.grippers[effector],
        commands=demonstration.commands[effector],
        gripper=demonstration.gripper_commands[effector],
        **arrays,
    )


def index_episodes(bank: DemoBank, encoder: Encoder, effector: str, episodes: Sequence[int]) -> int:
    """Encode episodes ahead of their first use; returns how many were new."""
    cache = bank.path / "icl_vla" / "tokens" / schema_slug(encoder.schema)
    fresh = [i for i in episodes if not (cache / f"episode_{i:06d}.npz").exists()]
    for i in fresh:
        _read_one(bank[i], i, encoder, effector, cache)
    return len(fresh)


def _npz(arrays: dict[str, Array]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
