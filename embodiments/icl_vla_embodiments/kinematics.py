"""What policies and eyes need to know of a robot's kinematics, wherever they are from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from numpy.typing import ArrayLike

from .types import Array


class Kinematics(Protocol):
    """Where joint positions ``q`` ``(n,)`` bring hands and links, and the way back."""

    @property
    def neutral(self) -> Array:
        """``(n,)`` a usual posture."""
        ...

    def poses(self, q: ArrayLike) -> dict[str, Array]:
        """Effector -> ``T_base_ee`` ``(4, 4)``."""
        ...

    def link_poses(self, q: ArrayLike) -> dict[str, Array]:
        """Link -> ``T_base_link`` ``(4, 4)``."""
        ...

    def inverse_kinematics(self, targets: Mapping[str, Array], guess: ArrayLike) -> Array:
        """Joint positions ``(n,)`` that bring hands to ``T_base_ee``, as near as they can."""
        ...
