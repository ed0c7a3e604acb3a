"""Torques that realise accelerations and contact forces with the whole body: one QP a tick."""

from __future__ import annotations

from dataclasses import dataclass

import daqp
import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .dynamics import FloatingDynamics
from .forces import friction_rows

_EQUAL = 5  # DAQP's flag of an equality
REGULAR = 1e-6  # on accelerations, so that the program has one solution
LEAST = 1.0  # [N] with which a standing foot presses


@dataclass(frozen=True)
class AccelerationTask:
    r"""Wants :math:`J \dot u = b`, each row with its weight.

    Attributes:
        J: ``(r, 6 + n)``.
        b: ``(r,)``.
        weight: ``(r,)``.
    """

    J: Array
    b: Array
    weight: Array


@dataclass(frozen=True)
class WholeBodySolution:
    """Torques ``(n,)``, accelerations ``(6 + n,)`` and forces ``(C, 3)`` of all contact points."""

    torques: Array
    accelerations: Array
    forces: Array


def solve_whole_body(
    dynamics: FloatingDynamics,
    tasks: list[AccelerationTask],
    stands: NDArray[np.bool_],
    forces: Array,
    force_weight: float,
    wrench: Array,
    efforts: Array,
    friction: float,
) -> WholeBodySolution | None:
    r"""Minimise the tasks' errors subject to the equation of motion.

    .. math:: \min_{\dot u, f} \sum_t \|J_t \dot u - b_t\|^2_{W_t} + w \|f - f^*\|^2

    subject to the six rows of the base, :math:`|\tau| \le \tau_{max}` with
    :math:`\tau = (M \dot u + h - J_c^T f - J_b^T w_e)_{6:}`, and the friction pyramid (Wensing and
    Orin, *Generation of dynamic humanoid behaviors through task-space control with conic
    optimization*, 2013).

    Args:
        dynamics: The robot at its measured state.
        tasks: What is wanted.
        stands: ``(C,)`` contact points that stand.
        forces: ``(C, 3)`` wanted.
        force_weight: Of their squared error.
        wrench: ``(6,)`` that also acts on the base, at the centre of mass, world axes.
        efforts: ``(n,)`` largest torques.
        friction: Coefficient.

    Returns:
        None where no solution was found.
    """
    nu = len(dynamics.u)
    J = dynamics.J[stands].reshape(-1, nu)
    nf = len(J)
    H = np.zeros((nu + nf, nu + nf))
    g = np.zeros(nu + nf)
    stacked = np.concatenate([t.J for t in tasks])
    weight = np.concatenate([t.weight for t in tasks])
    weighted = stacked * weight[:, None]
    H[:nu, :nu] = stacked.T @ weighted
    H[np.arange(nu), np.arange(nu)] += REGULAR
    g[:nu] = -weighted.T @ np.concatenate([t.b for t in tasks])
    at = np.arange(nu, nu + nf)
    H[at, at] = force_weight
    g[nu:] = -force_weight * forces[stands].reshape(-1)
    motion = np.hstack([dynamics.M, -J.T])
    rest = dynamics.h - _on_base(dynamics, wrench)
    pyramid, low, high = friction_rows(nf // 3, friction, 1e30, LEAST)
    C = np.vstack([motion, np.hstack([np.zeros((len(pyramid), nu)), pyramid])])
    lower = np.concatenate([-rest[:6], -efforts - rest[6:], low])
    upper = np.concatenate([-rest[:6], efforts - rest[6:], high])
    kinds = np.zeros(len(lower), dtype=np.intc)
    kinds[:6] = _EQUAL
    x, _, flag, _ = daqp.solve(H, g, C, upper, lower, kinds)
    if flag <= 0 or not np.isfinite(x).all():
        return None
    found = np.zeros_like(dynamics.points)
    found[stands] = x[nu:].reshape(-1, 3)
    return WholeBodySolution((motion @ x + rest)[6:], x[:nu], found)


def _on_base(dynamics: FloatingDynamics, wrench: Array) -> Array:
    """Generalised force ``(6 + n,)`` of a wrench at the centre of mass that acts on the base."""
    R, p = dynamics.base[:3, :3], dynamics.base[:3, 3]
    out = np.zeros(len(dynamics.u))
    out[:3] = R.T @ wrench[:3]
    out[3:6] = R.T @ (wrench[3:] + np.cross(dynamics.com - p, wrench[:3]))
    return out
