"""A policy without learning: retrieved motions, carried over into this scene, vote.

Each demonstration offers the commands that followed the moment most like now. Each candidate frame
(``frames.py``) carries all of them over; where the demonstrations then agree, that frame explains
the motion. The consensus weighs frames by inverse variance, so the cube's frame rules on the way to
the cube, the bowl's on the way to the bowl, without anybody naming either. This is
task-parameterised regression (Calinon 2016) with retrieval for the phase and SE(3) transport.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionChunk, Observation, se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import tightness

from .agreement import about_origins, explained
from .aim import aimed
from .frames import FrameVotes
from .interface import Trace
from .likeness import surprise
from .pace import hands_around, steps_behind
from .retrieval import RetrievalConfig, RetrievalEpisode, RetrievalPolicy, demonstrated

ANOTHER_GRASP = np.pi / 4  # [rad] between votes for rotations of different intent
_SAID = np.pi / 12  # [rad] between two frames' rotations that say the same
_BEHIND = 6  # steps that may be left out because the hand has gone them
_PASSED = 0.02  # [m] from the hand: farther off, they are not gone yet
_SHOWN = 0.1  # of agreement that one vote has with a turn that it shows
_STILL = 0.001  # [m]
_LEVER = 0.1  # [m] by which a turn of 1 rad moves what a hand holds
_ALIKE = 0.01  # [m] between motions that go the same way
_CHANCES = 0.1 * np.array([1, 2, 4])[:, None, None, None]  # of agreeing, with so many equal turns
_QUARTERS = np.stack([se3.yaw(0.5 * np.pi * j) for j in range(4)])


class VoteEpisode(RetrievalEpisode):
    """An episode of :class:`VotePolicy`."""

    def _chunk(
        self,
        observation: Observation,
        tcp: Array,
        opening: float,
        pointers: NDArray[np.int64],
        weights: Array,
    ) -> ActionChunk:
        config = self.policy.config
        steps = config.horizon + _BEHIND
        commands, gripper = demonstrated(self.contexts, pointers, steps)
        frames = list(self.frames(pointers, tcp))
        over = carried_over(self._aimed(frames, pointers, steps), commands, weights, config)
        hands = se3.act(over.first, hands_around(self.contexts, pointers))
        behind = steps_behind(over.motions, weights * over.going, hands, tcp[:3, 3])
        in_step = np.maximum(pointers + behind, 0)
        commands, gripper = demonstrated(self.contexts, in_step, steps)
        agreed = consensus(self._aimed(frames, in_step, steps), commands, weights, tcp, config)
        openings = weighted_median(gripper, weights)  # a gripper is never averaged
        begin = begun(agreed.poses, openings, tcp)
        ahead = slice(begin, begin + config.horizon)
        agreed, openings = agreed.at(ahead), openings[ahead]
        trace: Trace = {
            "frames": {f.name: float(s) for f, s in zip(frames, agreed.shares, strict=True)}
        }
        spread = agreed.spread if len(self.contexts) >= tightness.FEWEST else None
        return self._answer(
            observation, tcp, opening, agreed.poses, openings, pointers, weights, trace, spread
        )

    def _aimed(
        self, frames: Sequence[FrameVotes], pointers: NDArray[np.int64], steps: int
    ) -> list[FrameVotes]:
        assert self.correspondence is not None
        return aimed(frames, self.contexts, pointers, self.correspondence.index, steps)


class VotePolicy(RetrievalPolicy):
    """Retrieved motions vote in the frames of this scene."""

    episode_type = VoteEpisode


@dataclass(frozen=True)
class Consensus:
    """What all frames' votes come to, for ``H`` steps.

    Attributes:
        poses: ``(H, 4, 4)``.
        spread: ``(H, 6, 6)`` covariance of the votes about them (:mod:`.tightness`).
        shares: ``(F,)`` each frame's mean share in the positions.
    """

    poses: Array
    spread: Array
    shares: Array

    def at(self, steps: slice) -> Consensus:
        """Some of the steps."""
        return Consensus(self.poses[steps], self.spread[steps], self.shares)


@dataclass(frozen=True)
class CarriedOver:
    """Places of ``K`` demonstrations for ``H`` steps in ``F`` frames.

    Attributes:
        p: ``(F, K, H, 3)`` as each frame has them [m].
        share: ``(F, K)`` of the demonstrations that have the frame.
        say: ``(F, K, H)`` the same at each step.
        prior: ``(F, H)`` weight of the frames.
        alpha: ``(F, H)`` how much of all that each frame explains.
        motions: ``(K, H, 3)`` carried over by all frames but the hand's own together [m].
        going: ``(K,)`` how much each demonstration goes the way that most go, 0 to 1.
        first: ``(K, 4, 4)`` affine map that carries places over at the first step.
    """

    p: Array
    share: Array
    say: Array
    prior: Array
    alpha: Array
    motions: Array
    going: Array
    first: Array


def begun(poses: Array, openings: Array, here: Array) -> int:
    """The first of ``H`` steps that is not behind the hand already.

    Where pointers lag, a motion would first go back to where the hand was, and so for ever. Nothing
    is left out once a gripper is about to move, as that takes its time.

    Args:
        poses: ``(H, 4, 4)`` of the hand.
        openings: ``(H,)``.
        here: ``(4, 4)``.
    """
    turns = se3.log3(poses[:, :3, :3] @ here[:3, :3].T)
    places = np.concatenate([poses[:, :3, 3] - here[:3, 3], _LEVER * turns], axis=-1)
    same = np.abs(openings[: _BEHIND + 1] - openings[0]) < 0.05
    most = int(np.argmin(same)) if not same.all() else len(same)
    away = np.linalg.norm(places[:most], axis=-1)
    leaving = np.append(away[1:] > away[:-1] - _STILL, True)
    nearest = int(np.argmax(leaving))  # so far every step came nearer; a way may come back later
    if away[nearest] > _PASSED:
        return 0
    if nearest + 1 < most:
        onwards = places[nearest + 1] - places[nearest]
        past = -places[nearest] @ onwards > 0
        return nearest + int(past and np.linalg.norm(onwards) > _STILL)
    return nearest


def weighted_median(values: Array, weights: Array) -> Array:
    """Median over the first axis: ``(K, H)`` with weights ``(K,)`` to ``(H,)``."""
    order = np.argsort(values, axis=0, kind="stable")
    mass = np.cumsum(weights[order], axis=0)
    middle = np.argmax(mass >= 0.5 * weights.sum(), axis=0)
    picked = np.take_along_axis(order, middle[None], axis=0)
    return np.take_along_axis(values, picked, axis=0)[0]


def carried_over(
    frames: Sequence[FrameVotes], commands: Array, weights: Array, config: RetrievalConfig
) -> CarriedOver:
    """Carry demonstrated places over in each frame, and tell how much it explains them.

    See :func:`consensus`.
    """
    X = np.stack([f.X for f in frames])  # (F, K, 4, 4)
    share = weights * np.stack([f.valid for f in frames])  # (F, K)
    known = share.sum(axis=1)
    share = share / np.maximum(known, 1e-9)[:, None]
    prior, say = _priors(frames, share, commands.shape[1])
    prior = prior * known[:, None]
    say = share[..., None] * say

    p = se3.act(X, commands[..., :3, 3])  # (F, K, H, 3)
    turning = np.array([f.turns for f in frames])
    p[turning] = about_origins(X[turning, :, :2, :2], p[turning], share[turning])
    blur = np.array([f.blur for f in frames])
    exact = np.array([f.exact for f in frames])
    noise = np.hypot(np.where(exact, config.level_noise, config.noise), blur)
    alpha = prior * explained(p[..., :2], share, noise, config.sharpness)
    alpha /= alpha.sum(axis=0)
    trust = alpha[:, None] * np.array([f.valid & f.outside for f in frames])[..., None]  # (F, K, H)
    trust /= np.maximum(trust.sum(axis=0), 1e-9)
    motions = np.einsum("fkh,fkhi->khi", trust, p)
    going = _one_way(motions, weights)
    by_all = np.einsum("fk,fkij->kij", trust[..., 0], X)
    return CarriedOver(p, share, say, prior, alpha, motions, going, by_all)


def _priors(frames: Sequence[FrameVotes], share: Array, steps: int) -> tuple[Array, Array]:
    """Weight of each frame ``(F, H)``, and of each demonstration in it ``(F, K, H)``."""
    like = (share.shape[1], steps)
    if not any(isinstance(f.weight, np.ndarray) for f in frames):
        prior = np.stack([np.broadcast_to(f.weight, steps) for f in frames])
        return prior, np.ones((len(frames), *like))
    each = np.stack([np.broadcast_to(f.weight, like) for f in frames])
    prior = np.einsum("fk,fkh->fh", share, each)
    return prior, each / np.maximum(prior, 1e-12)[:, None]


def consensus(
    frames: Sequence[FrameVotes],
    commands: Array,
    weights: Array,
    tcp: Array,
    config: RetrievalConfig,
) -> Consensus:
    """Fuse all frames' votes, step by step.

    Positions: with ``mu_f`` and ``s_f^2`` the weighted mean and variance of frame ``f``'s votes,
    ``x = sum_f a_f mu_f / sum_f a_f`` and ``a_f = (s_f^2 + noise^2)^-sharpness``
    (:mod:`.agreement`), where ``mu_f`` is taken over those that go the way of most; a frame that
    few demonstrations have agrees with itself, and counts like a middling one. Heights are asked
    for themselves, as the height above the base may be certain where the place is the thing's.
    Rotations: the same weights with chordal variance, but chosen and not averaged: each frame's
    best supported one, up to half and quarter turns, and of the frames the best explained one with
    those that say the same.

    Args:
        frames: ``F`` frames.
        commands: ``(K, H, 4, 4)`` demonstrated.
        weights: ``(K,)`` of the demonstrations.
        tcp: ``(4, 4)`` measured pose, which breaks ties between equal grasps.
        config: Constants.
    """
    over = carried_over(frames, commands, weights, config)
    p, share, prior, alpha = over.p, over.share, over.prior, over.alpha
    one_way = over.say * over.going[:, None]
    one_way /= np.maximum(one_way.sum(axis=1), 1e-9)[:, None]  # (F, K, H)
    position = np.einsum("fh,fkh,fkhi->hi", alpha, one_way, p)
    # frames that differ in nothing but a turn about the vertical are one where heights are asked
    rises = [np.append(f.X[:, 2, 3], f.valid).tobytes() for f in frames]
    some = np.unique(rises, return_index=True)[1]
    level_noise = np.hypot(config.level_noise, [frames[i].blur for i in some])
    upright = prior[some] * explained(p[some, ..., 2:], share[some], level_noise, config.sharpness)
    upright /= upright.sum(axis=0)
    position[:, 2] = np.einsum("fh,fkh,fkh->h", upright, one_way[some], p[some, ..., 2])

    # where a thing is and where it was first it turns alike: rotations are asked once for both
    turns = [np.append(f.X[:, :3, :3], f.valid).tobytes() for f in frames]
    _, one, which = np.unique(turns, return_index=True, return_inverse=True)
    counted = which[:, None] == np.arange(len(one))  # (F, U)
    X = np.stack([frames[i].X for i in one])
    R, say = X[:, :, None, :3, :3] @ commands[..., :3, :3], share[one]
    turned, evidence, shown = _one_mode(R, say, tcp[:3, :3], config.turn_noise)
    beta = _most(prior, counted) * evidence
    lead = np.argmax(beta, axis=0)  # (H,)
    surest = shown[lead, np.arange(len(lead))]
    rotation = _leading(_nearest(turned, surest, tcp[:3, :3]), beta, lead)
    hung = np.array([f.outside for f in frames])
    everyone = np.broadcast_to(share[hung, :, None], p[hung].shape[:-1])
    spread = tightness.joint(
        tightness.spread(p[hung], everyone, alpha[hung], config.noise),
        _turn_spread(R, say, turned, _most(prior * hung[:, None], counted), config),
    )
    return Consensus(se3.pose(rotation, position), spread, alpha.mean(axis=1))


def _turn_spread(
    R: Array, share: Array, turned: Array, prior: Array, config: RetrievalConfig
) -> Array:
    """How rotations differ, seen in each frame and fused over the frames: ``(H, 3, 3)``.

    Turns beyond :data:`ANOTHER_GRASP` are another way to do it and say nothing about this one; a
    frame in which many are so does not explain the turns.

    Args:
        R: Votes ``(F, K, H, 3, 3)``.
        share: ``(F, K)`` of the demonstrations.
        turned: ``(F, H, 3, 3)`` best supported rotations.
        prior: ``(F, H)`` of the frames.
        config: Constants.
    """
    turns = se3.log3(R @ np.swapaxes(turned, -1, -2)[:, None])  # (F, K, H, 3)
    alike = share[..., None] * (np.linalg.norm(turns, axis=-1) < ANOTHER_GRASP)
    supported = alike.sum(axis=1)  # (F, H)
    beta = prior * (1 - supported + config.turn_noise**2) ** -config.sharpness
    alike = alike / np.maximum(supported, 1e-9)[:, None]
    return tightness.spread(turns, alike, beta, config.turn_noise)


def _one_mode(
    R: Array, share: Array, now: Array, noise: float
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Each frame's best supported rotation at each step, and how well it is supported.

    A bar may be grasped from either end and a cube from any side: votes that differ by half or
    quarter turns about the vertical may support each other, where that explains more of them than
    chance would. Which of several equal rotations is meant is chosen later (:func:`_nearest`).

    Args:
        R: Votes ``(F, K, H, 3, 3)``.
        share: ``(F, K)``.
        now: ``(3, 3)`` present rotation.
        noise: Chordal width of agreement.

    Returns:
        ``(F, H, 3, 3)`` rotations; ``(F, H)`` how much likelier the frame makes their agreement
        than chance, at least 1; and ``(F, H, 4)`` by which quarter turns some votes are off.
    """
    F, K, H = R.shape[:3]
    turned = np.tensordot(_QUARTERS, R, (2, 3))  # (4, 3, F, K, H, 3)
    turned = turned.transpose(2, 4, 0, 3, 1, 5).reshape(F, H, 4 * K, 9)
    own = turned[:, :, :K]
    # trace of Z_j R_l R_k^T, for quarter turns Z_j
    dot = (own @ np.swapaxes(turned, -1, -2)).reshape(F, H, K, 4, K)

    def near(dot: Array) -> Array:
        return np.exp((dot - 3) / (3 * noise) ** 2)  # 3 - trace = 2 (1 - cos(angle))

    folded = near(np.stack([dot[..., 0, :], dot[..., ::2, :].max(-2), dot.max(-2)]))
    support = np.einsum("nfhkl,fl->nfhk", folded, share)
    count = 1 / np.maximum((share**2).sum(axis=1), 1e-9)  # (F,) demonstrations that have a say
    evidence = count[:, None, None] * surprise(support, _CHANCES)
    order = np.argmax(evidence.max(-1), axis=0)  # (F, H); the first of equals
    support = np.take_along_axis(support, order[None, ..., None], axis=0)[0]
    evidence = np.take_along_axis(evidence, order[None, ..., None], axis=0)[0]
    # of equally good grasps, the one that needs the least turning
    turning = 3 - own @ now.ravel()  # (F, H, K)
    best = np.argmax(support - 0.05 * turning - 2.0 * (share[:, None] <= 0), axis=-1)[..., None]
    chosen = near(np.take_along_axis(dot, best[..., None, None], axis=2))  # (F, H, 1, 4, K)
    allowed = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]])[order]  # (F, H, 4)
    weight = chosen * allowed[:, :, None, :, None] * share[:, None, None, None]
    alike = (weight.reshape(F, H, 1, 4 * K) @ turned).reshape(F, H, 3, 3)
    mean = se3.project_rotation(alike + 1e-9 * np.eye(3))
    # one that grasps from the other end tells that this can be done, few as they may be
    possible = np.maximum(allowed, [1, 0, 1, 0])[..., None] * (share[:, None, None] > 0)
    shown = (chosen[:, :, 0] * possible > _SHOWN).any(axis=-1)  # (F, H, 4)
    return mean, np.exp(np.take_along_axis(evidence, best, axis=-1)[..., 0]), shown


def _nearest(turned: Array, shown: NDArray[np.bool_], now: Array) -> Array:
    """Of the equal turns of each rotation the one that is nearest to now: ``(F, H, 3, 3)``.

    Args:
        turned: ``(F, H, 3, 3)``.
        shown: ``(H, 4)`` which of the quarter turns are equal, and have been demonstrated.
        now: ``(3, 3)`` present rotation.
    """
    equal = np.swapaxes(_QUARTERS, -1, -2) @ turned[:, :, None]  # (F, H, 4, 3, 3)
    away = np.where(shown, -np.einsum("fhjab,ab->fhj", equal, now), np.inf)
    pick = np.argmin(away, axis=-1)[..., None, None, None]
    return np.take_along_axis(equal, pick, axis=2)[:, :, 0]


def _one_way(motions: Array, weights: Array) -> Array:
    """How much each demonstration goes the way that most go: ``(K,)``, 0 to 1 and never quite 0.

    Some may go on where others have turned already, and the mean of both goes nowhere.

    Args:
        motions: ``(K, H, 3)`` carried over [m].
        weights: ``(K,)``.
    """
    steps = motions - motions[:, :1]
    apart = np.sqrt(((steps[:, None] - steps) ** 2).sum(-1).mean(-1))  # (K, K)
    alike = np.exp(-0.5 * (apart / _ALIKE) ** 2)
    return np.maximum(alike[np.argmax(alike @ weights)], 1e-3)  # a frame may know no others


def _most(prior: Array, counted: NDArray[np.bool_]) -> Array:
    """Weight ``(U, H)`` of what several of the frames ``(F, H)`` say: that of one, ``(F, U)``."""
    return np.asarray((prior[:, None] * counted[..., None]).max(axis=0))


def _leading(turned: Array, beta: Array, lead: NDArray[np.int64]) -> Array:
    """What the best explained of the frames' rotations and those like it say: ``(H, 3, 3)``.

    What lies between two ways is meant by nobody. Nor do many frames that say the same by chance
    count for more than one that explains the votes: there are as many as pairs of things.

    Args:
        turned: ``(F, H, 3, 3)`` each frame's rotation.
        beta: ``(F, H)`` how well it explains the votes.
        lead: ``(H,)`` frame that does so best.
    """
    led = turned[lead, np.arange(len(lead))]  # (H, 3, 3)
    alike = np.einsum("fhij,hij->fh", turned, led)  # trace of R_f^T R = 1 + 2 cos(angle)
    return se3.mean_rotation(turned, beta * (alike > 1 + 2 * np.cos(_SAID)))
