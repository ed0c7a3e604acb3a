"""Settings of the mobile MPC; one set for every wheeled robot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import WbcError
from ..reference import GovernorConfig


@dataclass(frozen=True)
class MobileConfig:
    """Horizon, weights and limits of the base.

    A weight multiplies its residual, so its square stands in the cost.

    Attributes:
        stages: Length of the horizon, in steps of ``dt``.
        dt: [s].
        knots: Free acceleration values for each joint, over the horizon.
        position_weight: Of an effector [1/m].
        rotation_weight: Of an effector [1/rad].
        place_weight: Of the base [1/m].
        heading_weight: Of the base [1/rad].
        twist_weight: Of a demanded base velocity [s/m].
        base_velocity_weight: Of the drive's velocities [s/m].
        velocity_weight: Of joint velocities [s/rad].
        acceleration_weight: Of all accelerations [s^2/rad].
        preference_weight: Of a preferred posture [1/rad].
        posture_weight: Of a demanded posture [1/rad].
        damping: Levenberg-Marquardt damping for each unit of error [m/rad^2].
        linear_speed: Of the base, where its wheels allow it [m/s].
        angular_speed: [rad/s].
        linear_acceleration: [m/s^2].
        angular_acceleration: [rad/s^2].
        steering_speed: Of steered wheels [rad/s].
        leash: How far joints may be commanded to rest from where they are measured [rad or m].
        shift_time: How long a plan may be used after the solver stopped finding new ones [s].
        iterations: Limit on the solver's iterations in a tick.
        governor: Limits of the effectors' references.
    """

    stages: int = 12
    dt: float = 0.12
    knots: int = 5
    position_weight: float = 30.0
    rotation_weight: float = 10.0
    place_weight: float = 30.0
    heading_weight: float = 3.0
    twist_weight: float = 10.0
    base_velocity_weight: float = 0.15
    velocity_weight: float = 0.05
    acceleration_weight: float = 0.01
    preference_weight: float = 0.1
    posture_weight: float = 5.0
    damping: float = 0.1
    linear_speed: float = 1.0
    angular_speed: float = 1.5
    linear_acceleration: float = 1.0
    angular_acceleration: float = 2.0
    steering_speed: float = 2.0
    leash: float = 0.2
    shift_time: float = 0.2
    iterations: int = 300
    governor: GovernorConfig = field(
        default_factory=lambda: GovernorConfig(0.6, 0.9, 1.5, 3.0, 0.3, 0.6)
    )

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "governor" and not (np.isfinite(value) and value > 0):
                raise WbcError("the controller needs positive numbers", where=name, value=value)
        if not 2 <= self.knots <= self.stages:
            raise WbcError(
                "knots cannot be placed", where="knots", value=self.knots, valid=(2, self.stages)
            )
