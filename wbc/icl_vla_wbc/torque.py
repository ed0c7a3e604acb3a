"""Arms that are driven by torques: the arm's MPC with effort limits in its horizon."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from icl_vla_embodiments import Command, Observation, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .compiled import CompiledInPlace
from .dynamics import InPlace, inverse_dynamics, inverse_dynamics_derivatives, mounted
from .errors import WbcError
from .horizon import Horizon
from .limits import departure
from .mpc import ArmMpc
from .qp import QuadraticProgram, row_kinds
from .tracking import TrackingProgram


@dataclass(frozen=True)
class TorqueConfig:
    """Feedback around the planned motion.

    Attributes:
        bandwidth: Of the critically damped error, the same for every joint [rad/s].
        disturbance_time: Time constant with which unmodelled torques are learned [s].
    """

    bandwidth: float = 30.0
    disturbance_time: float = 0.05

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise WbcError("the controller needs positive numbers", where=name, value=value)


class ArmTorqueMpc(ArmMpc):
    r"""Tracks end-effector targets with joint torques.

    The plan is :class:`ArmMpc`'s, under additional rows that keep the torques it takes within the
    effort limits at the horizon's checked stages (:class:`WithinEffort`). The robot is brought onto
    the planned motion :math:`(q, \dot q, \ddot q)` by computed torque (Siciliano et al.,
    *Robotics: Modelling, Planning and Control*, 2009, section 8.5.2),

    .. math:: \tau = \mathrm{ID}\big(\hat q, \hat{\dot q},\, \ddot q + \omega^2 (q - \hat q)
              + 2 \omega (\dot q - \hat{\dot q})\big) + d,

    clipped to the effort limits, with measurements hatted. The disturbance ``d`` is the low-passed
    difference between the torque that was applied and the one that the model says the measured
    acceleration took; it cancels wrong masses, loads and friction without offset.

    Args:
        model: The robot.
        effector: Arm to control; None for the first.
        torque: Settings of the feedback.
        **settings: Those of :class:`ArmMpc`; the period should be 5 ms or less.
    """

    def __init__(
        self,
        model: RobotModel,
        effector: str | None = None,
        *,
        torque: TorqueConfig = TorqueConfig(),
        **settings: Any,
    ) -> None:
        super().__init__(model, effector, **settings)
        effort = np.nan_to_num(model.embodiment.array("effort"), nan=np.inf)
        self._effort = np.where(effort > 0, effort, np.inf)  # URDFs write 0 for "unknown"
        self._program: Any = WithinEffort(
            model, self._program, self._arm, self._horizon, self._effort
        )
        self._inverse_dynamics = InPlace(inverse_dynamics(model))
        self._stiffness, self._damping = torque.bandwidth**2, 2 * torque.bandwidth
        self._learning = 1 - np.exp(-self.period / torque.disturbance_time)
        self._disturbance = np.zeros(model.n)
        self._last: tuple[Array, Array, Array] | None = None  # measured q, v; torque then applied

    def reset(self, observation: Observation) -> None:
        """Take the measured posture, at rest, for the commanded state; forget the disturbance."""
        super().reset(observation)
        self._disturbance, self._last = np.zeros(self.model.n), None

    @property
    def disturbance(self) -> Array:
        """Torques ``(n,)`` beyond the model's that the motion takes now [N m or N]."""
        return self._disturbance.copy()

    def track(
        self, targets: Sequence[TaskTarget], observation: Observation, **options: Any
    ) -> Command:
        """Command for the next period; see :meth:`ArmMpc.track`.

        Of what was measured, ``q`` and ``v`` are used. Without a finite ``v`` it is taken from the
        positions; without a finite ``q`` the arm brakes along its plan.

        Returns:
            Torques ``tau`` of all actuated joints, held over the period, and the planned positions
            and velocities at its end.
        """
        q, v = self._q.copy(), self._v.copy()
        measured = self._measured_state(observation) if self._started else None
        if measured is not None:
            self._learn(*measured)
        self._program.others, self._program.disturbance = q, self._disturbance[self._arm]
        command = super().track(targets, observation, **options)
        acceleration = (self._v - v) / self.period
        if measured is None:
            tau = self._torque(q, v, acceleration)
            self._last = None
        else:
            here, speed = measured
            feedback = self._stiffness * (q - here) + self._damping * (v - speed)
            tau = self._torque(here, speed, acceleration + feedback)
            self._last = here, speed, tau
        return replace(command, mode="torque", tau=tau)

    def _measured_state(self, observation: Observation) -> tuple[Array, Array] | None:
        """Positions (continuous joints near the commanded ones) and velocities ``(n,)``."""
        measured = self._measured(observation)
        if measured is None:
            return None
        q = self._q + departure(measured, self._q, self._endless)
        v = np.asarray(observation.v, dtype=float) if observation.has("v") else np.full(1, np.nan)
        if v.shape != q.shape or not np.isfinite(v).all():
            v = self._v if self._last is None else (q - self._last[0]) / self.period
        return q, v

    def _learn(self, q: Array, v: Array) -> None:
        """Update the disturbance with what the last period's torque brought about."""
        if self._last is None:
            return
        q_then, v_then, tau = self._last
        needed = self._model_torque(q_then, v_then, (v - v_then) / self.period)
        change = self._learning * (tau - needed - self._disturbance)
        self._disturbance = np.clip(self._disturbance + change, -self._effort, self._effort)

    def _torque(self, q: Array, v: Array, a: Array) -> Array:
        tau = self._model_torque(q, v, a) + self._disturbance
        return np.clip(tau, -self._effort, self._effort)

    def _model_torque(self, q: Array, v: Array, a: Array) -> Array:
        for array, value in zip(self._inverse_dynamics.inputs, (q, v, a), strict=True):
            array[:] = value
        return self._inverse_dynamics()[0][0].copy()


class WithinEffort:
    r"""A tracking program with rows :math:`|\tau + d| \le \tau_{max}` at the checked stages.

    With the state before a stage's step and the acceleration during it, all linear in the knots
    ``U``, inverse dynamics are linearised around the present plan:

    .. math:: \delta\tau_k = \Big(\frac{\partial\tau}{\partial q} P_{k-1}
              + \frac{\partial\tau}{\partial\dot q} V_{k-1}
              + \frac{\partial\tau}{\partial\ddot q} A_k\Big)\, \delta U.

    The rows are soft, since a linearisation may contradict the accelerations' hard bounds where a
    load is near what the arm can carry; what is applied is clipped in any case.

    Attributes:
        others: ``(n,)`` positions of all actuated joints, of which the arm's are not read.
        disturbance: ``(m,)`` torques beyond the model's.
        compiled: The functions that machine code is made for.
    """

    def __init__(
        self,
        model: RobotModel,
        program: TrackingProgram,
        joints: NDArray[np.intp],
        horizon: Horizon,
        effort: Array,
    ) -> None:
        self._program, self._joints = program, joints
        maps = _stage_maps(horizon)  # (3, C, 2 + K): to q, v and a
        self._maps = maps.reshape(-1, maps.shape[2])
        self._shares = np.ascontiguousarray(maps[:, :, 2:].transpose(1, 2, 0))  # (C, K, 3)
        stages = len(self._shares)
        self._torques = stage_torques(model, joints, stages)
        self.compiled = (self._torques, *program.compiled)
        limit = np.tile(effort[joints], stages)
        limited = np.isfinite(limit)
        self._rows = slice(None) if limited.all() else np.flatnonzero(limited)
        self._limit = limit[self._rows]
        self._derivatives = np.zeros((stages, 3, len(joints) ** 2))
        self.others, self.disturbance = model.neutral, np.zeros(len(joints))

    def poses(self, q: Array, v: Array, U: Array, *rest: Any) -> QuadraticProgram:
        """See :meth:`TrackingProgram.poses`."""
        return self._limited(self._program.poses(q, v, U, *rest), q, v, U)

    def posture(self, q: Array, v: Array, U: Array, *rest: Any) -> QuadraticProgram:
        """See :meth:`TrackingProgram.posture`."""
        return self._limited(self._program.posture(q, v, U, *rest), q, v, U)

    def __getattr__(self, name: str) -> Any:
        """The rest is the tracking program's own; its one-step program knows no torques."""
        return getattr(self._program, name)

    def torques(self, q: Array, v: Array, U: Array) -> tuple[Array, Array]:
        """Torques ``(C, m)`` at the checked stages, and ``(C, m, K, m)`` derivatives in ``U``."""
        X = np.concatenate([q[None], v[None], U])
        C, m = len(self._shares), len(q)
        states = (self._maps @ X).reshape(3, C, m)
        inputs = self._torques.inputs
        inputs[0][:] = self.others
        for array, state in zip(inputs, states, strict=True):
            array[:, self._joints] = state
        tau, *derivatives = self._torques()
        for k, derivative in enumerate(derivatives):
            self._derivatives[:, k] = derivative.reshape(C, m * m)
        changes = self._shares @ self._derivatives  # (C, K, m m), the last as (by, of)
        return tau, changes.reshape(C, -1, m, m).transpose(0, 3, 1, 2)

    def _limited(self, program: QuadraticProgram, q: Array, v: Array, U: Array) -> QuadraticProgram:
        if not len(self._limit):
            return program
        tau, changes = self.torques(q, v, U)
        tau = (tau + self.disturbance).reshape(-1)[self._rows]
        rows = changes.reshape(-1, U.size)[self._rows]
        C = np.concatenate([program.C, rows])
        return QuadraticProgram(
            program.H,
            program.g,
            C,
            np.concatenate([program.lower, -self._limit - tau]),
            np.concatenate([program.upper, self._limit - tau]),
            _kinds(U.size, len(C)),
        )


_kinds = functools.cache(row_kinds)


def _stage_maps(horizon: Horizon) -> Array:
    """``(3, C, 2 + K)``: state before each checked stage's step, and acceleration during it."""
    now = np.eye(2, horizon.P.shape[1])
    P, V = np.vstack([now[:1], horizon.P]), np.vstack([now[1:], horizon.V])
    return np.stack([rows[horizon.checked] for rows in (P, V, horizon.A)])


def stage_torques(model: RobotModel, joints: NDArray[np.intp], stages: int) -> CompiledInPlace:
    """``q, v, a (C, n) -> tau (C, m)`` and its derivatives ``(C m, m)``, transposed.

    Until its machine code is there, Pinocchio computes them.
    """
    full = mounted(model)
    data = full.createData()
    G, J = model.G, model.G[:, joints]
    single = [j for j in list(full.joints)[1:] if j.nv == 1]
    plain = [(j.idx_q, j.idx_v) for j in single if j.nq == 1]
    endless = [(j.idx_q, j.idx_v) for j in single if j.nq == 2]
    q_full = np.tile(pin.neutral(full), (stages, 1))
    taus, blocks = np.zeros((stages, full.nv)), np.zeros((3, stages, full.nv, full.nv))

    def interpreted(inputs: tuple[Array, ...], outputs: tuple[Array, ...]) -> None:
        angles, v, a = inputs[0] @ G.T + model.c, inputs[1] @ G.T, inputs[2] @ G.T
        for iq, iv in plain:
            q_full[:, iq] = angles[:, iv]
        for iq, iv in endless:
            q_full[:, iq], q_full[:, iq + 1] = np.cos(angles[:, iv]), np.sin(angles[:, iv])
        for k in range(stages):
            derivatives = pin.computeRNEADerivatives(full, data, q_full[k], v[k], a[k])
            taus[k] = data.tau
            for block, derivative in zip(blocks, derivatives, strict=True):
                block[k] = derivative
        M = blocks[2]  # Pinocchio fills the upper triangle
        M[:] = np.triu(M) + np.triu(M, 1).transpose(0, 2, 1)
        outputs[0][:] = taus @ J
        for output, block in zip(outputs[1:], blocks, strict=True):
            output[:] = (J.T @ block @ J).transpose(0, 2, 1).reshape(output.shape)

    function = inverse_dynamics_derivatives(model, joints.tolist()).map(stages)
    return CompiledInPlace(function, interpreted)
