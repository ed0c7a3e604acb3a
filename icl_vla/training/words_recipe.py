"""What a training run of acting by words is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordsRecipe:
    """Everything that decides what comes out.

    Attributes:
        seed: Of everything random.
        sentences: That are read.
        steps: Of the optimiser.
        batch: Sentences a step.
        rate: Highest learning rate; it falls like a cosine.
        decay: Of the weights.
        robot: URDF of the one that demonstrates, absolute or of ``pybullet_data``.
        demonstrations: Kept of each sense.
    """

    seed: int = 0
    sentences: int = 12_000
    steps: int = 2_500
    batch: int = 96
    rate: float = 2e-3
    decay: float = 0.05
    robot: str = ""
    demonstrations: int = 32
