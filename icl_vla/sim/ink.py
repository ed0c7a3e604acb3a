"""Ink that fingertips leave on a table: what was done there stays to be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icl_vla_embodiments.types import Array

from .bullet import pybullet

_NEAR = 0.005  # [m] of a finger to the table at which it writes
_APART = 0.003  # [m] between dots
_DOT, _BLOT = 0.005, 0.012  # [m] edges
_THICK = 0.0012  # [m]: over marks, which are painted 1 mm thick
_SLOW = 0.8  # [s] in one place after which a dot is a blot
_COLOR = (0.05, 0.05, 0.08, 1.0)


@dataclass
class Dot:
    """Ink in one place.

    Attributes:
        place: ``(2,)`` [m] on the table.
        seconds: For which the pen was there.
    """

    place: Array
    seconds: float = 0.0


class Pen:
    """Hands that write where they point, while their fingers all but touch the table.

    Args:
        client: PyBullet.
        table: Its body.
        body: The robot's.
        fingers: Links of it.
        tools: Asked for ``T_world_ee`` ``(n, 4, 4)`` of the hands, which point along their z axes.

    Attributes:
        dots: The ink so far, in the order in which it was left.
    """

    def __init__(
        self,
        client: Any,
        table: int,
        body: int,
        fingers: Sequence[int],
        tools: Callable[[], Array],
    ) -> None:
        self._client, self._table, self._body, self._fingers = client, table, body, fingers
        self._tools = tools
        self.dots: list[Dot] = []

    def place(self) -> Array | None:
        """``(2,)`` [m] where it writes now, or None.

        Fingers are wide, and which point of a flat fingertip is the nearest is chance: the hand
        writes where its axis meets the table.
        """
        near = [
            contact[6][:2]
            for finger in self._fingers
            for contact in self._client.getClosestPoints(
                self._body, self._table, _NEAR, linkIndexA=finger
            )
        ]
        if not near:
            return None
        T = self._tools()
        down = np.minimum(T[:, 2, 2], -0.1)  # of a hand that points up nothing can be said
        meets = T[:, :2, 3] - (T[:, 2, 3] / down)[:, None] * T[:, :2, 2]
        return np.asarray(meets[np.linalg.norm(meets - np.mean(near, axis=0), axis=1).argmin()])

    def write(self, duration: float) -> None:
        """Leave the ink of ``duration`` [s]."""
        place = self.place()
        if place is None:
            return
        last = self.dots[-1] if self.dots else None
        if last is None or np.linalg.norm(place - last.place) > _APART:
            last = Dot(place)
            self.dots.append(last)
            self._paint(place, _DOT, _THICK)
        before = last.seconds
        last.seconds += duration
        if before < _SLOW <= last.seconds:
            self._paint(last.place, _BLOT, 1.2 * _THICK)

    def _paint(self, place: Array, edge: float, thick: float) -> None:
        visual = self._client.createVisualShape(
            pybullet.GEOM_BOX,
            halfExtents=[0.5 * edge, 0.5 * edge, 0.5 * thick],
            rgbaColor=_COLOR,
            specularColor=[0, 0, 0],
        )
        self._client.createMultiBody(0, -1, visual, [*place, 0.5 * thick])
