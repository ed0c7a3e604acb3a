"""Calibration of a camera from the robot's own motion: FK says where it is, pictures where seen."""

from .body import Body
from .calibrate import Calibration, CalibrationCheck, calibrate_camera, calibration_error
from .errors import CalibrationError
from .overlay import overlay
from .pinhole import Pinhole
from .refine import normal_equations
from .store import calibrated, store_calibration

__all__ = [
    "Body",
    "Calibration",
    "CalibrationCheck",
    "CalibrationError",
    "Pinhole",
    "calibrate_camera",
    "calibrated",
    "calibration_error",
    "normal_equations",
    "overlay",
    "store_calibration",
]
