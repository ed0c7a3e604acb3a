from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import casadi as ca
import numpy as np
import pinocchio as pin
import pytest

from icl_vla_embodiments import Embodiment, JointLimits, Mimic, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_wbc import WbcError
from icl_vla_wbc.dynamics import FrameKinematics, InPlace

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "robots"

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
