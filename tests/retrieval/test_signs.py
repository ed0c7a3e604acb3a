"""Which way numbers run is read from where the robot went."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybullet_data
import pytest

from icl_vla_embodiments import ActionSpace, Frame, Reference, Rotation, TaskTarget
from icl_vla_embodiments.action_space import gripper_dimension, pose_dimensions
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import Demonstration
from icl_vla_retrieval.demonstration import measured_state
from icl_vla_retrieval.signs import read_as, turned_numbers

ARM, FRAMES, LAG = "arm", 80, 2


@pytest.fixture(scope="module")
def robot() -> Embodiment:
    return embodiment_from_urdf(Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf")


@pytest.fixture(scope="module")
def model(robot: Embodiment) -> RobotModel:
    return RobotModel(robot)


def poses(rotation: Rotation, reference: Reference, frame: Frame) -> Callable[..., ActionSpace]:
    def make(robot: Embodiment) -> ActionSpace:
        motion = pose_dimensions(ARM, frame=frame, reference=reference, rotation=rotation)
        return ActionSpace("poses", (*motion, gripper_dimension(ARM)), rate=10.0)

    return make


def joints(kind: str) -> Callable[..., ActionSpace]:
    return lambda robot: replace(robot.action_space(kind), rate=10.0)


SPACES = {
    "poses, rotation vector": poses(Rotation.ROTVEC, Reference.ABSOLUTE, Frame.BASE),
    "poses, Euler angles": poses(Rotation.EULER_XYZ, Reference.ABSOLUTE, Frame.BASE),
    "steps in the hand's frame": poses(Rotation.ROTVEC, Reference.MEASURED, Frame.BODY),
    "steps from the command": poses(Rotation.EULER_XYZ, Reference.COMMANDED, Frame.BASE),
    "poses, quaternion": poses(Rotation.QUAT_XYZW, Reference.ABSOLUTE, Frame.BASE),
    "joint positions": joints("joint_position"),
}


def shown(robot: Embodiment, model: RobotModel, space: ActionSpace, seed: int) -> Demonstration:
    """A motion in all joints, followed two frames late and a little off; a thing in the hand."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, FRAMES + LAG)[:, None]
    lower, upper = robot.array("lower"), robot.array("upper")
    width, turns = upper - lower, rng.uniform(0.5, 1.5, len(lower))
    plan = 0.5 * (lower + upper) + 0.2 * width * np.sin(2 * np.pi * (turns * t + rng.random()))
    opening = np.interp(t[:, 0], [0.3, 0.4, 0.7, 0.8], [1.0, 0.0, 0.0, 1.0])
    q = plan[:FRAMES] + 0.002 * rng.standard_normal((FRAMES, len(lower)))
    grippers = {ARM: np.maximum(opening[:FRAMES], 0.4)}
    bare = Demonstration.from_arrays(
        q=q,
        actions=np.zeros((FRAMES, len(space))),
        action_space=space,
        embodiment=robot.name,
        grippers=grippers,
        commands={},
        gripper_commands={},
        model=model,
    )
    actions: list[np.ndarray] = []
    last: TaskTarget | None = None
    for k in range(FRAMES):
        asked = plan[k + LAG]
        target = TaskTarget(
            poses={ARM: model.poses(asked)[ARM]},
            posture=asked,
            grippers={ARM: float(opening[k + LAG])},
        )
        actions.append(space.encode([target], measured_state(bare, k, last), model)[0])
        last = target
    return read_as(space, replace(bare, actions=np.stack(actions)), model)


@pytest.mark.parametrize("name", SPACES)
def test_signs_that_only_demonstrations_show(
    name: str, robot: Embodiment, model: RobotModel
) -> None:
    rng = np.random.default_rng(5)
    told = SPACES[name](robot).with_joints(robot.joints)
    free = [d.name for d in told.dimensions if d.has_sign]
    for some in ([], free, *([n for n in free if rng.random() < 0.5] for _ in range(3))):
        true = told.turned(some)
        recorded = [shown(robot, model, true, seed) for seed in range(3)]
        as_told = [read_as(told, replace(d, action_space=told), model) for d in recorded]
        found = turned_numbers(told, as_told)
        assert sorted(found) == sorted(some)
        for d, meant in zip(as_told, recorded, strict=True):
            again = read_as(told.turned(found), d, model)
            np.testing.assert_allclose(again.commands[ARM], meant.commands[ARM], atol=1e-9)
            np.testing.assert_allclose(
                again.gripper_commands[ARM], meant.gripper_commands[ARM], atol=1e-9
            )


def test_what_demonstrations_do_not_show_stays_as_described(
    robot: Embodiment, model: RobotModel
) -> None:
    """Numbers that have nothing to do with the motion, that stay at rest, or that are few."""
    told = SPACES["poses, rotation vector"](robot)
    demos = [shown(robot, model, told, seed) for seed in range(3)]
    rng = np.random.default_rng(0)
    torn = [replace(d, actions=d.actions[rng.permutation(FRAMES)]) for d in demos]
    assert turned_numbers(told, torn) == ()
    still = [
        replace(d, q=d.q[:1] + 0 * d.q, poses={ARM: d.poses[ARM][:1] + 0 * d.poses[ARM]})
        for d in demos
    ]
    assert turned_numbers(told, still) == ()
    other = told.turned(["x"])
    assert turned_numbers(other, demos) == (), "they speak another language"
    assert turned_numbers(told, []) == ()


def test_a_hand_that_nobody_measured_is_left_out(robot: Embodiment, model: RobotModel) -> None:
    told = SPACES["poses, Euler angles"](robot)
    other = tuple(replace(d, name=f"other_{d.name}", effector="other") for d in told.dimensions)
    both = replace(told, dimensions=other + told.dimensions)
    recorded = [shown(robot, model, told.turned(["y"]), seed) for seed in range(2)]
    demos = [
        replace(d, actions=np.hstack([0 * d.actions, d.actions]), action_space=both)
        for d in recorded
    ]
    assert turned_numbers(both, demos) == ("y",)
    alone = replace(told, dimensions=other)
    blind = [replace(d, actions=0 * d.actions, action_space=alone) for d in recorded]
    assert turned_numbers(alone, blind) == ()


def test_one_that_failed_does_not_outvote_the_others(robot: Embodiment, model: RobotModel) -> None:
    told = SPACES["joint positions"](robot).with_joints(robot.joints)
    demos = [shown(robot, model, told, seed) for seed in range(5)]
    demos[2] = replace(demos[2], actions=-demos[2].actions)
    assert turned_numbers(told, demos) == ()


def test_a_turned_dimension_keeps_quantity_and_limits() -> None:
    (x, *_) = pose_dimensions(ARM)
    d = replace(x, unit="mm", scale=2.0, offset=30.0, lower=-100.0, upper=300.0)
    other = d.turned()
    assert other.turned() == d and other.kind is d.kind
    limits = np.sort(other.to_si([other.lower, other.upper]))
    np.testing.assert_allclose(limits, np.sort(d.to_si([d.lower, d.upper])), atol=1e-12)
    u = np.linspace(d.lower, d.upper, 5)
    np.testing.assert_allclose(other.to_si(u), -d.to_si(u), atol=1e-12)
