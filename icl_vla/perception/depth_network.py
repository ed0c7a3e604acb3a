"""The network that guesses depth: a small U-Net from colour to heights above the table.

It is told where each pixel's ray would meet the table, from where it comes, and where the robot is,
so that what is left to guess is how much higher than the table things are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .network import ConvBlock, down_and_up

UNIT = 0.1  # [m] that is 1 for the network


@dataclass(frozen=True)
class DepthConfig:
    """Sizes.

    Attributes:
        widths: Channels at the picture's size, and at a half, a quarter and so on.
    """

    widths: tuple[int, ...] = (16, 32, 64, 96, 128)


class DepthNetwork(nn.Module):
    """See :mod:`.depth_network`."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        self.config = config
        a, *rest = config.widths
        first = nn.Sequential(ConvBlock(14, a), ConvBlock(a, a))
        below = [
            nn.Sequential(ConvBlock(i, o, stride=2), ConvBlock(o, o), ConvBlock(o, o))
            for i, o in zip(config.widths, rest, strict=False)
        ]
        self.down = nn.ModuleList([first, *below])
        self.across = nn.ModuleList(
            [nn.Conv2d(o, i, 1) for i, o in zip(config.widths, rest, strict=False)]
        )
        self.up = nn.ModuleList([ConvBlock(w, w) for w in config.widths[:-1]])
        self.head = nn.Conv2d(a, 1, 1)

    def forward(self, rgb: Tensor, rays: Tensor, eye: Tensor, own: Tensor) -> Tensor:
        """Heights ``(N, H, W)`` above the table [m] of what is seen.

        Args:
            rgb: ``(N, H, W, 3)`` 0 to 255.
            rays: ``(N, H, W, 3)`` directions of the pixels in the base's axes, of any length.
            eye: ``(N, 3)`` where they come from, the table at height 0 [m].
            own: ``(N, H, W)`` height of the robot, where it is what is seen [m]; NaN elsewhere.
        """
        x = down_and_up(_inputs(rgb, rays, eye, own), self.down, self.across, self.up)
        with torch.autocast(x.device.type, enabled=False):  # a millimetre would be lost
            return UNIT * self.head(x.float())[:, 0]


def _inputs(rgb: Tensor, rays: Tensor, eye: Tensor, own: Tensor) -> Tensor:
    """``(N, 14, H, W)``: colour, ray, where it meets the table, eye, the robot.

    Places are relative to where the middle of the picture meets the table.
    """
    way = F.normalize(rays, dim=-1)
    down = (-way[..., 2:]).clamp(min=0.05)
    low = eye[:, None, None] + way * eye[:, None, None, 2:] / down  # on the table
    middle = low[:, ::4, ::4].flatten(1, 2).median(dim=1).values
    middle = torch.cat([middle[:, :2], torch.zeros_like(middle[:, 2:])], dim=1)[:, None, None]
    place = ((low - middle)[..., :2] / UNIT).clamp(-8, 8)
    seat = ((eye[:, None, None] - middle) / (5 * UNIT)).expand_as(way)
    known = ~torch.isnan(own)
    robot = torch.stack([torch.nan_to_num(own / UNIT).clamp(0, 6), known.to(own.dtype)], dim=-1)
    paint = rgb.to(way.dtype) / 127.5 - 1
    sheer = 1 / down  # how much farther along the ray a height is
    x = torch.cat([paint, way, place, seat, robot, sheer / 5], dim=-1)
    return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
