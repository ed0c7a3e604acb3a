"""Where a plan takes the base, and how that changes with the plan."""

from __future__ import annotations

import casadi as ca
import numpy as np

from icl_vla_embodiments.types import Array

from ..compiled import CompiledInPlace
from ..horizon import Horizon
from .drive import Drive


class Rollout:
    r"""Poses of a base over the horizon, and their derivatives by the plan.

    With the drive's twists :math:`(\bar v_k, \bar\omega_k)` halfway between the stages, the pose
    follows by the midpoint rule,

    .. math:: \theta_{k+1} = \theta_k + \Delta t\, \bar\omega_k, \quad
              p_{k+1} = p_k + \Delta t\, R(\tfrac12(\theta_k + \theta_{k+1}))\, \bar v_k.

    Args:
        drive: The base.
        horizon: Stages and knots.
        dt: Between stages [s].
        compiled: Whether machine code takes over when it is ready.
    """

    def __init__(self, drive: Drive, horizon: Horizon, dt: float, compiled: bool = True) -> None:
        self._shape = (len(horizon.times), 3, horizon.P.shape[1] - 2, drive.n)
        self._function = CompiledInPlace(_rollout(drive, horizon, dt), wanted=compiled)

    def __call__(self, centre: Array, X: Array) -> tuple[Array, Array, Array, Array]:
        """Poses ``(N, 3)``, their derivatives ``(N, 3, K, b)`` by the plan; twists, the same.

        Valid until the next call.

        Args:
            centre: ``(3,)`` pose now.
            X: ``(2 + K, b)`` positions and velocities of the drive now, then the plan.
        """
        function = self._function
        function.inputs[0][:], function.inputs[1][:] = centre, X
        way, by_way, twists, by_twists = function()
        return way, by_way.reshape(self._shape), twists, by_twists.reshape(self._shape)


def _rollout(drive: Drive, horizon: Horizon, dt: float) -> ca.Function:
    """``centre (3,), X (b, 2 + K) -> way (3, N), slopes (K b, 3 N), twists and theirs``."""
    P, V = horizon.P, horizon.V
    now_p, now_v = np.eye(2, P.shape[1])
    middle_p = 0.5 * (P + np.vstack([now_p, P[:-1]]))  # halfway between the stages
    middle_v = 0.5 * (V + np.vstack([now_v, V[:-1]]))
    centre, X = ca.SX.sym("centre", 3), ca.SX.sym("X", drive.n, P.shape[1])
    s, w = X @ middle_p.T, X @ middle_v.T
    place, twists, way = centre, [], []
    for k in range(len(P)):
        x, y, spin = drive.twist(s[:, k], w[:, k])
        heading = place[2] + 0.5 * dt * spin
        c, sn = ca.cos(heading), ca.sin(heading)
        place = place + dt * ca.vertcat(c * x - sn * y, sn * x + c * y, spin)
        twists.append(ca.vertcat(x, y, spin))
        way.append(place)
    outputs = []
    for found in (ca.horzcat(*way), ca.horzcat(*twists)):
        slopes = ca.jacobian(ca.vec(found), ca.vec(X))[:, 2 * drive.n :]
        outputs += [ca.densify(found), ca.densify(slopes.T)]
    return ca.Function("rollout", [centre, X], outputs, {"cse": True})
