"""The network: pairs of frames and demonstrations decide together whose motion to follow.

Every pair of a frame ``f`` and a demonstration ``k`` offers a chunk, transported into the scene.
The answer is a convex combination of what is offered, step by step, plus a small correction,

    ``x_h = sum_fk softmax(log prior + logits)_fkh  X_fk c_kh  +  R_hand tanh(residual_h)``,

with a prior of inverse variance (:func:`.pairs.vote`). Logits and residual start at zero: an
untrained network is that mean over frames. Motions relative to the hand are read, but not followed:
on an operator's way they are always right, off it they lead further away.

Messages pass between a pair and its frame, between a pair and its demonstration, and among frames
(attention), so neither has an order or a fixed number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from icl_vla_embodiments import ActionSpace, Embodiment

from .interface import Episode
from .pairs import FRAME_SIZE, PAIR_SIZE, Prior, candidates, features, most_supported, vote

if TYPE_CHECKING:
    from icl_vla_retrieval import DemoBank, Demonstration

_LARGEST = (0.03, 0.3)  # [m], [rad] that a correction is at most


class IclVlaConfig(PretrainedConfig):
    """Sizes and constants.

    Args:
        horizon: Steps of a chunk, ``H``.
        width: Of pairs' and frames' states.
        layers: Rounds of messages.
        heads: Of attention among frames.
        frames: Frames that are looked at, the most supported ones.
        noise: As in :class:`.retrieval.RetrievalConfig`; so the next two.
        turn_noise: See there.
        sharpness: See there.
        encoder: Schema of the tokens that it was trained with.
    """

    model_type = "icl_vla"

    def __init__(
        self,
        horizon: int = 8,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        frames: int = 24,
        noise: float = 0.006,
        turn_noise: float = 0.08,
        sharpness: float = 1.5,
        encoder: str = "components/2",
        **kwargs: Any,
    ) -> None:
        self.horizon, self.width, self.layers, self.heads = horizon, width, layers, heads
        self.frames, self.noise, self.turn_noise = frames, noise, turn_noise
        self.sharpness, self.encoder = sharpness, encoder
        super().__init__(**kwargs)


@dataclass
class Answer:
    """What the network says of ``B`` moments.

    Attributes:
        position: ``(B, H, 3)`` [m].
        rotation: ``(B, H, 3, 3)`` not yet projected onto rotations where votes differ.
        gripper: ``(B, H, K)`` weights of the demonstrations' openings; openings are never averaged.
        done: ``(B,)`` logit.
        right: ``(B,)`` logit: whether the demonstrations are of this task.
        share: ``(B, n)`` of each frame in the places.
        agreement: ``(B, n)`` the shares that the prior alone would give them.
        correction: ``(B, H, 3)`` what is added to the places [m].
        frames: ``(B, n)`` rows of the frames among all candidates.
    """

    position: Tensor
    rotation: Tensor
    gripper: Tensor
    done: Tensor
    right: Tensor
    share: Tensor
    agreement: Tensor
    correction: Tensor
    frames: Tensor


class _Round(nn.Module):
    """One round of messages."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.to_frame = nn.Linear(2 * width, width)
        self.frame_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.after = nn.LayerNorm(width)
        self.frame_mlp = _mlp(width, 2 * width, width)
        self.pair_norm = nn.LayerNorm(width)
        self.pair_mlp = _mlp(3 * width, width, width)

    def forward(self, pair: Tensor, frame: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs ``(B, n, K, w)`` and frames ``(B, n, w)``, renewed."""
        frame = frame + self.to_frame(torch.cat([_mean(pair, valid, 2), _most(pair, valid, 2)], -1))
        x = self.frame_norm(frame)
        nothing = ~valid.any(-1)
        nothing = nothing & ~nothing.all(-1, keepdim=True)
        frame = frame + self.attention(x, x, x, key_padding_mask=nothing, need_weights=False)[0]
        frame = frame + self.frame_mlp(self.after(frame))
        x = self.pair_norm(pair)
        shown = _mean(x, valid, 1)[:, None].expand_as(x)
        pair = pair + self.pair_mlp(torch.cat([x, frame[:, :, None].expand_as(x), shown], -1))
        return pair, frame


class IclVlaPolicy(PreTrainedModel):
    """The learned policy: its network, and what it takes to act with it.

    ``from_pretrained("default").start(bank, instruction, action_space)`` is an episode; its
    :meth:`~.interface.Episode.act` answers observations.
    """

    config_class = IclVlaConfig
    base_model_prefix = "icl_vla"
    main_input_name = "tcp"

    def __init__(self, config: IclVlaConfig) -> None:
        super().__init__(config)
        w, H = config.width, config.horizon
        self.pair = _mlp(PAIR_SIZE, w, w)
        self.frame = _mlp(FRAME_SIZE, w, w)
        self.rounds = nn.ModuleList(_Round(w, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(w)
        self.logits = nn.Linear(w, 2 * H)  # of places, of rotations
        self.openings = nn.Linear(w, H)
        self.correction = nn.Linear(2 * w, 6 * H)
        self.verdict = nn.Linear(2 * w, 2)  # done, right
        self.post_init()
        for head in (self.logits, self.openings, self.correction, self.verdict):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | PathLike[Any] | None, *args: Any, **kwargs: Any
    ) -> IclVlaPolicy:
        """As every ``transformers`` model, and by the name of one of the package's checkpoints."""
        from .learned import CHECKPOINTS

        folder = CHECKPOINTS / str(pretrained_model_name_or_path)
        name = folder if (folder / "config.json").exists() else pretrained_model_name_or_path
        made: IclVlaPolicy = super().from_pretrained(name, *args, **kwargs)
        return made

    def start(
        self,
        bank: DemoBank | Sequence[Demonstration],
        instruction: str,
        action_space: ActionSpace,
        embodiment: Embodiment | None = None,
        encoder: str | None = None,
    ) -> Episode:
        """Begin an episode: frozen weights, conditioned on what is given here.

        Args:
            bank: Demonstrations: a bank on disk, or a list of ``Demonstration.from_arrays(...)``.
            instruction: What is asked for; those of other instructions are left aside.
            action_space: What the numbers mean; ``chunk.native`` is in its units.
            embodiment: The robot. Without one, see :mod:`.start`.
            encoder: As ``--encoder`` has it; None: the packaged one that it was trained with.

        Raises:
            InstructionError: No demonstration is of this instruction.
            ReportedError: Demonstrations or network do not fit.
        """
        from .start import begin

        return begin(self, bank, instruction, action_space, embodiment, encoder)

    def _init_weights(self, module: nn.Module) -> None:
        """Torch's own initialisation stands."""

    def forward(self, **m: Tensor) -> Answer:
        """Moments side by side, as :func:`.moment.side_by_side` makes them."""
        config = self.config
        with torch.no_grad():
            votes, p, R, prior, kept = self._offers(m)
            pair_features, frame_features = features(m, votes, p, R, prior)
        valid = votes.valid
        frame = self.frame(frame_features)
        pair = self.pair(pair_features) + frame[:, :, None]
        for message in self.rounds:
            pair, frame = message(pair, frame, valid)
        pair = self.norm(pair)
        everything = _mean(pair, valid, (1, 2))
        loudest = _most(pair.flatten(1, 2), valid.flatten(1, 2), 1)
        whole = torch.cat([everything, loudest], -1)

        logits = self.logits(pair)
        outside = valid & (votes.kind[..., 1:2] == 0)
        place = _weights(prior.place + logits[..., : config.horizon], outside)
        turn = _weights(prior.turn + logits[..., config.horizon :], outside)
        moved, turned = self._correction(whole, m["tcp"][:, :3, :3])
        there = m["weights"] > 0
        shown = _mean(pair, valid, 1)  # (B, K, w)
        grip = self.openings(shown) + m["weights"].clamp(min=1e-6).log()[..., None]
        grip = grip.masked_fill(~there[..., None], -1e4).softmax(1).transpose(1, 2)
        verdict = self.verdict(whole)
        ended = (m["weights"] * (m["left"] < 0.15)).sum(1)
        return Answer(
            position=torch.einsum("bnkh,bnkhi->bhi", place, p) + moved,
            rotation=turned @ torch.einsum("bnkh,bnkhij->bhij", turn, R),
            gripper=grip,
            done=verdict[:, 0] + 8 * (ended - 0.5),
            right=verdict[:, 1],
            share=place.sum(2).mean(-1),
            agreement=_weights(prior.place, outside).sum(2).mean(-1),
            correction=moved,
            frames=kept,
        )

    def _offers(self, m: Mapping[str, Tensor]) -> tuple[Any, Tensor, Tensor, Prior, Tensor]:
        """The most supported frames, what they offer, and the vote's weights."""
        config = self.config
        constants = (config.noise, config.turn_noise, config.sharpness)
        places, rotations = m["commands"][..., :3, 3], m["commands"][..., :3, :3]
        now = m["tcp"][:, :3, :3]
        votes = candidates(m)
        if votes.turn.shape[1] > config.frames:
            some = slice(None, None, 3)  # enough to choose by
            p = votes.places(places[:, :, some])
            prior = vote(votes, p, rotations[:, :, some], m["weights"], now, *constants)
            kept = most_supported(votes, prior, config.frames)
            votes = votes.only(kept)
        else:
            kept = torch.arange(votes.turn.shape[1]).expand(votes.turn.shape[:2])
        p, R = votes.places(places), votes.rotations(rotations)
        return votes, p, R, vote(votes, p, rotations, m["weights"], now, *constants), kept

    def _correction(self, whole: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
        """Displacements ``(B, H, 3)`` and rotations ``(B, H, 3, 3)``, in the hand's own axes."""
        raw = torch.tanh(self.correction(whole)).unflatten(-1, (self.config.horizon, 6))
        moved = torch.einsum("bij,bhj->bhi", axes, _LARGEST[0] * raw[..., :3])
        w = torch.einsum("bij,bhj->bhi", axes, _LARGEST[1] * raw[..., 3:])
        return moved, torch.linalg.matrix_exp(_skew(w))


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def _mean(x: Tensor, valid: Tensor, over: int | tuple[int, ...]) -> Tensor:
    kept = valid[..., None].to(x)
    return (x * kept).sum(over) / kept.sum(over).clamp(min=1)


def _most(x: Tensor, valid: Tensor, over: int) -> Tensor:
    return x.masked_fill(~valid[..., None], -30.0).amax(over)


def _weights(logits: Tensor, valid: Tensor) -> Tensor:
    """``(B, n, K, H)`` that sum to 1 over valid pairs."""
    logits = logits.masked_fill(~valid[..., None], -1e4)
    return logits.flatten(1, 2).softmax(1).view_as(logits)


def _skew(w: Tensor) -> Tensor:
    x, y, z = w.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


AutoConfig.register("icl_vla", IclVlaConfig, exist_ok=True)
AutoModel.register(IclVlaConfig, IclVlaPolicy, exist_ok=True)
