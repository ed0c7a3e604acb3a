"""The camera that fits best: Gauss-Newton on the robot's outline and, with depth, its surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments.types import Array

from .body import Body
from .borders import Borders, contrast, find_borders
from .pictures import Pictures
from .pinhole import Pinhole
from .surface import surface_rows

ROUGH = (24, 24, 24, 16, 16, 16, 12, 12, 8, 8)  # [px] reaches from a start some degrees off
CLOSE = (8, 8, 5, 5, 4, 4)
LAST = (5, 5, 4, 4)
LEAST = 40  # borders that seven unknowns need, most of them being alike
FOUND = 2.0  # [px] within which a predicted border counts as found
_AGAIN = 3  # iterations after which the background is computed anew
_PIXEL = 0.5  # [px] that a border is uncertain by at best
_METRE = 0.003  # [m] that a depth is uncertain by at best
_ALIKE = 50.0  # neighbouring depth pixels err alike: so many count as one
_LONGEST = 0.2  # [m], [rad] or share of the focal length in one step


@dataclass(frozen=True)
class Fit:
    """A camera and how well it fits.

    Attributes:
        camera: The camera.
        borders: What the outline was compared with.
        reprojection: Median distance of the found from the predicted outline [px].
        share: Of the predicted outline, what was found within :data:`FOUND`.
        surface: Median distance of seen depth from the robot's surface [m]; None without depth.
    """

    camera: Pinhole
    borders: Borders
    reprojection: float
    share: float
    surface: float | None = None


def refine(
    camera: Pinhole,
    pictures: Pictures,
    body: Body,
    reaches: Sequence[int] = CLOSE,
    *,
    zoom: bool = True,
) -> Fit | None:
    """Improve a camera; None where too little of the robot's outline is found.

    Args:
        camera: Where to start.
        pictures: Frames; where they have depth, it is used.
        body: The robot in their postures.
        reaches: How far from the prediction a border is looked for [px], one iteration each.
        zoom: Whether the focal length is free.
    """
    contrasts = None
    for i, reach in enumerate(reaches):
        if contrasts is None or i % _AGAIN == 0:
            contrasts = contrast(pictures, body, camera, grow=max(reach // 2, 3))
        borders = find_borders(camera, contrasts, body, reach)
        if len(borders.points) < LEAST:
            return None
        H, g = normal_equations(*borders.rows(camera), _PIXEL)
        if pictures.depth is not None:
            H_depth, g_depth = normal_equations(*surface_rows(camera, pictures, body), _METRE)
            H, g = H + H_depth / _ALIKE, g + g_depth / _ALIKE
        camera = camera.moved(_step(H, g, 7 if zoom else 6))
    errors, _ = borders.rows(camera)
    surface = None if pictures.depth is None else surface_rows(camera, pictures, body)[0]
    return Fit(
        camera,
        borders,
        reprojection=float(np.median(np.abs(errors))),
        share=float((np.abs(errors) < FOUND).sum() / borders.looked),
        surface=None if surface is None or not len(surface) else float(np.median(np.abs(surface))),
    )


def normal_equations(errors: Array, J: Array, least: float) -> tuple[Array, Array]:
    """``H`` ``(7, 7)`` and ``g`` ``(7,)`` of residuals under Tukey's biweight.

    The scale is the residuals' median absolute deviation, at least ``least``.
    """
    if not len(errors):
        return np.zeros((7, 7)), np.zeros(7)
    sigma = max(1.4826 * float(np.median(np.abs(errors))), least)
    x = errors / (4.685 * sigma)
    weights = np.where(np.abs(x) < 1, (1 - x**2) ** 2, 0.0) / sigma**2
    return J.T @ (weights[:, None] * J), J.T @ (weights * errors)


def _step(H: Array, g: Array, unknowns: int) -> Array:
    """The damped Gauss-Newton step ``(7,)`` over the first unknowns, of bounded length."""
    H, g = H[:unknowns, :unknowns], g[:unknowns]
    step = np.zeros(7)
    step[:unknowns] = -np.linalg.solve(H + 1e-6 * np.diag(np.diag(H)) + 1e-9 * np.eye(len(g)), g)
    return step * min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-12))
