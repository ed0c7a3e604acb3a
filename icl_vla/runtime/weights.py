"""Task weights of a run: all equal, or as tight as the demonstrations were."""

from __future__ import annotations

from typing import Literal, get_args

from icl_vla_embodiments import ActionChunk, ReportedError
from icl_vla_embodiments.types import Array
from icl_vla_retrieval.tightness import FEWEST, Tightness

Weights = Literal["equal", "demonstrations"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)


def task_weights(
    chunk: ActionChunk,
    tightness: Tightness = Tightness(),  # noqa: B008 - frozen
) -> dict[str, Array]:
    """Effector -> factors ``(H, 6, 6)`` on its residual (base axes) at each step.

    Raises:
        ReportedError: The chunk tells no spread (:attr:`ActionChunk.spread`).
    """
    if not chunk.spread:
        raise ReportedError(
            "the task weights cannot follow the demonstrations",
            where="ActionChunk.spread",
            value="none",
            remedy=f"use a policy that tells how demonstrations differ, with at least {FEWEST} of"
            " them, or equal weights",
        )
    return {effector: tightness.factors(spread) for effector, spread in chunk.spread.items()}
