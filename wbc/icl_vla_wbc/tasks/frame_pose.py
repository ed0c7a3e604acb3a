"""The pose of a frame."""

from __future__ import annotations

import casadi as ca
import numpy as np

from icl_vla_embodiments.types import Array

from ..dynamics import FrameKinematics, InPlace
from ..gauss_newton import Part, pose_error
from .task import Residual


class FramePose(Residual):
    r"""Brings a frame to a pose :math:`(p^*, R^*)`, both in the base frame.

    .. math:: f = \begin{pmatrix} p - p^* \\ 2 \sin(\theta/2)\, e \end{pmatrix}, \quad
              \frac{\partial f}{\partial q} = \begin{pmatrix} I & 0 \\
              0 & \eta I - \epsilon^\wedge \end{pmatrix} J,

    with angle :math:`\theta` and axis :math:`e` (base axes) of the turn from the target to the
    frame, whose quaternion is :math:`(\epsilon, \eta)`, and the frame's Jacobian :math:`J`. At half
    a turn the second part has no gradient; a governor must keep targets nearer (Siciliano et al.,
    *Robotics: Modelling, Planning and Control*, 2009, section 3.7.3).

    Args:
        kinematics: Of the frame.
        position_weight: [1/m].
        rotation_weight: [1/rad].

    Attributes:
        parameter: ``(7,)`` or ``(N, 7)`` target: position, then orientation ``(x, y, z, w)``.
    """

    def __init__(
        self, kinematics: FrameKinematics, position_weight: float, rotation_weight: float
    ) -> None:
        target = ca.SX.sym("target", 7)
        error, jacobian = pose_error(kinematics, target)
        weights = np.repeat([position_weight, rotation_weight], 3)
        super().__init__(kinematics.q, error, target, weights=weights, jacobian=jacobian)
        self._pose = InPlace(ca.Function("pose", [kinematics.q], [kinematics.pose]))

    def pose(self, q: Array) -> Array:
        """Pose ``(7,)`` of the frame at actuated positions ``(n_all,)``."""
        self._pose.inputs[0][:] = q
        return self._pose()[0][0].copy()

    def _bends(self) -> list[Part]:
        """See :meth:`Residual._bends`; the rotation's residual bends half as much."""
        position, rotation = self.weights[0], self.weights[3]
        return [(slice(0, 3), float(position)), (slice(3, 6), 0.5 * float(rotation))]
