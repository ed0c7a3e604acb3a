"""Each fault is found where it was put, and clean demonstrations are left in peace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybullet_data
import pytest

from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import CameraSpec, CameraTrack, DemoBank, Demonstration
from icl_vla_retrieval.lint import Finding, cut, fix, lint, read_report, write_report

RATE = 10.0
ARM, HAND = 7, "arm"


@pytest.fixture(scope="module")
def robot() -> Embodiment:
    return embodiment_from_urdf(Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf")


@pytest.fixture(scope="module")
def model(robot: Embodiment) -> RobotModel:
    return RobotModel(robot)


def moving(robot: Embodiment, model: RobotModel, seed: int, frames: int = 60) -> Demonstration:
    """A reach, a grasp and a carry, tracked with a lag of one frame, seen by a noisy camera."""
    rng = np.random.default_rng(seed)
    space = robot.action_space("joint_position")
    space = replace(space, rate=RATE).with_joints(robot.joints)
    t = np.linspace(0.0, 1.0, frames + 1)
    lower, upper = robot.array("lower"), robot.array("upper")
    here = 0.5 * (lower + upper) + rng.uniform(-0.1, 0.1) * (np.arange(len(lower)) == 0)
    way = 0.12 * (upper - lower) * rng.uniform(0.95, 1.0, len(lower))
    wave = 1.0 - np.cos(2 * np.pi * np.maximum(t, 0.02)[:, None] * 0.9)
    plan = here + way * wave + np.linspace(0, 0.05, len(lower))
    opening = np.interp(t, [0.4, 0.48, 0.8, 0.88], [1.0, 0.0, 0.0, 1.0])
    hand = robot.gripper_of(HAND)
    assert hand is not None
    for joint, shut, wide in zip(hand.joints, hand.closed, hand.open, strict=True):
        plan[:, robot.joints.index(joint)] = shut + (wide - shut) * opening
    measured, commanded = plan[:-1], plan[1:]
    actions = np.zeros((frames, len(space)))
    for i, dim in enumerate(space.dimensions):
        values = commanded[:, robot.joints.index(dim.joint)] if dim.joint else opening[1:]
        actions[:, i] = dim.to_native(values)
    shade = (120 + 60 * plan[:-1, 0])[:, None, None, None] + 20 * rng.random((frames, 24, 32, 3))
    return Demonstration.from_arrays(
        q=measured,
        actions=actions,
        action_space=space,
        embodiment=robot.name,
        instruction="carry it there",
        grippers={HAND: opening[:-1]},
        cameras={"front": CameraTrack.from_arrays(np.clip(shade, 0, 255).astype(np.uint8))},
        model=model,
    )


def rebuilt(d: Demonstration, model: RobotModel, **changes: object) -> Demonstration:
    """A demonstration with other numbers, what follows from them computed anew."""
    d = replace(d, **changes)
    names = ("q", "actions", "action_space", "embodiment", "instruction", "times", "grippers")
    return Demonstration.from_arrays(
        **{name: getattr(d, name) for name in names}, cameras=d.cameras, model=model
    )


def kinds(findings: tuple[Finding, ...]) -> set[str]:
    return {f.kind for f in findings}


def test_clean_demonstrations(robot: Embodiment, model: RobotModel) -> None:
    assert lint([moving(robot, model, seed) for seed in range(6)], robot) == ()


Fault = Callable[[Demonstration, RobotModel], Demonstration]


def beyond(d: Demonstration, model: RobotModel) -> Demonstration:
    q = d.q.copy()
    q[20:25, 3] = model.upper[3] + 0.05
    return rebuilt(d, model, q=q)


def jump(d: Demonstration, model: RobotModel) -> Demonstration:
    q = d.q.copy()
    q[30:, 1] += 3 * model.embodiment.array("velocity")[1] / RATE
    return rebuilt(d, model, q=q)


def lost(d: Demonstration, model: RobotModel) -> Demonstration:
    keep = np.delete(np.arange(len(d)), [22, 23])
    return replace(cut(d, keep), times=d.times[keep])


def lost_and_restamped(d: Demonstration, model: RobotModel) -> Demonstration:
    return cut(d, np.delete(np.arange(len(d)), [17, 18, 19]))


def twice(d: Demonstration, model: RobotModel) -> Demonstration:
    keep = np.sort(np.append(np.arange(len(d)), [15, 15]))
    return replace(cut(d, keep), times=np.arange(len(keep)) / RATE)


def frozen(d: Demonstration, model: RobotModel) -> Demonstration:
    rgb = d.cameras["front"].rgb.copy()
    rgb[16:18] = rgb[15]
    return replace(d, cameras={"front": CameraTrack.from_arrays(rgb)})


def waiting(d: Demonstration, model: RobotModel) -> Demonstration:
    keep = np.concatenate([np.arange(len(d)), [len(d) - 1] * 5])
    return replace(cut(d, keep), times=np.arange(len(keep)) / RATE)


def echo(d: Demonstration, model: RobotModel) -> Demonstration:
    actions = d.actions.copy()
    for i, dim in enumerate(d.action_space.dimensions):
        if dim.joint:
            actions[:, i] = dim.to_native(d.q[:, model.embodiment.joints.index(dim.joint)])
    return rebuilt(d, model, actions=actions)


def degrees(d: Demonstration, model: RobotModel) -> Demonstration:
    return rebuilt(d, model, q=np.where(model.prismatic, d.q, np.rad2deg(d.q)))


def degrees_commanded(d: Demonstration, model: RobotModel) -> Demonstration:
    turning = [dim.joint != "" and dim.unit == "rad" for dim in d.action_space.dimensions]
    return rebuilt(d, model, actions=np.where(turning, np.rad2deg(d.actions), d.actions))


def exchanged(d: Demonstration, model: RobotModel) -> Demonstration:
    q = d.q.copy()
    q[:, [3, 5]] = q[:, [5, 3]]
    return rebuilt(d, model, q=q)


def mirrored(d: Demonstration, model: RobotModel) -> Demonstration:
    return rebuilt(
        d, model, actions=d.actions * np.where(np.arange(d.actions.shape[1]) == 1, -1, 1)
    )


def turned(d: Demonstration, model: RobotModel) -> Demonstration:
    return replace(d, grippers={HAND: 1.0 - d.grippers[HAND]})


def turned_commands(d: Demonstration, model: RobotModel) -> Demonstration:
    grip = [dim.role == "gripper" for dim in d.action_space.dimensions]
    assert any(grip)
    return rebuilt(d, model, actions=np.where(grip, 1.0 - d.actions, d.actions))


@pytest.mark.parametrize(
    ("fault", "kind", "frames"),
    [
        (beyond, "limits", (20, 24)),
        (jump, "jump", (29, 30)),
        (lost, "dropped", (21, 22)),
        (lost_and_restamped, "dropped", (16, 17)),
        (twice, "duplicated", (16, 17)),
        (frozen, "duplicated", (16, 17)),
        (waiting, "idle", (59, 64)),
        (echo, "action-equals-state", None),
        (degrees, "units", None),
        (degrees_commanded, "units", None),
        (exchanged, "swapped-joints", None),
        (mirrored, "inverted-sign", None),
        (turned, "inverted-gripper", None),
        (turned_commands, "inverted-gripper", None),
    ],
)
def test_finds_a_fault_in_its_place(
    robot: Embodiment,
    model: RobotModel,
    fault: Fault,
    kind: str,
    frames: tuple[int, int] | None,
) -> None:
    demos = [moving(robot, model, seed) for seed in range(6)]
    demos[3] = fault(demos[3], model)
    found = [f for f in lint(demos, robot) if f.kind == kind]
    assert [f.episode for f in found] == [3]
    assert found[0].frames == frames
    assert found[0].value
    assert found[0].remedy
    assert found[0].place.startswith("episode 3")


def test_a_wrong_unit_is_not_also_a_wrong_limit(robot: Embodiment, model: RobotModel) -> None:
    demos = [degrees(moving(robot, model, seed), model) for seed in range(6)]
    assert kinds(lint(demos, robot)) == {"units"}


def test_a_set_point_that_steps_is_no_missing_frame(robot: Embodiment, model: RobotModel) -> None:
    """The commands alone leap; measured joints and tool go on evenly."""
    d = moving(robot, model, 3)
    later = d.actions.copy()
    later[17:-3] = d.actions[20:]  # from here on three frames ahead of the robot
    leaping = rebuilt(d, model, actions=later)
    assert "dropped" not in kinds(lint([leaping], robot))
    assert "dropped" in kinds(lint([lost_and_restamped(d, model)], robot))


def test_several_demonstrations(robot: Embodiment, model: RobotModel) -> None:
    demos = [moving(robot, model, seed) for seed in range(8)]
    assert kinds(lint(demos[:3], robot)) == {"too-few"}
    assert kinds(lint([demos[0]] * 8, robot)) == {"all-alike"}
    demos[5] = cut(demos[5], np.arange(len(demos[5]) // 2))
    (found,) = lint(demos, robot)
    assert (found.kind, found.episode) == ("outlier", 5)
    # demonstrations of another instruction are no company
    others = [replace(d, instruction="something else") for d in demos[:5]]
    assert kinds(lint([*others, demos[6]], robot)) == {"too-few"}


def test_fix_writes_a_new_version(tmp_path: Path, robot: Embodiment, model: RobotModel) -> None:
    demos = [moving(robot, model, seed) for seed in range(6)]
    space = demos[0].action_space
    bank = DemoBank.create(
        tmp_path / "bank",
        embodiment=robot.name,
        urdf_sha256=robot.urdf_sha256,
        joints=robot.joints,
        action_space=space,
        cameras={"front": CameraSpec(24, 32)},
    )
    faulty = {1: twice, 2: waiting, 4: jump}
    for i, d in enumerate(demos):
        bank.append(faulty[i](d, model) if i in faulty else d)
    found = lint(bank, robot)
    strange = {(f.kind, f.episode) for f in found}
    assert strange - {("outlier", 4)} == {("duplicated", 1), ("idle", 2), ("jump", 4)}
    write_report(bank, found)
    assert read_report(bank) == found
    mended, done = fix(bank, found)
    assert [line.split(":")[0] for line in done] == ["episode 1", "episode 2"]
    assert read_report(mended) is None  # it is another bank now
    assert strange - {(f.kind, f.episode) for f in lint(mended, robot)} == {
        ("duplicated", 1),
        ("idle", 2),
    }
    assert np.array_equal(mended[1].q, demos[1].q.astype(np.float32))
    assert np.allclose(mended[1].times, demos[1].times)
    assert len(mended[2]) == len(demos[2])  # the last frame stays, its copies go
    old = DemoBank.open(tmp_path / mended.history[-1]["before"])
    assert [len(d) for d in old] == [60, 62, 65, 60, 60, 60]
    assert fix(mended, lint(mended, robot)) == (mended, ())
