"""The network that sees: a small U-Net from colour and depth to what belongs together.

Every pixel of a picture of half the size gets three answers: whether it shows a thing (not table,
background or robot), an embedding that is the same all over one thing and differs between things of
one picture (De Brabandere et al., *Semantic instance segmentation with a discriminative loss
function*, 2017), and a feature of unit length that is the same whenever that thing is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SENTENCE = 384  # numbers of MiniLM's embedding of a sentence


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes.

    Attributes:
        widths: Channels at a half, a quarter, an eighth and a sixteenth of the picture's size.
        embedding: Numbers that tell the things of one picture apart.
        feature: Numbers that tell what a thing looks like.
        waves: Lengths [m] of waves along the axes that places are given by as well.
    """

    widths: tuple[int, int, int, int] = (24, 48, 96, 128)
    embedding: int = 8
    feature: int = 32
    waves: tuple[float, ...] = ()

    @classmethod
    def of(cls, sizes: Mapping[str, Any]) -> NetworkConfig:
        """From what a file says, in which tuples are lists."""
        read: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}
        return cls(**read)


class Seen(NamedTuple):
    """Answers for ``N`` pictures, at half their size.

    Attributes:
        keep: ``(N, H/2, W/2)`` logit that this is a thing.
        embedding: ``(N, E, H/2, W/2)``.
        feature: ``(N, F, H/2, W/2)`` of length 1.
    """

    keep: Tensor
    embedding: Tensor
    feature: Tensor


class SceneNetwork(nn.Module):
    """See :mod:`.network`; ``words`` maps a sentence's embedding to the feature it describes."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.widths
        self.down = nn.ModuleList(
            [
                nn.Sequential(ConvBlock(7 + 6 * len(config.waves), a, stride=2), ConvBlock(a, a)),
                nn.Sequential(ConvBlock(a, b, stride=2), ConvBlock(b, b)),
                nn.Sequential(ConvBlock(b, c, stride=2), ConvBlock(c, c)),
                nn.Sequential(ConvBlock(c, d, stride=2), ConvBlock(d, d), ConvBlock(d, d)),
            ]
        )
        self.across = nn.ModuleList([nn.Conv2d(i, o, 1) for i, o in ((b, a), (c, b), (d, c))])
        self.up = nn.ModuleList([ConvBlock(a, a), ConvBlock(b, b), ConvBlock(c, c)])
        self.head = nn.Conv2d(a, 1 + config.embedding + config.feature, 1)
        self.words = nn.Linear(SENTENCE, config.feature)

    def forward(self, rgb: Tensor, points: Tensor, valid: Tensor) -> Seen:
        """Look at pictures.

        Args:
            rgb: ``(N, H, W, 3)`` 0 to 255; both sides are multiples of 2.
            points: ``(N, H, W, 3)`` where the pixels are in the base's axes [m].
            valid: ``(N, H, W)`` whether this is known.
        """
        x = _inputs(rgb, points, valid, self.config.waves)
        x = down_and_up(x, self.down, self.across, self.up)
        y = self.head(x).float()
        keep, embedding, feature = y.split([1, self.config.embedding, self.config.feature], dim=1)
        return Seen(keep[:, 0], embedding, F.normalize(feature, dim=1))

    def described(self, sentences: Tensor) -> Tensor:
        """``(n, F)`` of length 1: features of what sentences ``(n, 384)`` describe."""
        return F.normalize(self.words(sentences), dim=1)


class ConvBlock(nn.Module):
    """3 by 3, normalised, rectified; added to its input where the sizes are equal."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.BatchNorm2d(outputs)
        self.adds = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.conv(x)))
        return x + y if self.adds else y


def down_and_up(x: Tensor, down: nn.ModuleList, across: nn.ModuleList, up: nn.ModuleList) -> Tensor:
    """A U-Net (Ronneberger et al. 2015): ever smaller, then back, each size joined to its own.

    Args:
        x: ``(N, C, H, W)``.
        down: A block for each size, the first one's result is the largest.
        across: One less: from a size's channels to the next larger one's.
        up: As many: after they are added.
    """
    levels = []
    for block in down:
        x = block(x)
        levels.append(x)
    for join, block, level in reversed(list(zip(across, up, levels[:-1], strict=True))):
        x = block(level + F.interpolate(join(x), size=level.shape[-2:], mode="nearest"))
    return x


def _inputs(rgb: Tensor, points: Tensor, valid: Tensor, waves: tuple[float, ...]) -> Tensor:
    """``(N, 7 + 6 W, H, W)``: colour, place, whether the place is known, ``W`` waves.

    Places are relative to the picture's median, so that where a base or a camera stands does not
    matter: a hand's breadth is 1. Next to that a few millimetres are nothing; in sine and cosine of
    places along each axis (Fourier features, Tancik et al. 2020) they show.
    """
    known = valid[..., None]
    flat = torch.where(known, points, torch.nan)[:, ::4, ::4].flatten(1, 2)
    middle = torch.nan_to_num(flat.nanmedian(dim=1).values)
    place = torch.where(known, points - middle[:, None, None], 0.0)
    phases = [2 * torch.pi / length * place for length in waves]
    seen = [f(phase) * known for phase in phases for f in (torch.sin, torch.cos)]
    near = (10 * place).clamp(-6, 6)
    x = torch.cat([rgb.float() / 127.5 - 1, near, known.float(), *seen], dim=-1)
    return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
