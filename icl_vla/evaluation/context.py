"""What a method is given to read: right, none, another task's, garbled, mixed, misdescribed.

Each context breaks one thing that a method might live by, and what breaks with it tells whether it
does. All of them are banks on disk, so that a method need not know of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionSpace, SpaceState, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_retrieval import CameraTrack, Demonstration
from icl_vla_retrieval.demonstration import decode_commands

NEUTRAL = "do what was shown"
Change = Callable[[Demonstration, np.random.Generator], Demonstration]


@dataclass(frozen=True)
class Context:
    """A way to hand demonstrations over.

    Attributes:
        summary: One line for people.
        change: What is done to every demonstration.
        empty: Nothing is handed over but the instruction.
        two_tasks: Both a task's and another's things stand in the scene, and the instruction does
            not say which is meant.
        shows_other: The other task is what was shown, and what counts.
        mixed: All tasks of the suite are in one bank; the instruction alone tells them apart.
        misdescribed: The robot's action space is described wrongly.
    """

    summary: str
    change: Change | None = None
    empty: bool = False
    two_tasks: bool = False
    shows_other: bool = False
    mixed: bool = False
    misdescribed: bool = False


def shuffled_observations(d: Demonstration, rng: np.random.Generator) -> Demonstration:
    """What was seen and measured, in another order than what was commanded."""
    order = rng.permutation(len(d))
    return replace(
        d,
        q=d.q[order],
        grippers={e: x[order] for e, x in d.grippers.items()},
        poses={e: T[order] for e, T in d.poses.items()},
        cameras={n: _reordered(track, order) for n, track in d.cameras.items()},
    )


def shuffled_actions(d: Demonstration, rng: np.random.Generator) -> Demonstration:
    """What was commanded, in another order than what was seen."""
    order = rng.permutation(len(d))
    return replace(
        d,
        actions=d.actions[order],
        commands={e: T[order] for e, T in d.commands.items()},
        gripper_commands={e: x[order] for e, x in d.gripper_commands.items()},
    )


def _reordered(track: CameraTrack, order: NDArray[np.intp]) -> CameraTrack:
    depth = track.depth
    return CameraTrack.from_arrays(
        track.rgb[order],
        None if depth is None else depth[order],
        intrinsics=track.intrinsics,
        mount=track.mount,
        T_mount_camera=track.T_mount_camera,
    )


def neutral(d: Demonstration, rng: np.random.Generator) -> Demonstration:
    """With an instruction that says nothing."""
    return replace(d, instruction=NEUTRAL)


def respoken(
    d: Demonstration, true: ActionSpace, told: ActionSpace, model: RobotModel
) -> Demonstration:
    """A demonstration whose actions follow a convention, read as the description says.

    Args:
        d: With the commanded poses.
        true: What the recorded numbers mean to the robot.
        told: What they are said to mean; the commanded poses follow from it.
        model: Kinematics.
    """
    actions = []
    last: TaskTarget | None = None
    for t in range(len(d)):
        state = SpaceState(
            poses={e: T[t] for e, T in d.poses.items()},
            q=d.q[t],
            grippers={e: float(x[t]) for e, x in d.grippers.items()},
            commanded=last,
        )
        last = TaskTarget(
            poses={e: T[t] for e, T in d.commands.items()},
            grippers={e: float(x[t]) for e, x in d.gripper_commands.items()},
        )
        actions.append(true.encode([last], state, model)[0])
    spoken = replace(d, actions=np.stack(actions), action_space=told)
    commands, openings = decode_commands(spoken, model)
    return replace(spoken, commands=commands, gripper_commands=openings)


CONTEXTS: Mapping[str, Context] = {
    "right": Context("the task's own demonstrations"),
    "none": Context("no demonstration, only the instruction", empty=True),
    "own of two": Context("two tasks in the scene, the first shown", neutral, two_tasks=True),
    "other of two": Context(
        "two tasks in the scene, the second shown", neutral, two_tasks=True, shows_other=True
    ),
    "shuffled observations": Context("observations in random order", shuffled_observations),
    "shuffled actions": Context("actions in random order", shuffled_actions),
    "misdescribed": Context("a wrong description of the action space", misdescribed=True),
    "mixed": Context("all tasks in one bank, told apart by the instruction", mixed=True),
}
