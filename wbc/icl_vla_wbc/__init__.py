"""From task targets to joint commands: whole-body model predictive control."""

from .config import MpcConfig
from .errors import WbcError
from .mpc import ArmMpc
from .qp import KktResiduals
from .reference import GovernorConfig
from .solution import Solution

__all__ = ["ArmMpc", "GovernorConfig", "KktResiduals", "MpcConfig", "Solution", "WbcError"]
