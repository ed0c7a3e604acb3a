"""Task weights of a run: all equal, or as tight as the demonstrations were."""

from __future__ import annotations

from typing import Literal, get_args

from icl_vla_embodiments import ActionChunk, ReportedError
from icl_vla_embodiments.types import Array
from icl_vla_retrieval.tightness import FEWEST, Tightness, along_axes

Weights = Literal["equal", "demonstrations"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)


def task_weights(chunk: ActionChunk, tightness: Tightness = Tightness()) -> Array:  # noqa: B008 - frozen
    """Factors ``(H, 6)`` on the task weights (x y z, rx ry rz in base axes) at each step.

    Raises:
        ReportedError: The chunk tells no spread (:attr:`ActionChunk.spread`), or several arms'.
    """
    if len(chunk.spread) != 1:
        raise ReportedError(
            "the task weights cannot follow the demonstrations",
            where="ActionChunk.spread",
            value=f"spread of {len(chunk.spread)} arms",
            valid=["spread of one arm"],
            remedy=f"use a policy that tells how demonstrations differ, with at least {FEWEST} of"
            " them, or equal weights",
        )
    (spread,) = chunk.spread.values()
    return along_axes(tightness.factors(spread))
