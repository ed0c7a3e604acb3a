"""A vision model of somebody else's as a backbone: it says what things look like."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import home, write_atomically

from .backbone import Look, SceneBackbone
from .vision_model import VisionModel


@dataclass(frozen=True)
class PatchBackbone:
    """Which pixels are one thing says the package's network, what it looks like a vision model.

    Attributes:
        model: Sees.
        grouping: Groups.
        mean: ``(F,)`` of the model's states on things; only what differs from it tells them apart.
        scale: See :class:`.backbone.Backbone`.
    """

    model: VisionModel
    grouping: SceneBackbone
    mean: NDArray[np.float32]
    scale: float

    @classmethod
    def of(cls, name: str) -> PatchBackbone:
        """A model by name or folder; its mean and scale are measured on drawn pictures, once.

        Raises:
            ReportedError: It cannot be loaded, or the extra that draws is not installed.
        """
        model = VisionModel(name)
        file = home() / "encoders" / f"{model.digest}.npz"
        if not file.exists():
            mean, scale = _measured(model)
            buffer = io.BytesIO()
            np.savez(buffer, mean=mean, scale=scale)
            write_atomically(file, buffer.getvalue())
        with np.load(file, allow_pickle=False) as stored:
            return cls(
                model, SceneBackbone.from_pretrained(), stored["mean"], float(stored["scale"])
            )

    @property
    def feature_size(self) -> int:
        """``F``."""
        return len(self.mean)

    @cached_property
    def schema(self) -> str:
        """Names both models' weights."""
        return f"patches/{self.model.digest} {self.grouping.schema}"

    def look(
        self, rgb: NDArray[np.uint8], points: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> Look:
        """See :meth:`.backbone.Backbone.look`."""
        seen = self.grouping.look(rgb, points, valid)
        height, width = seen.feature.shape[:2]
        return replace(seen, feature=spread(self.model.patches(rgb) - self.mean, height, width))


def spread(states: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """States of patches ``(h, w, d)`` at every pixel ``(height, width, d)``, bilinear."""
    import torch
    from torch.nn import functional as F

    grid = torch.from_numpy(states).permute(2, 0, 1)[None]
    fine = F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)
    return np.asarray(fine[0].permute(1, 2, 0).numpy())


def _measured(model: VisionModel) -> tuple[NDArray[np.float32], float]:
    try:
        from ..training.calibration import of_patches

        return of_patches(model.patches)
    except ModuleNotFoundError as error:
        if error.name != "numba":
            raise
        raise ReportedError(
            "pictures are drawn to learn how far apart a vision model's features are,"
            " and what draws them is not installed",
            where=model.name,
            valid=["numba"],
            remedy="pip install 'icl-vla[train]'",
        ) from error
