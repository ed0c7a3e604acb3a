"""What a robot is, says and does. numpy only at import; Pinocchio is loaded where it is needed."""

from .action_space import (
    ActionSpace,
    Dimension,
    Frame,
    Kind,
    Reference,
    Rotation,
    SpaceState,
)
from .embodiment import (
    Embodiment,
    Flag,
    FrameSpec,
    Group,
    JointLimits,
    Mimic,
    Provenance,
)
from .errors import (
    ActionSpaceError,
    EmbodimentError,
    FrameNotFound,
    PluginError,
    ReportedError,
    UnknownName,
    UrdfError,
)
from .hookspecs import hookimpl
from .types import (
    ActionChunk,
    CameraImage,
    Command,
    Driver,
    EffectorState,
    Neighbour,
    Observation,
    TaskTarget,
)

__all__ = [
    "ActionChunk",
    "ActionSpace",
    "ActionSpaceError",
    "CameraImage",
    "Command",
    "Dimension",
    "Driver",
    "EffectorState",
    "Embodiment",
    "EmbodimentError",
    "Flag",
    "Frame",
    "FrameNotFound",
    "FrameSpec",
    "Group",
    "JointLimits",
    "Kind",
    "Mimic",
    "Neighbour",
    "Observation",
    "PluginError",
    "Provenance",
    "Reference",
    "ReportedError",
    "Rotation",
    "SpaceState",
    "TaskTarget",
    "UnknownName",
    "UrdfError",
    "hookimpl",
]
