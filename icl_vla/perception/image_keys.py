"""Retrieval keys from any image encoder that ``transformers`` loads."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ReportedError
from icl_vla_retrieval import Demonstration

from .vision_model import VisionModel

BATCH = 16


class ImageKeys:
    """One key ``(d,)`` a picture, of length 1, from one camera; a ``KeyEncoder``.

    Args:
        name: A model's name on the Hugging Face hub, or a folder that ``from_pretrained`` reads.
        camera: Whose pictures.
    """

    def __init__(self, name: str | Path, camera: str) -> None:
        self.model, self.camera = VisionModel(str(name)), camera

    @cached_property
    def schema(self) -> str:
        """Names the weights, by what they make of a picture, and the camera."""
        return f"image/1 {self.model.digest} {self.camera}"

    def keys(self, demonstration: Demonstration) -> NDArray[np.float32]:
        """``(T, d)``, one for each frame.

        Raises:
            ReportedError: The demonstration has no such camera, or the model cannot be loaded.
        """
        if self.camera not in demonstration.cameras:
            raise ReportedError(
                "the demonstration has no such camera",
                value=self.camera,
                valid=demonstration.cameras,
            )
        return self.encode(demonstration.cameras[self.camera].rgb)

    def encode(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pictures ``(N, H, W, 3)`` to keys ``(N, d)``."""
        keys = np.concatenate(
            [self.model.whole(rgb[i : i + BATCH]) for i in range(0, len(rgb), BATCH)]
        )
        return keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-12)
