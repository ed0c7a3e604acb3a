"""How things look, and the words for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.home import home, write_atomically

from .scene import Pattern, Shape

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.10, 0.10),
    "green": (0.15, 0.62, 0.20),
    "blue": (0.10, 0.25, 0.75),
    "yellow": (0.90, 0.78, 0.10),
    "purple": (0.50, 0.15, 0.60),
    "orange": (0.93, 0.48, 0.08),
    "cyan": (0.15, 0.70, 0.75),
    "black": (0.12, 0.12, 0.12),
}
"""Paints by name, far enough apart to be told from each other."""

NOUNS: dict[Shape, str] = {
    "box": "cube",
    "cylinder": "cylinder",
    "sphere": "ball",
    "cross": "cross",
    "tee": "T-piece",
    "ell": "L-piece",
    "bowl": "bowl",
    "cup": "cup",
    "hook": "hook",
    "mark": "mark",
    "line": "line",
    "bar": "bar",
    "button": "button",
    "lid": "box with a lid",
    "drawer": "drawer",
    "slot": "slot",
    "gate": "gate",
}
SIZES = {"small": 0.8, "": 1.0, "large": 1.25}
_SIDE, _PERIOD = 64, 16  # [px] of a texture, and after which it repeats


@dataclass(frozen=True)
class Look:
    """What is seen of a thing, and what it is called.

    Attributes:
        shape: As in :class:`ObjectSpec`.
        color: A name of :data:`PALETTE`.
        pattern: Of its surface.
        size: A name of :data:`SIZES`; empty for the usual one, which no word is said of.
    """

    shape: Shape
    color: str
    pattern: Pattern = "plain"
    size: str = ""

    @property
    def words(self) -> str:
        """What it is called: "small striped yellow ball"."""
        return self.called(NOUNS[self.shape])

    def called(self, noun: str) -> str:
        """The same with another noun."""
        pattern = "" if self.pattern == "plain" else self.pattern
        return " ".join(w for w in (self.size, pattern, self.color, noun) if w)

    @property
    def scale(self) -> float:
        """Of its size, relative to the usual one."""
        return SIZES[self.size]

    def alike(self, rng: np.random.Generator) -> Look:
        """A look that shares colour and shape, and differs in pattern or size."""
        if rng.random() < 0.5:
            others = [p for p in ("plain", "striped", "dotted", "checked") if p != self.pattern]
            return replace(self, pattern=str(rng.choice(others)))  # type: ignore[arg-type]
        return replace(self, size="small" if self.size == "large" else "large")


def pattern_file(
    pattern: Pattern, first: tuple[float, float, float], second: tuple[float, float, float]
) -> Path:
    """PNG of a pattern in two colours, made once a machine."""
    from io import BytesIO

    from PIL import Image

    key = hashlib.sha256(repr((pattern, first, second)).encode()).hexdigest()[:16]
    file = home() / "textures" / f"{pattern}-{key}.png"
    if not file.exists():
        buffer = BytesIO()
        Image.fromarray(pattern_pixels(pattern, first, second)).save(buffer, "PNG")
        write_atomically(file, buffer.getvalue())
    return file


def pattern_pixels(
    pattern: Pattern, first: tuple[float, float, float], second: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """``(64, 64, 3)`` of a pattern in two colours."""
    return (255 * np.where(_mask(pattern)[..., None], second, first)).astype(np.uint8)


def _mask(pattern: Pattern) -> NDArray[np.bool_]:
    """Where the second colour is."""
    x, y = np.meshgrid(np.arange(_SIDE), np.arange(_SIDE))
    half = _PERIOD // 2
    if pattern == "striped":
        return np.asarray(x % _PERIOD < half)
    if pattern == "checked":
        return np.asarray((x // half + y // half) % 2 == 0)
    u, v = x % _PERIOD - half + 0.5, y % _PERIOD - half + 0.5
    return np.asarray(u**2 + v**2 < (0.3 * _PERIOD) ** 2)
