"""Pairs of a frame and a demonstration: the motion carried over, and what speaks for it.

The frames are those of :mod:`.frames`, made for whole batches. Everything that the network gets to
see of a pair is written in the hand's own axes, so that turning the whole world, demonstrations
and all, turns the answer and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_HEADING = 0.04  # [m] two tokens nearer than this have no direction between them
_UNIT = 0.1  # [m] that lengths are given in
_FAR = 3.0  # units at which they are cut off
LOOK = (0, 3, 7)  # steps whose votes are read; the others lie between
PAIR_SIZE = 51
FRAME_SIZE = 28


@dataclass(frozen=True)
class Votes:
    """All candidate frames' votes; ``N`` frames, ``K`` demonstrations.

    Attributes:
        turn: ``(B, N, K)`` about the vertical, from then to now [rad].
        then: ``(B, N, K, 3)`` origin of the frame in the demonstration [m].
        here: ``(B, N, 1, 3)`` its origin now.
        valid: ``(B, N, K)``.
        kind: ``(B, N, 8)`` what hangs it: base, hand, token now, token first; none, turned,
            towards another now, towards another first.
        about: ``(B, N)`` row of its token, 0 for base and hand.
        prior: ``(N,)`` weight of the kind of frame.
    """

    turn: Tensor
    then: Tensor
    here: Tensor
    valid: Tensor
    kind: Tensor
    about: Tensor
    prior: Tensor

    def only(self, index: Tensor) -> Votes:
        """Some of the frames ``(B, n)``."""

        def rows(x: Tensor) -> Tensor:
            shape = index.shape + x.shape[2:]
            return torch.gather(
                x, 1, index.reshape(*index.shape, *[1] * (x.dim() - 2)).expand(shape)
            )

        return Votes(
            rows(self.turn), rows(self.then), rows(self.here), rows(self.valid), rows(self.kind),
            rows(self.about), rows(self.prior.expand(self.turn.shape[:2])),
        )  # fmt: skip

    def places(self, p: Tensor) -> Tensor:
        """Points ``(B, K, ..., 3)`` of the demonstrations carried to now: ``(B, N, K, ..., 3)``."""
        extra = p.dim() - 3
        then = self.then.reshape(*self.then.shape[:3], *[1] * extra, 3)
        here = self.here.reshape(*self.here.shape[:3], *[1] * extra, 3)
        return _turned(p[:, None] - then, self.turn) + here

    def rotations(self, R: Tensor) -> Tensor:
        """Rotations ``(B, K, ..., 3, 3)`` carried to now: ``(B, N, K, ..., 3, 3)``."""
        columns = R.transpose(-1, -2)[:, None].expand(-1, self.turn.shape[1], *R.shape[1:])
        return _turned(columns, self.turn).transpose(-1, -2)


def candidates(m: Mapping[str, Tensor]) -> Votes:
    """Frames at the base, the hand and each token, with every turn that :mod:`.frames` knows.

    Args:
        m: Moments side by side (:func:`.moment.side_by_side`).
    """
    tokens, first, like = m["tokens"], m["first"], m["likeness"]
    B, M = tokens.shape[:2]
    K = like.shape[1]
    matched = (like >= 0) & (m["weights"] > 0)[..., None]  # (B, K, M)
    turns, known = [torch.zeros_like(like), m["yaw"]], [matched, matched]  # (B, K, M) each
    kinds = [0, 1]
    now_then = ((tokens, m["tokens_then"], 2), (first, m["first_then"], 3))
    for other in range(M):
        for at, then_at, how in now_then:
            way, was = at[:, other, None] - at, then_at[:, :, other, None] - then_at
            long = way[..., :2].norm(dim=-1) > _HEADING
            known.append(
                matched & matched[:, :, other, None] & long[:, None]
                & (was[..., :2].norm(dim=-1) > _HEADING)
            )  # fmt: skip
            angle = torch.atan2(way[..., 1], way[..., 0])[:, None]
            turns.append(angle - torch.atan2(was[..., 1], was[..., 0]))
            kinds.append(how)
    T = len(turns)
    turn = torch.stack(turns, 1).transpose(2, 3).reshape(B, T * M, K)
    valid = torch.stack(known, 1).transpose(2, 3).reshape(B, T * M, K)
    then = [x.transpose(1, 2)[:, None].expand(B, T, M, K, 3).reshape(B, T * M, K, 3)
            for x in (m["tokens_then"], m["first_then"])]  # fmt: skip
    here = [x[:, None].expand(B, T, M, 3).reshape(B, T * M, 1, 3) for x in (tokens, first)]
    kind = torch.zeros(2, T, M, 8)
    for origin in range(2):
        kind[origin, :, :, 2 + origin] = 1
        for t, k in enumerate(kinds):
            kind[origin, t, :, 4 + k] = 1
    kind = torch.cat([torch.eye(8)[[0, 1]] + torch.eye(8)[4], kind.reshape(-1, 8)])
    zero = turn.new_zeros(B, 1, K)
    there = m["weights"][:, None] > 0
    hand, hands = m["tcp"][:, None, None, :3, 3], m["tcp_then"][:, None, :, :3, 3]
    about = torch.arange(M).repeat(2 * T)
    prior = turn.new_ones(2 + 2 * T * M)
    prior[1] = 0.05  # motions relative to the hand agree however wrong they are
    return Votes(
        turn=torch.cat([zero, zero, turn, turn], 1),
        then=torch.cat([torch.zeros_like(hands), hands, *then], 1),
        here=torch.cat([torch.zeros_like(hand), hand, *here], 1),
        valid=torch.cat([there, there, valid, valid], 1),
        kind=kind.expand(B, -1, -1),
        about=torch.cat([about.new_zeros(2), about]).expand(B, -1),
        prior=prior,
    )


def names(tokens: Sequence[int]) -> list[str]:
    """What :mod:`.frames` calls the candidates, in their order.

    Args:
        tokens: ``M`` rows of the tokens in the scene.
    """
    turns = ["", " turned"]
    turns += [f" towards {other} {when}" for other in tokens for when in ("now", "first")]
    hung = [f"token {m} {at}{how}" for at in ("now", "first") for how in turns for m in tokens]
    return ["base", "end effector", *hung]


@dataclass(frozen=True)
class Prior:
    """What the vote without learning makes of frames: logarithms of weights.

    Attributes:
        place: ``(B, N, K, H)``.
        turn: ``(B, N, K, H)``.
        spread: ``(B, N, H)`` standard deviation of the places [m].
        support: ``(B, N, H)`` of the best rotation, 0 to 1.
    """

    place: Tensor
    turn: Tensor
    spread: Tensor
    support: Tensor


def vote(
    votes: Votes, p: Tensor, R: Tensor, weights: Tensor, now: Tensor, noise: float,
    turn_noise: float, sharpness: float,
) -> Prior:  # fmt: skip
    """Inverse-variance weights; :func:`.vote.consensus` chooses rotations where these average them.

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
    near = torch.exp((_likeness(R, votes.turn) - 3) / (3 * turn_noise) ** 2)
    support = torch.einsum("bnhkl,bnl->bnhk", near, share)
    turning = 3 - _along(votes.turn, R, now[:, None, None]).permute(0, 1, 3, 2)
    best = (support - 0.05 * turning - 2.0 * (share[:, :, None] <= 0)).argmax(-1, keepdim=True)
    chosen = near.gather(3, best[..., None].expand(*best.shape, near.shape[-1]))[..., 0, :]
    supported = support.gather(-1, best)[..., 0]  # (B, N, H)
    beta = trust - sharpness * (1 - supported + turn_noise**2).clamp(min=tiny).log()
    chosen = chosen * share[:, :, None]
    chosen = chosen / chosen.sum(-1, keepdim=True).clamp(min=tiny)
    return Prior(
        place=alpha[:, :, None] + share.clamp(min=tiny).log()[..., None],
        turn=beta[:, :, None] + chosen.clamp(min=tiny).log().transpose(2, 3),
        spread=variance.clamp(min=1e-12).sqrt(),
        support=supported,
    )


def _likeness(R: Tensor, turn: Tensor) -> Tensor:
    """``trace(R_k^T R_l)`` of rotations ``(B, K, H, 3, 3)`` turned: ``(B, N, H, K, K)``."""
    apart = turn[..., None, :] - turn[..., None]  # (B, N, K, K): l's turn seen from k's
    return _along(apart, R[:, None], R[:, :, None]).permute(0, 1, 4, 2, 3)


def _along(turn: Tensor, R: Tensor, S: Tensor) -> Tensor:
    """``trace(S^T Z R)`` with ``Z`` the turn about the vertical, which needs no turned rotation.

    Args:
        turn: ``(B, N, ...)`` [rad].
        R: ``(B, ..., H, 3, 3)``.
        S: The same.

    Returns:
        ``(B, N, ..., H)``.
    """
    x, y, z = R.unbind(-2)
    u, v, w = S.unbind(-2)
    c, s, one = ((a * b).sum(-1)[:, None] for a, b in ((x, u), (x, v), (z, w)))
    c = c + (y * v).sum(-1)[:, None]
    s = s - (y * u).sum(-1)[:, None]
    return torch.addcmul(one + turn.cos()[..., None] * c, turn.sin()[..., None], s)


def most_supported(votes: Votes, prior: Prior, most: int) -> Tensor:
    """Rows ``(B, n)`` of the frames that weigh most in places or rotations, base and hand first."""
    score = torch.zeros(votes.turn.shape[:2])
    for weight in (prior.place, prior.turn):
        total = weight.masked_fill(~votes.valid[..., None], -1e4).logsumexp(2)  # (B, N, H)
        score = score + total.softmax(1).mean(-1)
    score = torch.where(votes.valid.any(-1), score, torch.full_like(score, -1.0))
    score[:, :2] = 10.0
    return score.topk(min(most, score.shape[1]), dim=1).indices


def features(
    m: Mapping[str, Tensor], votes: Votes, p: Tensor, R: Tensor, prior: Prior
) -> tuple[Tensor, Tensor]:
    """What is read of pairs ``(B, N, K, PAIR_SIZE)`` and frames ``(B, N, FRAME_SIZE)``."""
    hand, axes = m["tcp"][:, :3, 3], m["tcp"][:, :3, :3]
    B, N, K = votes.turn.shape
    look = [min(i, p.shape[3] - 1) for i in LOOK]

    def own(v: Tensor) -> Tensor:
        """World vectors ``(B, ..., 3)`` in the hand's axes, in units."""
        turned = torch.einsum("bij,b...i->b...j", axes, v) / _UNIT
        return turned / (1 + turned.norm(dim=-1, keepdim=True) / _FAR)

    def per_demonstration(x: Tensor) -> Tensor:
        """``(B, K, n)`` beside every frame."""
        return x[:, None].expand(B, N, K, x.shape[-1])

    carried = votes.places(m["tcp_then"][:, :, :3, 3])
    upright = votes.rotations(m["tcp_then"][:, :, :3, :3])
    steps = p[:, :, :, look] - hand[:, None, None, None]
    share = prior.place.softmax(2)[..., look].mean(-1)
    mean = (share[..., None, None] * p[:, :, :, look]).sum(2, keepdim=True)
    moved = p[:, :, :, look] - carried[:, :, :, None]
    aims = torch.einsum("bji,bnkhjl->bnkhil", axes, R[:, :, :, look])
    tilted = torch.einsum("bji,bnkjl->bnkil", axes, upright)
    scalars = torch.stack(
        [
            m["weights"].clamp(min=1e-4).log() / 4,
            m["costs"],
            m["phase"],
            m["left"],
            m["opening_then"] - m["opening"],
            m["opening"].expand(B, K),
        ],
        -1,
    )
    like = m["likeness"].gather(2, votes.about[:, None].expand(B, K, N)).transpose(1, 2)
    moves = (m["tokens"] - m["first"]).norm(dim=-1)
    tokens = torch.stack([moves / _UNIT, 1 - m["seen"]], -1)
    thing = 1 - votes.kind[..., :2].sum(-1)  # (B, N): base and hand are no things
    mine = tokens.gather(1, votes.about[..., None].expand(B, N, 2)) * thing[..., None]
    pair = torch.cat(
        [
            own(carried - hand[:, None, None]),
            own(steps).flatten(3),
            own(p[:, :, :, look] - mean).flatten(3),
            own(moved[..., -1, :]),
            _axis_angle(tilted),
            _axis_angle(aims).flatten(3),
            per_demonstration(scalars),
            per_demonstration(m["gripper"][..., look]),
            (like.clamp(0, 1) * thing[..., None])[..., None],
            votes.valid[..., None].float(),
        ],
        -1,
    )
    count = votes.valid.sum(-1, keepdim=True).float()
    # where the base stands says nothing of a task
    origin = (votes.here[:, :, 0] - hand[:, None]) * (1 - votes.kind[..., :1])
    weight = (votes.prior[..., None] * prior.spread[..., look].clamp(min=1e-3) ** -1).log()
    frame = torch.cat(
        [
            votes.kind,
            mine,
            count.clamp(max=10) / 10,
            1 / count.clamp(min=1),
            own(origin),
            (origin[..., 2:] / _UNIT).clamp(-_FAR, _FAR),
            prior.spread[..., look] / _UNIT,
            weight / 5,
            prior.support[..., look],
            prior.place.logsumexp(2).softmax(1)[..., look],
        ],
        -1,
    )
    return pair, frame


def _turned(v: Tensor, angle: Tensor) -> Tensor:
    """``(B, N, K, ..., 3)`` turned about the vertical by ``(B, N, K)`` [rad]."""
    angle = angle.reshape(*angle.shape, *[1] * (v.dim() - 4))
    c, s = angle.cos(), angle.sin()
    x, y, z = v.unbind(-1)
    return torch.stack([c * x - s * y, s * x + c * y, z], -1)


def _axis_angle(R: Tensor) -> Tensor:
    """``sin(angle) axis`` and ``cos(angle)``: smooth everywhere. ``(..., 3, 3) -> (..., 4)``."""
    axis = torch.stack(
        [R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1
    )
    trace = R.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    return torch.cat([0.5 * axis, 0.5 * (trace - 1)], -1)
