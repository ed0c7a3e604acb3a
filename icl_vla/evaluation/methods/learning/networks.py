"""Networks of the learned baselines: eyes that make tokens, and one transformer that answers.

A token is a place and a feature, whoever made it; the transformer reads tokens, the hand's state
and whatever else a method adds, beside one query a step of the chunk. Its answer is either the
chunk (L1, as in ACT; Zhao et al. 2023) or the velocity of a flow towards it (Lipman et al. 2023;
Black et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....perception.components import ComponentEncoder
from .moments import HORIZON, MOTION, STATE, THINGS, Moments

WIDTH = 96
HEADS = 4
KEYPOINTS = 12  # of a camera
CHANNELS = 32
WORDS = 384  # of a sentence's embedding
FLOW_STEPS = 10
_SHIFT = 4  # [px] by which pictures are shifted in training, as in DrQ (Yarats et al. 2021)
_WAVES = 6  # octaves of a place's sines; the longest is 1 m


@dataclass(frozen=True)
class Design:
    """What a network is made of.

    Attributes:
        sees: ``pictures`` or ``tokens``.
        answers: ``chunk`` or ``flow``.
        words: Whether it reads the instruction.
        cameras: How many there are; 0 for tokens.
        ordered: Whether tokens come in the order of a reference's things.
        layers: Of the transformer.
        dropout: In its layers.
        features: Of a scene token, as its encoder gives them.
    """

    sees: str
    answers: str
    words: bool = False
    cameras: int = 0
    ordered: bool = False
    layers: int = 3
    dropout: float = 0.1
    features: int = ComponentEncoder.feature_size


class PictureTokens(nn.Module):
    """Spatial softmax over a small convolutional map (Finn et al. 2016), with 3-D keypoints.

    Keypoint k of a camera lies at ``sum_p softmax(w_k)_p x_p`` with ``x_p`` the pixel's point in
    the base frame; its feature is the same mean of the map.
    """

    middle: Tensor
    extent: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(3))
        self.register_buffer("extent", torch.ones(3))
        layers: list[nn.Module] = []
        for before, after, stride in ((6, 24, 2), (24, CHANNELS, 2), (CHANNELS, CHANNELS, 1),
                                      (CHANNELS, CHANNELS, 1)):  # fmt: skip
            dilation = 2 if stride == 1 else 1
            layers += [
                nn.Conv2d(before, after, 3, stride, padding=dilation, dilation=dilation),
                nn.GroupNorm(8, after),
                nn.ReLU(),
            ]
        self.map = nn.Sequential(*layers)
        self.where = nn.Conv2d(CHANNELS, KEYPOINTS, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """``(N, C, 6, S, S)`` -> positions ``(N, C K, 3)`` and features ``(N, C K, CHANNELS)``."""
        count = len(pictures)
        x = pictures.flatten(0, 1).float()
        if self.training:
            x = _augmented(x)
        color, points = x[:, :3], x[:, 3:]
        scaled = (points - self.middle.view(3, 1, 1)) / self.extent.view(3, 1, 1)
        found = self.map(torch.cat([color - 0.5, scaled], dim=1))
        share = self.where(found).flatten(2).softmax(-1)
        coarse = F.avg_pool2d(points, points.shape[-1] // found.shape[-1]).flatten(2)
        position = torch.einsum("nkp,nip->nki", share, coarse)
        feature = torch.einsum("nkp,ncp->nkc", share, found.flatten(2))
        return (
            position.reshape(count, -1, 3),
            feature.reshape(count, -1, CHANNELS),
        )


def _augmented(x: Tensor) -> Tensor:
    """Pictures ``(N, 6, S, S)`` shifted by whole pixels, brighter or darker."""
    side = x.shape[-1]
    wide = F.pad(x, (_SHIFT,) * 4, mode="replicate")
    by = torch.randint(0, 2 * _SHIFT + 1, (2, len(x), 1))
    rows, columns = by[0] + torch.arange(side), by[1] + torch.arange(side)
    n = torch.arange(len(x)).view(-1, 1, 1)
    # advanced indices come first, so channels are last
    shifted = wide[n, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
    light = 0.8 + 0.4 * torch.rand(len(x), 1, 1, 1)
    return torch.cat([shifted[:, :3] * light, shifted[:, 3:]], dim=1)


class TokenEmbedding(nn.Module):
    """A token as the hand sees it: sines of its place relative to the hand, place, feature."""

    def __init__(self, features: int, slots: int) -> None:
        super().__init__()
        self.slot = nn.Parameter(torch.zeros(slots, WIDTH)) if slots else None
        self.layers = nn.Sequential(
            nn.Linear(3 * (2 + 2 * _WAVES) + features, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH)
        )

    def forward(self, positions: Tensor, features: Tensor, hand: Tensor) -> Tensor:
        """``(N, M, 3)``, ``(N, M, F)`` and ``(N, 3)`` -> ``(N, M, WIDTH)``."""
        relative = positions - hand.unsqueeze(1)
        waves = relative.unsqueeze(-1) * (2 * torch.pi * 2.0 ** torch.arange(_WAVES))
        sines = torch.cat([waves.sin(), waves.cos()], dim=-1).flatten(-2)
        embedded: Tensor = self.layers(
            torch.cat([5 * relative, positions, sines, features], dim=-1)
        )
        return embedded if self.slot is None else embedded + self.slot


class ChunkPolicy(nn.Module):
    """Sees, reads, and answers with a chunk.

    The gripper and the end have heads of their own; where the answer is a flow, they are read
    beside its last step.
    """

    state_mean: Tensor
    state_scale: Tensor
    motion_scale: Tensor
    reference: Tensor

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.register_buffer("state_mean", torch.zeros(STATE))
        self.register_buffer("state_scale", torch.ones(STATE))
        self.register_buffer("motion_scale", torch.ones(HORIZON, MOTION))
        self.eyes = PictureTokens() if design.sees == "pictures" else None
        if design.ordered:
            self.register_buffer("reference", torch.zeros(THINGS, design.features))
        slots = THINGS if design.ordered else design.cameras * KEYPOINTS
        # of a token also how far it was moved
        self.thing = TokenEmbedding(CHANNELS if self.eyes else design.features + 3, slots)
        self.state = nn.Sequential(nn.Linear(STATE, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.sentence = nn.Linear(WORDS, WIDTH) if design.words else None
        self.step = nn.Parameter(0.02 * torch.randn(HORIZON, WIDTH))
        if design.answers == "flow":
            self.noisy = nn.Linear(MOTION, WIDTH)
            self.clock = nn.Sequential(nn.Linear(16, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.transformer = transformer(design.layers, design.dropout)
        self.motion = nn.Linear(WIDTH, MOTION)
        self.flags = nn.Linear(WIDTH, 2)

    def measure(self, moments: Moments) -> None:
        """Take scales from training data."""
        self.state_mean.copy_(moments["state"].mean(0))
        self.state_scale.copy_(moments["state"].std(0).clamp_min(0.02))
        moved = moments["motion"] - rest()
        place = moved[..., :3].square().mean((0, 2)).sqrt().clamp_min(0.005)
        turn = moved[..., 3:].square().mean((0, 2)).sqrt().clamp_min(0.05)
        self.motion_scale.copy_(
            torch.cat([place[:, None].repeat(1, 3), turn[:, None].repeat(1, 6)], 1)
        )
        if self.eyes is not None:
            points = moments["pictures"][::7, :, 3:].float()
            self.eyes.middle.copy_(points.mean((0, 1, 3, 4)))
            self.eyes.extent.copy_(points.std((0, 1, 3, 4)).clamp_min(0.05))

    def seen(self, batch: Moments) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, features, and which are there."""
        if self.eyes is None or "positions" in batch:
            return batch["positions"], batch["features"], batch["there"]
        positions, features = self.eyes(batch["pictures"])
        return positions, features, torch.ones(positions.shape[:2], dtype=torch.bool)

    def embed_state(self, state: Tensor) -> Tensor:
        """``(..., 10)`` -> ``(..., WIDTH)``."""
        embedded: Tensor = self.state((state - self.state_mean) / self.state_scale)
        return embedded

    def context(self, batch: Moments) -> tuple[Tensor, Tensor]:
        """All that is read, ``(N, L, WIDTH)``, and which of it is there ``(N, L)``."""
        positions, features, there = self.seen(batch)
        read = [
            self.thing(positions, features, batch["state"][:, :3]),
            self.embed_state(batch["state"]).unsqueeze(1),
        ]
        if self.sentence is not None:
            read.append(self.sentence(batch["words"]).unsqueeze(1))
        extra = torch.ones(len(there), len(read) - 1, dtype=torch.bool)
        return torch.cat(read, dim=1), torch.cat([there, extra], dim=1)

    def answer(
        self, read: Tensor, there: Tensor, noisy: Tensor | None = None, time: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scaled motions (or their velocity) ``(N, H, 9)`` and logits ``(N, H, 2)``."""
        queries = self.step.expand(len(read), -1, -1)
        if noisy is not None:
            assert time is not None
            waves = time.view(-1, 1) * (torch.pi * 2.0 ** torch.arange(8))
            clock = self.clock(torch.cat([waves.sin(), waves.cos()], dim=-1))
            queries = queries + self.noisy(noisy) + clock.unsqueeze(1)
        asked = torch.ones(queries.shape[:2], dtype=torch.bool)
        states = self.transformer(
            torch.cat([read, queries], dim=1),
            src_key_padding_mask=~torch.cat([there, asked], dim=1),
        )[:, -HORIZON:]
        return self.motion(states), self.flags(states)

    def loss(self, batch: Moments) -> Tensor:
        """Of one batch."""
        goal = (batch["motion"] - rest()) / self.motion_scale
        read, there = self.context(batch)
        if self.design.answers == "flow":
            noise = torch.randn_like(goal)
            # as pi0 (Black et al. 2024): more often where there is more noise
            time = 1 - torch.distributions.Beta(1.5, 1.0).sample((len(goal),))
            t = time.view(-1, 1, 1)
            motion, flags = self.answer(read, there, (1 - t) * noise + t * goal, time)
            moved = F.mse_loss(motion, goal - noise)
        else:
            motion, flags = self.answer(read, there)
            moved = F.l1_loss(motion, goal)
        return moved + 0.3 * F.binary_cross_entropy_with_logits(flags, batch["flags"])

    @torch.inference_mode()
    def act(self, moment: Moments, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Motions ``(N, H, 9)`` and probabilities ``(N, H, 2)`` of open and ended."""
        read, there = self.context(moment)
        if self.design.answers == "flow":
            motion = torch.randn(len(read), HORIZON, MOTION, generator=generator)
            for i in range(FLOW_STEPS):
                time = torch.full((len(read),), i / FLOW_STEPS)
                velocity, flags = self.answer(read, there, motion, time)
                motion = motion + velocity / FLOW_STEPS
        else:
            motion, flags = self.answer(read, there)
        return motion * self.motion_scale + rest(), flags.sigmoid()


def transformer(layers: int, dropout: float) -> nn.TransformerEncoder:
    """Pre-norm, as deep as asked."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, dropout, F.gelu, batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, nn.LayerNorm(WIDTH), enable_nested_tensor=False)


def rest() -> Tensor:
    """The motion ``(9,)`` of a hand that stays."""
    return torch.tensor([0.0, 0, 0, 1, 0, 0, 0, 1, 0])


def rows(moments: Mapping[str, Tensor], index: Tensor) -> Moments:
    """Some of the moments."""
    return {name: x[index] for name, x in moments.items()}
