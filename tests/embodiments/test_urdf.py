"""What is derived from a URDF, held against the robots themselves."""

import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pinocchio as pin
import pytest

from icl_vla_embodiments import EmbodimentError, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_embodiments.urdf.limits import ACCELERATION


def test_panda_is_what_it_is(panda):
    assert (panda.family, panda.base) == ("arm", "fixed")
    arm = panda.group("arm")
    assert arm.joints == tuple(f"panda_joint{i}" for i in range(1, 8))
    assert arm.tip_link == "panda_link7"
    gripper = panda.gripper_of("arm")
    assert gripper.joints == ("panda_finger_joint1",)
    assert (gripper.closed, gripper.open) == ((0.0,), (0.04,))
    assert panda.joints == (*arm.joints, "panda_finger_joint1")
    assert [(m.joint, m.master) for m in panda.mimic] == [
        ("panda_finger_joint2", "panda_finger_joint1")
    ]
    assert panda.tcp["arm"].link == "panda_grasptarget"
    assert np.allclose(panda.tcp["arm"].matrix, np.eye(4))
    limit = panda.limits["panda_joint4"]
    assert (limit.lower, limit.upper, limit.velocity, limit.effort) == (-3.1416, 0.0, 2.175, 87.0)
    assert limit.acceleration == ACCELERATION * limit.velocity
    assert [s.name for s in panda.action_spaces] == ["ee_pose", "ee_delta", "joint_position"]
    assert panda.action_space().names == ("x", "y", "z", "rx", "ry", "rz", "gripper")
    fields = {"family", "base", "groups", "joints", "limits", "neutral", "tcp", "action_spaces"}
    assert all(panda.provenance[f].why for f in fields)
    assert not panda.warnings


@pytest.mark.parametrize(
    "file", ["franka_panda/panda.urdf", "kuka_iiwa/model.urdf", "xarm/xarm6_with_gripper.urdf"]
)
def test_neutral_posture_of_an_arm_is_ready_to_work(data, file):
    robot = embodiment_from_urdf(data / file)
    model = RobotModel(robot)
    q = robot.neutral_q
    assert (q >= model.lower).all() and (q <= model.upper).all()
    T = model.poses(q)["arm"]
    assert T[0, 3] > 0.2 and abs(T[1, 3]) < 0.02  # in front
    assert T[2, 2] < -0.99 and T[0, 0] > 0.99  # hand down, facing forward
    arm = [robot.joints.index(j) for j in robot.group("arm").joints]
    margin = np.minimum(q - model.lower, model.upper - q)[arm]
    assert margin.min() > 0.1  # [rad]
    assert np.linalg.svd(model.jacobian(q, "arm")[:, arm])[1][-1] > 0.05  # not singular
    assert not colliding(robot, data / file)
    if gripper := robot.gripper_of("arm"):
        assert [robot.neutral[j] for j in gripper.joints] == list(gripper.open)


def colliding(robot, file: Path) -> list:
    """Self-collisions that PyBullet, with its own meshes, sees in the neutral posture."""
    import pybullet

    world = pybullet.connect(pybullet.DIRECT)
    try:
        flags = pybullet.URDF_USE_SELF_COLLISION
        body = pybullet.loadURDF(str(file), useFixedBase=True, flags=flags, physicsClientId=world)
        links = {pybullet.getBodyInfo(body, world)[0].decode(): -1}
        for i in range(pybullet.getNumJoints(body, world)):
            info = pybullet.getJointInfo(body, i, world)
            links[info[12].decode()] = i
            joint = info[1].decode()
            mimic = {m.joint: m for m in robot.mimic}.get(joint)
            value = robot.neutral.get(mimic.master if mimic else joint, 0.0)
            value = mimic.multiplier * value + mimic.offset if mimic else value
            pybullet.resetJointState(body, i, value, physicsClientId=world)
        pybullet.performCollisionDetection(world)
        return [
            (a, b)
            for a, b in robot.collision_pairs
            if pybullet.getClosestPoints(
                body, body, -0.002, links[a], links[b], physicsClientId=world
            )
        ]
    finally:
        pybullet.disconnect(world)


def test_normalised_text_moves_like_the_file(data, panda):
    """Pinocchio builds both; every link is at the same place for the same angles."""
    original = pin.buildModelFromUrdf(str(data / "franka_panda/panda.urdf"))
    model = pin.buildModelFromXML(panda.urdf)
    rng = np.random.default_rng(1)
    q = rng.uniform(original.lowerPositionLimit, original.upperPositionLimit)
    poses = []
    for m in (original, model):
        d = m.createData()
        pin.framesForwardKinematics(m, d, q)
        poses.append(
            {f.name: d.oMf[i].homogeneous for i, f in enumerate(m.frames) if f.type == pin.BODY}
        )
    assert poses[0].keys() == poses[1].keys()
    for name, T in poses[0].items():
        assert np.allclose(T, poses[1][name], atol=1e-9), name
    masses = [sum(inertia.mass for inertia in m.inertias) for m in (original, model)]
    assert masses[0] == pytest.approx(masses[1], abs=1e-12)


def test_analysis_is_fast(data):
    start = time.process_time()
    embodiment_from_urdf(data / "franka_panda/panda.urdf")
    assert time.process_time() - start < 3.0  # [s of CPU], measured 0.1


def test_analysis_is_repeatable(data, panda):
    assert embodiment_from_urdf(data / "franka_panda/panda.urdf") == panda


def test_overrides_win_and_what_follows_from_them_follows(data):
    limits = {"panda_joint1": {"lower": -0.5, "upper": -0.2}}
    robot = embodiment_from_urdf(
        data / "franka_panda/panda.urdf",
        name="mine",
        tcp=((0, 0, 0.3), (0, 0, 0)),
        overrides={"limits": limits, "payload": 0.4},
    )
    assert robot.name == "mine" and robot.payload == 0.4
    assert robot.limits["panda_joint1"].lower == -0.5
    assert robot.limits["panda_joint1"].velocity == 2.175  # the rest stays
    assert -0.5 <= robot.neutral["panda_joint1"] <= -0.2
    assert robot.action_space("joint_position").upper[0] == -0.2
    assert robot.provenance["limits"].source == robot.provenance["tcp"].source == "user"
    assert robot.tcp["arm"].link == "panda_link7"
    assert robot.tcp["arm"].matrix[2, 3] == 0.3


@pytest.mark.parametrize(
    "overrides", [{"colour": "red"}, {"family": "fish"}, {"limits": {"panda_joint1": {"lower": 9}}}]
)
def test_wrong_overrides_are_told(data, overrides):
    with pytest.raises(EmbodimentError) as caught:
        embodiment_from_urdf(data / "franka_panda/panda.urdf", overrides=overrides)
    assert "overrides" in str(caught.value)


def test_names_are_not_needed(data, tmp_path):
    """With every link and joint renamed, topology and geometry still find arm and gripper."""
    for file in ("franka_panda/panda.urdf", "xarm/xarm6_with_gripper.urdf"):
        known = embodiment_from_urdf(data / file)
        robot = ET.fromstring(known.urdf)
        joints = {j.get("name"): f"q{i}" for i, j in enumerate(robot.findall("joint"))}
        links = {k.get("name"): f"b{i}" for i, k in enumerate(robot.findall("link"))}
        for element in robot.iter():
            if element.tag in ("parent", "child"):
                element.set("link", links[element.get("link")])
            elif element.tag == "mimic":
                element.set("joint", joints[element.get("joint")])
        for element in [*robot.findall("link"), *robot.findall("joint")]:
            names = links if element.tag == "link" else joints
            element.set("name", names[element.get("name")])
        (tmp_path / "r.urdf").write_text(ET.tostring(robot, encoding="unicode"))
        found = embodiment_from_urdf(tmp_path / "r.urdf")
        assert found.family == "arm"
        for a, b in zip(known.groups, found.groups, strict=True):
            assert (a.name, a.kind) == (b.name, b.kind)
            assert [joints[j] for j in a.joints] == list(b.joints)
            assert np.allclose(a.closed, b.closed) and np.allclose(a.open, b.open)
        a, b = (tcp_in_tip(r) for r in (known, found))
        assert np.linalg.norm(a[:3, 3] - b[:3, 3]) < 0.03  # [m], found without its name
        assert a[:3, 2] @ b[:3, 2] > 0.99  # the same approach


def tcp_in_tip(robot) -> np.ndarray:
    model = RobotModel(robot)
    T_base_tip = model.T_base_frame(robot.neutral_q, robot.group("arm").tip_link)
    return se3.inverse(T_base_tip) @ model.poses(robot.neutral_q)["arm"]


@pytest.mark.parametrize(
    ("file", "family", "base", "wheels", "feet"),
    [
        ("racecar/racecar.urdf", "mobile_base", "planar_ackermann", 4, 0),
        ("husky/husky.urdf", "mobile_base", "planar_diff", 4, 0),
        ("mini_cheetah/mini_cheetah.urdf", "quadruped", "floating", 0, 4),
        ("quadruped/spirit40.urdf", "quadruped", "floating", 0, 4),
        ("cartpole.urdf", "other", "fixed", 0, 0),
    ],
)
def test_other_robots(data, file, family, base, wheels, feet):
    robot = embodiment_from_urdf(data / file)
    assert (robot.family, robot.base) == (family, base)
    assert len(robot.of_kind("wheel")) == wheels and len(robot.of_kind("leg")) == feet
    for wheel in robot.of_kind("wheel"):
        assert 0.02 < wheel.radius < 0.3
        assert np.linalg.norm(wheel.axle) == pytest.approx(1)
    RobotModel(robot).link_poses(robot.neutral_q)
