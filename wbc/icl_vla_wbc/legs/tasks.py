"""What body, joints and feet are to do, as accelerations for the whole-body program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..vectors import norm
from .config import LegConfig
from .dynamics import FloatingDynamics
from .forces import GRAVITY
from .reference import BodyReference, Ground
from .stance import Stance
from .stepping import Stepping
from .swing import Arc, chase, footholds, rise
from .whole_body import AccelerationTask

REACH = 0.6  # of the standing height: the longest step from below the hip
LANDING = 0.3  # [m/s] at which a foot that should stand seeks the ground
STOPPED = 0.1  # [m/s] downwards
TRUNK = 0.1  # weight of the trunk's joints; the others' is a hundredth
SWING = 4.0  # standing heights over the swing time squared: the hardest a foot is accelerated
EARLY = 0.06  # of the standing height that a foot is above its arc when the ground holds it up
DAMPING = 2.0  # weight of a singular leg's joints, over the standing height squared [1/m^2]


@dataclass(frozen=True)
class Aim:
    """Where the body should be now, world axes.

    Attributes:
        place: ``(3,)`` of the base [m].
        R: ``(3, 3)`` heading, level.
        tilted: ``(3, 3)`` heading, parallel to the ground.
        com: ``(3,)`` of the centre of mass: as over the feet in the neutral posture [m].
        velocity: ``(3,)`` along the ground [m/s].
        spin: Turning rate [rad/s].
    """

    place: Array
    R: Array
    tilted: Array
    com: Array
    velocity: Array
    spin: float

    @classmethod
    def of(cls, reference: BodyReference, ground: Ground, stance: Stance) -> Aim:
        """From the reference, on the ground as it is known."""
        R, v = reference.R, reference.world_velocity
        tilted = ground.tilt(R)
        place = np.append(reference.place, float(ground.at(reference.place)) + stance.height)
        rise = float(ground.slope @ v)
        com = place + tilted @ stance.com
        return cls(place, R, tilted, com, np.append(v, rise), reference.spin)

    def goal(self, T_body_hand: Array) -> Array:
        """``T_world_hand`` of a target in the frame of the body where it should be, level."""
        return se3.pose(self.R, self.place) @ T_body_hand


def com_task(d: FloatingDynamics, aim: Aim, planned: Array, config: LegConfig) -> AccelerationTask:
    r"""Acceleration of the centre of mass: half the planned one ``(3,)``, half that of a spring.

    By the base's rows of the equation of motion it is affine in the accelerations,
    :math:`m (\ddot c - g) = R_b (M \dot u + h)_{1:3}`, however arms and legs are swung.
    """
    c = config
    gap = np.minimum(np.maximum(aim.com - d.com, -0.1), 0.1)
    fix = np.array([c.place_gain, c.place_gain, c.height_gain]) * gap
    fix += np.array([6.0, 6.0, 15.0]) * (aim.velocity - d.com_velocity)
    b = (0.5 * planned + 0.5 * fix - GRAVITY) @ d.base[:3, :3] - d.h[:3] / d.mass
    return AccelerationTask(d.M[:3] / d.mass, b, np.array([2.0, 2.0, 8.0]))


def posture_task(
    d: FloatingDynamics, aim: Aim, stance: Stance, stands: NDArray[np.bool_], config: LegConfig
) -> AccelerationTask:
    """The body parallel to the ground and heading as it should, the joints back to neutral.

    The joints count for little but in a leg near a singularity, whose foot cannot be followed: such
    a leg is damped while it stands ``stands`` ``(F,)``, and folded as fast as a foot swings when it
    should swing, or it would be dragged over the ground.
    """
    R = d.base[:3, :3]
    b = np.zeros(len(d.u))
    error = R.T @ pin.log3(aim.tilted @ R.T)
    b[3:6] = config.tilt_gain * error + 20.0 * (R[2] * aim.spin - d.u[3:6])
    b[6:] = config.joint_gain * (stance.q - d.q) - 8.0 * d.u[6:]
    weight = np.full(len(d.u), 1e-3)
    weight[6 + stance.trunk] = TRUNK
    weight[:6] = [0.0, 0.0, 0.0, 20.0, 20.0, 10.0]
    damping = DAMPING * stance.height**2 * stance.singularity(d)
    k = config.swing_gain
    for joints, extra, standing in zip(stance.legs, damping, stands, strict=True):
        if extra > 0:
            weight[6 + joints] += extra
            if not standing:
                b[6 + joints] = k * (stance.q - d.q)[joints] - 2 * np.sqrt(k) * d.u[6 + joints]
    return AccelerationTask(None, b, weight)


def joint_bounds(
    d: FloatingDynamics, ranges: tuple[Array, Array], config: LegConfig
) -> tuple[Array, Array]:
    r"""Least and largest accelerations ``(n,)`` that keep joints inside their ranges.

    .. math:: \ddot q \le k (q_{max} - q) - 2 \sqrt{k}\, \dot q

    and alike below: a joint comes to rest at the end of its range as a critically damped spring
    does (Nguyen and Sreenath, *Exponential control barrier functions for enforcing high
    relative-degree safety-critical constraints*, 2016).
    """
    k, v = config.range_gain, d.u[6:]
    low, high = (k * (end - d.q) - 2 * np.sqrt(k) * v for end in ranges)
    return low, high


class FootTask:
    """Standing points stay where they are; swinging ones follow their arcs."""

    def __init__(self, stance: Stance, config: LegConfig, period: float) -> None:
        self._stance, self._config, self._period = stance, config, period
        self._lift: list[Array | None] = [None] * len(stance.legs)
        self._way: list[Arc | None] = [None] * len(stance.legs)  # over the ground

    def at(
        self,
        d: FloatingDynamics,
        aim: Aim,
        stepping: Stepping,
        stands: NDArray[np.bool_],
        lifted: NDArray[np.bool_],
        ground: Ground,
    ) -> AccelerationTask:
        """The task now; feet that meet the ground early are noted in ``stepping``.

        Args:
            d: The robot.
            aim: Of the body.
            stepping: The schedule.
            stands: ``(F,)`` feet that stand.
            lifted: ``(C,)`` points that are off the ground.
            ground: Where feet land.
        """
        sought = np.zeros_like(d.points)  # velocity of a foot that stands, or should
        sought[lifted, 2] = -LANDING
        b = 8.0 * (sought - d.point_velocities) - d.drift
        weight = np.where(stands[d.owner], 50.0, 2.0)
        if stands.all():
            self._lift, self._way = [None] * len(stands), [None] * len(stands)
        else:
            shares = stepping.swings()
            v = d.base[:2, :3] @ d.u[:3]
            for f, standing in enumerate(stands):
                if standing:
                    self._lift[f] = self._way[f] = None
                else:
                    self._swing(f, float(shares[f]), v, b, d, aim, stepping, ground)
        return AccelerationTask(d.J.reshape(-1, len(d.u)), b.reshape(-1), np.repeat(weight, 3))

    def _swing(
        self,
        f: int,
        share: float,
        v: Array,
        b: Array,
        d: FloatingDynamics,
        aim: Aim,
        stepping: Stepping,
        ground: Ground,
    ) -> None:
        """Write a swinging foot's accelerations into ``b``.

        They are bounded: a hurried leg's reaction would else throw the body the way it was pushed.
        """
        stance, k = self._stance, self._config.swing_gain
        mine = d.owner == f
        here = d.points[mine]
        lift, level = self._lift[f], self._way[f]
        if lift is None or level is None:
            lift, rest = here[:, 2:], np.zeros((len(here), 2))
            level = Arc(here[:, :2], rest, rest)
        left = (1 - share) * stepping.swing_time
        centre = d.base[:2, 3] + left * v
        xy = footholds(
            stance.hips(centre, aim.R)[mine],
            v,
            aim.velocity[:2],
            aim.spin,
            centre,
            stepping.stance_time,
            stance.height,
            REACH * stance.height,
        )
        z = ground.at(xy) + stance.radius[mine] - 0.01 * stance.height
        height = self._config.swing_height * stance.height
        level = chase(level, xy, left, self._period)
        up = rise(lift, z[:, None], height, share, stepping.swing_time)
        self._lift[f], self._way[f] = lift, level
        way = Arc(
            np.hstack([level.place, up.place]),
            np.hstack([level.velocity, up.velocity]),
            np.hstack([level.acceleration, up.acceleration]),
        )
        speed = way.velocity - d.point_velocities[mine]
        held_up = (here - way.place)[:, 2].min() > EARLY * stance.height
        if share > 0.7 and held_up and d.point_velocities[mine, 2].min() > -STOPPED:
            stepping.landed[f] = True
        asked = way.acceleration + k * (way.place - here) + 2 * np.sqrt(k) * speed
        size = norm(asked)[:, None]
        largest = SWING * stance.height / stepping.gait.swing_time**2
        b[mine] = asked * np.minimum(1.0, largest / np.maximum(size, largest)) - d.drift[mine]
