"""What the controller is asked to do, one class a file."""

from .frame_pose import FramePose
from .posture import Posture
from .task import Residual, Task

__all__ = ["FramePose", "Posture", "Residual", "Task"]
