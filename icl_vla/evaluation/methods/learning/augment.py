"""More than was shown: the same scene elsewhere on the table, and a hand that is not quite there.

What is learned is relative to the hand, so a scene that is turned and shifted as a whole asks for
the same motion, turned. A hand beside where it was measured asks for the way back (Laskey et al.
2017 record this; here it follows from the command, which is known in the base frame).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .fitting import Draw
from .moments import Moments

_TURN = torch.pi / 4  # [rad] either way about the vertical
_SHIFT = 0.1  # [m] either way along the table
_BESIDE = 0.005  # [m] standard deviation of the hand's place


def elsewhere(draw: Draw) -> Draw:
    """Batches in which every moment is somewhere else."""

    def drawn(generator: torch.Generator) -> Moments:
        batch = draw(generator)
        count = len(batch["state"])
        angle = (2 * torch.rand(count, generator=generator) - 1) * _TURN
        shift = (2 * torch.rand(count, 3, generator=generator) - 1) * _SHIFT
        shift[:, 2] = 0
        beside = torch.randn(count, 3, generator=generator) * _BESIDE
        return moved(batch, angle, shift, beside)

    return drawn


def moved(batch: Moments, angle: Tensor, shift: Tensor, beside: Tensor) -> Moments:
    """Scenes turned about the vertical through the hand and shifted.

    Args:
        batch: Its places, motions and points; what is read of other moments is moved alike.
        angle: ``(N,)`` [rad].
        shift: ``(N, 3)`` [m].
        beside: ``(N, 3)`` by which the hand is somewhere else than where it was measured [m].
    """
    c, s = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    R = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=-1).view(-1, 3, 3)
    pivot = batch["state"][:, :3]

    def turned(x: Tensor) -> Tensor:
        """Vectors ``(N, ..., 3)``."""
        return (x.flatten(1, -2) @ R.transpose(1, 2)).view(x.shape) if x.dim() > 2 else (
            torch.einsum("nij,nj->ni", R, x)
        )  # fmt: skip

    def placed(x: Tensor) -> Tensor:
        """Places ``(N, ..., 3)``."""
        wide = (len(x), *[1] * (x.dim() - 2), 3)
        return turned(x - pivot.view(wide)) + (pivot + shift).view(wide)

    def turns(x: Tensor) -> Tensor:
        """Columns ``(N, ..., 6)`` of rotations ``R_z Q R_z^T``."""
        a, b = x[..., :3], x[..., 3:]
        Q = torch.stack([a, b, torch.linalg.cross(a, b)], dim=-1)
        wide = R.view(len(R), *[1] * (x.dim() - 2), 3, 3)
        Q = wide @ Q @ wide.transpose(-1, -2)
        return torch.cat([Q[..., 0], Q[..., 1]], dim=-1)

    made = dict(batch)
    for name, x in batch.items():
        kind = name.split("_")[-1]
        if kind == "positions":
            made[name] = placed(x)
        elif kind == "features":
            made[name] = torch.cat([x[..., :-3], turned(x[..., -3:])], dim=-1)
        elif kind == "state":
            a, b = turned(x[..., 3:6]), turned(x[..., 6:9])
            made[name] = torch.cat([placed(x[..., :3]), a, b, x[..., 9:]], dim=-1)
        elif kind in ("motion", "onward"):
            made[name] = torch.cat([turned(x[..., :3]), turns(x[..., 3:9]), x[..., 9:]], dim=-1)
        elif kind == "pictures":
            points = x[:, :, 3:].float().movedim(2, -1)
            made[name] = torch.cat([x[:, :, :3].float(), placed(points).movedim(-1, 2)], dim=2)
    made["state"] = made["state"].clone()
    made["state"][:, :3] += beside
    made["motion"][..., :3] -= beside.unsqueeze(1)
    return made
