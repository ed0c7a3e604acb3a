"""Networks that read demonstrations as they act.

:class:`RetrievalTransformer` follows RICL (Sridhar et al. 2025), with continuous chunks as in its
predecessor REGENT; :class:`GraphPolicy` follows Instant Policy (Vosylius & Johns 2025).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .moments import HORIZON, MOTION, Moments
from .networks import CHANNELS, KEYPOINTS, WIDTH, ChunkPolicy, Design, rest, rows, transformer

NEIGHBOURS = 4
SHARPNESS = 10.0  # of the interpolation with the nearest action: RICL's lambda
DEMONSTRATIONS = 3
WAYPOINTS = 8  # of each


class RetrievalTransformer(ChunkPolicy):
    """Blocks (tokens, state, chunk) of the nearest frames, nearest first, then the query.

    With ``d`` the distance to the nearest, as a share of the largest in training, and ``a'`` what
    followed it, the answer is ``e^(-10 d) a' + (1 - e^(-10 d)) a``. Distances are those of the
    frozen eyes' keypoints and features.
    """

    key_scale: Tensor
    farthest: Tensor

    def __init__(self, design: Design) -> None:
        super().__init__(design)
        self.chunk = nn.Linear(HORIZON * (MOTION + 2), WIDTH)
        self.block = nn.Parameter(0.02 * torch.randn(NEIGHBOURS + 1, WIDTH))
        keys = design.cameras * KEYPOINTS * (3 + CHANNELS)
        self.register_buffer("key_scale", torch.ones(keys))
        self.register_buffer("farthest", torch.ones(()))

    @torch.no_grad()
    def perceive(self, moments: Moments) -> Moments:
        """Moments with the frozen eyes' tokens in place of pictures."""
        assert self.eyes is not None
        self.eyes.eval()  # as they see in a test, in training too
        parts = [self.eyes(p) for p in moments["pictures"].split(64)]
        rest_of = {name: x for name, x in moments.items() if name != "pictures"}
        positions, features = (torch.cat(x) for x in zip(*parts, strict=True))
        there = torch.ones(positions.shape[:2], dtype=torch.bool)
        return rest_of | {"positions": positions, "features": features, "there": there}

    def keys(self, moments: Moments) -> Tensor:
        """What distances are between, ``(N, keys)``."""
        parts = [moments["positions"].flatten(1), moments["features"].flatten(1)]
        scaled: Tensor = torch.cat(parts, dim=1) / self.key_scale
        return scaled

    def retrieve(self, moments: Moments, shown: Moments) -> Moments:
        """The moments, with the nearest of those shown; fewer frames are shown again."""
        distance = torch.cdist(self.keys(moments), self.keys(shown))
        count = min(NEIGHBOURS, distance.shape[1])
        least, index = distance.topk(count, largest=False)
        repeated = torch.arange(NEIGHBOURS).clamp_max(count - 1)
        return nearby(moments, shown, index[:, repeated], least[:, 0] / self.farthest)

    def context(self, batch: Moments) -> tuple[Tensor, Tensor]:
        """All blocks; the query's comes last."""
        count = len(batch["state"])
        read = []
        for i in range(NEIGHBOURS):
            near = {k[5:]: x[:, i] for k, x in batch.items() if k.startswith("near_")}
            moved = (near["motion"] - rest()) / self.motion_scale
            chunk = self.chunk(torch.cat([moved, near["flags"]], dim=-1).flatten(1))
            things = self.thing(near["positions"], near["features"], near["state"][:, :3])
            state = self.embed_state(near["state"]).unsqueeze(1)
            read.append(torch.cat([things, state, chunk.unsqueeze(1)], 1) + self.block[i])
        own, _ = super().context(batch)
        read.append(own + self.block[-1])
        together = torch.cat(read, dim=1)
        return together, torch.ones(count, together.shape[1], dtype=torch.bool)

    def loss(self, batch: Moments) -> Tensor:
        """Of the interpolated answer, as it is played."""
        read, there = self.context(batch)
        motion, open_or_ended = self._mixed(batch, *self.answer(read, there))
        goal = (batch["motion"] - rest()) / self.motion_scale
        moved = (motion - goal).abs().mean()
        flags = nn.functional.binary_cross_entropy(
            open_or_ended.clamp(1e-6, 1 - 1e-6), batch["flags"]
        )
        return moved + 0.3 * flags

    @torch.inference_mode()
    def act(self, moment: Moments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See :meth:`ChunkPolicy.act`."""
        motion, flags = self._mixed(moment, *self.answer(*self.context(moment)))
        return motion * self.motion_scale + rest(), flags

    def _mixed(self, batch: Moments, motion: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled motions and probabilities, interpolated with the nearest frame's."""
        w = torch.exp(-SHARPNESS * batch["distance"]).view(-1, 1, 1)
        nearest = (batch["near_motion"][:, 0] - rest()) / self.motion_scale
        flags = w * batch["near_flags"][:, 0] + (1 - w) * logits.sigmoid()
        return w * nearest + (1 - w) * motion, flags


def nearby(moments: Moments, shown: Moments, index: Tensor, distance: Tensor) -> Moments:
    """Moments beside their neighbours' ``near_...`` ``(N, NEIGHBOURS, ...)``."""
    near = {f"near_{name}": x[index] for name, x in shown.items() if name != "there"}
    return dict(moments) | near | {"distance": distance}


class GraphPolicy(ChunkPolicy):
    """Waypoints of demonstrations, each a hand among things, and a flow over relative motions.

    Things tell each waypoint's hand where it is; the hands of a demonstration, with their motion
    to the next, are read beside the things of now.
    """

    def __init__(self, design: Design) -> None:
        super().__init__(design)
        self.local = transformer(1, design.dropout)
        self.onward = nn.Linear(MOTION + 1, WIDTH)
        self.when = nn.Parameter(0.02 * torch.randn(WAYPOINTS, WIDTH))
        self.whose = nn.Parameter(0.02 * torch.randn(DEMONSTRATIONS, WIDTH))

    def context(self, batch: Moments) -> tuple[Tensor, Tensor]:
        """Hands of all waypoints ``(N, D W)``, and what is there now."""
        way = {k[4:]: x for k, x in batch.items() if k.startswith("way_")}
        count, shown = way["state"].shape[:2]
        flat = {name: x.flatten(0, 2) for name, x in way.items()}
        things = self.thing(flat["positions"], flat["features"], flat["state"][:, :3])
        hand = self.embed_state(flat["state"]).unsqueeze(1)
        there = torch.cat([torch.ones(len(hand), 1, dtype=torch.bool), flat["there"]], dim=1)
        hands = self.local(torch.cat([hand, things], 1), src_key_padding_mask=~there)[:, 0]
        moved = (flat["onward"][:, :MOTION] - rest()) / self.motion_scale[-1]
        hands = hands + self.onward(torch.cat([moved, flat["onward"][:, MOTION:]], dim=-1))
        hands = hands.view(count, shown, WAYPOINTS, WIDTH) + self.when
        hands = (hands + self.whose[:shown, None]).flatten(1, 2)
        own, own_there = super().context(batch)
        known = torch.ones(hands.shape[:2], dtype=torch.bool)
        return torch.cat([hands, own], 1), torch.cat([known, own_there], 1)


def waypoints(moments: Moments) -> Moments:
    """A demonstration's ``way_...`` ``(1, W, ...)``: evenly spaced, and the motion onward."""
    last = len(moments["state"]) - 1
    at = torch.linspace(0, last, WAYPOINTS).round().long()
    way = rows({k: moments[k] for k in ("state", "positions", "features", "there")}, at)
    following = way["state"][[*range(1, WAYPOINTS), WAYPOINTS - 1]]
    turn = _matrix(following[:, 3:9]) @ _matrix(way["state"][:, 3:9]).transpose(1, 2)
    moved = following[:, :3] - way["state"][:, :3]
    opening = moments["flags"][at][:, :1, 0]
    onward = torch.cat([moved, turn[..., 0], turn[..., 1], opening], dim=1)
    return {f"way_{k}": x[None] for k, x in (way | {"onward": onward}).items()}


def _matrix(columns: Tensor) -> Tensor:
    """Rotation ``(N, 3, 3)`` of its first two columns ``(N, 6)``."""
    a, b = columns[:, :3], columns[:, 3:]
    return torch.stack([a, b, torch.linalg.cross(a, b)], dim=-1)


def shown_ways(each: Sequence[Moments]) -> Moments:
    """Waypoints of the first demonstrations ``(1, D, W, ...)``, as :class:`GraphPolicy` reads."""
    ways = [waypoints(m) for m in each[:DEMONSTRATIONS]]
    return {k: torch.stack([w[k][0] for w in ways])[None] for k in ways[0]}
