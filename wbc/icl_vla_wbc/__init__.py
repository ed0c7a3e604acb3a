"""From task targets to joint commands: whole-body model predictive control."""

from .config import MpcConfig, SafetyConfig
from .errors import WbcError
from .ik import DifferentialIk, IkConfig
from .mpc import ArmMpc
from .obstacles import Box, Sphere
from .qp import KktResiduals
from .reference import GovernorConfig
from .solution import Solution
from .torque import ArmTorqueMpc, TorqueConfig

__all__ = [
    "ArmMpc",
    "ArmTorqueMpc",
    "Box",
    "DifferentialIk",
    "GovernorConfig",
    "IkConfig",
    "KktResiduals",
    "MpcConfig",
    "SafetyConfig",
    "Solution",
    "Sphere",
    "TorqueConfig",
    "WbcError",
]
