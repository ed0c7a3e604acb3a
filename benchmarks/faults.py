"""Faults of stated sizes to put into clean demonstrations; ``lint_faults.py`` counts finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from icl_vla_embodiments import Embodiment, SpaceState, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_retrieval import Demonstration
from icl_vla_retrieval.lint import cut
from icl_vla_retrieval.lint.motion import Motion

EPISODES = 10  # of a set


@dataclass(frozen=True)
class Set:
    """Clean demonstrations of one instruction."""

    name: str
    robot: Embodiment
    model: RobotModel
    demos: tuple[Demonstration, ...]
    real: bool = False  # of LeRobot's: its actions do not follow from its states
    other: Set | None = None  # the same robot at another task


def rebuilt(d: Demonstration, model: RobotModel) -> Demonstration:
    """What an importer would make of these states and actions."""
    return Demonstration.from_arrays(
        q=d.q,
        actions=d.actions,
        action_space=d.action_space,
        embodiment=d.embodiment,
        instruction=d.instruction,
        times=d.times,
        grippers=d.grippers,
        cameras=d.cameras,
        provenance=d.provenance,
        model=model,
    )


Faulty = Sequence[Demonstration] | None  # to lint; None: does not apply
Injection = Callable[[np.random.Generator, Set, int], Faulty]  # ..., a set, an episode


def moving(d: Demonstration, robot: Embodiment) -> np.ndarray:
    """Frames in whose neighbourhood the robot moves more than usual."""
    step = np.abs(np.diff(d.q, axis=0) / robot.array("velocity")).max(axis=1)
    fast = step > np.median(step)
    return np.flatnonzero(fast[1:-2] & fast[2:-1] & fast[:-3]) + 1


def within_limits(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """Five frames 0.05 rad, or 5 mm, beyond a joint's limit."""
    d, robot = s.demos[k], s.robot
    slides = Motion(d, k, robot, s.model).prismatic
    bounded = np.flatnonzero(np.isfinite(robot.array("lower")) & np.isfinite(robot.array("upper")))
    j, t = rng.choice(bounded), rng.integers(2, len(d) - 7)
    low, high = robot.array("lower")[j], robot.array("upper")[j]
    by = 0.005 if slides[j] else 0.05
    q = d.q.copy()
    q[t : t + 5, j] = high + by if rng.random() < 0.5 else low - by
    return [rebuilt(replace(d, q=q), s.model)]


def jump(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """A step of three times the velocity limit in one joint; the rest of the episode is shifted."""
    d, robot = s.demos[k], s.robot
    j, t = rng.integers(len(robot.joints)), rng.integers(2, len(d) - 2)
    step = 3 * robot.array("velocity")[j] / d.action_space.rate
    q = d.q.copy()
    q[t:, j] += step * rng.choice([-1, 1])
    return [rebuilt(replace(d, q=q), s.model)]


def gap(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """One to three frames lost; the times tell."""
    d = s.demos[k]
    t = int(rng.integers(2, len(d) - 5))
    keep = np.delete(np.arange(len(d)), range(t, t + int(rng.integers(1, 4))))
    return [replace(cut(d, keep), times=d.times[keep])]


def hidden_gap(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """Three frames lost in the middle of a motion; the times were written evenly.

    In the two frames before and after, the arm moves at half its speed in the episode (90th
    percentile) or faster.
    """
    d = s.demos[k]
    arm = [s.robot.joints.index(j) for group in s.robot.arms for j in group.joints]
    speed = np.abs(np.diff(d.q, axis=0) / s.robot.array("velocity"))[:, arm].max(axis=1)
    fast = speed > 0.5 * np.quantile(speed, 0.9)
    at = [t for t in range(2, len(d) - 5) if fast[[t - 2, t - 1, t + 2, t + 3]].all()]
    if not at:
        return None
    t = int(rng.choice(at))
    return [cut(d, np.delete(np.arange(len(d)), range(t, t + 3)))]


def repeated(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """One to three copies of a frame while the robot moves."""
    d = s.demos[k]
    t = int(rng.choice(moving(d, s.robot)))
    keep = np.sort(np.append(np.arange(len(d)), [t] * int(rng.integers(1, 4))))
    times = np.arange(len(keep)) / d.action_space.rate
    return [replace(cut(d, keep), times=times)]


def frozen_camera(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """A camera that shows one picture for three frames while the robot moves."""
    d = s.demos[k]
    at = moving(d, s.robot)
    if not d.cameras or not len(at):
        return None
    t = min(int(rng.choice(at)), len(d) - 4)
    name, track = next(iter(d.cameras.items()))
    rgb = track.rgb.copy()
    rgb[t + 1 : t + 3] = rgb[t]
    return [replace(d, cameras={**d.cameras, name: replace(track, frames=lambda: rgb)})]


def idle(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """0.5 s of standing still at the beginning or the end, with 1e-4 of sensor noise."""
    d = s.demos[k]
    n = round(0.5 * d.action_space.rate)
    frames = np.arange(len(d))
    head = rng.random() < 0.5
    keep = np.concatenate([[0] * n, frames] if head else [frames, [len(d) - 1] * n])
    q = d.q[keep] + 1e-4 * rng.standard_normal((len(keep), d.q.shape[1]))
    times = np.arange(len(keep)) / d.action_space.rate
    still = cut(d, keep)
    return [replace(still, q=q, times=times)]


def echo(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """The action is the measured state."""
    d = s.demos[k]
    arms = list(s.model.poses(d.q[0]))
    motion = Motion(d, k, s.robot, s.model)
    actions = d.actions.copy()
    for t in range(len(d)):
        target = TaskTarget(
            poses={a: motion.poses[a][t] for a in arms},
            posture=d.q[t],
            grippers={a: float(g[t]) for a, g in d.grippers.items()},
        )
        actions[t] = d.action_space.encode([target], SpaceState(q=d.q[t]), s.model)[0]
    return [rebuilt(replace(d, actions=actions), s.model)]


def wrong_units(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """Degrees for radians in states or actions, millimetres for metres in actions."""
    d = s.demos[k]
    slides = Motion(d, k, s.robot, s.model).prismatic
    in_degrees = np.where(slides, 1.0, 180 / np.pi)
    joint = any(dim.joint for dim in d.action_space.dimensions)
    choices = ["state"] if s.real else ["state", "action"]
    choice = rng.choice([*choices, "state too small"] if joint and not s.real else choices)
    if choice == "state":
        return [rebuilt(replace(d, q=d.q * in_degrees), s.model)]
    if choice == "state too small":
        return [rebuilt(replace(d, q=d.q / in_degrees), s.model)]
    actions = d.actions.copy()
    for i, dim in enumerate(d.action_space.dimensions):
        if dim.unit == "m" and not dim.joint:
            actions[:, i] *= 1000
        elif dim.joint and dim.unit == "rad":
            actions[:, i] *= 180 / np.pi
    return [rebuilt(replace(d, actions=actions), s.model)]


def exchanged(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """Two columns of the state exchanged, of arm joints at least 0.3 rad apart on average."""
    d = s.demos[k]
    if s.real:
        return None
    index = [s.robot.joints.index(j) for j in s.robot.arms[0].joints]
    pairs = [
        (i, j) for i in index for j in index if i < j and np.abs(d.q[:, i] - d.q[:, j]).mean() > 0.3
    ]
    i, j = pairs[rng.integers(len(pairs))]
    q = d.q.copy()
    q[:, [i, j]] = q[:, [j, i]]
    return [rebuilt(replace(d, q=q), s.model)]


def turned_gripper(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """Commands or measured openings of a gripper that is opened and closed, turned round."""
    d = s.demos[k]
    if not d.grippers or max(np.ptp(g) for g in d.gripper_commands.values()) < 0.3:
        return None
    if rng.random() < 0.5:
        return [replace(d, grippers={a: 1 - g for a, g in d.grippers.items()})]
    actions = d.actions.copy()
    for i, dim in enumerate(d.action_space.dimensions):
        if dim.role == "gripper":
            actions[:, i] = 1 - actions[:, i]
    return [rebuilt(replace(d, actions=actions), s.model)]


def turned_sign(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """One to three commands of an arm with the other sign, of those that span 0.1 rad or 50 mm."""
    d = s.demos[k]
    dimensions = d.action_space.dimensions
    numbers = [dim.to_si(d.actions[:, i]) for i, dim in enumerate(dimensions)]
    free = [
        i
        for i, (dim, x) in enumerate(zip(dimensions, numbers, strict=True))
        if dim.has_sign and not dim.turns and np.ptp(x) > (0.1 if dim.joint else 0.05)
    ]
    if s.real or not free:
        return None
    some = rng.permutation(free)[: int(rng.integers(1, 4))]
    actions = d.actions.copy()
    actions[:, some] *= -1
    return [rebuilt(replace(d, actions=actions), s.model)]


def moved_camera(rng: np.random.Generator, s: Set, k: int, *, turn: bool = False) -> Faulty:
    """A camera 10 mm beside where its calibration says."""
    d = s.demos[k]
    known = [(n, c.T_mount_camera) for n, c in d.cameras.items() if c.T_mount_camera is not None]
    if not known:
        return None
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    error = se3.pose(se3.exp3(np.deg2rad(5.0) * axis)) if turn else se3.pose(p=0.01 * axis)
    name, pose = known[0]
    out = []
    for other in s.demos:  # a calibration is all episodes'
        wrong = replace(other.cameras[name], T_mount_camera=pose @ error)
        out.append(replace(other, cameras={**other.cameras, name: wrong}))
    return out


def turned_camera(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """A camera turned by 5 degrees about a random axis."""
    return moved_camera(rng, s, k, turn=True)


def without_depth(injection: Injection) -> Injection:
    """The same, seen in colour alone."""

    def inject(rng: np.random.Generator, s: Set, k: int) -> Faulty:
        faulty = injection(rng, s, k)
        return faulty and [
            replace(d, cameras={n: replace(c, depths=None) for n, c in d.cameras.items()})
            for d in faulty
        ]

    return inject


def half(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """One episode of ten ends half way."""
    if s.real:
        return None
    return [cut(d, np.arange(len(d) // 2)) if i == k else d for i, d in enumerate(s.demos)]


def other_task(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """One episode of ten shows another task than the instruction says."""
    if s.other is None:
        return None
    strange = replace(
        s.other.demos[int(rng.integers(EPISODES))], instruction=s.demos[k].instruction
    )
    return [strange if i == k else d for i, d in enumerate(s.demos)]


def too_few(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """One to four demonstrations of an instruction."""
    if s.real:
        return None
    return list(s.demos[: int(rng.integers(1, 5))])


def all_alike(rng: np.random.Generator, s: Set, k: int) -> Faulty:
    """Ten recordings of one motion, each slower or faster by up to 5% and 0.005 rad off."""
    d = s.demos[k]
    if s.real:
        return None
    out = []
    for _ in range(EPISODES):
        n = round(len(d) * rng.uniform(0.95, 1.05))
        keep = np.round(np.linspace(0, len(d) - 1, n)).astype(int)
        other = replace(cut(d, keep), times=np.arange(n) / d.action_space.rate)
        q = other.q + 0.005 * rng.standard_normal(d.q.shape[1])
        out.append(rebuilt(replace(other, q=q), s.model))
    return out


FAULTS: dict[str, tuple[str, Injection]] = {
    "limits": ("limits", within_limits),
    "jump": ("jump", jump),
    "dropped, times tell": ("dropped", gap),
    "dropped, even times": ("dropped", hidden_gap),
    "duplicated": ("duplicated", repeated),
    "duplicated pictures": ("duplicated", frozen_camera),
    "idle": ("idle", idle),
    "action equals state": ("action-equals-state", echo),
    "units": ("units", wrong_units),
    "swapped joints": ("swapped-joints", exchanged),
    "inverted gripper": ("inverted-gripper", turned_gripper),
    "inverted sign": ("inverted-sign", turned_sign),
    "outlier: half": ("outlier", half),
    "too few": ("too-few", too_few),
    "all alike": ("all-alike", all_alike),
    "outlier: other task": ("outlier", other_task),
    "camera 10 mm": ("calibration", moved_camera),
    "camera 5 deg": ("calibration", turned_camera),
    "camera 10 mm, colour": ("calibration", without_depth(moved_camera)),
    "camera 5 deg, colour": ("calibration", without_depth(turned_camera)),
}
