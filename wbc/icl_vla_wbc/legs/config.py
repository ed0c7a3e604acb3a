"""Settings of the legged controller: one set for all robots, lengths and masses scale it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import WbcError


@dataclass(frozen=True)
class LegConfig:
    """Horizon, weights and gains.

    Attributes:
        stages: Length of the force plan, in steps of ``dt``.
        dt: [s].
        replan: Ticks between two force plans.
        tilt_weight: Of the body's roll and pitch in the force plan [1/rad^2].
        yaw_weight: Of its heading [1/rad^2].
        place_weight: Of its horizontal place [1/m^2].
        height_weight: [1/m^2].
        spin_weight: Of its angular velocity [s^2/rad^2].
        speed_weight: Of its velocity [s^2/m^2].
        force_weight: Of the forces, over the robot's weight squared.
        friction: Coefficient that is believed at the start; slips lower it.
        least_friction: The least that is ever believed.
        swing_height: Of a foot's arc, over the standing height.
        place_gain: Body acceleration for each metre of misplacement [1/s^2].
        height_gain: [1/s^2].
        tilt_gain: [1/s^2].
        joint_gain: Joint acceleration for each radian from the neutral posture [1/s^2].
        swing_gain: Foot acceleration for each metre from its arc [1/s^2].
        hand_gain: Of an arm's pose [1/s^2].
        range_gain: Joint acceleration for each radian from the end of its range [1/s^2].
        leash: How far the reference may be ahead of the robot [m].
        acceleration: By which a commanded base velocity is approached [m/s^2].
        estimator: Rate at which an unmodelled wrench is learnt [1/s].
    """

    stages: int = 10
    dt: float = 0.05
    replan: int = 10
    tilt_weight: float = 80.0
    yaw_weight: float = 10.0
    place_weight: float = 5.0
    height_weight: float = 300.0
    spin_weight: float = 0.3
    speed_weight: float = 4.0
    force_weight: float = 0.3
    friction: float = 0.5
    least_friction: float = 0.15
    swing_height: float = 0.25
    place_gain: float = 8.0
    height_gain: float = 80.0
    tilt_gain: float = 150.0
    joint_gain: float = 40.0
    swing_gain: float = 400.0
    hand_gain: float = 300.0
    range_gain: float = 1000.0
    leash: float = 0.15
    acceleration: float = 1.0
    estimator: float = 4.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise WbcError("the controller needs positive numbers", where=name, value=value)
