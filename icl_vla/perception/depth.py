"""Depth where no camera measures it: guessed from colours, the calibration and the robot's pose.

Everything else about pictures then goes on as with a camera that measures depth. The table is taken
to lie at height 0 of the base frame.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import CameraImage, ReportedError
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.types import Array

from .resizing import blocks, shrunk

if TYPE_CHECKING:
    from .depth_network import DepthNetwork

DEFAULT = Path(__file__).with_name("checkpoints") / "depth"
_MARGIN = 0.006  # [m] that the robot is taken to be larger
_FARTHEST = 4.0  # [m]
_SIDE = 128  # [px] of the larger pictures that were learned from


@dataclass(frozen=True)
class DepthFromColour:
    """A trained network and what it has to be told.

    Attributes:
        network: See :mod:`.depth_network`.
    """

    network: DepthNetwork

    @classmethod
    def from_pretrained(cls, folder: Path = DEFAULT) -> DepthFromColour:
        """With weights from a folder; by default those of the package.

        Raises:
            ReportedError: The folder holds no such weights.
        """
        return cls(_load(folder))

    @cached_property
    def schema(self) -> str:
        """Names the weights."""
        return f"colour/{hashlib.sha256(_weights(self.network)).hexdigest()[:12]}"

    def __call__(
        self,
        camera: CameraImage,
        T_base_camera: Array,
        links: Mapping[str, Array],
        hulls: LinkHulls | None,
    ) -> CameraImage:
        """The same picture with depth.

        Args:
            camera: With colour and intrinsics.
            T_base_camera: ``(4, 4)``.
            links: Link -> ``T_base_link``.
            hulls: Of the robot; None: then what is seen of it is guessed, too.
        """
        import torch

        assert camera.rgb is not None and camera.intrinsics is not None
        rgb, eye = camera.rgb, T_base_camera[:3, 3]
        rays = rays_of(camera.intrinsics, T_base_camera, *rgb.shape[:2])
        robot = np.full(rays.shape[:2], np.inf, dtype=np.float32)
        if hulls is not None:
            robot = hulls.along(eye, rays.reshape(-1, 3), links, _MARGIN).reshape(robot.shape)
        own = np.where(np.isfinite(robot), eye[2] + robot * rays[..., 2], np.nan)
        small = shrunk(replace(camera, depth=own.astype(np.float32)), _SIDE)
        assert small.rgb is not None and small.depth is not None and small.intrinsics is not None
        few = rays_of(small.intrinsics, T_base_camera, *small.rgb.shape[:2])
        with torch.inference_mode():
            guessed = self.network(
                torch.from_numpy(np.ascontiguousarray(small.rgb))[None],
                torch.from_numpy(few)[None],
                torch.from_numpy(eye.astype(np.float32))[None],
                torch.from_numpy(np.ascontiguousarray(small.depth))[None],
            )[0].numpy()
        f = blocks(rgb.shape[0], rgb.shape[1], _SIDE)
        guessed = guessed.repeat(f, axis=0).repeat(f, axis=1)
        beyond = [(0, n - m) for n, m in zip(rgb.shape, guessed.shape, strict=False)]
        height = np.pad(guessed, beyond, mode="edge")
        depth = np.where(np.isfinite(robot), robot, at_height(height, rays, eye))
        return replace(camera, depth=depth.astype(np.float32))


def rays_of(K: Array, T_base_camera: Array, height: int, width: int) -> NDArray[np.float32]:
    """Directions ``(H, W, 3)`` of pixels in the base's axes, 1 along the optical axis."""
    v, u = np.mgrid[:height, :width]
    local = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1)
    return (local @ T_base_camera[:3, :3].T).astype(np.float32)


def at_height(height: Array, rays: NDArray[np.float32], eye: Array) -> Array:
    """Depth ``(H, W)`` at which rays are that high [m]; 0 where they do not come down there."""
    with np.errstate(divide="ignore"):
        depth = (np.maximum(height, 0.0) - eye[2]) / rays[..., 2]
    return np.where((rays[..., 2] < 0) & (depth > 0) & (depth < _FARTHEST), depth, 0.0)


@cache
def depth_from_colour() -> DepthFromColour:
    """With the package's weights, read once a process."""
    return DepthFromColour.from_pretrained()


def save_depth(folder: Path, network: DepthNetwork) -> None:
    """Write ``model.safetensors`` and ``config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.safetensors", _weights(network))
    write_atomically(folder / "config.json", json.dumps(asdict(network.config), indent=2) + "\n")


def _load(folder: Path) -> DepthNetwork:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from .depth_network import DepthConfig, DepthNetwork

    try:
        widths = json.loads((folder / "config.json").read_text())["widths"]
        network = DepthNetwork(DepthConfig(tuple(widths)))
        network.load_state_dict(load((folder / "model.safetensors").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ReportedError(
            "the weights that guess depth cannot be read",
            where=folder,
            value=str(error).split("\n")[0],
            valid=("a folder with config.json and model.safetensors, as `save_depth` writes it",),
        ) from error
    return network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _weights(network: DepthNetwork) -> bytes:
    from safetensors.torch import save

    return bytes(save({k: v.contiguous() for k, v in network.state_dict().items()}))
