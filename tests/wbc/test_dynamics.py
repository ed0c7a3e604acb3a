from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import casadi as ca
import numpy as np
import pinocchio as pin
import pytest

from icl_vla_embodiments import Embodiment, FrameSpec, JointLimits, Mimic, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_wbc import WbcError
from icl_vla_wbc.dynamics import (
    FrameKinematics,
    InPlace,
    RigidBody,
    inverse_dynamics,
    inverse_dynamics_derivatives,
)

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ICL_VLA_SHARED", ROOT.parent / "shared")) / "robots"

# continuous, prismatic along a skew axis, mimic in the chain, revolute about a skew axis
EXOTIC = """
<robot name="exotic">
  <link name="base"/> <link name="a"/> <link name="b"/>
  <link name="c"/> <link name="d"/> <link name="e"/>
  <joint name="turn" type="continuous"><parent link="base"/><child link="a"/>
    <origin xyz="0.1 0 0.2" rpy="0.3 -0.2 0.7"/><axis xyz="0 1 0"/></joint>
  <joint name="slide" type="prismatic"><parent link="a"/><child link="b"/>
    <origin xyz="0 0.1 0.3" rpy="1.1 0 0.4"/><axis xyz="0.6 0 0.8"/>
    <limit lower="-1" upper="1" velocity="1" effort="1"/></joint>
  <joint name="skew" type="revolute"><parent link="b"/><child link="c"/>
    <origin xyz="0.2 0 0" rpy="0 0.5 0"/><axis xyz="1 2 -2"/>
    <limit lower="-2" upper="2" velocity="1" effort="1"/></joint>
  <joint name="follow" type="revolute"><parent link="c"/><child link="d"/>
    <origin xyz="0 0 0.25" rpy="-1.5707963 0 0"/><axis xyz="0 0 1"/>
    <limit lower="-2" upper="2" velocity="1" effort="1"/>
    <mimic joint="skew" multiplier="-0.7" offset="0.2"/></joint>
  <joint name="spin" type="continuous"><parent link="d"/><child link="e"/>
    <origin xyz="0.05 0.1 0.1" rpy="0 0 0.2"/><axis xyz="1 1 0"/></joint>
</robot>
"""


def every_joint(name: str, urdf: str) -> Embodiment:
    """An embodiment whose actuated joints are all joints but the mimic followers."""
    import xml.etree.ElementTree as ET

    mimic = []
    for joint in ET.fromstring(urdf).findall("joint"):
        tag = joint.find("mimic")
        if tag is not None and joint.get("type") != "fixed":
            multiplier, offset = float(tag.get("multiplier", 1)), float(tag.get("offset", 0))
            mimic.append(Mimic(joint.attrib["name"], tag.attrib["joint"], multiplier, offset))
    model = pin.buildModelFromXML(urdf)
    joints = tuple(
        n
        for n, j in zip(list(model.names)[1:], list(model.joints)[1:], strict=True)
        if j.nv == 1 and n not in {m.joint for m in mimic}
    )
    limits = dict.fromkeys(joints, JointLimits(-1.0, 1.0, 1.0, 1.0, 1.0))
    return Embodiment(
        name, urdf, Path(f"{name}.urdf"), "", "other", "fixed", (), joints, limits, tuple(mimic)
    )


def assert_equals_pinocchio(model: RobotModel, frame: int, rng: np.random.Generator) -> None:
    kinematics = FrameKinematics.of(model, frame)
    function = InPlace(
        ca.Function("k", [kinematics.q], [kinematics.pose, kinematics.jacobian], {"cse": True})
    )
    for _ in range(20):
        q = rng.uniform(-3, 3, model.n)
        function.inputs[0][:] = q
        pose, J = function()
        full = model.full(q)
        pin.forwardKinematics(model.model, model.data, full)
        T = pin.updateFramePlacement(model.model, model.data, frame)
        np.testing.assert_allclose(pose[0, :3], T.translation, atol=1e-9)
        np.testing.assert_allclose(se3.from_quat_xyzw(pose[0, 3:]), T.rotation, atol=1e-9)
        truth = pin.computeFrameJacobian(
            model.model, model.data, full, frame, pin.LOCAL_WORLD_ALIGNED
        )
        np.testing.assert_allclose(J.T, truth @ model.G, atol=1e-9)


@pytest.mark.parametrize("name", ["panda", "iiwa", "xarm"])
def test_arms_equal_pinocchio(
    robot: Callable[[str], RobotModel], rng: np.random.Generator, name: str
) -> None:
    model = robot(name)
    assert_equals_pinocchio(model, model.tcp_id("arm"), rng)


def test_every_joint_type_equals_pinocchio(rng: np.random.Generator) -> None:
    model = RobotModel(every_joint("exotic", EXOTIC))
    assert model.embodiment.joints == ("turn", "slide", "skew", "spin")
    assert_equals_pinocchio(model, model.frame_id("e"), rng)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no collection of robots beside the repository")
def test_many_robots_equal_pinocchio(rng: np.random.Generator) -> None:
    checked = 0
    for path in sorted(SHARED.glob("*/robot.urdf")):
        try:
            model = RobotModel(every_joint(path.parent.name, path.read_text()))
        except (ValueError, RuntimeError):
            continue  # not a URDF that Pinocchio reads; nothing to compare with
        frames = model.model.frames
        bodies = [i for i, f in enumerate(frames) if f.type == pin.FrameType.BODY]
        depth = max(bodies, key=lambda i: len(model.model.supports[frames[i].parentJoint]))
        if any(
            model.model.joints[j].nv != 1
            for j in model.model.supports[frames[depth].parentJoint][1:]
        ):
            continue
        assert_equals_pinocchio(model, depth, rng)
        checked += 1
    assert checked >= 20


def test_several_degrees_of_freedom_are_refused() -> None:
    urdf = """<robot name="p"><link name="w"/><link name="base"/><link name="a"/>
      <joint name="j" type="revolute"><parent link="w"/><child link="base"/>
        <limit lower="-1" upper="1" velocity="1" effort="1"/><axis xyz="0 0 1"/></joint>
      <joint name="ball" type="floating"><parent link="base"/><child link="a"/></joint></robot>"""
    model = RobotModel(every_joint("ball", urdf))
    with pytest.raises(WbcError, match="several degrees of freedom"):
        FrameKinematics.of(model, model.frame_id("a"))


@pytest.fixture(scope="module")
def comparison(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    """The benchmark that sets every function beside Pinocchio's."""
    return benchmark("dynamics")


def tree(root: pin.JointModel) -> pin.Model:
    """A branched tree with a joint of every kind, random placements, inertias and gravity."""
    exotic = pin.buildModelFromXML(EXOTIC)  # a continuous joint about a skew axis
    skew, flat = np.array([1.0, 2.0, -2.0]) / 3, np.array([0.6, 0.0, 0.8])
    branches = (
        (pin.JointModelRX(), pin.JointModelRevoluteUnaligned(skew), pin.JointModelPZ()),
        (pin.JointModelRUBY(), pin.JointModelPrismaticUnaligned(flat), pin.JointModelRZ()),
        (
            pin.JointModelPlanar(),
            exotic.joints[exotic.getJointId("spin")],
            pin.JointModelPX(),
        ),
        (pin.JointModelFreeFlyer(), pin.JointModelRY(), pin.JointModelRUBX(), pin.JointModelPY()),
    )
    pin.seed(3)
    model = pin.Model()
    model.gravity = pin.Motion(np.array([0.3, -0.4, -9.5, 0, 0, 0]))
    base = model.addJoint(0, root, pin.SE3.Random(), "root")
    model.appendBodyToJoint(base, pin.Inertia.Random(), pin.SE3.Identity())
    for b, branch in enumerate(branches):
        parent = base
        for k, joint in enumerate(branch):
            parent = model.addJoint(parent, joint, pin.SE3.Random(), f"{b}{k}")
            model.appendBodyToJoint(parent, pin.Inertia.Random(), pin.SE3.Random())
        model.addFrame(pin.Frame(f"tip{b}", parent, 0, pin.SE3.Random(), pin.FrameType.OP_FRAME))
    return model


@pytest.mark.parametrize("root", ["FreeFlyer", "Planar", "RUBZ", "PX"])
def test_every_function_equals_pinocchio(
    comparison: ModuleType, rng: np.random.Generator, root: str
) -> None:
    model = tree(getattr(pin, f"JointModel{root}")())
    worst = comparison.errors(model, rng, samples=5)
    assert len(worst) == 8
    for name, error in worst.items():
        assert error < 1e-9, name  # double precision over some thousand operations


def test_torques_of_actuated_joints_equal_pinocchio(
    comparison: ModuleType, rng: np.random.Generator
) -> None:
    model = RobotModel(every_joint("exotic", with_masses(EXOTIC)))
    assert comparison.actuated_error(model, rng) < 1e-9
    q, v, a = rng.normal(size=(3, model.n))
    some = inverse_dynamics_derivatives(model, [2, 0])
    everything = inverse_dynamics_derivatives(model)(q, v, a)
    for few, full in zip(some(q, v, a)[1:], everything[1:], strict=True):
        np.testing.assert_allclose(few, np.array(full)[np.ix_([2, 0], [2, 0])], atol=1e-12)
    tau = np.array(everything[0])[:, 0]
    assert np.abs(tau).min() > 1e-3  # masses reach every joint, followers' too


def test_gravity_of_a_mounted_base(rng: np.random.Generator) -> None:
    """Holding torques are the slope of the potential energy in the world."""
    R = se3.exp3(np.array([0.7, -1.1, 0.4]))
    embodiment = every_joint("exotic", with_masses(EXOTIC))
    mounted = FrameSpec.at("world", se3.pose(R, np.array([0.1, 0.2, 0.3])))
    model = RobotModel(embodiment.with_(mount=mounted))
    function = inverse_dynamics(model)

    def energy(q: np.ndarray) -> float:
        pin.centerOfMass(model.model, model.data, model.full(q))
        return float(9.81 * model.data.mass[0] * (R @ model.data.com[0])[2])

    q, h = rng.normal(size=model.n), 1e-5
    steps = h * np.eye(model.n)
    slope = [(energy(q + step) - energy(q - step)) / (2 * h) for step in steps]
    hold = np.array(function(q, np.zeros(model.n), np.zeros(model.n)))[:, 0]
    np.testing.assert_allclose(hold, slope, atol=1e-7)  # central difference, O(h^2)


def test_power_is_the_rate_of_energy(rng: np.random.Generator) -> None:
    """tau . v = d/dt (kinetic + potential), with the energy from Pinocchio."""
    model = tree(pin.JointModelFreeFlyer())
    data, body = model.createData(), RigidBody(model)
    q, v, a = body.symbols()
    tau = ca.Function("tau", [q, v, a], [body.rnea(q, v, a)])
    state = pin.randomConfiguration(model, -np.ones(model.nq), np.ones(model.nq))
    velocity, acceleration = rng.normal(size=(2, model.nv))

    def energy(t: float) -> float:
        moved = pin.integrate(model, state, velocity * t + 0.5 * acceleration * t**2)
        speed = velocity + acceleration * t
        return float(
            pin.computeKineticEnergy(model, data, moved, speed)
            + pin.computePotentialEnergy(model, data, moved)
        )

    h = 1e-4
    power = (energy(h) - energy(-h)) / (2 * h)
    mine = float(np.array(tau(state, velocity, acceleration))[:, 0] @ velocity)
    assert mine == pytest.approx(power, rel=1e-5)  # central difference, O(h^2)


def test_other_joints_are_refused() -> None:
    model = pin.Model()
    model.addJoint(0, pin.JointModelSpherical(), pin.SE3.Identity(), "ball")
    with pytest.raises(WbcError, match="kind of joint"):
        RigidBody(model)


def with_masses(urdf: str) -> str:
    """The same URDF with an inertia in every link."""
    inertial = (
        '<inertial><origin xyz="0.1 0.05 -0.02"/><mass value="1.3"/><inertia ixx="0.02" ixy="0.001"'
        ' ixz="0" iyy="0.03" iyz="-0.002" izz="0.025"/></inertial>'
    )
    for name in "abcde":
        urdf = urdf.replace(f'<link name="{name}"/>', f'<link name="{name}">{inertial}</link>')
    return urdf
