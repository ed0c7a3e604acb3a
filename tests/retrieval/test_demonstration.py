"""What follows from a recording: commands from actions, and an observation of each frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_vla_embodiments import (
    ActionSpace,
    ActionSpaceError,
    Dimension,
    Embodiment,
    FrameSpec,
    Group,
    JointLimits,
    Kind,
    Reference,
    se3,
)
from icl_vla_embodiments.action_space import gripper_dimension, pose_dimensions
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_retrieval import CameraTrack, Demonstration, DemonstrationError, make_example


def record(reference: Reference, actions: np.ndarray, poses: np.ndarray) -> Demonstration:
    dims = (*pose_dimensions("hand", reference=reference), gripper_dimension("hand"))
    return Demonstration.from_arrays(
        q=np.zeros((len(actions), 3)),
        actions=actions,
        action_space=ActionSpace("test", dims, rate=20.0),
        embodiment="arm",
        poses={"hand": poses},
        grippers={"hand": np.zeros(len(actions))},
    )


def test_commands_follow_from_actions() -> None:
    rng = np.random.default_rng(0)
    T = 15
    poses = se3.pose(se3.exp3(rng.normal(size=(T, 3))), rng.normal(size=(T, 3)))
    actions = np.column_stack([0.1 * rng.normal(size=(T, 6)), rng.uniform(size=T)])
    step, turn = actions[:, :3], se3.exp3(actions[:, 3:6])

    absolute = record(Reference.ABSOLUTE, actions, poses)
    assert np.allclose(absolute.commands["hand"], se3.pose(turn, step))
    assert np.array_equal(absolute.gripper_commands["hand"], actions[:, 6])
    assert np.allclose(absolute.times, np.arange(T) / 20.0)

    for reference in (Reference.MEASURED, Reference.CHUNK_START):
        measured = record(reference, actions, poses).commands["hand"]
        expected = se3.pose(turn @ poses[:, :3, :3], poses[:, :3, 3] + step)
        assert np.allclose(measured, expected)

    commanded = record(Reference.COMMANDED, actions, poses).commands["hand"]
    assert np.allclose(commanded[:, :3, 3], poses[0, :3, 3] + np.cumsum(step, axis=0))
    R = poses[0, :3, :3]
    for t in range(T):
        R = turn[t] @ R
        assert np.allclose(commanded[t, :3, :3], R)


def test_given_commands_are_kept() -> None:
    d = make_example()
    given = {"hand": np.tile(np.eye(4), (len(d), 1, 1))}
    again = Demonstration.from_arrays(
        q=d.q,
        actions=d.actions,
        action_space=d.action_space,
        embodiment=d.embodiment,
        poses=d.poses,
        commands=given,
    )
    assert np.array_equal(again.commands["hand"], given["hand"])
    assert np.array_equal(again.gripper_commands["hand"], d.gripper_commands["hand"])


def test_actions_that_count_from_an_unknown_pose() -> None:
    d = make_example()
    with pytest.raises(ActionSpaceError, match="hand"):
        Demonstration.from_arrays(
            q=d.q, actions=d.actions, action_space=d.action_space, embodiment=d.embodiment
        )


def test_observation_and_lazy_pictures() -> None:
    decoded = []
    d = make_example()
    rgb = d.cameras["front"].rgb

    def frames() -> np.ndarray:
        decoded.append(1)
        return rgb

    d = replace(d, cameras={"front": CameraTrack(frames)})
    o = d.observation(4, cameras=False)
    assert not decoded
    assert not o.cameras
    assert np.array_equal(o.q, d.q[4])
    assert o.effectors["hand"].gripper == d.grippers["hand"][4]
    assert np.array_equal(d.observation(4).cameras["front"].rgb, rgb[4])
    assert d.observation(5).cameras["front"].depth is None
    assert len(decoded) == 1


def test_shapes_and_times_are_checked() -> None:
    d = make_example()
    for change, word in (
        ({"q": d.q[:-1]}, "q of"),
        ({"actions": d.actions[:, :3]}, "actions"),
        ({"poses": {"hand": d.poses["hand"][:, :3]}}, r"poses\.hand"),
        ({"gripper_commands": {"hand": d.actions}}, r"gripper_commands\.hand"),
        ({"times": d.times[::-1]}, "times"),
    ):
        with pytest.raises(DemonstrationError, match=word):
            replace(d, **change)


URDF = """
<robot name="planar">
  <link name="base"/><link name="upper"/><link name="fore"/>
  <joint name="shoulder" type="revolute">
    <parent link="base"/><child link="upper"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" velocity="1" effort="1"/>
  </joint>
  <joint name="elbow" type="revolute">
    <parent link="upper"/><child link="fore"/><axis xyz="0 0 1"/><origin xyz="0.3 0 0"/>
    <limit lower="-3" upper="3" velocity="1" effort="1"/>
  </joint>
</robot>
"""


def test_poses_follow_from_joints_and_a_model() -> None:
    joints = ("shoulder", "elbow")
    limits = JointLimits(-3, 3, 1, 1, 1)
    arm = Group("arm", "arm", joints, base_link="base", tip_link="fore")
    tip = FrameSpec.at("fore", se3.pose(p=[0.2, 0, 0]))
    robot = Embodiment(
        name="planar",
        urdf=URDF,
        urdf_path=Path("planar.urdf"),
        urdf_sha256="",
        family="arm",
        base="fixed",
        groups=(arm,),
        joints=joints,
        limits=dict.fromkeys(joints, limits),
        tcp={"arm": tip},
    )
    dims = tuple(Dimension(j, Kind.JOINT_POSITION, joint=j, unit="deg") for j in joints)
    rng = np.random.default_rng(0)
    q, asked = rng.uniform(-2, 2, (2, 9, 2))
    d = Demonstration.from_arrays(
        q=q,
        actions=np.rad2deg(asked),
        action_space=ActionSpace("joints", dims, rate=10.0),
        embodiment="planar",
        model=RobotModel(robot),
    )
    for poses, angles in ((d.poses, q), (d.commands, asked)):
        whole = angles.sum(axis=1)
        x = 0.3 * np.cos(angles[:, 0]) + 0.2 * np.cos(whole)
        y = 0.3 * np.sin(angles[:, 0]) + 0.2 * np.sin(whole)
        expected = se3.pose(se3.yaw(whole), np.column_stack([x, y, np.zeros(9)]))
        assert np.allclose(poses["arm"], expected)
