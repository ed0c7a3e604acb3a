"""Contact forces over a horizon that move the body as it should: a single-rigid-body MPC."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import daqp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .config import LegConfig

GRAVITY = np.array([0.0, 0.0, -9.81])
NO_LIMIT = 1e30  # DAQP's infinity


@dataclass(frozen=True)
class BodyState:
    """The body as one rigid piece, relative to its reference.

    Attributes:
        tilt: ``(3,)`` rotation vector from the reference to the body, world axes [rad].
        com: ``(3,)`` [m].
        spin: ``(3,)`` angular velocity, world axes [rad/s].
        velocity: ``(3,)`` of the centre of mass [m/s].
        inertia: ``(3, 3)`` about the centre of mass, world axes.
        wrench: ``(6,)`` what acts besides gravity and the feet, at the centre of mass: force [N],
            torque [N m].
    """

    tilt: Array
    com: Array
    spin: Array
    velocity: Array
    inertia: Array
    wrench: Array


class ForceMpc:
    r"""Plans contact forces for :math:`N` steps.

    With forces :math:`f_i` at arms :math:`r_i` from the centre of mass,

    .. math:: m \ddot c = \sum_i f_i + m g + f_e, \qquad
              I \dot\omega = \sum_i r_i \times f_i + \tau_e,

    integrated with constant forces a step (several steps later on), which makes the predicted
    states affine in the forces of the standing feet (Di Carlo et al., *Dynamic locomotion in the
    MIT Cheetah 3 through convex model-predictive control*, 2018). The states are eliminated;
    friction is a pyramid.
    """

    def __init__(self, mass: float, config: LegConfig) -> None:
        self._mass, self._config = mass, config
        N, dt = config.stages, config.dt
        held = np.tril(np.ones((N, N)))
        ages = np.subtract.outer(np.arange(N), np.arange(N)) + 0.5
        self._to_place = dt**2 * held * ages  # (N, N) acceleration of step k -> place after step j
        self._to_speed = dt * held
        self.times = dt * np.arange(1.0, N + 1)
        c = config
        self._place = np.array(
            [c.tilt_weight] * 2 + [c.yaw_weight] + [c.place_weight] * 2 + [c.height_weight]
        )
        self._speed = np.array([c.spin_weight] * 2 + [2 * c.spin_weight] + [c.speed_weight] * 3)
        self._curvature = np.multiply.outer(
            self._place, self._to_place.T @ self._to_place
        ) + np.multiply.outer(self._speed, self._to_speed.T @ self._to_speed)  # (6, N, N)
        self._force_cost = config.force_weight / (mass * 9.81) ** 2

    def plan(
        self,
        state: BodyState,
        places: Array,
        velocity: Array,
        spin: Array,
        arms: Array,
        stands: NDArray[np.bool_],
        friction: float,
    ) -> Array | None:
        """Forces ``(C, 3)`` of the first step in world axes, or None where no plan was found.

        Args:
            state: Now.
            places: ``(N, 3)`` where the centre of mass should be.
            velocity: ``(3,)`` that it should have.
            spin: ``(3,)`` that the body should have.
            arms: ``(N, C, 3)`` contact points relative to the centre of mass.
            stands: ``(N, C)``.
            friction: Coefficient.
        """
        blocks = _blocks(stands)
        first = np.flatnonzero(np.diff(blocks, prepend=-1))
        numbers = np.full((len(first), stands.shape[1]), -1)
        held = stands[first]
        if not held.any(axis=1).all():
            return None  # in flight; no gait of ours flies
        count = int(held.sum())
        numbers[held] = np.arange(count)
        steps, points = np.nonzero(stands)
        inverse = np.linalg.inv(state.inertia)
        # acceleration (angular, linear) of each step by each component of each force
        pushes = np.zeros((len(stands), count, 3, 6))
        turning = (inverse @ se3.skew(arms[steps, points])).transpose(0, 2, 1)
        pushes[steps, numbers[blocks[steps], points], :, :3] = turning
        pushes[steps, numbers[blocks[steps], points], :, 3:] = np.eye(3) / self._mass
        B = pushes.reshape(len(stands), 3 * count, 6).transpose(2, 0, 1)  # (6, N, 3 c)
        free = np.concatenate([inverse @ state.wrench[3:], GRAVITY + state.wrench[:3] / self._mass])
        t = self.times[:, None]
        start = np.concatenate([state.tilt, state.com])
        rate = np.concatenate([state.spin, state.velocity])
        goal = np.hstack([np.multiply.outer(self.times, spin), places])
        e_place = start + t * rate + 0.5 * t**2 * free - goal
        e_speed = rate + t * free - np.concatenate([spin, velocity])
        pull = self._to_place.T @ (e_place * self._place) + self._to_speed.T @ (
            e_speed * self._speed
        )  # (N, 6)
        Bt = B.transpose(0, 2, 1)
        g = (Bt @ pull.T[:, :, None]).sum(axis=0)[:, 0]
        H = (Bt @ (self._curvature @ B)).sum(axis=0)
        H[np.diag_indices(3 * count)] += self._force_cost
        # forces are dear only beyond an even share of the load
        load = max(self._mass * 9.81 - float(state.wrench[2]), 0.0) / held.sum(axis=1)
        g[2::3] -= self._force_cost * np.repeat(load, held.sum(axis=1))
        C, low, high = friction_rows(count, friction, 2.0 * self._mass * 9.81)
        x, _, flag, _ = daqp.solve(
            np.ascontiguousarray(H), g, C, high, low, np.zeros(len(low), dtype=np.intc)
        )
        if flag <= 0 or not np.isfinite(x).all():
            return None
        forces = np.zeros((stands.shape[1], 3))
        forces[stands[0]] = x.reshape(-1, 3)[: int(stands[0].sum())]
        return forces


def _blocks(stands: NDArray[np.bool_]) -> NDArray[np.intp]:
    """``(N,)`` number of the stretch of steps in which a step's forces are held.

    Later stretches are longer (move blocking); none goes over a change of feet.
    """
    number, length = 0, 0
    blocks = np.zeros(len(stands), dtype=np.intp)
    for k in range(1, len(stands)):
        length += 1
        if length >= 1 + number // 2 or (stands[k] != stands[k - 1]).any():
            number, length = number + 1, 0
        blocks[k] = number
    return blocks


def friction_rows(
    count: int, friction: float, largest: ArrayLike, least: ArrayLike = 0.0
) -> tuple[Array, Array, Array]:
    """``C x`` between ``low`` and ``high`` for ``count`` forces: a pyramid and a normal range."""
    sides, normals = _pyramid(count)
    low: Array = np.full((count, 5), -NO_LIMIT)
    high: Array = np.zeros((count, 5))
    low[:, 4], high[:, 4] = least, largest
    rows: Array = np.subtract(sides, friction * normals)
    return rows, low.reshape(-1), high.reshape(-1)


@lru_cache(maxsize=128)
def _pyramid(count: int) -> tuple[Array, Array]:
    """Rows of ``count`` forces without friction, and what friction is multiplied with."""
    sides, normals = np.zeros((5, 3)), np.zeros((5, 3))
    sides[:4, :2] = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    sides[4, 2] = 1
    normals[:4, 2] = 1
    one = np.eye(count)
    return np.asarray(np.kron(one, sides), float), np.asarray(np.kron(one, normals), float)
