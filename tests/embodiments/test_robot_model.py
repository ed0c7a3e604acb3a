"""Kinematics against finite differences and against Pinocchio read directly."""

import numpy as np
import pinocchio as pin
import pytest

from icl_vla_embodiments import FrameNotFound, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf

RNG = np.random.default_rng(0)
STEP = 1e-6  # central differences: error about STEP**2, plus rounding 1e-16 / STEP


def models(data):
    files = ("franka_panda/panda.urdf", "kuka_iiwa/model.urdf", "xarm/xarm6_with_gripper.urdf")
    return [RobotModel(embodiment_from_urdf(data / f)) for f in files]


def test_jacobian_is_the_derivative(data):
    for model in models(data):
        q = RNG.uniform(model.lower, model.upper)
        J = model.jacobian(q, "arm")
        for i in range(model.n):
            h = np.eye(model.n)[i] * STEP
            a, b = (model.poses(q + s * h)["arm"] for s in (-1, 1))
            linear = (b[:3, 3] - a[:3, 3]) / (2 * STEP)
            angular = se3.log3(b[:3, :3] @ a[:3, :3].T) / (2 * STEP)
            assert np.allclose(J[:, i], [*linear, *angular], atol=1e-8)


def test_followers_follow(data):
    """Both of the panda's fingers leave the middle by the same length."""
    model = models(data)[0]
    q = model.neutral.copy()
    q[-1] = 0.03
    poses = model.link_poses(q)
    hand = se3.inverse(poses["panda_hand"])
    left, right = (hand @ poses[f"panda_{side}finger"] for side in ("left", "right"))
    assert left[1, 3] == pytest.approx(0.03) and right[1, 3] == pytest.approx(-0.03)


def test_mimic_with_offset_chain_and_continuous_joint(write):
    """b follows a (x2 + 0.1), c follows b (x-1 - 0.2), d turns without end."""
    joint = (
        '<joint name="{0}" type="{1}"><parent link="{2}"/><child link="{3}"/><axis xyz="0 0 1"/>'
        '<limit lower="-2" upper="2" velocity="1" effort="1"/>{4}</joint>'
    )
    body = "".join(f'<link name="l{i}"/>' for i in range(5))
    mimic = '<mimic joint="{}" multiplier="{}" offset="{}"/>'
    body += joint.format("a", "revolute", "l0", "l1", "")
    body += joint.format("b", "revolute", "l1", "l2", mimic.format("a", 2, 0.1))
    body += joint.format("c", "revolute", "l2", "l3", mimic.format("b", -1, -0.2))
    body += joint.format("d", "continuous", "l3", "l4", "")
    model = RobotModel(embodiment_from_urdf(write(body)))
    assert model.embodiment.joints == ("a", "d")
    a, d = 0.4, 5.0
    poses = model.link_poses([a, d])
    b = 2 * a + 0.1
    c = -b - 0.2
    for link, angle in (("l1", a), ("l2", a + b), ("l3", a + b + c), ("l4", a + b + c + d)):
        assert np.allclose(poses[link][:3, :3], se3.yaw(angle), atol=1e-12)


def test_agrees_with_pinocchio(panda, panda_model):
    q = RNG.uniform(panda_model.lower, panda_model.upper)
    model = pin.buildModelFromXML(panda.urdf)
    data = model.createData()
    full = np.array([*q, q[-1]])
    pin.framesForwardKinematics(model, data, full)
    T = data.oMf[model.getFrameId("panda_grasptarget")].homogeneous
    assert np.allclose(panda_model.poses(q)["arm"], T, atol=1e-12)
    assert np.allclose(panda_model.T_base_frame(q, "panda_grasptarget"), T, atol=1e-12)


def test_inverse_kinematics(data):
    """Poses that the arm had can be had again, inside the limits."""
    for model in models(data):
        hits = 0
        for _ in range(10):
            margin = 0.1 * (model.upper - model.lower)
            q = RNG.uniform(model.lower + margin, model.upper - margin)
            T = model.poses(q)["arm"]
            near = np.clip(q + 0.2 * RNG.normal(size=model.n), model.lower, model.upper)
            found = model.inverse_kinematics({"arm": T}, near)
            assert (found >= model.lower).all() and (found <= model.upper).all()
            hits += np.allclose(model.poses(found)["arm"], T, atol=1e-4)
        assert hits >= 9  # a singular posture may slow down one


def test_a_link_may_have_a_joints_name(write):
    body = (
        '<link name="base"/><link name="x"/><link name="tip"/>'
        '<joint name="x" type="revolute"><origin xyz="0 0 1"/><parent link="base"/>'
        '<child link="tip"/><axis xyz="0 0 1"/>'
        '<limit lower="-1" upper="1" velocity="1" effort="1"/></joint>'
        '<joint name="y" type="fixed"><origin xyz="2 0 0"/><parent link="base"/>'
        '<child link="x"/></joint>'
    )
    model = RobotModel(embodiment_from_urdf(write(body)))
    assert np.allclose(model.T_base_frame([0.5], "x")[:3, 3], [2, 0, 0])


def test_unknown_frames_are_told(panda_model):
    with pytest.raises(FrameNotFound, match="panda_hand"):
        panda_model.T_base_frame(panda_model.neutral, "palm")
    with pytest.raises(FrameNotFound, match="arm"):
        panda_model.tcp_id("left_arm")
