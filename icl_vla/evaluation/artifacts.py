"""What happens to pictures outside a laboratory, at five severities.

Every artifact takes a picture ``(H, W, 3)`` uint8, a severity 1 to 5 and a generator that belongs
to the episode, so that dirt stays where it is while the robot moves. Sizes are shares of the
picture, so they mean the same at every resolution.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icl_vla_embodiments.types import Array

Picture = NDArray[np.uint8]
Artifact = Callable[[Picture, int, np.random.Generator], Picture]


def lens_flare(picture: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """A light shines into the lens: a veil, a glow and ghosts on a line through the middle."""
    x, y, diagonal = _grid(picture)
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.5)
    light = 0.5 * np.array(picture.shape[1::-1]) + far * diagonal * _unit(angle)
    strength = 0.18 * severity
    glow = strength * np.exp(-np.hypot(x - light[0], y - light[1]) / (0.16 * diagonal))
    added = glow[..., None] * np.array([1.0, 0.95, 0.85])
    middle = 0.5 * np.array(picture.shape[1::-1])
    for share in rng.uniform(-0.9, 0.6, 3):
        ghost = middle + share * (light - middle)
        radius = rng.uniform(0.02, 0.06) * diagonal
        disc = np.hypot(x - ghost[0], y - ghost[1]) < radius
        added += 0.5 * strength * disc[..., None] * rng.uniform(0.3, 1.0, 3)
    return _mixed(picture, added + 0.05 * severity)


def water_drops(picture: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """Drops on the lens: each shows its surroundings upside down, smaller and blurred."""
    x, y, diagonal = _grid(picture)
    source_x, source_y = x.copy(), y.copy()
    inside = np.zeros(x.shape, dtype=bool)
    for _ in range(2 * severity + 1):
        cx, cy = rng.uniform(0, picture.shape[1]), rng.uniform(0, picture.shape[0])
        radius = rng.uniform(0.02, 0.05) * diagonal
        near = np.hypot(x - cx, y - cy) < radius
        source_x[near] = cx - 1.6 * (x[near] - cx)
        source_y[near] = cy - 1.6 * (y[near] - cy)
        inside |= near
    border = cv2.BORDER_REFLECT_101
    bent = cv2.remap(
        picture,
        source_x.astype(np.float32),
        source_y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=border,
    )
    soft = cv2.GaussianBlur(bent, (0, 0), max(0.006 * diagonal, 0.5))
    return np.asarray(np.where(inside[..., None], soft, picture), dtype=np.uint8)


def dust(picture: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """Specks near the sensor, out of focus, and a grey film."""
    x, y, diagonal = _grid(picture)
    shade = np.full(x.shape, 1.0 - 0.03 * severity)
    for _ in range(6 * severity):
        cx, cy = rng.uniform(0, picture.shape[1]), rng.uniform(0, picture.shape[0])
        width = rng.uniform(0.004, 0.014) * diagonal
        shade *= 1 - rng.uniform(0.3, 0.8) * np.exp(
            -((x - cx) ** 2 + (y - cy) ** 2) / (2 * width**2)
        )
    return _mixed(picture * shade[..., None], 0.02 * severity * np.ones(3))


def reflection(picture: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """A pane in front of the lens shows the room behind it: soft bright panels."""
    x, y, diagonal = _grid(picture)
    added = np.zeros(picture.shape)
    for _ in range(3):
        cx, cy = rng.uniform(0, picture.shape[1]), rng.uniform(0, picture.shape[0])
        along, across = _unit(rng.uniform(0, np.pi)), rng.uniform(0.05, 0.2, 2) * diagonal
        u = (x - cx) * along[0] + (y - cy) * along[1]
        v = (y - cy) * along[0] - (x - cx) * along[1]
        panel = (np.abs(u) < across[0]) & (np.abs(v) < across[1])
        added += panel[..., None] * rng.uniform(0.4, 1.0, 3)
    soft = np.asarray(cv2.GaussianBlur(added, (0, 0), max(0.01 * diagonal, 0.5)), dtype=float)
    share = 0.07 * severity
    return _mixed((1 - share) * picture.astype(float), 1.6 * share * soft)


def dead_pixels(picture: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """Pixels that stay black, white or one colour, some in columns."""
    out = picture.copy()
    height, width = picture.shape[:2]
    count = round(0.002 * severity * height * width)
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    out[rows, columns] = rng.choice([0, 255], (count, 3))
    for column in rng.integers(0, width, severity - 1):
        out[:, column] = rng.choice([0, 255])
    return out


def motion_blur(picture: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """The camera shakes while the shutter is open."""
    _, _, diagonal = _grid(picture)
    length = max(0.008 * severity * diagonal, 1.0)
    way = _unit(rng.uniform(0, np.pi))
    size = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((size, size), dtype=np.float32)
    for share in np.linspace(-0.5, 0.5, 4 * size):
        i, j = np.round(size // 2 + share * (size - 1) * way[::-1]).astype(int)
        kernel[i, j] = 1.0
    blurred = cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, dtype=np.uint8)


def compression(picture: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """A poor connection: JPEG of low quality."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=(40, 25, 15, 9, 5)[severity - 1])
    return np.asarray(Image.open(buffer).convert("RGB"))


def greyscale(picture: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """No colours; the severity is their share that is lost."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    share = severity / 5
    return np.asarray((1 - share) * picture + share * grey[..., None], dtype=np.uint8)


ARTIFACTS: dict[str, Artifact] = {
    f.__name__: f
    for f in (
        lens_flare,
        water_drops,
        dust,
        reflection,
        dead_pixels,
        motion_blur,
        compression,
        greyscale,
    )
}


def _grid(picture: Picture) -> tuple[Array, Array, float]:
    """Columns and rows of the pixels ``(H, W)``, and the diagonal [px]."""
    height, width = picture.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    return x, y, float(np.hypot(width, height))


def _unit(angle: float) -> Array:
    return np.array([np.cos(angle), np.sin(angle)])


def _mixed(picture: Array | Picture, added: Array) -> Picture:
    """A picture with light on top, ``added`` in shares of white."""
    return np.clip(picture + 255 * added, 0, 255).astype(np.uint8)
