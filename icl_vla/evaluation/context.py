"""What a method is given to read: right, none, another task's, garbled, mixed, misdescribed.

Each context breaks one thing that a method might live by, and what breaks with it tells whether it
does. All of them are banks on disk, so that a method need not know of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ActionSpace, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_retrieval import CameraTrack, Demonstration
from icl_vla_retrieval.demonstration import measured_state
from icl_vla_retrieval.signs import read_as

from .artifacts import greyscale

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
        shows_other: Another task is what was shown; where both are in the scene, it counts.
        mixed: Many tasks by several bodies are in one bank; the instruction alone tells them apart.
        paraphrased: It is asked for in other words than were shown.
        misdescribed: The robot's action space is described wrongly.
        colourless: The robot's pictures have no colours either.
        depthless: Cameras measure no depth, neither in what is shown nor on the robot.
        manner: A word that is said before the instruction.
    """

    summary: str
    change: Change | None = None
    empty: bool = False
    two_tasks: bool = False
    shows_other: bool = False
    mixed: bool = False
    paraphrased: bool = False
    misdescribed: bool = False
    colourless: bool = False
    depthless: bool = False
    manner: str = ""


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


def colourless(d: Demonstration, rng: np.random.Generator) -> Demonstration:
    """With grey pictures."""

    def grey(track: CameraTrack) -> CameraTrack:
        return replace(track, frames=lambda: greyscale(track.rgb, 5, rng))

    return replace(d, cameras={name: grey(track) for name, track in d.cameras.items()})


def depthless(d: Demonstration, rng: np.random.Generator) -> Demonstration:
    """With colours alone."""
    cameras = {name: replace(track, depths=None) for name, track in d.cameras.items()}
    return replace(d, cameras=cameras)


def respoken(
    d: Demonstration, true: ActionSpace, told: ActionSpace, model: RobotModel
) -> Demonstration:
    """A demonstration whose actions follow a convention, read as the description says.

    Args:
        d: With the commanded poses, at any rate.
        true: What the recorded numbers mean to the robot.
        told: What they are said to mean; the commanded poses follow from it.
        model: Kinematics.
    """
    d = at_rate(d, true.rate)
    actions = []
    last: TaskTarget | None = None
    for t in range(len(d)):
        state = measured_state(d, t, last)
        last = TaskTarget(
            poses={e: T[t] for e, T in d.commands.items()},
            grippers={e: float(x[t]) for e, x in d.gripper_commands.items()},
        )
        actions.append(true.encode([last], state, model)[0])
    return read_as(told, replace(d, actions=np.stack(actions), action_space=told), model)


def at_rate(d: Demonstration, rate: float) -> Demonstration:
    """The same motion at another rate [Hz]; its actions are then no longer true.

    What was seen and measured is the nearest frame's. Row ``t`` of the commands is due one step
    after frame ``t``, so those of the new steps' ends are interpolated.
    """
    old = d.action_space.rate
    if math.isclose(rate, old):
        return d
    times = np.arange(d.times[0], d.times[-1] + 1e-9, 1 / rate)
    rows = np.abs(d.times[None] - times[:, None]).argmin(axis=1)
    due = (times + 1 / rate - 1 / old - d.times[0]) * old  # in rows
    due = np.clip(due, 0, len(d) - 1)
    low = np.floor(due + 1e-9).astype(int)
    high, share = np.minimum(low + 1, len(d) - 1), due - low
    return replace(
        d,
        times=times,
        q=d.q[rows],
        actions=d.actions[rows],
        action_space=replace(d.action_space, rate=rate),
        grippers={e: x[rows] for e, x in d.grippers.items()},
        poses={e: T[rows] for e, T in d.poses.items()},
        commands={e: se3.between(T[low], T[high], share) for e, T in d.commands.items()},
        gripper_commands={
            e: x[np.where(share > 0.5, high, low)] for e, x in d.gripper_commands.items()
        },
        cameras={n: _reordered(track, rows) for n, track in d.cameras.items()},
    )


def without_kinematics(d: Demonstration) -> Demonstration:
    """Without what only a robot's model tells: where its hand was and was sent."""
    return replace(d, poses={}, commands={})


CONTEXTS: Mapping[str, Context] = {
    "right": Context("the task's own demonstrations"),
    "none": Context("no demonstration, only the instruction", empty=True),
    "own of two": Context("two tasks in the scene, the first shown", neutral, two_tasks=True),
    "other of two": Context(
        "two tasks in the scene, the second shown", neutral, two_tasks=True, shows_other=True
    ),
    "another task": Context(
        "demonstrations of a task that is not there", neutral, shows_other=True
    ),
    "shuffled observations": Context("observations in random order", shuffled_observations),
    "shuffled actions": Context("actions in random order", shuffled_actions),
    "without colours": Context("no colours, neither shown nor seen", colourless, colourless=True),
    "without depth": Context("colours alone, shown and seen", depthless, depthless=True),
    "misdescribed": Context("a wrong description of the action space", misdescribed=True),
    "slowly": Context("asked to do it slowly", manner="slowly"),
    "quickly": Context("asked to do it quickly", manner="quickly"),
    "mixed": Context(
        "many tasks and bodies in one bank, told apart by the instruction", mixed=True
    ),
    "mixed, other words": Context(
        "the same, asked for in other words than were shown", mixed=True, paraphrased=True
    ),
}
