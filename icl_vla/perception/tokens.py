"""What a scene looks like to a policy: a handful of 3-D tokens with features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from icl_vla_embodiments import Observation
from icl_vla_embodiments.types import Array

from .touch import Body

CLOUD = 144
"""Surface points kept for each token,"""
FINE = 1200
"""and where each counts, as when one thing is laid on another."""


@dataclass(frozen=True)
class SceneTokens:
    """``M`` things or regions seen in one observation, in the robot's base frame.

    Attributes:
        positions: ``(M, 3)`` where each is [m]: the middle of its visible extent when first seen,
            and from there as far as it has moved since.
        features: ``(M, F)``; Euclidean distance 1 means clearly different.
        extents: ``(M, 3)`` size along the base axes [m].
        clouds: ``(M, CLOUD, 3)`` surface points, repeated where there were fewer.
        pixels: ``(M,)`` how many pixels support it.
        middles: ``(M, 3)`` of the visible extent as it was last seen whole [m]: a lid that opens
            moves that, and not the box. Empty for the positions.
        fine: ``(M, P, 3)`` up to :data:`FINE` of the surface's points, repeated where there were
            fewer. Empty for the clouds.
    """

    positions: Array
    features: Array
    extents: Array
    clouds: Array
    pixels: Array
    middles: Array = field(default_factory=lambda: np.zeros((0, 3)))
    fine: Array = field(default_factory=lambda: np.zeros((0, FINE, 3)))

    def __post_init__(self) -> None:
        if not len(self.fine):
            object.__setattr__(self, "fine", self.clouds)
        if not len(self.middles):
            object.__setattr__(self, "middles", self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def empty(cls, features: int) -> SceneTokens:
        return cls(
            np.zeros((0, 3)),
            np.zeros((0, features)),
            np.zeros((0, 3)),
            np.zeros((0, CLOUD, 3)),
            np.zeros(0),
        )


class Encoder(Protocol):
    """Turns pictures into tokens. A learned encoder takes the place of the built-in one here."""

    @property
    def schema(self) -> str:
        """Names the kind and version of features; tokens of different schemas never mix."""
        ...

    @property
    def feature_size(self) -> int:
        """``F``."""
        ...

    def encode(self, observation: Observation) -> SceneTokens:
        """Tokens of one observation, the robot itself left out."""
        ...

    def body(self, observation: Observation) -> Body | None:
        """What the robot fills there; None where nobody knows."""
        ...


def some_of(points: Array, count: int) -> Array:
    """So many of points ``(P, 3)``, repeated where there are fewer."""
    return points[np.linspace(0, len(points) - 1, count).astype(int)]
