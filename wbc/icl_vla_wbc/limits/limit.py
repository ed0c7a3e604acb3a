"""What every limit is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from icl_vla_embodiments.types import Array

from ..plan import Plan


@dataclass(frozen=True)
class Rows:
    """Linear limits ``lower <= C dU <= upper`` of a change of the plan's knots, flattened.

    Attributes:
        C: ``(M, K n)``.
        lower: ``(M,)``.
        upper: ``(M,)``.
    """

    C: Array
    lower: Array
    upper: Array


class Limit(Protocol):
    """Soft rows of the program: a plan may break them where it must, at a price.

    They are soft because a linearisation may contradict the accelerations' hard bounds, or the
    robot may already be where it must not be; what is applied is clamped in any case.
    """

    def rows(self, plan: Plan) -> Rows | None:
        """The rows around a plan; None where there are none."""
