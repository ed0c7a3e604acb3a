"""Where in a picture does the robot end? Found to a fraction of a pixel along its outline.

From each point on the predicted border a line is searched, square to it, for the place where what
differs from the background ends (Harris and Stennett, *RAPID*, 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .body import Body
from .pictures import Pictures
from .pinhole import Pinhole

_STEP = 0.5  # [px] between samples on a line
_SIDE = 6  # samples compared on each side of a border
_CLEAR = 8.0  # times the noise by which the robot must differ from the background beside it
_EMPTY = 6.0  # times the noise by which background may differ from itself


@dataclass(frozen=True)
class Borders:
    """Places where the robot was found to end.

    Attributes:
        points: ``(N, 3)`` on the robot's outline, in the base frame.
        normals: ``(N, 2)`` unit, out of the robot, in the picture.
        pixels: ``(N, 2)`` where the border was found on the line through the predicted one.
        frame: ``(N,)``.
        looked: How many lines were searched.
    """

    points: Array
    normals: Array
    pixels: Array
    frame: NDArray[np.int64]
    looked: int

    def rows(self, camera: Pinhole) -> tuple[Array, Array]:
        """How far a camera's prediction is from what was found.

        Returns:
            ``(N,)`` distances along the normals [px], and their Jacobian ``(N, 7)``.
        """
        predicted, _ = camera.project(self.points)
        errors = np.einsum("ni,ni->n", predicted - self.pixels, self.normals)
        return errors, np.einsum("ni,nij->nj", self.normals, camera.jacobian(self.points))


def contrast(pictures: Pictures, body: Body, camera: Pinhole, grow: int) -> NDArray[np.float32]:
    """``(F, H, W)``: how far each pixel is from its background.

    The background is the median of the demonstration's frames in which the robot, as a camera
    predicts it and grown by some pixels, is elsewhere; NaN where it never is.
    """
    size = pictures.size
    masks = np.stack([body.mask(t, camera, size, grow=grow) for t in range(len(pictures))])
    backgrounds = pictures.backgrounds(masks.astype(bool))
    out = np.empty(pictures.rgb.shape[:3], np.float32)
    _, own = np.unique(pictures.episode, return_inverse=True)
    for t, e in enumerate(own):
        out[t] = np.abs(pictures.rgb[t] - backgrounds[e]).max(axis=-1)
    return out


def find_borders(
    camera: Pinhole, contrasts: NDArray[np.float32], body: Body, reach: float
) -> Borders:
    """Search the lines through the predicted outline up to ``reach`` [px] to both sides."""
    import cv2

    noise = max(float(np.nanmedian(contrasts)), 1.0)
    steps = np.arange(-reach - _SIDE * _STEP, reach + _SIDE * _STEP + _STEP, _STEP)
    points, normals, pixels, frames = [], [], [], []
    looked = 0
    for t, picture in enumerate(contrasts):
        outline = body.outline(t, camera, picture.shape)
        if not len(outline.points):
            continue
        at = outline.pixels[:, None] + steps[:, None] * outline.normals[:, None]
        x, y = np.moveaxis(at.astype(np.float32), -1, 0)
        lines = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderValue=np.nan)
        where, found = _falls(lines, noise)
        looked += int(np.isfinite(lines.sum(axis=1)).sum())
        offset = (steps[0] + _STEP * where[found])[:, None]
        points.append(outline.points[found])
        normals.append(outline.normals[found])
        pixels.append(outline.pixels[found] + offset * outline.normals[found])
        frames.append(np.full(int(found.sum()), t))
    if not points:
        return Borders(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, int), 0)
    return Borders(
        points=np.concatenate(points),
        normals=np.concatenate(normals),
        pixels=np.concatenate(pixels),
        frame=np.concatenate(frames),
        looked=looked,
    )


def _falls(lines: Array, noise: float) -> tuple[Array, NDArray[np.bool_]]:
    """Where each row ``(N, M)`` falls from robot (left) to background (right), in samples.

    Of all splits the one with the largest fall between the means of its two sides is taken; the
    border is where the row crosses the middle between them.

    Returns:
        ``(N,)`` places, and ``(N,)`` whether there is such a fall.
    """
    n, m = lines.shape
    known = np.isfinite(lines.sum(axis=1))
    x = np.where(known[:, None], lines, 0.0).astype(float)
    total = np.concatenate([np.zeros((n, 1)), np.cumsum(x, axis=1)], axis=1)
    split = np.arange(_SIDE, m - _SIDE + 1)
    left = (total[:, split] - total[:, split - _SIDE]) / _SIDE
    right = (total[:, split + _SIDE] - total[:, split]) / _SIDE
    best, row = (left - right).argmax(axis=1), np.arange(n)
    high, low = left[row, best], right[row, best]
    found = known & (high > _CLEAR * noise) & (low < 0.35 * high) & (low < _EMPTY * noise)
    level = 0.5 * (high + low)
    index = np.clip(split[best][:, None] + np.arange(-3, 3), 0, m - 2)
    a, b = x[row[:, None], index], x[row[:, None], index + 1]
    crossing = np.logical_and(a >= level[:, None], b < level[:, None])
    k = np.argmax(crossing, axis=1)
    a, b = a[row, k], b[row, k]
    place = index[row, k] + (a - level) / np.maximum(a - b, 1e-6)
    return place, found & np.any(crossing, axis=1)
