"""CasADi functions on numpy arrays, without copies."""

from __future__ import annotations

import casadi as ca
import numpy as np

from icl_vla_embodiments.types import Array


class InPlace:
    """A CasADi function evaluated by its virtual machine on numpy arrays that stay in place.

    Attributes:
        function: The function.
        inputs: One writeable array for each argument; row ``j`` is the argument's column ``j``.
        outputs: The same for the results; a call overwrites them.
    """

    def __init__(self, function: ca.Function) -> None:
        self.inputs = tuple(np.zeros(function.size_in(i)[::-1]) for i in range(function.n_in()))
        self.outputs = tuple(np.zeros(function.size_out(i)[::-1]) for i in range(function.n_out()))
        # a buffer holds bare pointers: the arrays and views must live as long as it does
        self._views = [a.reshape(-1).data for a in (*self.inputs, *self.outputs)]
        self._bind(function)

    def _bind(self, function: ca.Function) -> None:
        """Evaluate this function, on the same arrays."""
        self.function = function
        self._buffer, self._evaluate = function.buffer()
        for i, view in enumerate(self._views[: len(self.inputs)]):
            self._buffer.set_arg(i, view)  # type: ignore[call-arg]  # casadi's stub is wrong
        for i, view in enumerate(self._views[len(self.inputs) :]):
            self._buffer.set_res(i, view)  # type: ignore[call-arg]

    def __call__(self) -> tuple[Array, ...]:
        self._evaluate()
        return self.outputs
