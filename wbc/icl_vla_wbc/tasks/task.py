"""What every task is, and tasks written as CasADi expressions."""

from __future__ import annotations

from abc import ABC, abstractmethod

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments.types import Array

from ..compiled import CompiledInPlace
from ..dynamics import InPlace
from ..errors import WbcError
from ..gauss_newton import Part, local_model


class Task(ABC):
    r"""Adds :math:`\tfrac12 \sum_k \|r(q_k)\|^2` over the stages of a plan to the cost.

    Example:
        ``examples/add_a_task.py`` keeps a hand's axis upright while it carries something.
    """

    @abstractmethod
    def bind(self, joints: NDArray[np.intp], stages: int, compiled: bool = True) -> None:
        """Prepare for a controller; it calls this once.

        Args:
            joints: ``(n,)`` indices of the controlled joints among the actuated ones.
            stages: ``N`` of its horizon.
            compiled: Whether machine code may take over, see :class:`CompiledInPlace`.
        """

    @abstractmethod
    def add(self, Q: Array, squares: Array, gradient: Array) -> Array | float:
        r"""Add the Gauss-Newton model at some postures.

        Args:
            Q: ``(N, n_all)`` positions of all actuated joints at the stages; or ``(1, n_all)``.
            squares: ``(N, n, n)`` to which :math:`J^T J` is added.
            gradient: ``(N, n)`` to which :math:`J^T r` is added.

        Returns:
            ``(N,)`` estimates of :math:`\|r \cdot \partial^2 r\|`, which Gauss-Newton leaves out;
            the program damps in their proportion.
        """


class Residual(Task):
    r"""A task whose residual is a CasADi expression.

    :math:`r = F W f(q, s)` with weights :math:`W`, factors :math:`F` and a parameter :math:`s`.

    Args:
        q: ``(n_all,)`` symbol, see :attr:`FrameKinematics.q`.
        expression: ``f`` ``(m,)`` in it.
        parameter: ``s`` ``(p,)`` symbol, if there is one.
        weights: ``(m,)`` diagonal of ``W``, each in 1 over its component's unit.
        jacobian: ``(m, n_all)``; None to have it derived.

    Attributes:
        parameter: ``s`` as numbers: ``(p,)``, or ``(N, p)`` with one row a stage.
        compiled: The models at all stages, of which machine code is made in the background.
        factors: ``F``: one number, ``(m,)`` or ``(m, m)``; a controller's ``weights`` end up here.
        weights: ``(m,)``.
    """

    def __init__(
        self,
        q: ca.SX,
        expression: ca.SX,
        parameter: ca.SX | None = None,
        *,
        weights: ArrayLike = 1.0,
        jacobian: ca.SX | None = None,
    ) -> None:
        expression = ca.densify(ca.vec(expression))
        symbol = ca.SX.sym("s", 0) if parameter is None else parameter
        J = ca.jacobian(expression, q) if jacobian is None else jacobian
        self._expressions = (q, symbol, expression, ca.densify(J))
        m = expression.shape[0]
        self.weights = np.broadcast_to(np.asarray(weights, dtype=float), (m,)).copy()
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise WbcError("a task's weights must be finite and not negative", value=weights)
        self.factors: Array | float = 1.0
        self.parameter: Array = np.zeros(symbol.shape[0])

    def bind(self, joints: NDArray[np.intp], stages: int, compiled: bool = True) -> None:
        """See :meth:`Task.bind`."""
        q, s, expression, J = self._expressions
        J = ca.densify(J[:, joints.tolist()])
        residual = ca.Function("residual", [q, s], [expression, J], {"cse": True})
        self._linear = {count: InPlace(residual.map(count)) for count in (1, stages)}
        self._shape = (len(joints), expression.shape[0])
        w = ca.SX.sym("w", expression.shape[0])
        outputs = local_model(w * expression, ca.diag(w) @ J, self._bends())
        model = ca.Function(type(self).__name__.lower(), [q, s, w], outputs, {"cse": True})
        self.compiled = CompiledInPlace(model.map(stages), wanted=compiled)

    def linearise(self, Q: Array) -> tuple[Array, Array]:
        """Weighted residuals ``(N, m)`` and their Jacobians, transposed ``(N, n, m)``."""
        function = self._linear[len(Q)]
        self._fill(function, Q)
        r, J = function()
        J = J.reshape(len(Q), *self._shape)
        if isinstance(self.factors, np.ndarray) and self.factors.ndim == 2:
            F = (self.factors * self.weights).T
            return r @ F, J @ F
        weights = self.factors * self.weights
        return r * weights, J * weights

    def add(self, Q: Array, squares: Array, gradient: Array) -> Array | float:
        """See :meth:`Task.add`."""
        slanted = isinstance(self.factors, np.ndarray) and self.factors.ndim == 2
        if slanted or len(Q) == 1:
            r, J = self.linearise(Q)
            squares += J @ J.transpose(0, 2, 1)
            gradient += (J @ r[:, :, None])[:, :, 0]
            norms = [k * np.sqrt((r[:, part] ** 2).sum(axis=1)) for part, k in self._bends()]
            return np.asarray(np.sum(norms, axis=0))
        self._fill(self.compiled, Q)
        self.compiled.inputs[2][:] = self.factors * self.weights
        square, slope, bent = self.compiled()
        squares += square.reshape(squares.shape)
        gradient += slope
        return bent[:, 0]

    def _fill(self, function: InPlace, Q: Array) -> None:
        function.inputs[0][:] = Q
        parameter = self.parameter
        function.inputs[1][:] = parameter[: len(Q)] if parameter.ndim == 2 else parameter

    def _bends(self) -> list[Part]:
        r"""Parts of the weighted residual, and how large their :math:`\partial^2 r` is."""
        return [(slice(None), float(self.weights.max()))]
