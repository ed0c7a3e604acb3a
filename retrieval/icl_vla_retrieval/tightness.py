"""How tightly people held each direction, and the task weights that follow from it.

Where demonstrations, aligned in phase and carried into one frame, agree, precision was meant; where
they differ, it did not matter. Minimal intervention (Todorov & Jordan 2002) corrects only what
matters: a controller's cost is ``(x - mu)^T S^-1 (x - mu)`` with the covariance ``S`` of the
demonstrations (Calinon, *A tutorial on task-parameterized movement learning and retrieval*, 2016;
Paraschos et al., *Probabilistic movement primitives*, 2013).

Covariances of poses are ``(6, 6)``, position [m] before rotation vector [rad], in base axes. Both
are estimated apart, with their cross terms left at zero: ten demonstrations do not tell 21 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments.types import Array

FEWEST = 3  # demonstrations, below which a spread says nothing
PRIOR = 4.0  # demonstrations that the prior of a covariance counts as


@dataclass(frozen=True)
class Tightness:
    """Constants that turn differences between demonstrations into task weights.

    Attributes:
        position: Standard deviation that earns a position weight factor 1 [m].
        rotation: The same for rotations [rad].
        floor: Least factor: no direction is ever quite free.
        ceiling: Largest factor.
    """

    position: float = 0.006
    rotation: float = 0.08
    floor: float = 0.1
    ceiling: float = 2.0

    @property
    def scale(self) -> Array:
        """``(6,)`` standard deviations of factor 1 [m, rad]."""
        return np.repeat([self.position, self.rotation], 3)

    def factors(self, covariance: Array) -> Array:
        r"""Factors on the task weights of a covariance: ``(..., 6, 6)``, symmetric.

        .. math:: F = \mathrm{clip}\big((D^{-1} S D^{-1})^{-1/2}\big), \quad
                  D = \mathrm{diag}(\sigma_p, \sigma_p, \sigma_p, \sigma_r, \sigma_r, \sigma_r)

        so that a residual ``r`` weighted as ``F D^-1 r`` costs ``r^T S^-1 r``. The clip, to floor
        and ceiling, is that of the eigenvalues: along the principal directions of the spread.

        Args:
            covariance: ``(..., 6, 6)`` [m, rad].
        """
        values, axes = np.linalg.eigh(covariance / np.multiply.outer(self.scale, self.scale))
        least = self.ceiling**-2.0
        kept = np.clip(np.maximum(values, least) ** -0.5, self.floor, self.ceiling)
        factors: Array = (axes * kept[..., None, :]) @ np.swapaxes(axes, -1, -2)
        return factors


def spread(deviations: Array, share: Array, frames: Array, scale: float) -> Array:
    """How demonstrations differ, in each frame and fused over the frames: ``(H, d, d)``.

    Args:
        deviations: ``(F, K, H, d)`` in frame f, of demonstration k, at step h.
        share: ``(F, K, H)`` weights of the demonstrations, of sum 1 over them (or all 0).
        frames: ``(F, H)`` weights of the frames.
        scale: Standard deviation that few demonstrations are drawn towards.
    """
    seen = shrunk_covariance(np.moveaxis(deviations, 1, 0), np.moveaxis(share, 1, 0), scale)
    return fused(seen, frames / frames.sum(axis=0))


def shrunk_covariance(deviations: Array, share: Array, scale: float, prior: float = PRIOR) -> Array:
    r"""Covariance of weighted samples, drawn towards ``scale^2 I`` where they are few.

    .. math:: S = \frac{n \sum_k w_k d_k d_k^T + \nu \sigma^2 I}{n - 1 + \nu}, \quad
              n = 1 / \sum_k w_k^2

    with ``d`` about the weighted mean: the mode of an inverse-Wishart posterior in form, Kish's
    effective number of samples ``n``, and the prior's weight ``nu`` in samples.

    Args:
        deviations: ``(K, ..., d)``.
        share: ``(K, ...)`` weights ``w``, of sum 1 (or all 0: then the prior alone).
        scale: ``sigma``.
        prior: ``nu``.

    Returns:
        ``(..., d, d)``.
    """
    about = deviations - np.einsum("k...,k...i->...i", share, deviations)
    square = np.einsum("k...,k...i,k...j->...ij", share, about, about)
    known = share.sum(axis=0) > 0
    n = np.where(known, 1 / np.maximum((share**2).sum(axis=0), 1e-12), 1.0)[..., None, None]
    isotropic = scale**2 * np.eye(deviations.shape[-1])
    covariance: Array = (n * square + prior * isotropic) / (n - 1 + prior)
    return covariance


def fused(covariances: Array, shares: Array) -> Array:
    """One covariance of several frames' ``(F, ..., d, d)``, with shares ``(F, ...)`` of sum 1.

    Precisions add, ``S^-1 = sum_f a_f S_f^-1``: a product of experts whose exponents sum to 1
    (Cao & Fleet 2014), so that frames that say the same thing twice do not say it more surely.
    """
    precision = np.einsum("f...,f...ij->...ij", shares, np.linalg.inv(covariances))
    covariance: Array = np.linalg.inv(precision)
    return covariance


def joint(position: Array, rotation: Array) -> Array:
    """``(..., 6, 6)`` of the covariances ``(..., 3, 3)`` of positions and of rotations."""
    both = np.zeros((*position.shape[:-2], 6, 6))
    both[..., :3, :3], both[..., 3:, 3:] = position, rotation
    return both
