"""The quadratic program of one tick: hands, base and posture within limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .. import quaternion
from ..dynamics import FrameKinematics, InPlace
from ..horizon import Horizon
from ..limits import ViableLimits
from ..qp import QuadraticProgram, row_kinds
from .config import MobileConfig
from .drive import Drive

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
        weights: ``(6,)`` of the hands' residuals.
    """

    posture: Array
    demanded: bool = False
    hands: Mapping[str, Array] = field(default_factory=dict)
    place: Array | None = None
    twist: Array | None = None
    weights: Array = field(default_factory=lambda: np.ones(6))


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

    All of the drive's integrators and the joints are condensed by :class:`Horizon`. The pose of the
    base follows by the midpoint rule,

    .. math:: \theta_{k+1} = \theta_k + \Delta t\, \bar\omega_k, \quad
              p_{k+1} = p_k + \Delta t\, R(\tfrac12(\theta_k + \theta_{k+1}))\, \bar v_k,

    with the velocities halfway between the stages, so its derivatives by the plan are sums too.
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
    ) -> None:
        self._joints, self._drive, self._limits = joints, drive, limits
        self._horizon, self._config = horizon, config
        self._hands: dict[str, tuple[InPlace, InPlace]] = {}
        for name in effectors:
            residual = _residual(FrameKinematics.of(model, model.tcp_id(name)), joints)
            self._hands[name] = InPlace(residual), InPlace(residual.map(config.stages))
        b, n = drive.n, drive.n + len(joints)
        P, V, A = horizon.P, horizon.V, horizon.A
        now_p, now_v = np.eye(2, P.shape[1])
        self._Pm = 0.5 * (P + np.vstack([now_p, P[:-1]]))  # halfway between the stages
        self._Vm = 0.5 * (V + np.vstack([now_v, V[:-1]]))
        _, by_w = drive.twist_jacobians(np.zeros((len(P), b)), np.zeros((len(P), b)))
        self._linear = by_w[:, :, None] * self._Vm[:, None, 2:, None]
        velocity = np.repeat([config.base_velocity_weight, config.velocity_weight], [b, n - b])
        smooth = config.acceleration_weight**2 * (A.T @ A)
        self._smooth = np.multiply.outer(smooth, np.ones(n))
        self._smooth += np.multiply.outer(V.T @ V, velocity**2)
        self._spring = np.zeros((*smooth.shape, n))
        self._spring[:, :, b:] = (P.T @ P)[:, :, None]
        self._pull = P.sum(axis=0)
        self._fixed = {
            weight: _spread(self._smooth + weight**2 * self._spring)
            for weight in (config.preference_weight, config.posture_weight)
        }
        self._VV: Array = DAMPING_TIME**2 * (V.T @ V)[2:]
        damped = np.kron((P.T @ P)[2:, 2:] + self._VV[:, 2:], np.eye(n))
        self._damped = np.asarray(damped, dtype=float)
        checked = horizon.checked[1::2]  # the command itself is limited for every stage to come
        bounded = np.vstack([np.eye(config.knots + 2)[2:], P[checked], V[checked]])
        counts = [config.knots, len(checked), len(checked)]
        self._low = np.repeat(
            [-limits.acceleration, limits.lower, -limits.velocity], counts, axis=0
        )
        self._high = np.repeat([limits.acceleration, limits.upper, limits.velocity], counts, axis=0)
        self._rows = np.flatnonzero(np.isfinite(self._high) | np.isfinite(self._low))
        self._bounded = bounded
        self._C = np.kron(bounded[:, 2:], np.eye(n))[self._rows[config.knots * n :]]
        self._kinds = row_kinds(config.knots * n, len(self._C))

    def pose(self, effector: str, state: State) -> Array:
        """``(7,)`` of an effector in the world."""
        function, _ = self._hands[effector]
        function.inputs[0][:], function.inputs[1][:] = state.centre, state.joints
        function.inputs[2][:], function.inputs[3][:] = state.lift, [0, 0, 0, 0, 0, 0, 1]
        return function()[2][0].copy()

    def plan(self, state: State, U: Array, aim: Aim) -> QuadraticProgram:
        """The program whose unknown is the change of ``U``, flattened."""
        c, b = self._config, self._drive.n
        K, n = U.shape
        X = np.concatenate([state.q[None], state.v[None], U])
        Q = self._horizon.P @ X
        centres, S, twists, D = self._roll(state.centre, X[:, :b])
        rows: list[Array] = []
        residuals: list[Array] = []
        error = 0.0
        for name, references in aim.hands.items():
            r, by_base, by_joints = self._linearise(
                self._hands[name][1], state, centres, Q[:, b:], references
            )
            r, by_base = r * aim.weights, by_base * aim.weights[:, None]
            by_joints = by_joints * aim.weights[:, None]
            F = np.empty((len(r), 6, K, n))
            F[..., :b] = (by_base @ S.reshape(len(r), 3, -1)).reshape(len(r), 6, K, b)
            F[..., b:] = by_joints[:, :, None] * self._horizon.P[:, None, 2:, None]
            rows.append(F.reshape(-1, K * n))
            residuals.append(r.reshape(-1))
            size = np.sqrt((r * r).reshape(-1, 2, 3).sum(axis=2)).mean(axis=0)
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
        H = self._fixed[weight] + damping * self._damped
        g = np.einsum("ijn,jn->in", self._smooth + weight**2 * self._spring, X)[2:]
        g[:, b:] -= weight**2 * np.multiply.outer(self._pull[2:], aim.posture)
        g += damping * (self._VV @ X)
        gradient = g.reshape(-1)
        if rows:
            J, r = np.concatenate(rows), np.concatenate(residuals)
            H, gradient = H + J.T @ J, gradient + r @ J
        values = self._bounded @ X
        lower, upper = ((x - values).reshape(-1)[self._rows] for x in (self._low, self._high))
        return QuadraticProgram(H, gradient, self._C, lower, upper, self._kinds)

    def one_step(self, state: State, aim: Aim) -> QuadraticProgram:
        """Velocities at the end of the period that head for the first references.

        Damped differential inverse kinematics; the bounds are the viable velocities.
        """
        c, b, n = self._config, self._drive.n, len(state.q)
        _, by_w = self._drive.twist_jacobians(state.q[None, :b], state.v[None, :b])
        cosine, sine = np.cos(state.centre[2]), np.sin(state.centre[2])
        turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        spread = turn @ by_w[0]
        low, high = self._limits.interval(state.q, state.v)
        H, g = ONE_STEP_DAMPING**2 * np.eye(n), np.zeros(n)
        terms: list[tuple[Array, Array]] = []
        for name, references in aim.hands.items():
            r, by_base, by_joints = self._linearise(
                self._hands[name][0], state, state.centre, state.q[b:], references[:1]
            )
            J = np.hstack([by_base[0] @ spread, by_joints[0]])
            terms.append((r[0] * aim.weights, J * aim.weights[:, None]))
        if aim.place is not None:
            sight = np.array([c.place_weight, c.place_weight, c.heading_weight])
            J = np.hstack([spread, np.zeros((3, n - b))])
            terms.append(((state.centre - aim.place[0]) * sight, J * sight[:, None]))
        if aim.twist is not None:
            J = c.twist_weight * np.hstack([by_w[0], np.zeros((3, n - b))])
            H, g = H + J.T @ J, g - c.twist_weight * aim.twist @ J
        for r, J in terms:
            H, g = H + c.dt**2 * J.T @ J, g + c.dt * r @ J
        return QuadraticProgram(H, g, np.zeros((0, n)), low, high)

    def _roll(self, centre: Array, X: Array) -> tuple[Array, Array, Array, Array]:
        """Poses ``(N, 3)``, twists ``(N, 3)`` and their derivatives ``(N, 3, K, b)`` by the plan.

        Args:
            centre: Pose now.
            X: ``(2 + K, b)`` of the drive.
        """
        dt, Pm, Vm = self._config.dt, self._Pm, self._Vm
        s, w = Pm @ X, Vm @ X
        twists = self._drive.twists(s, w)
        D = self._linear
        if self._drive.kind == "planar_ackermann":  # the others' twists are linear in the plan
            by_s, by_w = self._drive.twist_jacobians(s, w)
            D = by_w[:, :, None] * Vm[:, None, 2:, None] + by_s[:, :, None] * Pm[:, None, 2:, None]
        turned = dt * np.cumsum(twists[:, 2])
        half = centre[2] + turned - 0.5 * dt * twists[:, 2]
        c, sn = np.cos(half), np.sin(half)
        x, y = c * twists[:, 0] - sn * twists[:, 1], sn * twists[:, 0] + c * twists[:, 1]
        S = np.empty_like(D)
        S[:, 2] = dt * np.cumsum(D[:, 2], axis=0)
        by_half = S[:, 2] - 0.5 * dt * D[:, 2]
        c, sn, u, v = (a[:, None, None] for a in (c, sn, x, y))
        S[:, 0] = dt * np.cumsum(c * D[:, 0] - sn * D[:, 1] - v * by_half, axis=0)
        S[:, 1] = dt * np.cumsum(sn * D[:, 0] + c * D[:, 1] + u * by_half, axis=0)
        way = centre + np.stack([dt * np.cumsum(x), dt * np.cumsum(y), turned], axis=1)
        return way, S, twists, D

    def _linearise(
        self, function: InPlace, state: State, centres: Array, q: Array, references: Array
    ) -> tuple[Array, Array, Array]:
        """Residuals ``(N, 6)`` and Jacobians by the base ``(N, 6, 3)`` and joints ``(N, 6, n)``."""
        places, positions, lift, targets = function.inputs
        places[:], lift[:], targets[:] = centres, state.lift, references
        positions[:] = state.joints
        positions[:, self._joints] = q
        r, J, _ = function()
        J = J.reshape(len(r), 3 + len(self._joints), 6).transpose(0, 2, 1)
        return r, J[:, :, :3], J[:, :, 3:]


def _spread(squares: Array) -> Array:
    """``(2 + K, 2 + K, n)``, one matrix a joint, as the plan's Hessian ``(K n, K n)``."""
    inner = squares[2:, 2:]
    K, n = len(inner), inner.shape[2]
    H = np.zeros((K, n, K, n))
    for i in range(n):
        H[:, i, :, i] = inner[:, :, i]
    return H.reshape(K * n, K * n) + HESSIAN_SHIFT * np.eye(K * n)


def footing(T_base_centre: Array) -> ca.Function:
    """``T_world_base, transposed (4, 4) -> centre (3,), lift (7,)`` of :class:`State`."""
    T = ca.SX.sym("T", 4, 4)
    flat = T.T @ ca.SX(ca.sparsify(ca.DM(T_base_centre)))
    heading = ca.atan2(flat[1, 0], flat[0, 0])
    c, s = ca.cos(heading), ca.sin(heading)
    R = ca.vertcat(ca.horzcat(c, s, 0), ca.horzcat(-s, c, 0), ca.SX([[0, 0, 1]]))
    lift = R @ (T.T[:3, 3] - ca.vertcat(flat[:2, 3], 0))
    outputs = [
        ca.vertcat(flat[:2, 3], heading),
        ca.vertcat(lift, quaternion.from_matrix(R @ T.T[:3, :3])),
    ]
    return ca.Function("footing", [T], [ca.densify(x) for x in outputs], {"cse": True})


def _residual(kinematics: FrameKinematics, joints: NDArray[np.intp]) -> ca.Function:
    r"""``centre (3,), q (all), lift (7,), reference (7,) -> r (6,), dr (6, 3 + n), pose (7,)``.

    :math:`r = (p - p^*, 2 \sin(\theta/2)\, axis)` in world axes, by the centre's pose and the
    controlled joints; see :func:`icl_vla_wbc.tracking._residual` for its rate.
    """
    centre, lift = ca.SX.sym("centre", 3), ca.SX.sym("lift", 7)
    reference = ca.SX.sym("reference", 7)
    zero = ca.SX.zeros(2)
    heading = ca.vertcat(zero, ca.sin(centre[2] / 2), ca.cos(centre[2] / 2))
    base = quaternion.product(heading, lift[3:])
    local = quaternion.rotate(lift[3:], kinematics.pose[:3]) + lift[:3]
    arm = quaternion.rotate(heading, local)
    p = ca.vertcat(centre[:2], 0) + arm
    orientation = quaternion.product(base, kinematics.pose[3:])
    turn = quaternion.short_way(orientation, reference[3:])
    r = ca.vertcat(p - reference[:3], 2 * turn[:3])
    rate = turn[3] * ca.SX.eye(3) - ca.skew(turn[:3])
    R = quaternion.to_matrix(base)
    up = ca.SX([0, 0, 1])
    J_base = ca.vertcat(ca.SX.eye(3)[:, :2], ca.SX.zeros(3, 2))
    J_base = ca.horzcat(J_base, ca.vertcat(ca.cross(up, arm), rate @ up))
    chosen = kinematics.jacobian[:, joints.tolist()]
    J_arm = ca.vertcat(R @ chosen[:3, :], rate @ (R @ chosen[3:, :]))
    J = ca.densify(ca.horzcat(J_base, J_arm))
    pose = ca.densify(ca.vertcat(p, orientation))
    inputs = [centre, kinematics.q, lift, reference]
    return ca.Function("mobile_residual", inputs, [ca.densify(r), J, pose], {"cse": True})
