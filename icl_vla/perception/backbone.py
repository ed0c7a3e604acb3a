"""What says of every pixel whether it shows a thing, which one, and what that looks like.

:class:`SceneBackbone` is the package's own network. Other backbones may see better what things look
like (:mod:`.vision_model`); which pixels are one thing stays this network's matter.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import write_atomically

if TYPE_CHECKING:
    from .network import SceneNetwork, Seen

DEFAULT = Path(__file__).with_name("checkpoints") / "default"


class Backbone(Protocol):
    """Looks at pictures."""

    @property
    def schema(self) -> str:
        """Names the weights."""
        ...

    @property
    def feature_size(self) -> int:
        """``F``."""
        ...

    @property
    def scale(self) -> float:
        """Factor for features of length 1, after which distance 1 is clearly different."""
        ...

    def look(
        self, rgb: NDArray[np.uint8], points: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> Look:
        """Answer for each pixel of a picture.

        Args:
            rgb: ``(H, W, 3)``.
            points: ``(H, W, 3)`` where the pixels are in the base's axes [m].
            valid: ``(H, W)`` whether this is known.
        """
        ...


@dataclass(frozen=True)
class Look:
    """What a backbone says of each pixel of a picture.

    Attributes:
        keep: ``(H, W)`` logit that it shows a thing.
        embedding: ``(H/2, W/2, E)``, at half the size.
        feature: ``(H/2, W/2, F)``, at half the size; its mean over a thing says what that looks
            like, at length 1.
    """

    keep: NDArray[np.float32]
    embedding: NDArray[np.float32]
    feature: NDArray[np.float32]


@dataclass(frozen=True)
class SceneBackbone:
    """The network that is trained for this (:mod:`.network`).

    Attributes:
        network: Trained.
        scale: See :class:`Backbone`; measured after training.
    """

    network: SceneNetwork
    scale: float = 1.0

    @classmethod
    def from_pretrained(cls, folder: Path = DEFAULT) -> SceneBackbone:
        """With weights from a folder; by default those of the package.

        Raises:
            ReportedError: The folder holds no such weights.
        """
        return cls(*load_network(folder))

    @staticmethod
    def lies_in(folder: Path) -> bool:
        """Whether a folder holds weights of this kind, and not of another model."""
        try:
            return "widths" in json.loads((folder / "config.json").read_text())
        except (OSError, ValueError):
            return False

    @property
    def feature_size(self) -> int:
        """``F``."""
        return self.network.config.feature

    @cached_property
    def schema(self) -> str:
        """Names the weights."""
        return f"learned/{hashlib.sha256(_weights(self.network)).hexdigest()[:12]}"

    def look(
        self, rgb: NDArray[np.uint8], points: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> Look:
        """See :meth:`Backbone.look`."""
        import torch
        from torch.nn import functional as F

        with torch.inference_mode():
            batch = [torch.from_numpy(np.ascontiguousarray(a))[None] for a in (rgb, points, valid)]
            seen: Seen = self.network(*batch)
            # answers are those of every other row and column, from the first on
            known = F.pad(seen.keep[:, None], (0, 1, 0, 1), mode="replicate")
            height, width = valid.shape
            keep = F.interpolate(
                known, size=(height + 1, width + 1), mode="bilinear", align_corners=True
            )[0, 0, :height, :width]
        embedding, feature = (a[0].permute(1, 2, 0).numpy() for a in (seen.embedding, seen.feature))
        return Look(keep.numpy(), embedding, feature)


def save_network(folder: Path, network: SceneNetwork, scale: float) -> None:
    """Write ``model.safetensors`` and ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.safetensors", _weights(network))
    config = {**asdict(network.config), "scale": scale}
    write_atomically(folder / "config.json", json.dumps(config, indent=2) + "\n")


def load_network(folder: Path) -> tuple[SceneNetwork, float]:
    """A network, and the scale of its features.

    Raises:
        ReportedError: They cannot be read.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from .network import NetworkConfig, SceneNetwork

    try:
        config = json.loads((folder / "config.json").read_text())
        scale = float(config.pop("scale"))
        network = SceneNetwork(NetworkConfig.of(config))
        network.load_state_dict(load((folder / "model.safetensors").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ReportedError(
            "the scene encoder's weights cannot be read",
            where=folder,
            value=str(error).split("\n")[0],
            valid=("a folder with config.json and model.safetensors, as `save_network` writes it",),
        ) from error
    return network.eval().to(memory_format=torch.channels_last), scale  # type: ignore[call-overload]


def _weights(network: SceneNetwork) -> bytes:
    from safetensors.torch import save

    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    return bytes(save(state))
