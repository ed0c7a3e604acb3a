"""Rigid-body kinematics and dynamics as CasADi expressions, built from a :class:`pinocchio.Model`.

Pinocchio's wheel has no ``pinocchio.casadi``. Conventions are Pinocchio's; what its models hold
(placements, axes, inertias) is all that is taken from it.
"""

from .frame_kinematics import FrameKinematics
from .in_place import InPlace
from .inverse_dynamics import inverse_dynamics, inverse_dynamics_derivatives, mounted
from .rigid_body import RigidBody

__all__ = [
    "FrameKinematics",
    "InPlace",
    "RigidBody",
    "inverse_dynamics",
    "inverse_dynamics_derivatives",
    "mounted",
]
