"""Any vision model that ``transformers`` loads: states of a picture's patches, and of the whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ReportedError

_SIDE = 224  # [px] of models that do not say


@dataclass(frozen=True)
class VisionModel:
    """A model by its name on the Hugging Face hub, or by its folder."""

    name: str

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that name the weights, by what they make of a picture."""
        probe = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        processor, vision, _ = self._loaded
        pixels = processor(images=[probe], return_tensors="pt")["pixel_values"]
        states = _states(vision, pixels).last_hidden_state.float().numpy()
        return hashlib.sha256(np.round(states, 4).tobytes()).hexdigest()[:12]

    def whole(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pictures ``(N, H, W, 3)``, prepared by the model's own processor, to vectors ``(N, d)``.

        A model's pooled output where it has one (CLIP's image features, a ViT's pooler), else the
        mean over its last layer's positions.
        """
        processor, vision, pools = self._loaded
        result = _states(vision, processor(images=list(rgb), return_tensors="pt")["pixel_values"])
        pooled = getattr(result, "pooler_output", None)
        if pooled is None or not pools:
            states = result.last_hidden_state
            pooled = states.mean(dim=1) if states.ndim == 3 else states.mean(dim=(2, 3))
        return np.asarray(pooled.flatten(1).float().numpy())

    def patches(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A picture ``(H, W, 3)`` to the last layer's states of its patches ``(h, w, d)``.

        All of the picture is shown, stretched to a square of the side that the model was made for:
        its processor might cut off a part.

        Raises:
            ReportedError: The model's states are no grid over the picture.
        """
        import cv2

        processor, vision, _ = self._loaded
        side = _side(vision.config)
        square = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_CUBIC)
        given = processor(
            images=[square], return_tensors="pt", do_resize=False, do_center_crop=False
        )
        states = _states(vision, given["pixel_values"]).last_hidden_state[0].float()
        if states.ndim == 3:  # of a convolutional network, (d, h, w)
            return np.asarray(states.permute(1, 2, 0).numpy())
        patch = getattr(vision.config, "patch_size", None)
        cells = side // patch if isinstance(patch, int) else 0
        if not 0 < cells**2 <= len(states):  # hierarchical ones merge patches as they go
            cells = isqrt(len(states))
        if not 0 < cells**2 <= len(states):
            raise ReportedError(
                "the vision model's states are no grid over the picture",
                where=self.name,
                value=tuple(states.shape),
                valid=["a convolutional network", "a transformer over square patches"],
            )
        # class token and registers stand in front of the patches
        return np.asarray(states[len(states) - cells**2 :].reshape(cells, cells, -1).numpy())

    @cached_property
    def _loaded(self) -> tuple[Any, Any, bool]:
        """Its processor, the half of it that sees, and whether its pooled output was trained.

        Many a checkpoint comes without the pooler that its class has: that is drawn anew each time.

        Raises:
            ReportedError: The model cannot be loaded, or does not see.
        """
        from transformers import AutoImageProcessor, AutoModel

        try:
            processor = AutoImageProcessor.from_pretrained(self.name)
            model, told = AutoModel.from_pretrained(self.name, output_loading_info=True)
        except (OSError, ValueError, KeyError) as error:
            raise ReportedError(
                "the image encoder cannot be loaded",
                where=self.name,
                value=str(error).strip().split("\n")[0],
                valid=["a model's name on the hub", "a folder that from_pretrained reads"],
            ) from error
        vision = getattr(model.eval(), "vision_model", model)  # of CLIP and SigLIP
        return processor, vision, not any("pooler" in key for key in told["missing_keys"])


def _states(vision: Any, pixels: Any) -> Any:
    import torch

    with torch.inference_mode():
        return vision(pixel_values=pixels)


def _side(config: Any) -> int:
    """Of the squares that a model was made for [px]."""
    side = getattr(config, "image_size", None) or _SIDE
    return int(side if isinstance(side, int) else side[0])
