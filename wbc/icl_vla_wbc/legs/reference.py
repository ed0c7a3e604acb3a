"""Where the body should be: commanded velocities integrated at the pace the robot keeps."""

from __future__ import annotations

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from icl_vla_embodiments import se2
from icl_vla_embodiments.types import Array

from .config import LegConfig


class BodyReference:
    """Place, heading and velocity of the body that the controller heads for.

    Attributes:
        place: ``(2,)`` [m], world.
        yaw: [rad].
        velocity: ``(2,)`` in the body's heading [m/s].
        spin: [rad/s].
        R: ``(3, 3)`` of the heading.
        world_velocity: ``(2,)`` [m/s].
    """

    def __init__(self, T_world_base: Array, config: LegConfig) -> None:
        self._config = config
        self.place = T_world_base[:2, 3].copy()
        self.yaw = heading(T_world_base)
        self.velocity = np.zeros(2)
        self.spin = 0.0
        self._turn()

    def advance(self, twist: Array, T_world_base: Array, period: float) -> None:
        """Approach a commanded twist ``(6,)`` and move on, never far ahead of the robot."""
        step = self._config.acceleration * period
        self.velocity = self.velocity + np.minimum(
            np.maximum(twist[:2] - self.velocity, -step), step
        )
        self.spin += min(max(float(twist[5]) - self.spin, -3 * step), 3 * step)
        here = T_world_base[:2, 3]
        ahead = self.place + period * (self.R[:2, :2] @ self.velocity) - here
        far = float(np.hypot(*ahead))
        self.place = here + ahead * min(1.0, self._config.leash / max(far, 1e-9))
        error = float(se2.wrap(self.yaw + period * self.spin - heading(T_world_base)))
        self.yaw = heading(T_world_base) + min(max(error, -0.5), 0.5)
        self._turn()

    def _turn(self) -> None:
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        self.R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        self.world_velocity = self.R[:2, :2] @ self.velocity


def heading(T: Array) -> float:
    """Angle of a pose's x axis about the vertical [rad]."""
    return float(np.arctan2(T[1, 0], T[0, 0]))


class Ground:
    """The plane that the feet stood on last: ``z = slope . xy + height``.

    Attributes:
        slope: ``(2,)``.
        height: [m].
    """

    def __init__(self, points: Array) -> None:
        self._points = points.copy()
        self.slope = np.zeros(2)
        self.height = float(points[:, 2].mean())

    def update(self, points: Array, stands: NDArray[np.bool_], rate: float) -> None:
        """Take in the soles ``(C, 3)`` of the standing feet; ``rate`` 0 to 1 of the way."""
        self._points[stands] = points[stands]
        xy = self._points[:, :2]
        centre = xy.mean(axis=0)
        A = np.column_stack([xy - centre, np.ones(len(xy))])
        # a little ridge: feet in a line say nothing of the slope across
        solved = np.linalg.solve(A.T @ A + np.diag([1e-3, 1e-3, 0]), A.T @ self._points[:, 2])
        self.slope = self.slope + rate * (np.clip(solved[:2], -0.4, 0.4) - self.slope)
        self.height += rate * (solved[2] - self.slope @ centre - self.height)

    def at(self, xy: Array) -> Array:
        """Height under places ``(..., 2)``."""
        return np.asarray(xy @ self.slope + self.height)

    def tilt(self, R: Array) -> Array:
        """``(3, 3)`` orientation of a body with heading ``R`` that is parallel to the ground."""
        normal = np.array([-self.slope[0], -self.slope[1], 1.0])
        normal /= np.sqrt(normal @ normal)
        x = R[:, 0] - normal * (R[:, 0] @ normal)
        x /= np.sqrt(x @ x)
        return np.column_stack([x, pin.skew(normal) @ x, normal])
