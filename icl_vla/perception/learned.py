"""Scene tokens by a learned network: things as it groups them, told apart by what it sees of them.

The network (:mod:`.network`) says of every pixel whether it shows a thing, of which thing, and what
that looks like. Pixels whose embeddings lie together in one place are a token; views of one thing
from several cameras become one. Depth and calibration put tokens in the base frame, and what
forward kinematics and the links' hulls say is the robot is left out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from icl_vla_embodiments import CameraImage, Observation, ReportedError
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .components import complete_cameras, points_in_base
from .tokens import CLOUD, SceneTokens

if TYPE_CHECKING:
    from .network import SceneNetwork, Seen

DEFAULT = Path(__file__).with_name("checkpoints") / "default"
MOST = 64  # tokens
_TOGETHER = 2.0  # embeddings this near are one thing's: half of what training pushes means apart
_LARGEST = 0.15  # [m] of a thing about its middle
_TOUCHING = 0.01  # [m] between the boxes of two parts of one thing at most
_SCRAP = 20  # [px]: what is smaller is part of what it touches
SAME = 0.6  # feature distance below which they may be, as in :mod:`.memory`


@dataclass(frozen=True)
class LearnedEncoder:
    """Tokens of one or more calibrated RGB-D cameras.

    Attributes:
        model: Forward kinematics of the robot.
        hulls: Its links' hulls.
        reach: Points farther from the base than this [m] are ignored.
        network: Trained.
        scale: Of its features, so that 1 is clearly different: measured after training.
        robot_margin: Distance [m] to a hull within which a point belongs to the robot.
        min_pixels: Smaller groups are dropped.
    """

    model: RobotModel
    hulls: LinkHulls
    reach: float
    network: SceneNetwork
    scale: float = 1.0
    robot_margin: float = 0.012
    min_pixels: int = 6

    @classmethod
    def from_pretrained(
        cls, model: RobotModel, hulls: LinkHulls, reach: float, folder: Path = DEFAULT
    ) -> LearnedEncoder:
        """With weights from a folder; by default those of the package.

        Raises:
            ReportedError: The folder holds no such weights.
        """
        network, scale = load_network(folder)
        return cls(model, hulls, reach, network, scale)

    @property
    def feature_size(self) -> int:
        """``F``."""
        return self.network.config.feature

    @cached_property
    def schema(self) -> str:
        """Names the weights."""
        return f"learned/{hashlib.sha256(_weights(self.network)).hexdigest()[:12]}"

    def encode(self, observation: Observation) -> SceneTokens:
        """Tokens of all cameras that have colour, depth and calibration, the largest first.

        Raises:
            ReportedError: No camera has all three, or joint positions are missing.
        """
        usable = complete_cameras(observation)
        assert observation.q is not None
        links = self.model.link_poses(observation.q)
        groups = [g for camera in usable for g in self._groups(camera, links)]
        return self._tokens(_merged(groups, SAME / self.scale))

    def _groups(self, camera: CameraImage, links: dict[str, Array]) -> list[_Group]:
        """What one camera shows."""
        assert camera.rgb is not None and camera.depth is not None
        points = points_in_base(camera, links)
        valid = camera.depth > 0
        seen = look(self.network, camera.rgb, points, valid)
        near = valid & (np.linalg.norm(points[..., :2], axis=-1) < self.reach)
        kept = near & (seen.keep > 0)
        own = self.hulls.mask(points[kept].astype(float), links, self.robot_margin)
        kept[kept] = ~own
        islands, _ = ndimage.label(kept, np.ones((3, 3)))
        y, x = np.nonzero(kept)
        P = points[y, x]
        half = y // 2, x // 2
        labels = grouped(seen.embedding[half], P, seen.keep[y, x], islands[y, x])
        features = seen.feature[half]
        groups = []
        for label in range(labels.max(initial=-1) + 1):
            mine = labels == label
            if mine.sum() >= self.min_pixels:
                groups.append(_Group(P[mine].astype(float), features[mine].mean(axis=0)))
        return groups

    def _tokens(self, groups: list[_Group]) -> SceneTokens:
        if not groups:
            return SceneTokens.empty(self.feature_size)
        groups = sorted(groups, key=lambda g: -len(g.points))[:MOST]
        boxes = np.stack([g.box for g in groups])  # (M, 2, 3)
        picks = [np.linspace(0, len(g.points) - 1, CLOUD).astype(int) for g in groups]
        return SceneTokens(
            positions=boxes.mean(axis=1),
            features=self.scale * np.stack([g.unit for g in groups]),
            extents=boxes[:, 1] - boxes[:, 0],
            clouds=np.stack([g.points[p] for g, p in zip(groups, picks, strict=True)]),
            pixels=np.array([len(g.points) for g in groups]),
        )


@dataclass(frozen=True)
class _Group:
    """Points ``(P, 3)`` [m] of what is taken for one thing, and their mean feature ``(F,)``."""

    points: Array
    feature: Array

    @cached_property
    def box(self) -> Array:
        """``(2, 3)`` lower and upper corner of most of it."""
        return np.asarray(np.quantile(self.points, [0.03, 0.97], axis=0))

    @property
    def unit(self) -> Array:
        """The feature at length 1."""
        return self.feature / max(float(np.linalg.norm(self.feature)), 1e-9)

    def with_(self, other: _Group) -> _Group:
        """Both as one."""
        n, m = len(self.points), len(other.points)
        feature = (n * self.feature + m * other.feature) / (n + m)
        return _Group(np.concatenate([self.points, other.points]), feature)


def _merged(groups: list[_Group], same: float) -> list[_Group]:
    """Groups that touch and look alike are parts, or other sides, of one thing; so are scraps."""
    done: list[_Group] = []
    for group in sorted(groups, key=lambda g: -len(g.points)):
        for i, other in enumerate(done):
            low = np.maximum(group.box[0], other.box[0])
            high = np.minimum(group.box[1], other.box[1])
            touch = (low - high).max() < _TOUCHING
            small = len(group.points) < _SCRAP
            if touch and (small or np.linalg.norm(group.unit - other.unit) < same):
                done[i] = other.with_(group)
                break
        else:
            done.append(group)
    return done


def grouped(
    embedding: NDArray[np.float32],
    points: NDArray[np.float32],
    keep: NDArray[np.float32],
    island: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Which pixels are one thing: the surest one takes what lies about it, then the next.

    Args:
        embedding: ``(P, E)``.
        points: ``(P, 3)`` [m].
        keep: ``(P,)`` logits.
        island: ``(P,)`` the same for pixels that hang together in the picture.

    Returns:
        ``(P,)`` numbers from 0 on.
    """
    labels = np.full(len(keep), -1)
    free = np.argsort(-keep, kind="stable")
    count = 0
    while len(free):
        home = island[free] == island[free[0]]
        middle, place = embedding[free[0]], points[free[0]]
        for _ in range(2):  # about the surest pixel, then about the middle of what that found
            apart = np.linalg.norm(embedding[free] - middle, axis=1)
            way = np.linalg.norm(points[free] - place, axis=1)
            mine = home & (apart < _TOGETHER) & (way < _LARGEST)
            mine[0] = True  # or it would never end
            middle, place = embedding[free[mine]].mean(axis=0), points[free[mine]].mean(axis=0)
        labels[free[mine]] = count
        free, count = free[~mine], count + 1
    return labels


@dataclass(frozen=True)
class Look:
    """What the network says of each pixel of a picture.

    Attributes:
        keep: ``(H, W)`` logit that it shows a thing.
        embedding: ``(H/2, W/2, E)``, at half the size.
        feature: ``(H/2, W/2, F)`` of length 1, at half the size.
    """

    keep: NDArray[np.float32]
    embedding: NDArray[np.float32]
    feature: NDArray[np.float32]


def look(
    network: SceneNetwork,
    rgb: NDArray[np.uint8],
    points: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> Look:
    """Show the network one picture ``(H, W)``; see :meth:`.network.SceneNetwork.forward`."""
    import torch
    from torch.nn import functional as F

    with torch.inference_mode():
        batch = [torch.from_numpy(np.ascontiguousarray(a))[None] for a in (rgb, points, valid)]
        seen: Seen = network(*batch)
        keep = F.interpolate(seen.keep[:, None], size=valid.shape, mode="bilinear")[0, 0]
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
        network = SceneNetwork(NetworkConfig(**{**config, "widths": tuple(config["widths"])}))
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
