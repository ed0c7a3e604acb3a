"""Arms that are driven by torques: the arm's MPC with effort limits in its horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from icl_vla_embodiments import Command, Observation, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .dynamics import InPlace, inverse_dynamics
from .errors import WbcError
from .limits import EffortLimits, departure
from .mpc import ArmMpc


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
    effort limits at the horizon's checked stages (:class:`EffortLimits`). The robot is brought onto
    the planned motion :math:`(q, \dot q, \ddot q)` by computed torque (Siciliano et al.,
    *Robotics: Modelling, Planning and Control*, 2009, section 8.5.2),

    .. math:: \tau = \mathrm{ID}\big(\hat q, \hat{\dot q},\, \ddot q + \omega^2 (q - \hat q)
              + 2 \omega (\dot q - \hat{\dot q})\big) + d,

    clipped to the effort limits, with measurements hatted. The disturbance ``d`` is the low-passed
    difference between the torque that was applied and the one that the model says the measured
    acceleration took; it cancels wrong masses, loads and friction without offset.

    Args:
        model: The robot.
        effectors: Arms to control; None for all.
        torque: Settings of the feedback.
        compiled: See :class:`ArmMpc`.
        **settings: Those of :class:`ArmMpc`; the period should be 5 ms or less.
    """

    def __init__(
        self,
        model: RobotModel,
        effectors: str | Sequence[str] | None = None,
        *,
        torque: TorqueConfig = TorqueConfig(),
        compiled: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(model, effectors, compiled=compiled, **settings)
        effort = np.nan_to_num(model.embodiment.array("effort"), nan=np.inf)
        self._effort = np.where(effort > 0, effort, np.inf)  # URDFs write 0 for "unknown"
        self._efforts = EffortLimits(model, self.joints, self._horizon, self._effort, compiled)
        self._rows.append(self._efforts)
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
        positions; without a finite ``q`` for longer than :data:`.mpc.PATIENCE` the arm brakes
        along its plan.

        Returns:
            Torques ``tau`` of all actuated joints, held over the period, and the planned positions
            and velocities at its end.
        """
        q, v = self._q.copy(), self._v.copy()
        measured = self._measured_state(observation) if self._started else None
        if measured is not None:
            self._learn(*measured)
        self._efforts.disturbance = self._disturbance[self.joints]
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
