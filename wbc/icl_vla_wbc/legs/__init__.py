"""Legs: contact forces over a horizon, then torques that realise them with the whole body."""

from .config import LegConfig
from .controller import LegMpc
from .gait import Gait

__all__ = ["Gait", "LegConfig", "LegMpc"]
