"""The quadratic program of one tick: hands, base and posture within limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..horizon import Horizon
from ..limits import ViableLimits
from ..qp import QuadraticProgram, row_kinds
from .config import MobileConfig
from .drive import Drive
from .kinematics import Hand
from .rollout import Rollout

HESSIAN_SHIFT = 1e-7  # keeps the program strictly convex
DAMPING_TIME = 0.07  # [s]; how strongly errors damp velocities, beside changes of the plan
ONE_STEP_DAMPING = 0.05  # of the one-step program's velocities [s/rad]


@dataclass(frozen=True)
class Aim:
    """What one tick heads for; ``N`` is the number of stages.

    Attributes:
        posture: ``(n,)`` of the controlled joints, preferred or demanded.
        demanded: Which of the two.
        hands: Effector -> ``(N, 7)`` poses in the world.
        place: ``(N, 3)`` poses of the drive's centre in the world.
        twist: ``(3,)`` velocity of the drive's centre.
        weights: Effector -> ``(6, 6)`` by which its residual is multiplied.
    """

    posture: Array
    demanded: bool = False
    hands: Mapping[str, Array] = field(default_factory=dict)
    place: Array | None = None
    twist: Array | None = None
    weights: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """Where the robot is.

    Attributes:
        centre: ``(3,)`` pose of the drive's centre in the world (x, y, heading).
        lift: ``(7,)`` pose of the base's frame in the centre's, with the floor's height and tilt.
        q: ``(b + n,)`` positions of the drive's integrators, then of the controlled joints.
        v: ``(b + n,)`` their velocities.
        joints: ``(m,)`` positions of all actuated joints.
    """

    centre: Array
    lift: Array
    q: Array
    v: Array
    joints: Array


class MobileProgram:
    r"""Gauss-Newton models of the cost around a plan ``U`` ``(K, b + n)`` of accelerations.

    All of the drive's integrators and the joints are condensed by :class:`Horizon`; the base's
    pose follows by :class:`Rollout`.
    Accelerations are bounded at the knots (hard rows); positions and velocities at the horizon's
    checked stages (soft rows). Damping is that of :class:`icl_vla_wbc.tracking.TrackingProgram`.

    Args:
        model: The robot.
        effectors: Arms in the problem.
        joints: ``(n,)`` indices of the controlled joints.
        drive: The base.
        limits: Of the drive's integrators and the controlled joints.
        horizon: Stages and knots.
        config: Weights.
        compiled: Whether machine code takes over when it is ready.
    """

    def __init__(
        self,
        model: RobotModel,
        effectors: Sequence[str],
        joints: NDArray[np.intp],
        drive: Drive,
        limits: ViableLimits,
        horizon: Horizon,
        config: MobileConfig,
        compiled: bool = True,
    ) -> None:
        self._joints, self._drive, self._limits = joints, drive, limits
        self._horizon, self._config = horizon, config
        self._hands = {e: Hand(model, e, joints, drive.n, horizon.P, compiled) for e in effectors}
        self._rollout = Rollout(drive, horizon, config.dt, compiled)
        b, n = drive.n, drive.n + len(joints)
        P, V, A = horizon.P, horizon.V, horizon.A
        velocity = np.repeat([config.base_velocity_weight, config.velocity_weight], [b, n - b])
        smooth = config.acceleration_weight**2 * (A.T @ A)
        smoothed = np.multiply.outer(smooth, np.ones(n))
        smoothed += np.multiply.outer(V.T @ V, velocity**2)
        sprung = np.zeros_like(smoothed)
        sprung[:, :, b:] = (P.T @ P)[:, :, None]
        self._pull = P[:, 2:].sum(axis=0)
        self._fixed = {
            weight: _spread(smoothed + weight**2 * sprung)
            for weight in (config.preference_weight, config.posture_weight)
        }
        self._hessians = {
            weight: rows[:, 2 * n :] + HESSIAN_SHIFT * np.eye(len(rows))
            for weight, rows in self._fixed.items()
        }
        self._VV: Array = DAMPING_TIME**2 * (V.T @ V)[2:]
        damped = np.kron((P.T @ P)[2:, 2:] + self._VV[:, 2:], np.eye(n))
        self._damped = np.asarray(damped, dtype=float)
        checked = horizon.checked[1::2]  # the command itself is limited for every stage to come
        bounded = np.vstack([np.eye(config.knots + 2)[2:], P[checked], V[checked]])
        counts = [config.knots, len(checked), len(checked)]
        high = np.repeat([limits.acceleration, limits.upper, limits.velocity], counts, axis=0)
        low = np.repeat([-limits.acceleration, limits.lower, -limits.velocity], counts, axis=0)
        self._bounded, self._rows = bounded, np.flatnonzero(np.isfinite(high) | np.isfinite(low))
        self._low, self._high = low.reshape(-1)[self._rows], high.reshape(-1)[self._rows]
        self._C = np.kron(bounded[:, 2:], np.eye(n))[self._rows[config.knots * n :]]
        self._kinds = row_kinds(config.knots * n, len(self._C))

    def pose(self, effector: str, state: State) -> Array:
        """``(7,)`` of an effector in the world."""
        return self._hands[effector].pose(state.centre, state.lift, state.joints)

    def plan(self, state: State, U: Array, aim: Aim) -> QuadraticProgram:
        """The program whose unknown is the change of ``U``, flattened."""
        c, b = self._config, self._drive.n
        K, n = U.shape
        X = np.concatenate([state.q[None], state.v[None], U])
        centres, S, twists, D = self._rollout(state.centre, X[:, :b])
        rows: list[Array] = []
        residuals: list[Array] = []
        error = 0.0
        Q = self._horizon.P @ X[:, b:]
        for name, references in aim.hands.items():
            r, F = self._hands[name].planned(
                centres, S, state.lift, state.joints, Q, references, aim.weights[name]
            )
            rows.append(F)
            residuals.append(r.reshape(-1))
            size = np.sqrt((r * r).reshape(-1, 2, 3).sum(axis=2)).sum(axis=0) / len(r)
            error += float(size @ [c.position_weight, 0.5 * c.rotation_weight])
        sight = np.array([c.place_weight, c.place_weight, c.heading_weight])
        for wanted, values, slopes, sharpness in (
            (aim.place, centres, S, sight),
            (aim.twist, twists, D, np.full(3, c.twist_weight)),
        ):
            if wanted is not None:
                F = np.zeros((len(values), 3, K, n))
                F[..., :b] = slopes * sharpness[:, None, None]
                rows.append(F.reshape(-1, K * n))
                residuals.append(((values - wanted) * sharpness).reshape(-1))
        weight = c.posture_weight if aim.demanded else c.preference_weight
        damping = c.damping * error
        H = self._hessians[weight] + damping * self._damped
        g = (self._fixed[weight] @ X.reshape(-1)).reshape(K, n)
        g[:, b:] -= weight**2 * np.multiply.outer(self._pull, aim.posture)
        g += damping * (self._VV @ X)
        gradient = g.reshape(-1)
        for J, r in zip(rows, residuals, strict=True):
            H, gradient = H + J.T @ J, gradient + r @ J
        values = (self._bounded @ X).reshape(-1)[self._rows]
        return QuadraticProgram(
            H, gradient, self._C, self._low - values, self._high - values, self._kinds
        )

    def one_step(self, state: State, aim: Aim) -> QuadraticProgram:
        """Velocities at the end of the period that head for the first references.

        Damped differential inverse kinematics; the bounds are the viable velocities.
        """
        c, b, n = self._config, self._drive.n, len(state.q)
        by_w = self._drive.twist_jacobian(state.q)
        cosine, sine = np.cos(state.centre[2]), np.sin(state.centre[2])
        turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        spread = turn @ by_w
        low, high = self._limits.interval(state.q, state.v)
        H, g = ONE_STEP_DAMPING**2 * np.eye(n), np.zeros(n)
        terms: list[tuple[Array, Array]] = []
        for name, references in aim.hands.items():
            r, J = self._hands[name].here(state.centre, state.lift, state.joints, references[0])
            J = np.hstack([J[:, :3] @ spread, J[:, 3:]])
            terms.append((aim.weights[name] @ r, aim.weights[name] @ J))
        if aim.place is not None:
            sight = np.array([c.place_weight, c.place_weight, c.heading_weight])
            J = np.hstack([spread, np.zeros((3, n - b))])
            terms.append(((state.centre - aim.place[0]) * sight, J * sight[:, None]))
        if aim.twist is not None:
            J = c.twist_weight * np.hstack([by_w, np.zeros((3, n - b))])
            H, g = H + J.T @ J, g - c.twist_weight * aim.twist @ J
        for r, J in terms:
            H, g = H + c.dt**2 * J.T @ J, g + c.dt * r @ J
        return QuadraticProgram(H, g, np.zeros((0, n)), low, high)


def _spread(squares: Array) -> Array:
    """``(2 + K, 2 + K, n)``, one matrix a joint, as rows ``(K n, (2 + K) n)`` of the plan's."""
    inner = squares[2:]
    K, _, n = inner.shape
    H = np.zeros((K, n, K + 2, n))
    for i in range(n):
        H[:, i, :, i] = inner[:, :, i]
    return H.reshape(K * n, (K + 2) * n)
