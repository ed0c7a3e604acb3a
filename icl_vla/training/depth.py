"""Training of the network that guesses depth (:mod:`icl_vla.perception.depth_network`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..perception.depth import rays_of, save_depth
from ..perception.depth_network import DepthConfig, DepthNetwork
from .encoder_recipe import DepthRecipe
from .fitting import fit
from .views import Views

WEIGHTS = {"things": 1.0, "ground": 0.5}
_SURE = 0.01  # [m]: errors count fully from here
_FAR = 0.15  # [m]: a larger one counts no more
_SHY = 0.2  # share of the pictures for which nobody tells where the robot is


class Guesses(nn.Module):
    """The network, and what it guesses wrongly."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        self.network = DepthNetwork(config)

    def losses(self, batch: Views) -> dict[str, Tensor]:
        """Parts of the loss, by name: errors along the rays [cm]."""
        rays, eye, height, own = told(batch, _SHY)
        with torch.autocast("cpu", torch.bfloat16):
            guessed = self.network(torch.from_numpy(batch.rgb), rays, eye, own)
        off = errors(guessed, height, rays)
        rough = F.smooth_l1_loss(
            off.clamp(-_FAR, _FAR), torch.zeros_like(off), reduction="none", beta=_SURE
        )
        seen = torch.from_numpy(batch.depth > 0)
        thing = torch.from_numpy(batch.thing >= 0) & seen
        ground = seen & ~thing & torch.isnan(own)
        return {"things": 100 * _mean(rough[thing]), "ground": 100 * _mean(rough[ground])}


def told(batch: Views, shy: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rays ``(N, H, W, 3)``, eyes ``(N, 3)``, heights and the robot's heights ``(N, H, W)`` [m].

    A robot is taken to be a little larger than it is, as hulls are.

    Args:
        batch: Pictures.
        shy: Share of them for which the robot is not told.
    """
    height, width = batch.depth.shape[1:]
    pairs = list(zip(batch.intrinsics, batch.cameras, strict=True))
    rays = np.stack([rays_of(K, T, height, width) for K, T in pairs])
    eye = batch.cameras[:, :3, 3].astype(np.float32)
    z = eye[:, None, None, 2] + batch.depth * rays[..., 2]
    own = torch.from_numpy(np.where(batch.robot, z, -np.inf).astype(np.float32))
    own = F.max_pool2d(own[:, None], 3, stride=1, padding=1)[:, 0]
    hidden = torch.from_numpy(np.arange(len(own)) < shy * len(own))
    own = torch.where(hidden[:, None, None] | torch.isinf(own), torch.nan, own)
    return torch.from_numpy(rays), torch.from_numpy(eye), torch.from_numpy(z), own


def errors(guessed: Tensor, height: Tensor, rays: Tensor) -> Tensor:
    """How far along the rays heights ``(N, H, W)`` [m] are off [m]."""
    down = (-rays[..., 2] / rays.norm(dim=-1)).clamp(min=0.1)
    return (guessed - height) / down


def _mean(x: Tensor) -> Tensor:
    return x.sum() / max(len(x), 1)


def train(
    recipe: DepthRecipe, folder: Path, progress: Callable[[str], None] | None = None
) -> DepthNetwork:
    """Train, from the last saved state on, and write ``checkpoint``.

    Args:
        recipe: What is done; a resumed run may have more stages.
        folder: For the checkpoint, the state, the log and the curves.
        progress: Called with a line now and then.

    Raises:
        ReportedError: The folder holds a run of another recipe.
    """
    torch.manual_seed(recipe.seed)
    sizes = {k: tuple(v) for k, v in recipe.network.items()}
    model = Guesses(DepthConfig(**sizes))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fit(recipe, folder, model, model, WEIGHTS, progress)
    network = model.network.eval()
    save_depth(folder / "checkpoint", network)
    return network
