"""Torques that realise accelerations and contact forces with the whole body: one QP a tick."""

from __future__ import annotations

from dataclasses import dataclass

import daqp
import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from ..qp import EQUAL, SOFT
from .dynamics import FloatingDynamics
from .forces import friction_rows

REGULAR = 1e-6  # on accelerations, so that the program has one solution
LEAST = 1.0  # [N] with which a standing foot presses
FAR = 400.0  # [rad/s^2, m/s^2] a looser bound on a joint is left out


@dataclass(frozen=True)
class AccelerationTask:
    r"""Wants :math:`J \dot u = b`, each row with its weight.

    Attributes:
        J: ``(r, 6 + n)``; None for the identity.
        b: ``(r,)``.
        weight: ``(r,)``.
    """

    J: Array | None
    b: Array
    weight: Array

    def add_to(self, H: Array, g: Array) -> None:
        r"""Add the task's cost to :math:`\tfrac12 x^T H x + g^T x`."""
        if self.J is None:
            at = np.arange(len(self.b))
            H[at, at] += self.weight
            g[at] -= self.weight * self.b
            return
        weighted = (self.J * self.weight[:, None]).T
        n = len(weighted)
        H[:n, :n] += weighted @ self.J
        g[:n] -= weighted @ self.b


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
    loads: Array,
    efforts: Array,
    friction: float,
    largest: Array,
    armature: Array,
    bounds: tuple[Array, Array],
) -> WholeBodySolution | None:
    r"""Minimise the tasks' errors subject to the equation of motion.

    .. math:: \min_{\dot u, f} \sum_t \|J_t \dot u - b_t\|^2_{W_t} + w \|f - f^*\|^2

    subject to the six rows of the base, :math:`|\tau| \le \tau_{max}` with
    :math:`\tau = (M \dot u + h - J_c^T f - J_b^T w_e)_{6:} - \tau_e`, the friction pyramid, and,
    softly, bounds on the joints' accelerations (Wensing and Orin, *Generation of dynamic humanoid
    behaviors through task-space control with conic optimization*, 2013).

    Args:
        dynamics: The robot at its measured state.
        tasks: What is wanted.
        stands: ``(C,)`` contact points that stand.
        forces: ``(C, 3)`` wanted.
        force_weight: Of their squared error.
        wrench: ``(6,)`` that also acts on the base, at the centre of mass, world axes.
        loads: ``(n,)`` torques :math:`\tau_e` that also act on the joints.
        efforts: ``(n,)`` largest torques.
        friction: Coefficient.
        largest: ``(C,)`` normal forces that the points may carry [N].
        armature: ``(n,)`` added to the joints' own inertias [kg m^2].
        bounds: ``(n,)`` least and ``(n,)`` largest accelerations of the joints; given up only where
            nothing else is left.

    Returns:
        None where no solution was found.
    """
    nu = len(dynamics.u)
    J = dynamics.J[stands].reshape(-1, nu)
    nf = len(J)
    H = np.zeros((nu + nf, nu + nf))
    g = np.zeros(nu + nf)
    for task in tasks:
        task.add_to(H, g)
    H[np.arange(nu), np.arange(nu)] += REGULAR
    at = np.arange(nu, nu + nf)
    H[at, at] = force_weight
    g[nu:] = -force_weight * forces[stands].reshape(-1)
    rest = dynamics.h - _on_base(dynamics, wrench)
    rest[6:] -= loads
    pyramid, low, high = friction_rows(
        nf // 3, friction, largest[stands], np.minimum(LEAST, largest[stands])
    )
    slowest, fastest = bounds
    bounded = np.flatnonzero((slowest > -FAR) | (fastest < FAR))
    held = nu + len(pyramid)
    C = np.zeros((held + len(bounded), nu + nf))
    C[:nu, :nu], C[:nu, nu:], C[nu:held, nu:] = dynamics.M, -J.T, pyramid
    C[np.arange(6, nu), np.arange(6, nu)] += armature
    C[np.arange(held, len(C)), 6 + bounded] = 1.0
    lower = np.concatenate([-rest[:6], -efforts - rest[6:], low, slowest[bounded]])
    upper = np.concatenate([-rest[:6], efforts - rest[6:], high, fastest[bounded]])
    kinds = np.zeros(len(lower), dtype=np.intc)
    kinds[:6] = EQUAL
    kinds[held:] = SOFT
    x, _, flag, _ = daqp.solve(H, g, C, upper, lower, kinds)
    if flag <= 0 or not np.isfinite(x).all():
        return None
    found = np.zeros_like(dynamics.points)
    found[stands] = x[nu:].reshape(-1, 3)
    return WholeBodySolution((C[:nu] @ x + rest)[6:], x[:nu], found)


def _on_base(dynamics: FloatingDynamics, wrench: Array) -> Array:
    """Generalised force ``(6 + n,)`` of a wrench at the centre of mass that acts on the base."""
    R, p = dynamics.base[:3, :3], dynamics.base[:3, 3]
    out = np.zeros(len(dynamics.u))
    out[:3] = R.T @ wrench[:3]
    out[3:6] = R.T @ (wrench[3:] + pin.skew(dynamics.com - p) @ wrench[:3])
    return out
