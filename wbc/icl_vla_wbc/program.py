"""The quadratic program of one real-time iteration: tasks within limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .config import MpcConfig
from .horizon import Horizon
from .limits import JointLimits, Limit, ViableLimits
from .plan import Plan
from .qp import QuadraticProgram, row_kinds
from .tasks import Task
from .vectors import selection

HESSIAN_SHIFT = 1e-8  # keeps the program strictly convex
DAMPING_TIME = 0.07  # [s]; how strongly errors damp velocities, beside changes of the plan
ONE_STEP_DAMPING = 0.05  # of the one-step program's joint velocities [s/rad]


class Program:
    r"""Gauss-Newton models of tasks around a plan with knots ``U`` ``(K, n)``, within limits.

    The unknown is the change of the plan, flattened. With :math:`r` all tasks' residuals,

    .. math:: \min_U \tfrac12 \sum_k \|r(q_k)\|^2 + w_v^2 \|v_k\|^2 + w_a^2 \|a_k\|^2.

    Gauss-Newton leaves out :math:`r \cdot \partial^2 r`, without which the plan jumps to and fro
    where an arm is stretched towards something out of reach. A Levenberg-Marquardt term
    proportional to the error stands in for it, :math:`\mu_k \|\delta q_k\|^2 / 2` at each stage
    with :math:`\mu_k = d \sum_{tasks} \|r \cdot \partial^2 r\|`, and as that would also keep
    alive whatever motion the plan holds, :math:`\bar\mu \tau^2 \|v_k\|^2 / 2` calms it. Neither
    moves the posture of rest, and both vanish on target.

    Args:
        joints: ``(n,)`` indices of the controlled joints among the actuated ones.
        limits: Of the controlled joints.
        horizon: Stages and knots.
        config: Weights.

    Attributes:
        limits: The joints' limits along a plan.
    """

    def __init__(
        self, joints: NDArray[np.intp], limits: ViableLimits, horizon: Horizon, config: MpcConfig
    ) -> None:
        self._viable, self._horizon, self._config = limits, horizon, config
        self._own = selection(joints)
        self.limits = JointLimits(limits, horizon)
        n = len(joints)
        P, V, A = horizon.P, horizon.V, horizon.A
        smooth = config.acceleration_weight**2 * A.T @ A + config.velocity_weight**2 * V.T @ V
        self._smooth = smooth[2:]
        shift = HESSIAN_SHIFT * np.eye(config.knots * n)
        self._smooth_H = np.kron(smooth[2:, 2:], np.eye(n)) + shift
        products = P[:, 2:, None] * P[:, None, 2:]  # (N, K, K)
        self._PP = np.ascontiguousarray(products.reshape(config.stages, -1).T)
        self._VV = (V.T @ V)[2:]
        self._viscous: Array = np.kron(self._VV[:, 2:], np.eye(n))

    def plan(self, q: Array, v: Array, U: Array) -> Plan:
        """The motion from here on.

        Args:
            q: ``(n_all,)`` positions of all actuated joints; those not controlled stay.
            v: ``(n,)`` velocities of the controlled joints.
            U: ``(K, n)`` accelerations at the knots.
        """
        X = np.empty((2 + len(U), len(v)))
        X[0], X[1], X[2:] = q[self._own], v, U
        Q = self._horizon.P @ X
        if len(v) < len(q) or not isinstance(self._own, slice):
            own, Q = Q, np.empty((len(Q), len(q)))
            Q[:] = q
            Q[:, self._own] = own
        return Plan(X, Q, q)

    def track(
        self, plan: Plan, tasks: Sequence[Task], limits: Sequence[Limit] = ()
    ) -> QuadraticProgram:
        """The program that improves a plan."""
        X, config = plan.X, self._config
        K, n = X[2:].shape
        squares, gradient, bent = self._models(tasks, plan.Q, n)
        damping = config.damping * bent
        flat = squares.reshape(len(bent), n * n)
        flat[:, :: n + 1] += damping[:, None]
        viscosity = DAMPING_TIME**2 * float(damping.sum()) / len(damping)
        # J_k P_k is a Kronecker product, so its square is one: sum_k (P_k P_k^T) x (J_k^T J_k)
        H = (self._PP @ flat).reshape(K, K, n, n).transpose(0, 2, 1, 3).reshape(K * n, K * n)
        H += self._smooth_H
        H += viscosity * self._viscous
        g = self._horizon.P[:, 2:].T @ gradient
        g += (self._smooth + viscosity * self._VV) @ X
        C, kinds = self.limits.C, self.limits.kinds
        lower, upper = self.limits.bounds(X)
        found = [rows for limit in limits if (rows := limit.rows(plan)) is not None]
        if found:
            C = np.concatenate([C, *(rows.C for rows in found)])
            lower = np.concatenate([lower, *(rows.lower for rows in found)])
            upper = np.concatenate([upper, *(rows.upper for rows in found)])
            kinds = row_kinds(K * n, len(C))
        return QuadraticProgram(H, g.reshape(-1), C, lower, upper, kinds)

    def one_step(self, q: Array, v: Array, tasks: Sequence[Task]) -> QuadraticProgram:
        """Joint velocities at the end of the period that head for the tasks' first targets.

        Damped differential inverse kinematics; the bounds are the viable velocities.

        Args:
            q: ``(n_all,)`` positions of all actuated joints.
            v: ``(n,)`` velocities of the controlled joints.
            tasks: What is aimed at.
        """
        n, dt = len(v), self._config.dt
        squares, gradient, _ = self._models(tasks, q[None], n)
        low, high = self._viable.interval(q[self._own], v)
        H = dt**2 * squares[0] + ONE_STEP_DAMPING**2 * np.eye(n)
        return QuadraticProgram(H, dt * gradient[0], np.zeros((0, n)), low, high)

    def nearest(self, q: Array, v: Array, wanted: Array) -> QuadraticProgram:
        """The viable joint velocities ``(n,)`` nearest to those wanted, a period on."""
        n = len(v)
        low, high = self._viable.interval(q, v)
        return QuadraticProgram(np.eye(n), -wanted, np.zeros((0, n)), low, high)

    def _models(self, tasks: Sequence[Task], Q: Array, n: int) -> tuple[Array, Array, Array]:
        """Sums over the tasks ``(N, n, n), (N, n), (N,)``, see :meth:`Task.add`."""
        squares, gradient = np.zeros((len(Q), n, n)), np.zeros((len(Q), n))
        bent = np.zeros(len(Q))
        for task in tasks:
            bent += task.add(Q, squares, gradient)
        return squares, gradient, bent
