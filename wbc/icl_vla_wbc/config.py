"""Settings of the arm's MPC; the defaults suit arms of table-top to human size."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .errors import WbcError
from .obstacles import Box, Obstacle
from .reference import GovernorConfig


@dataclass(frozen=True)
class SafetyConfig:
    """Distances that are kept.

    Attributes:
        margin: From obstacles [m].
        self_margin: Between links [m]; less where they are nearer in the neutral posture.
        stop: Share of the margin below which motion towards the other body is braked.
        range: Distance from which on a body is looked at [m].
        speed: Largest joint speed planned while there are obstacles [rad/s or m/s].
        stay: Moments after a plan's end at which the place where it ends must still be clear [s].
        rows: Most bodies that enter the program at a stage.
        workspace: Box that tool centre points stay in.
        keep_out: Bodies that are always there.
    """

    margin: float = 0.03
    self_margin: float = 0.01
    stop: float = 0.3
    range: float = 0.12
    speed: float = 1.5
    stay: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    rows: int = 5
    workspace: Box | None = None
    keep_out: tuple[Obstacle, ...] = ()

    def __post_init__(self) -> None:
        for name in ("margin", "self_margin", "stop", "range", "speed", "rows"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise WbcError("distances and speeds must be positive", where=name, value=value)
        if not all(np.isfinite(time) and time > 0 for time in self.stay):
            raise WbcError("times after a plan must be positive", where="stay", value=self.stay)
        if self.range <= max(self.margin, self.self_margin) or self.stop >= 1:
            raise WbcError(
                "bodies must be looked at before they are too near, and braked after",
                where="SafetyConfig",
                value=(self.range, self.margin, self.self_margin, self.stop),
                valid=("range > margin, self_margin", "stop < 1"),
            )


@dataclass(frozen=True)
class MpcConfig:
    """Horizon, weights and safety margins.

    A weight multiplies its residual, so its square stands in the cost.

    Attributes:
        stages: Length of the horizon, in steps of ``dt``.
        dt: [s].
        knots: Free acceleration values for each joint, over the horizon.
        position_weight: [1/m].
        rotation_weight: [1/rad].
        velocity_weight: Of joint velocities [s/rad].
        acceleration_weight: Of joint accelerations [s^2/rad].
        preference_weight: Of a preferred posture [1/rad].
        posture_weight: Of a demanded posture [1/rad].
        posture_speed: Share of the velocity limits that the way to a demanded posture may use, and
            any plan while there are obstacles.
        damping: Levenberg-Marquardt damping for each unit of error [m/rad^2]; too little trembles
            at targets out of reach, too much lags.
        leash: How far the arm's joints may be commanded to rest from where they are measured [rad
            or m]; it bounds how hard a servo pushes when the arm is held.
        shift_time: How long a plan may be used after the solver stopped finding new ones [s].
        iterations: Limit on the solver's iterations in a tick.
        governor: Limits of the reference.
        safety: Distances from obstacles and between links.
    """

    stages: int = 20
    dt: float = 0.05
    knots: int = 6
    position_weight: float = 30.0
    rotation_weight: float = 10.0
    velocity_weight: float = 0.03
    acceleration_weight: float = 0.003
    preference_weight: float = 0.01
    posture_weight: float = 10.0
    posture_speed: float = 0.5
    damping: float = 0.1
    leash: float = 0.2
    shift_time: float = 0.2
    iterations: int = 1000
    governor: GovernorConfig = field(default_factory=GovernorConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in ("governor", "safety"):
                continue
            if not (np.isfinite(value) and value > 0):
                raise WbcError("the controller needs positive numbers", where=name, value=value)
        if not 2 <= self.knots <= self.stages:
            raise WbcError(
                "knots cannot be placed", where="knots", value=self.knots, valid=(2, self.stages)
            )
