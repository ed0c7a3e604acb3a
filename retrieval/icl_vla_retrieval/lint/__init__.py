"""Says what is wrong with demonstrations, and mends what is safe to mend.

Each check is a module: a function from one demonstration's :class:`Motion` to findings. Whatever it
compares comes from the demonstration and the robot's URDF alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel

from ..demonstration import Demonstration
from .camera import check_cameras
from .crowd import check_crowd
from .finding import Finding
from .fix import cut, fix
from .gripper import check_gripper
from .idle import check_idle
from .jumps import check_jumps
from .limits import check_limits
from .motion import Motion
from .order import check_order
from .passive import check_passive
from .report import read_report, write_report
from .signs import check_signs
from .timing import check_dropped, check_duplicated
from .units import check_units

CHECKS: tuple[Callable[[Motion], Iterator[Finding]], ...] = (
    check_units,
    check_order,
    check_gripper,
    check_signs,
    check_passive,
    check_limits,
    check_jumps,
    check_dropped,
    check_duplicated,
    check_idle,
)
KINDS = (
    "units",
    "swapped-joints",
    "inverted-gripper",
    "inverted-sign",
    "action-equals-state",
    "limits",
    "jump",
    "dropped",
    "duplicated",
    "idle",
    "calibration",
    "outlier",
    "too-few",
    "all-alike",
)
# a column that means something else explains what else looks wrong in it
CAUSES = {"units", "swapped-joints"}
EXPLAINED = {
    "limits",
    "jump",
    "dropped",
    "swapped-joints",
    "inverted-sign",
    "calibration",
    "outlier",
}

__all__ = ["KINDS", "Finding", "Motion", "cut", "fix", "lint", "read_report", "write_report"]


def lint(
    demonstrations: Iterable[Demonstration],
    robot: Embodiment,
    *,
    cameras: bool = True,
    progress: Callable[[], None] = lambda: None,
) -> tuple[Finding, ...]:
    """Everything that looks wrong, in the order of the episodes.

    Args:
        demonstrations: A bank, or demonstrations of one robot.
        robot: The robot.
        cameras: Also compare calibrations with the pictures, some ten seconds a camera.
        progress: Called after each episode.
    """
    model = RobotModel(robot)
    motions, found = [], []
    for episode, demonstration in enumerate(demonstrations):
        motion = Motion(demonstration, episode, robot, model)
        motions.append(motion)
        found += [finding for check in CHECKS for finding in check(motion)]
        progress()
    found += check_crowd(motions)
    if cameras:
        found += check_cameras(motions)
    return tuple(_without_consequences(found))


def _without_consequences(found: list[Finding]) -> Iterator[Finding]:
    caused = {(f.episode, f.kind) for f in found if f.kind in CAUSES}
    for f in found:
        causes = {kind for episode, kind in caused if episode == f.episode} - {f.kind}
        if not (causes and f.kind in EXPLAINED):
            yield f
