"""Torques along a plan."""

from __future__ import annotations

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..compiled import CompiledInPlace
from ..dynamics import inverse_dynamics_derivatives, mounted
from ..horizon import Horizon
from ..plan import Plan
from .limit import Rows


class EffortLimits:
    r"""Keeps torques within the efforts: :math:`|\tau + d| \le \tau_{max}` at the checked stages.

    With the state before a stage's step and the acceleration during it, all linear in the knots
    ``U``, inverse dynamics are linearised around the present plan:

    .. math:: \delta\tau_k = \Big(\frac{\partial\tau}{\partial q} P_{k-1}
              + \frac{\partial\tau}{\partial\dot q} V_{k-1}
              + \frac{\partial\tau}{\partial\ddot q} A_k\Big)\, \delta U.

    Args:
        model: The robot.
        joints: ``(n,)`` indices of the controlled joints.
        horizon: Stages and knots.
        effort: ``(n_all,)`` largest torques of the actuated joints; infinite: no limit.
        compiled: Whether machine code may take over, see :class:`CompiledInPlace`.

    Attributes:
        disturbance: ``(n,)`` torques beyond the model's.
        compiled: The function that machine code is made for.
    """

    def __init__(
        self,
        model: RobotModel,
        joints: NDArray[np.intp],
        horizon: Horizon,
        effort: Array,
        compiled: bool = True,
    ) -> None:
        self._joints = joints
        maps = _stage_maps(horizon)  # (3, C, 2 + K): to q, v and a
        self._maps = maps.reshape(-1, maps.shape[2])
        self._shares = np.ascontiguousarray(maps[:, :, 2:].transpose(1, 2, 0))  # (C, K, 3)
        stages = len(self._shares)
        self.compiled = stage_torques(model, joints, stages, compiled)
        limit = np.tile(effort[joints], stages)
        limited = np.isfinite(limit)
        self._rows = slice(None) if limited.all() else np.flatnonzero(limited)
        self._limit = limit[self._rows]
        self._derivatives = np.zeros((stages, 3, len(joints) ** 2))
        self.disturbance = np.zeros(len(joints))

    def rows(self, plan: Plan) -> Rows | None:
        """See :meth:`Limit.rows`."""
        if not len(self._limit):
            return None
        tau, changes = self.torques(plan)
        tau = (tau + self.disturbance).reshape(-1)[self._rows]
        C = changes.reshape(-1, (len(plan.X) - 2) * len(self._joints))[self._rows]
        return Rows(C, -self._limit - tau, self._limit - tau)

    def torques(self, plan: Plan) -> tuple[Array, Array]:
        """Torques ``(C, n)`` at the checked stages, and ``(C, n, K, n)`` derivatives in ``U``."""
        C, n = len(self._shares), len(self._joints)
        states = (self._maps @ plan.X).reshape(3, C, n)
        inputs = self.compiled.inputs
        inputs[0][:] = plan.now
        for array, state in zip(inputs, states, strict=True):
            array[:, self._joints] = state
        tau, *derivatives = self.compiled()
        for k, derivative in enumerate(derivatives):
            self._derivatives[:, k] = derivative.reshape(C, n * n)
        changes = self._shares @ self._derivatives  # (C, K, n n), the last as (by, of)
        return tau, changes.reshape(C, -1, n, n).transpose(0, 3, 1, 2)


def _stage_maps(horizon: Horizon) -> Array:
    """``(3, C, 2 + K)``: state before each checked stage's step, and acceleration during it."""
    now = np.eye(2, horizon.P.shape[1])
    P, V = np.vstack([now[:1], horizon.P]), np.vstack([now[1:], horizon.V])
    return np.stack([rows[horizon.checked] for rows in (P, V, horizon.A)])


def stage_torques(
    model: RobotModel, joints: NDArray[np.intp], stages: int, compiled: bool = True
) -> CompiledInPlace:
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
    return CompiledInPlace(function, interpreted, wanted=compiled)
