"""How well a frame explains what demonstrations did: they agree when it carries them over."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments.types import Array

ENOUGH = 4
"""Demonstrations whose agreement says something; one alone agrees with itself."""
_OFF = 0.005  # [m] by which the middle of what is seen of a thing is off, in any direction
_BLUR = 0.004  # [m] of votes, where that is asked
_APART = 2.0  # steps by which demonstrations may be apart


def explained(p: Array, share: Array, noise: Array, sharpness: float) -> Array:
    """How well each frame explains the votes for positions, next to a middling one: ``(F, H)``.

    Demonstrations that are some steps apart differ along the way that they go, in every frame
    alike. Where they go on, what they differ by across that way tells more.

    Args:
        p: Votes ``(F, K, H, d)`` [m].
        share: ``(F, K)`` of the demonstrations.
        noise: ``(F,)`` standard deviations that count as full agreement [m].
        sharpness: Exponent on the inverse variance.
    """
    mean = np.einsum("fk,fkhi->fhi", share, p)
    off, pace = p - mean[:, None], np.zeros_like(mean)  # (F, K, H, d), (F, H, d)
    if mean.shape[1] > 1:
        pace = np.gradient(mean, axis=1)
    squared = (off**2).sum(-1)
    swift = _APART**2 * (pace**2).sum(-1) + noise[:, None] ** 2  # (F, H)
    squared -= _APART**2 * np.einsum("fkhi,fhi->fkh", off, pace) ** 2 / swift[:, None]
    variance = np.einsum("fk,fkh->fh", share, squared) + noise[:, None] ** 2
    count = (share**2).sum(axis=1)
    alone = np.where(count > 0, count, 1.0)  # 1 over how many have a say
    told = np.clip((1 - alone) / (1 - 1 / ENOUGH), 0.0, 1.0)[:, None]
    middling = np.median(variance[told[:, 0] > 0], axis=0) if told.any() else 1.0
    return np.asarray((variance / middling) ** (-sharpness * told))


def about_origins(R: Array, p: Array, share: Array) -> Array:
    """Votes ``(F, K, H, 3)`` once each frame's origin is where they agree best.

    What is seen of a thing is not its middle: that is off by some millimetres, towards the cameras
    and however the thing is turned. A vote that is turned by ``R`` about an origin that is off by
    ``b`` is off by ``(I - R) b``, so demonstrations that are turned unlike tell ``b`` (least
    squares, with a prior of :data:`_OFF`), from :data:`ENOUGH` of them on.

    Args:
        R: ``(F, K, 2, 2)`` turns about the vertical.
        p: ``(F, K, H, 3)`` [m].
        share: ``(F, K)`` of the demonstrations.
    """
    A = np.eye(2) - R
    off, apart = (
        each - np.einsum("fk,fk...->f...", share, each)[:, None]
        for each in (A, p[..., :2].mean(axis=2))
    )
    many = (share > 0).sum(axis=1) >= ENOUGH
    gain = np.where(many, 1 / np.where(many, (share**2).sum(axis=1), 1.0), 0.0) / _BLUR**2
    told = gain[:, None, None] * np.einsum("fk,fkji,fkjl->fil", share, off, off)
    asked = gain[:, None] * np.einsum("fk,fkji,fkj->fi", share, off, apart)
    b = -np.linalg.solve(told + np.eye(2) / _OFF**2, asked[..., None])[..., 0]  # (F, 2)
    out = p.copy()
    out[..., :2] += np.einsum("fkij,fj->fki", A, b)[:, :, None]
    return out
