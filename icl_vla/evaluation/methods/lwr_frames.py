"""Locally weighted regression in frames carried over to the scene's things."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionChunk, Observation, se3
from icl_vla_embodiments.types import Array

from ...policy.interface import Trace
from ...policy.retrieval import RetrievalEpisode, RetrievalPolicy, demonstrated
from ...policy.vote import consensus, weighted_median
from .retrieval import Retrieval

_WINDOW = (-2, 0, 2)  # frames round each demonstration's pointer that the line is fitted through
_KERNEL = 0.05  # [m] of the hand's distance at which a sample counts exp(-1/2)
_RIDGE = 1e-3  # [m^2] of spread below which the slope is not believed


class LwrEpisode(RetrievalEpisode):
    """A line fitted through the demonstrations in each frame; frames fused by their residuals.

    In frame ``f`` sample ``i`` stood at ``x_i`` and was sent to ``y_i``; the command at ``x`` is
    ``y = m_y + B (x - m_x)``, ``B = C_yx (C_xx + ridge)^-1`` with weighted means and covariances
    (Cleveland & Devlin 1988). Its weight among the frames is ``(residual + noise^2)^-sharpness``,
    as in the vote; rotation and gripper are the vote's.
    """

    def _chunk(
        self,
        observation: Observation,
        tcp: Array,
        opening: float,
        pointers: NDArray[np.int64],
        weights: Array,
    ) -> ActionChunk:
        assert self.tokens is not None and self.correspondence is not None
        config = self.policy.config
        commands, gripper = demonstrated(self.contexts, pointers, config.horizon)
        frames = list(self.frames(pointers, tcp))
        poses = consensus(frames, commands, weights, tcp, config).poses
        X = np.stack([f.X for f in frames])  # (F, K, 4, 4)
        valid = np.stack([f.valid for f in frames])
        stood, sent = [], []
        for shift in _WINDOW:
            ends = np.array([len(c) - 1 for c in self.contexts])
            at = np.clip(pointers + shift, 0, ends)
            stood.append(
                np.stack([c.tcp[t, :3, 3] for c, t in zip(self.contexts, at, strict=True)])
            )
            sent.append(demonstrated(self.contexts, at, config.horizon)[0][..., :3, 3])
        R, p = X[..., :3, :3], X[..., :3, 3]
        x = np.einsum("fkij,skj->fski", R, np.stack(stood)) + p[:, None]
        y = np.einsum("fkij,skhj->fskhi", R, np.stack(sent)) + p[:, None, :, None]
        F, S, K = x.shape[:3]
        share = np.repeat((weights * valid)[:, None], S, axis=1)
        away = ((x - tcp[:3, 3]) ** 2).sum(-1)
        nearest = np.where(valid[:, None], away, np.inf).min(axis=(1, 2), keepdims=True)
        nearest = np.where(np.isfinite(nearest), nearest, 0.0)
        share = share * np.exp(-0.5 * np.minimum(away - nearest, 1.0) / _KERNEL**2)
        mean, residual = regress(
            x.reshape(F, S * K, 3),
            y.reshape(F, S * K, *y.shape[3:]),
            share.reshape(F, S * K),
            tcp[:3, 3],
        )
        prior = np.array([f.weight for f in frames]) * (weights * valid).sum(axis=1)
        alpha = prior[:, None] * (residual + config.noise**2) ** -config.sharpness
        alpha /= alpha.sum(axis=0)
        position = np.einsum("fh,fhi->hi", alpha, mean)
        trace: Trace = {
            "frames": dict(zip([f.name for f in frames], alpha.mean(axis=1).tolist(), strict=True))
        }
        openings = weighted_median(gripper, weights)
        moved = se3.pose(poses[:, :3, :3], position)
        return self._answer(observation, tcp, opening, moved, openings, pointers, weights, trace)


def regress(x: Array, y: Array, share: Array, at: Array) -> tuple[Array, Array]:
    """Weighted ridge regression of ``y`` on ``x``, read at one point, in every frame.

    Args:
        x: ``(F, N, 3)`` [m].
        y: ``(F, N, H, 3)`` [m].
        share: ``(F, N)`` weights.
        at: ``(3,)``.

    Returns:
        ``(F, H, 3)`` values and ``(F, H)`` mean squared residuals.
    """
    share = share / np.maximum(share.sum(axis=1, keepdims=True), 1e-12)
    mx = np.einsum("fn,fni->fi", share, x)
    my = np.einsum("fn,fnhi->fhi", share, y)
    dx, dy = x - mx[:, None], y - my[:, None]
    Cxx = np.einsum("fn,fni,fnj->fij", share, dx, dx) + _RIDGE * np.eye(3)
    Cyx = np.einsum("fn,fnhi,fnj->fhij", share, dy, dx)
    B = np.einsum("fhij,fjk->fhik", Cyx, np.linalg.inv(Cxx))
    value = my + np.einsum("fhij,fj->fhi", B, at - mx)
    rest = dy - np.einsum("fhij,fnj->fnhi", B, dx)
    return value, np.einsum("fn,fnhi->fh", share, rest**2)


class LwrPolicy(RetrievalPolicy):
    """See :class:`LwrEpisode`."""

    episode_type = LwrEpisode


class LwrFrames(Retrieval):
    """Locally weighted regression in transported frames."""

    name = "lwr_frames"
    summary = "locally weighted regression in carried-over frames"
    policy = LwrPolicy
