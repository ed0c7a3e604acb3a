"""One moment as the learned policy reads it, and many of them side by side.

Made of a correspondence and of pointers, the same way in training and on a robot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from ..perception.memory import TrackedTokens
from .context import DemoContext
from .frames import Correspondence
from .retrieval import demonstrated

if TYPE_CHECKING:
    import torch

MOST_TOKENS = 7  # things that a moment is read in the frames of
_LONG = 10.0  # frames to the end that count as far


@dataclass(frozen=True)
class Moment:
    """Now, beside ``K`` demonstrations' moments like it, with ``M`` shared tokens.

    Attributes:
        tcp: ``(4, 4)`` measured ``T_base_ee``.
        opening: ``(1,)`` measured gripper opening.
        tokens: ``(M, 3)`` where things are; ``first`` where they were first seen.
        first: ``(M, 3)``.
        seen: ``(M,)`` whether they are seen now.
        tcp_then: ``(K, 4, 4)`` in each demonstration.
        opening_then: ``(K,)``.
        commands: ``(K, H, 4, 4)`` that followed, and ``gripper`` ``(K, H)``.
        gripper: ``(K, H)``.
        tokens_then: ``(K, M, 3)``.
        first_then: ``(K, M, 3)``.
        yaw: ``(K, M)`` registered turn from then to now [rad].
        likeness: ``(K, M)`` distance of features; negative where there is no match.
        weights: ``(K,)`` prior of the demonstrations, sum 1; 0 for padding.
        costs: ``(K,)`` how unlike the present the pointed-to moments are.
        phase: ``(K,)`` 0 to 1.
        left: ``(K,)`` frames to the end, in units of :data:`_LONG`, at most 1.
    """

    tcp: Array
    opening: Array
    tokens: Array
    first: Array
    seen: Array
    tcp_then: Array
    opening_then: Array
    commands: Array
    gripper: Array
    tokens_then: Array
    first_then: Array
    yaw: Array
    likeness: Array
    weights: Array
    costs: Array
    phase: Array
    left: Array

    def of(self, demonstrations: NDArray[np.int64]) -> Moment:
        """The same moment with fewer demonstrations, or in another order."""
        kept = {
            f.name: getattr(self, f.name)[demonstrations]
            for f in fields(self)
            if f.name not in _NOW
        }
        kept["weights"] = kept["weights"] / max(kept["weights"].sum(), 1e-9)
        return Moment(**{n: getattr(self, n) for n in _NOW}, **kept)


_NOW = ("tcp", "opening", "tokens", "first", "seen")
_PER_TOKEN = {"tokens": 0, "first": 0, "seen": 0, "tokens_then": 1, "first_then": 1, "yaw": 1,
              "likeness": 1}  # fmt: skip


def moment_of(
    contexts: Sequence[DemoContext],
    pointers: NDArray[np.int64],
    weights: Array,
    costs: Array,
    tcp: Array,
    opening: float,
    tokens: TrackedTokens,
    correspondence: Correspondence,
    horizon: int,
) -> Moment:
    """What is known now.

    Args:
        contexts: ``K`` demonstrations.
        pointers: ``(K,)`` their frames like now.
        weights: ``(K,)``.
        costs: ``(K,)``.
        tcp: ``(4, 4)`` measured.
        opening: Measured.
        tokens: Of the scene.
        correspondence: Of these tokens with the demonstrations'.
        horizon: Steps of motion to read.
    """
    contexts = [c if len(c.features) else _blank(c) for c in contexts]
    shared = most_shared(correspondence)
    index = correspondence.index[:, shared]
    commands, gripper = demonstrated(contexts, pointers, horizon)
    rows = list(zip(contexts, pointers, np.maximum(index, 0), strict=True))
    features = tokens.first.features[shared]
    apart = [np.linalg.norm(features - c.features[j], axis=-1) for c, _, j in rows]
    lengths = np.array([len(c) for c in contexts])
    return Moment(
        tcp=tcp,
        opening=np.array([opening]),
        tokens=tokens.now.positions[shared],
        first=tokens.first.positions[shared],
        seen=np.asarray(tokens.seen[shared], dtype=float),
        tcp_then=np.stack([c.tcp[t] for c, t, _ in rows]),
        opening_then=np.array([c.opening[t] for c, t, _ in rows]),
        commands=commands,
        gripper=gripper,
        tokens_then=np.stack([c.tokens[t, j] for c, t, j in rows]),
        first_then=np.stack([c.first[j] for c, _, j in rows]),
        yaw=correspondence.yaw[:, shared],
        likeness=np.where(index >= 0, np.stack(apart), -1.0),
        weights=weights,
        costs=costs,
        phase=pointers / np.maximum(lengths - 1, 1),
        left=np.minimum((lengths - 1 - pointers) / _LONG, 1.0),
    )


def _blank(context: DemoContext) -> DemoContext:
    """A demonstration in which nothing was seen, with one token that nothing matches."""
    return replace(
        context,
        tokens=np.zeros((len(context), 1, 3)),
        first=np.zeros((1, 3)),
        features=np.zeros((1, context.features.shape[1])),
    )


def most_shared(correspondence: Correspondence) -> list[int]:
    """Tokens that most demonstrations know, the best known ones where there are many."""
    shared = correspondence.shared()
    known = (correspondence.index[:, shared] >= 0).sum(axis=0)
    best = np.argsort(-known, kind="stable")[:MOST_TOKENS]
    return [shared[i] for i in sorted(best)]


def side_by_side(moments: Sequence[Moment]) -> dict[str, torch.Tensor]:
    """Padded tensors ``(B, ...)`` float32; padding has weight 0 and no likeness."""
    import torch

    out = {}
    for f in fields(Moment):
        arrays = [np.asarray(getattr(m, f.name), dtype=np.float32) for m in moments]
        shape = np.max([a.shape for a in arrays], axis=0)
        if f.name in _PER_TOKEN:  # one that nothing matches, where nothing is shared
            shape[_PER_TOKEN[f.name]] = max(1, shape[_PER_TOKEN[f.name]])
        fill = -1.0 if f.name == "likeness" else 0.0
        whole = np.full((len(arrays), *shape), fill, dtype=np.float32)
        for row, a in zip(whole, arrays, strict=True):
            row[tuple(slice(n) for n in a.shape)] = a
        out[f.name] = torch.from_numpy(whole)
    return out
