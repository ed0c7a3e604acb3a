"""Retrieval keys from any image encoder that ``transformers`` loads."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ReportedError
from icl_vla_retrieval import Demonstration

BATCH = 16


class ImageKeys:
    """One key ``(d,)`` a picture, of length 1, from one camera; a ``KeyEncoder``.

    A model's pooled output where it has one (CLIP's image features, a ViT's pooler), else the mean
    over its last layer's positions.

    Args:
        name: A model's name on the Hugging Face hub, or a folder that ``from_pretrained`` reads.
        camera: Whose pictures.
    """

    def __init__(self, name: str | Path, camera: str) -> None:
        self.name, self.camera = str(name), camera

    @cached_property
    def schema(self) -> str:
        """Names the weights, by what they make of a picture, and the camera."""
        probe = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
        deeds = np.round(self.encode(probe), 4).tobytes()
        return f"image/1 {hashlib.sha256(deeds).hexdigest()[:12]} {self.camera}"

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
        import torch

        processor, model = self._loaded
        out = []
        for i in range(0, len(rgb), BATCH):
            inputs = processor(images=list(rgb[i : i + BATCH]), return_tensors="pt")
            with torch.inference_mode():
                out.append(_pooled(model, inputs["pixel_values"]))
        keys = torch.cat(out)
        return torch.nn.functional.normalize(keys, dim=1).numpy().astype(np.float32)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoImageProcessor, AutoModel

        try:
            return (
                AutoImageProcessor.from_pretrained(self.name),
                AutoModel.from_pretrained(self.name).eval(),
            )
        except (OSError, ValueError, KeyError) as error:
            raise ReportedError(
                "the image encoder cannot be loaded",
                where=self.name,
                value=str(error).strip().split("\n")[0],
                valid=["a model's name on the hub", "a folder that from_pretrained reads"],
            ) from error


def _pooled(model: Any, pixels: Any) -> Any:
    """``(N, d)`` of a batch: each family of models says it in its own way."""
    vision = getattr(model, "vision_model", model)  # the half of CLIP and SigLIP that sees
    result = vision(pixel_values=pixels)
    pooled = getattr(result, "pooler_output", None)
    if pooled is None:
        states = result.last_hidden_state
        pooled = states.mean(dim=1) if states.ndim == 3 else states.mean(dim=(2, 3))
    return pooled.flatten(1)
