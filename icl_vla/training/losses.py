"""How far answers are from what the operator did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..policy.moment import side_by_side
from ..policy.relational import Answer
from .examples import Example

_FINE, _COARSE = 0.003, 0.2  # [m], share of the way: an error that counts as one unit


def batch_of(examples: Sequence[Example]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Moments and their answers, side by side."""
    answers = {
        name: torch.from_numpy(np.stack([getattr(e, name) for e in examples]).astype(np.float32))
        for name in ("poses", "gripper", "done", "right")
    }
    return side_by_side([e.moment for e in examples]), answers


def losses(
    m: Mapping[str, Tensor], said: Answer, wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Parts of the loss, means over the batch.

    ``place``: smooth L1 of errors, in units that grow with the way to the wanted place: millimetres
    count where a hand closes, not on the way there. ``turn``: ``|M - R|^2 / 4``, ``1 - cos`` of
    the angle for a rotation. ``gripper``: the mean absolute error of an opening drawn by its
    weights; the least such weights are all on one demonstration. ``done``, ``right``: cross
    entropy. Motions count only where the demonstrations are right: nobody can know them otherwise.
    """
    right = wanted["right"]
    count = right.sum().clamp(min=1)
    goal = wanted["poses"][..., :3, 3]
    way = (goal - m["tcp"][:, None, :3, 3]).norm(dim=-1, keepdim=True)
    off = (said.position - goal) / (_FINE + _COARSE * way)
    place = F.smooth_l1_loss(off, torch.zeros_like(off), reduction="none").sum(-1).mean(-1)
    turn = ((said.rotation - wanted["poses"][..., :3, :3]) ** 2).sum((-1, -2)).mean(-1) / 4
    apart = (m["gripper"].transpose(1, 2) - wanted["gripper"][..., None]).abs()
    gripper = (said.gripper * apart).sum(-1).mean(-1)
    motion = {"place": place, "turn": turn, "gripper": gripper}
    return {
        **{name: (right * x).sum() / count for name, x in motion.items()},
        "done": F.binary_cross_entropy_with_logits(said.done, wanted["done"]),
        "right": F.binary_cross_entropy_with_logits(said.right, right),
    }
