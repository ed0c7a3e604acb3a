"""Wheeled bases with arms: one optimisation problem for wheels, torso and arms."""

from .config import MobileConfig
from .controller import MobileMpc
from .drive import Drive

__all__ = ["Drive", "MobileConfig", "MobileMpc"]
