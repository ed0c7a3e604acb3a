"""The vote without learning for whole batches: what the network begins with.

The same as :mod:`.vote`, which a test checks; the constants are shared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .pairs import Votes
from .vote import ALIKE, CHANCE


@dataclass(frozen=True)
class Prior:
    """What the vote without learning makes of frames: logarithms of weights.

    Attributes:
        place: ``(B, N, K, H)``.
        turn: ``(B, N, K, H)``.
        spread: ``(B, N, H)`` standard deviation of the places [m].
        support: ``(B, N, H)`` of the best rotation, 0 to 1.
        further: ``(B, N, K, H)`` half or quarter turns after which rotations are like that one.
    """

    place: Tensor
    turn: Tensor
    spread: Tensor
    support: Tensor
    further: Tensor


def vote(
    votes: Votes, p: Tensor, R: Tensor, weights: Tensor, now: Tensor, noise: float,
    turn_noise: float, sharpness: float,
) -> Prior:  # fmt: skip
    """Inverse-variance weights, as :func:`.vote.consensus` has them.

    Args:
        votes: ``N`` frames.
        p: ``(B, N, K, H, 3)`` places carried over.
        R: ``(B, K, H, 3, 3)`` rotations of the demonstrations.
        weights: ``(B, K)`` of the demonstrations.
        now: ``(B, 3, 3)`` the hand's rotation.
        noise: As in :class:`.retrieval.RetrievalConfig`, and so on.
        turn_noise: See there.
        sharpness: See there.
    """
    tiny = 1e-9
    share = weights[:, None] * votes.valid  # (B, N, K)
    known = share.sum(-1)
    share = share / known.clamp(min=tiny)[..., None]
    mean = torch.einsum("bnk,bnkhi->bnhi", share, p)
    variance = torch.einsum("bnk,bnkhi->bnh", share, (p - mean[:, :, None]) ** 2)
    trust = (votes.prior * known).clamp(min=1e-12).log()[..., None]
    alpha = trust - sharpness * (variance + noise**2).log()
    one_way = share[..., None] * _one_way(p, alpha, votes, weights)  # (B, N, K, 1)
    one_way = one_way / one_way.sum(2, keepdim=True).clamp(min=tiny)
    mode = _one_mode(votes, R, share, now, turn_noise)
    beta = trust - sharpness * (1 - mode.support + turn_noise**2).clamp(min=tiny).log()
    return Prior(
        place=alpha[:, :, None] + one_way.clamp(min=tiny).log(),
        turn=beta[:, :, None] + mode.chosen.clamp(min=tiny).log(),
        spread=variance.clamp(min=1e-12).sqrt(),
        support=mode.support,
        further=mode.further,
    )


@dataclass(frozen=True)
class _Mode:
    """Each frame's best supported rotation.

    Attributes:
        support: ``(B, N, H)`` beyond chance, 0 to 1.
        chosen: ``(B, N, K, H)`` shares of the demonstrations in it.
        further: See :class:`Prior`.
    """

    support: Tensor
    chosen: Tensor
    further: Tensor


def _one_mode(votes: Votes, R: Tensor, share: Tensor, now: Tensor, noise: float) -> _Mode:
    """See :func:`.vote._one_mode`."""
    apart = votes.turn[..., None, :] - votes.turn[..., None]  # (B, N, K, K): l's turn seen from k's
    dot = _traces(apart, R[:, None], R[:, :, None]).permute(0, 1, 2, 5, 3, 4)
    near = torch.exp((dot - 3) / (3 * noise) ** 2)  # (4, B, N, H, K, K)
    half = torch.maximum(near[0], near[2])
    folded = torch.stack([near[0], half, torch.maximum(half, torch.maximum(near[1], near[3]))])
    support = torch.einsum("nbfhkl,bfl->nbfhk", folded, share)
    turns = torch.tensor([1.0, 2.0, 4.0])[:, None, None, None, None]
    explained = (support - CHANCE * turns) / (1 - CHANCE * turns)
    rank = explained.amax(-1) - 0.02 * torch.arange(3.0)[:, None, None, None]
    order = rank.argmax(0)  # (B, N, H)
    pick = order[None, ..., None].expand(1, *support.shape[1:])
    support, explained = support.gather(0, pick)[0], explained.gather(0, pick)[0]
    turning = 3 - _traces(votes.turn, R, now[:, None, None])[0].permute(0, 1, 3, 2)
    missing = share[:, :, None] <= 0
    best = (support - 0.05 * turning - 2.0 * missing).argmax(-1, keepdim=True)  # (B, N, H, 1)
    chosen = near.gather(4, best[None, ..., None].expand(4, *best.shape, near.shape[-1]))[..., 0, :]
    allowed = torch.tensor([[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]])[order].movedim(-1, 0)
    chosen, further = (chosen * allowed[..., None]).max(0)  # (B, N, H, K)
    chosen = chosen * share[:, :, None]
    chosen = chosen / chosen.sum(-1, keepdim=True).clamp(min=1e-9)
    return _Mode(
        support=explained.gather(-1, best)[..., 0].clamp(0, 1),
        chosen=chosen.transpose(2, 3),
        further=0.5 * torch.pi * further.transpose(2, 3),
    )


def like_the_leading(logits: Tensor, R: Tensor, valid: Tensor, noise: float) -> Tensor:
    """Logarithms ``(B, N, H)``: how like the leading frame's rotation each frame's is.

    Different frames mean different turns; what lies between them is meant by none.

    Args:
        logits: ``(B, N, K, H)`` of pairs.
        R: ``(B, N, K, H, 3, 3)`` that they offer.
        valid: ``(B, N, K)``.
        noise: Chordal width of agreement.
    """
    logits = logits.masked_fill(~valid[..., None], -1e4)
    mean = torch.einsum("bnkh,bnkhij->bnhij", logits.softmax(2), R).flatten(-2)
    mean = torch.nn.functional.normalize(mean, dim=-1)
    lead = logits.logsumexp(2).argmax(1)  # (B, H)
    of_lead = mean.gather(1, lead[:, None, :, None].expand(-1, 1, -1, 9))
    return (3 * ((mean * of_lead).sum(-1) - 1) / (3 * noise) ** 2).clamp(min=-30)


def _one_way(p: Tensor, alpha: Tensor, votes: Votes, weights: Tensor) -> Tensor:
    """See :func:`.vote._one_way`: ``(B, 1, K, 1)``."""
    usable = votes.valid & (votes.kind[..., 1:2] == 0)
    trust = alpha[:, :, None].masked_fill(~usable[..., None], -1e4).softmax(1)
    motions = torch.einsum("bnkh,bnkhi->bkhi", trust, p)
    steps = motions - motions[:, :, :1]
    apart = ((steps[:, :, None] - steps[:, None]) ** 2).sum(-1).mean(-1)  # (B, K, K)
    alike = torch.exp(-0.5 * apart / ALIKE**2)
    best = torch.einsum("bkl,bl->bk", alike, weights).argmax(-1)  # (B,)
    row = alike.gather(1, best[:, None, None].expand(-1, 1, alike.shape[-1]))
    return row[..., None]


def _traces(turn: Tensor, R: Tensor, S: Tensor) -> Tensor:
    """``trace(S^T Z R)``, ``Z`` the turn about the vertical plus none to three quarter turns.

    Args:
        turn: ``(B, N, ...)`` [rad].
        R: ``(B, ..., H, 3, 3)``.
        S: The same.

    Returns:
        ``(4, B, N, ..., H)``.
    """
    x, y, z = R.unbind(-2)
    u, v, w = S.unbind(-2)
    c, s, one = ((a * b).sum(-1)[:, None] for a, b in ((x, u), (x, v), (z, w)))
    c = c + (y * v).sum(-1)[:, None]
    s = s - (y * u).sum(-1)[:, None]
    cos, sin = turn.cos()[..., None], turn.sin()[..., None]
    along, across = cos * c + sin * s, cos * s - sin * c
    return torch.stack([one + along, one + across, one - along, one - across])


def most_supported(votes: Votes, prior: Prior, most: int) -> Tensor:
    """Rows ``(B, n)`` of the frames that weigh most in places or rotations, base and hand first."""
    score = torch.zeros(votes.turn.shape[:2])
    for weight in (prior.place, prior.turn):
        total = weight.masked_fill(~votes.valid[..., None], -1e4).logsumexp(2)  # (B, N, H)
        score = score + total.softmax(1).mean(-1)
    score = torch.where(votes.valid.any(-1), score, torch.full_like(score, -1.0))
    score[:, :2] = 10.0
    return score.topk(min(most, score.shape[1]), dim=1).indices
