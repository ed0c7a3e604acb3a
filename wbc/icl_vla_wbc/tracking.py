"""The quadratic program of one real-time iteration: track poses or a posture within limits."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments.types import Array

from .collision import DistanceRows
from .compiled import CompiledInPlace
from .config import MpcConfig
from .dynamics import FrameKinematics, InPlace
from .gauss_newton import pose_model, pose_residual
from .horizon import Horizon
from .limits import ViableLimits
from .qp import QuadraticProgram, row_kinds

HESSIAN_SHIFT = 1e-8  # keeps the program strictly convex
DAMPING_TIME = 0.07  # [s]; how strongly errors damp velocities, beside changes of the plan
CORRECTION = 0.03  # [m]; most that an iteration is asked to change a distance that is too small
ONE_STEP_DAMPING = 0.05  # of the one-step program's joint velocities [s/rad]


class TrackingProgram:
    r"""Gauss-Newton models of the tracking cost around a plan ``U`` ``(K, n)``.

    The unknown is the change of the plan, flattened. Accelerations are bounded (hard rows) at the
    knots, which bounds them in between; positions and velocities (soft rows) at the
    horizon's checked stages.

    Gauss-Newton leaves out :math:`r \cdot \partial^2 r`, without which the plan jumps to and fro
    where an arm is stretched towards something out of reach. A Levenberg-Marquardt term
    proportional to the error stands in for it, :math:`\mu_k \|\delta q_k\|^2 / 2` at each stage
    with :math:`\mu_k = d\, (w_p^2 \|r_p\| + \tfrac12 w_o^2 \|r_o\|)`, and as that would also keep
    alive whatever motion the plan holds, :math:`\bar\mu \tau^2 \|v_k\|^2 / 2` calms it. Neither
    moves the posture of rest, and both vanish on target.

    Args:
        kinematics: Of the controlled frame, in all actuated joints.
        joints: ``(n,)`` indices of the arm's joints among them.
        limits: Of the arm's joints.
        horizon: Stages and knots.
        config: Weights.

    Attributes:
        compiled: The functions that machine code is made for.
    """

    def __init__(
        self,
        kinematics: FrameKinematics,
        joints: Array,
        limits: ViableLimits,
        horizon: Horizon,
        config: MpcConfig,
    ) -> None:
        self._joints, self._limits, self._horizon, self._config = joints, limits, horizon, config
        residual = pose_residual(kinematics, joints)
        self._one = InPlace(residual)
        d = config.damping
        damping = d * config.position_weight, 0.5 * d * config.rotation_weight
        self._model = CompiledInPlace(pose_model(residual, damping).map(config.stages))
        self.compiled = (self._model,)
        n, checked = len(joints), horizon.checked
        P, V, A = horizon.P, horizon.V, horizon.A
        smooth = config.acceleration_weight**2 * A.T @ A + config.velocity_weight**2 * V.T @ V
        self._prefer = _JointCost(smooth, config.preference_weight, P, n)
        self._demand = _JointCost(smooth, config.posture_weight, P, n)
        products = P[:, 2:, None] * P[:, None, 2:]  # (N, K, K)
        self._PP = np.ascontiguousarray(products.reshape(config.stages, -1).T)
        self._VV = (V.T @ V)[2:]
        self._viscous: Array = np.kron(self._VV[:, 2:], np.eye(n))
        self._at_checks = P[checked]
        knots = np.eye(config.knots + 2)[2:]
        self._bounded = np.vstack([knots, P[checked], V[checked]])
        self._values = np.vstack([P, self._bounded])
        low, high = self._stack_bounds(limits.velocity)
        self._rows = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
        self._C = np.kron(self._bounded[:, 2:], np.eye(n))[self._rows[config.knots * n :]]
        self._kinds = row_kinds(config.knots * n, len(self._C))
        self._bounds = (low, high)
        slow = config.posture_speed * limits.velocity
        self._slow_bounds = self._stack_bounds(slow)
        self._cautious_bounds = self._stack_bounds(np.minimum(slow, config.safety.speed))

    def _stack_bounds(self, speed: Array) -> tuple[Array, Array]:
        """Lowest and highest knots, positions and velocities, as :attr:`_bounded` stacks them."""
        limits, checks = self._limits, len(self._horizon.checked)
        counts = [self._config.knots, checks, checks]
        low = np.repeat(np.array([-limits.acceleration, limits.lower, -speed]), counts, axis=0)
        high = np.repeat(np.array([limits.acceleration, limits.upper, speed]), counts, axis=0)
        return low, high

    def poses(
        self,
        q: Array,
        v: Array,
        U: Array,
        all_q: Array,
        references: Array,
        weights: Array,
        preferred: Array,
        cautious: bool = False,
    ) -> QuadraticProgram:
        """Track reference poses ``(N, 7)`` with weights ``(6,)``, near a preferred posture.

        A cautious plan moves no faster than the way to a posture and :attr:`SafetyConfig.speed`.
        """
        X = np.concatenate([q[None], v[None], U])
        values = self._values @ X
        positions, targets, factors = self._model.inputs
        positions[:] = all_q
        positions[:, self._joints] = values[: len(references)]
        targets[:], factors[:] = references, weights
        squares, gradients, damping = self._model()
        # J_k P_k is a Kronecker product, so its square is one: sum_k (P_k P_k^T) x (J_k^T J_k)
        K, n = U.shape
        viscosity = DAMPING_TIME**2 / len(damping) * float(damping.sum())
        H = (self._PP @ squares.reshape(-1, n * n)).reshape(K, K, n, n).transpose(0, 2, 1, 3)
        g: Array = self._horizon.P[:, 2:].T @ gradients
        g += self._prefer.gradient(X, preferred)
        g += viscosity * (self._VV @ X)
        H = self._prefer.H + viscosity * self._viscous + H.reshape(K * n, K * n)
        bounds = self._cautious_bounds if cautious else self._bounds
        return self._program(H, g, values[len(references) :], bounds)

    def posture(self, q: Array, v: Array, U: Array, goal: Array) -> QuadraticProgram:
        """Approach a demanded posture ``(n,)`` at part of the velocity limits."""
        X = np.concatenate([q[None], v[None], U])
        g = self._demand.gradient(X, goal)
        return self._program(self._demand.H, g, self._bounded @ X, self._slow_bounds)

    def checked(self, q: Array, v: Array, U: Array) -> Array:
        """Positions ``(C, n)`` of a plan at the horizon's checked stages."""
        return self._at_checks @ np.concatenate([q[None], v[None], U])

    def avoiding(self, program: QuadraticProgram, rows: DistanceRows) -> QuadraticProgram:
        """The program with soft rows that keep distances at the checked stages.

        Args:
            program: From :meth:`poses` or :meth:`posture`.
            rows: Their stages count from 1, the first checked stage.
        """
        if not len(rows.stage):
            return program
        shares = self._at_checks[rows.stage - 1, 2:]  # (M, K)
        C = (shares[:, :, None] * rows.gradient[:, None, :]).reshape(len(shares), -1)
        return QuadraticProgram(
            program.H,
            program.g,
            np.concatenate([program.C, C]),
            np.concatenate([program.lower, np.minimum(rows.margin - rows.distance, CORRECTION)]),
            np.concatenate([program.upper, np.full(len(shares), np.inf)]),
        )

    def one_step(
        self, q: Array, v: Array, all_q: Array, reference: Array, weights: Array
    ) -> QuadraticProgram:
        """Joint velocity at the end of the period that heads for the first reference ``(7,)``.

        Damped differential inverse kinematics; the bounds are the viable velocities.
        """
        r, J = self._linearise(q, all_q, reference)
        A = (J[0] * (weights * self._config.dt)).T
        low, high = self._limits.interval(q, v)
        H = A.T @ A + ONE_STEP_DAMPING**2 * np.eye(len(q))
        return QuadraticProgram(H, A.T @ (r[0] * weights), np.zeros((0, len(q))), low, high)

    def _linearise(self, q: Array, all_q: Array, reference: Array) -> tuple[Array, Array]:
        """Residual ``(1, 6)`` and its Jacobian, transposed ``(1, n, 6)``."""
        positions, targets = self._one.inputs
        positions[:] = all_q
        positions[:, self._joints] = q
        targets[:] = reference
        r, J = self._one()
        return r, J.reshape(1, len(self._joints), 6)

    def _program(
        self, H: Array, g: Array, values: Array, bounds: tuple[Array, Array]
    ) -> QuadraticProgram:
        """The program whose bounded quantities have these values at the present plan."""
        lower, upper = ((bound - values).reshape(-1)[self._rows] for bound in bounds)
        return QuadraticProgram(H, g.reshape(-1), self._C, lower, upper, self._kinds)


class _JointCost:
    """Cost of accelerations, velocities and the distance to a posture, in ``X = (q, v, U)``."""

    def __init__(self, smooth: Array, weight: float, P: Array, n: int) -> None:
        square = smooth + weight**2 * P.T @ P
        self._map = square[2:]
        self._pull = weight**2 * P[:, 2:].sum(axis=0)
        identity = np.eye(len(square[2:]) * n)
        self.H: Array = np.kron(square[2:, 2:], np.eye(n)) + HESSIAN_SHIFT * identity

    def gradient(self, X: Array, posture: Array) -> Array:
        """``(K, n)`` with respect to the knots."""
        return self._map @ X - np.multiply.outer(self._pull, posture)
