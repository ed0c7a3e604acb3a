"""What the controller must not do, one class a file."""

from .distances import DistanceLimits
from .effort import EffortLimits
from .joints import JointLimits
from .limit import Limit, Rows
from .viable import ViableLimits, departure, stopping_velocity

__all__ = [
    "DistanceLimits",
    "EffortLimits",
    "JointLimits",
    "Limit",
    "Rows",
    "ViableLimits",
    "departure",
    "stopping_velocity",
]
