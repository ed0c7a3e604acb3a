"""Settings of the arm's MPC; the defaults suit arms of table-top to human size."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .errors import WbcError
from .reference import GovernorConfig


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
        posture_speed: Share of the velocity limits that the way to a demanded posture may use.
        damping: Levenberg-Marquardt damping for each unit of error [m/rad^2]; too little trembles
            at targets out of reach, too much lags.
        leash: How far the arm's joints may be commanded to rest from where they are measured [rad
            or m]; it bounds how hard a servo pushes when the arm is held.
        shift_time: How long a plan may be used after the solver stopped finding new ones [s].
        iterations: Limit on the solver's iterations in a tick.
        governor: Limits of the reference.
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
    iterations: int = 200
    governor: GovernorConfig = field(default_factory=GovernorConfig)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "governor" and not (np.isfinite(value) and value > 0):
                raise WbcError("the controller needs positive numbers", where=name, value=value)
        if not 2 <= self.knots <= self.stages:
            raise WbcError(
                "knots cannot be placed", where="knots", value=self.knots, valid=(2, self.stages)
            )
