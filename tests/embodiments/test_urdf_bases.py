"""A base that a file spells as joints, and collision pairs that an SRDF switches off."""

import numpy as np
import pytest

from icl_vla_embodiments import UrdfError
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf

X, Y, Z = "1 0 0", "0 1 0", "0 0 1"


def chain(steps, *, shaped=False):
    """World, a link after each joint (type, axis), and a three-joint arm on the last of them."""
    box = '<collision><geometry><box size="0.3 0.3 0.2"/></geometry></collision>'
    limit = '<limit lower="-2" upper="2" effort="9" velocity="1"/>'
    links = [f'<link name="world">{box if shaped else ""}</link>']
    joints = []
    above = "world"
    arm = [("revolute", Z), ("revolute", Y), ("revolute", Y)]
    for i, (kind, axis) in enumerate((*steps, *arm)):
        body = box if shaped or i >= len(steps) - 1 else ""
        link = f"link_{i}"
        links.append(f'<link name="{link}">{body}</link>')
        offset = "0 0 0.3" if i >= len(steps) else "0 0 0"
        joints.append(
            f'<joint name="joint_{i}" type="{kind}"><origin xyz="{offset}"/>'
            f'<parent link="{above}"/><child link="{link}"/><axis xyz="{axis}"/>{limit}</joint>'
        )
        above = link
    return "\n".join([*links, *joints])


PLANAR = [("prismatic", X), ("prismatic", Y), ("revolute", Z)]
BASES = {
    "x, y, yaw": (PLANAR, "planar_holo"),
    "yaw, x, yaw": (
        [("continuous", Z), ("prismatic", X), ("continuous", Z)],
        "planar_holo",
    ),
    "yaw, x": ([("continuous", Z), ("prismatic", X)], "planar_diff"),
    "six": (
        [*(("prismatic", a) for a in (X, Y, Z)), *(("revolute", a) for a in (X, Y, Z))],
        "floating",
    ),
}


@pytest.mark.parametrize("case", BASES)
def test_slides_and_turns_at_the_root_are_the_base(write, case):
    steps, base = BASES[case]
    robot = embodiment_from_urdf(write(chain(steps)))
    assert robot.base == base
    n = len(steps)
    assert robot.joints == tuple(f"joint_{i}" for i in range(n, n + 3))
    assert [a.joints for a in robot.arms] == [robot.joints]
    assert any("joint_0" in text for text in robot.repairs)
    # the arm's kinematics from the base are those of the file with the base's joints at zero
    kept = embodiment_from_urdf(write(chain(steps), "kept.urdf"), overrides={"base": "fixed"})
    assert len(kept.joints) == n + 3
    q = np.array([0.3, -0.5, 0.7])
    tip = f"link_{n + 2}"
    ours = RobotModel(robot.with_(base="fixed")).T_base_frame(q, tip)
    theirs = RobotModel(kept).T_base_frame(np.concatenate([np.zeros(n), q]), tip)
    assert np.allclose(ours, theirs, atol=1e-12)


def test_a_gantry_with_bodies_stays_an_arm(write):
    robot = embodiment_from_urdf(write(chain(PLANAR, shaped=True)))
    assert robot.base == "fixed"
    assert len(robot.joints) == 6


def test_an_srdf_switches_pairs_off(panda, data, tmp_path):
    pair = panda.collision_pairs[0]
    file = tmp_path / "panda.srdf"
    text = '<robot name="panda"><disable_collisions link1="{}" link2="{}" reason="Never"/></robot>'
    file.write_text(text.format(*reversed(pair)))
    robot = embodiment_from_urdf(data / "franka_panda/panda.urdf", srdf=file)
    assert set(panda.collision_pairs) - set(robot.collision_pairs) == {pair}
    file.write_text(text.format("panda_link1", "nobody"))
    with pytest.raises(UrdfError, match="nobody"):
        embodiment_from_urdf(data / "franka_panda/panda.urdf", srdf=file)
