"""Encoded pictures, and errors that can be acted on where they are damaged."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import DatasetError

# what Pillow raises on damaged files, besides OSError
DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def decode_picture(source: Path | bytes, where: object) -> NDArray[np.uint8]:
    """``(H, W, 3)`` uint8 of an encoded picture.

    Raises:
        DatasetError: It is missing or damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
                return np.asarray(image.convert("RGB"))
    except (*DAMAGE, Image.DecompressionBombWarning) as error:
        raise DatasetError(
            "a picture cannot be read",
            where=where,
            value=str(error),
            remedy="fetch or record this dataset again",
        ) from error


def stack(pictures: Sequence[NDArray[np.uint8]], where: object) -> NDArray[np.uint8]:
    """``(T, H, W, 3)`` of pictures of one size."""
    sizes = {p.shape for p in pictures}
    if len(sizes) != 1:
        raise DatasetError(
            "the pictures of a camera differ in size",
            where=where,
            value=sorted(sizes)[:3],
            remedy="scale them to one size",
        )
    return np.stack(pictures)
