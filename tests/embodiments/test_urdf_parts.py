"""Parts told apart by topology and shapes: legs by number, mecanum wheels, mounts, fingers."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from icl_vla_embodiments import se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf

LIMIT = '<limit lower="-1.2" upper="1.2" effort="9" velocity="2"/>'


def box(size: str, at: str = "0 0 0") -> str:
    shape = f'<origin xyz="{at}"/><geometry><box size="{size}"/></geometry>'
    return f"<collision>{shape}</collision>"


def cylinder(radius: float, length: float, rpy: str = "0 0 0") -> str:
    shape = f'<geometry><cylinder radius="{radius}" length="{length}"/></geometry>'
    return f'<collision><origin rpy="{rpy}"/>{shape}</collision>'


def joint(name, parent, child, at, axis, *, rpy="0 0 0", kind="revolute") -> str:
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{at}" rpy="{rpy}"/><axis xyz="{axis}"/>{LIMIT}</joint>\n'
    )


def walker(places, words=("coxa", "femur", "tibia")) -> str:
    """A trunk with a three-joint leg at each ``(x, y, direction)``."""
    text = f'<link name="trunk">{box("0.4 0.2 0.06")}</link>'
    for k, (x, y, yaw) in enumerate(places):
        names = [f"{word}_{k}" for word in words]
        above, at, rpy = "trunk", f"{x} {y} 0", f"0 0 {yaw}"
        for name, axis, shape in zip(
            names,
            ("0 0 1", "0 1 0", "0 1 0"),
            (
                box("0.05 0.02 0.02", "0.025 0 0"),
                box("0.1 0.02 0.02", "0.05 0 0"),
                box("0.02 0.02 0.15", "0 0 -0.075"),
            ),
            strict=True,
        ):
            text += f'<link name="{name}_l">{shape}</link>'
            text += joint(name, above, f"{name}_l", at, axis, rpy=rpy)
            above, rpy = f"{name}_l", "0 0 0"
            at = "0.05 0 0" if name == names[0] else "0.1 0 0"
    return text


SIX = [(x, y, np.sign(y) * np.pi / 2) for x in (0.18, 0.0, -0.18) for y in (0.1, -0.1)]


@pytest.mark.parametrize("words", [("coxa", "femur", "tibia"), ("a", "b", "c")])
def test_six_legs_stand_and_are_asked_about(write, words):
    robot = embodiment_from_urdf(write(walker(SIX, words)))
    assert (robot.family, robot.base) == ("other", "floating")
    assert len(robot.of_kind("leg")) == 6
    question = next(f.question for f in robot.flags if f.field == "family")
    assert "6 legs" in question


def test_four_legs_are_no_question(write):
    robot = embodiment_from_urdf(write(walker([p for p in SIX if p[0]])))
    assert robot.family == "quadruped" and not robot.flags


def car(rollers: str, slant: float) -> str:
    """Four wheels without a word, each with eight rollers as joints, as cylinders, or none."""
    text = f'<link name="base">{box("0.5 0.2 0.1", "0 0 0.06")}</link>'
    for k, (x, y) in enumerate(((0.2, 0.15), (0.2, -0.15), (-0.2, 0.15), (-0.2, -0.15))):
        lean = slant * (1 if x * y > 0 else -1)
        shapes = cylinder(0.045, 0.04, "1.5707963 0 0")
        beyond = ""
        for i in range(8):
            angle = i * np.pi / 4
            at = f"{0.04 * np.sin(angle)} 0 {0.04 * np.cos(angle)}"
            rpy = " ".join(map(str, slanting(angle, lean)))
            if rollers == "joints":
                beyond += f'<link name="r{k}{i}">{cylinder(0.01, 0.03)}</link>'
                name = f"q{k}{i}"
                beyond += joint(name, f"w{k}", f"r{k}{i}", at, "0 0 1", rpy=rpy, kind="continuous")
            elif rollers == "cylinders":
                shape = cylinder(0.01, 0.03)
                shapes += shape.replace('rpy="0 0 0"', f'xyz="{at}" rpy="{rpy}"')
        text += f'<link name="w{k}">{shapes}</link>{beyond}'
        text += joint(f"j{k}", "base", f"w{k}", f"{x} {y} 0.05", "0 1 0", kind="continuous")
    return text


def slanting(angle: float, lean: float) -> tuple[float, float, float]:
    """rpy that turns z to the axle (y), leant by ``lean`` about the spoke at ``angle``."""
    out = np.array([np.sin(angle), 0.0, np.cos(angle)])
    turn = Rotation.from_rotvec(lean * out) * Rotation.from_euler("x", -np.pi / 2)
    roll, pitch, yaw = turn.as_euler("xyz")
    return float(roll), float(pitch), float(yaw)


@pytest.mark.parametrize("rollers", ["joints", "cylinders"])
def test_slanting_rollers_let_a_base_move_sideways(write, rollers):
    robot = embodiment_from_urdf(write(car(rollers, np.pi / 4)))
    assert (robot.family, robot.base) == ("mobile_base", "planar_holo")
    assert {w.name for w in robot.of_kind("wheel")} == {"j0", "j1", "j2", "j3"}
    assert len(robot.joints) == 4, "rollers are not driven"
    assert all(abs(w.radius - 0.05) < 0.007 for w in robot.of_kind("wheel"))
    assert "base" not in {f.field for f in robot.flags}


@pytest.mark.parametrize(("rollers", "slant"), [("none", 0.0), ("cylinders", 0.0)])
def test_wheels_without_slanting_rollers_are_asked_about(write, rollers, slant):
    """Spokes and bolts along the axle are no rollers."""
    robot = embodiment_from_urdf(write(car(rollers, slant)))
    assert robot.base == "planar_diff"
    assert "base" in {f.field for f in robot.flags}


def test_a_pan_tilt_mount_is_an_arm_that_is_asked_about(write):
    text = f'<link name="base">{box("0.1 0.1 0.05", "0 0 -0.025")}</link>'
    text += (
        f'<link name="p">{box("0.04 0.04 0.04")}</link><link name="t">{box("0.1 0.03 0.03")}</link>'
    )
    text += joint("pan", "base", "p", "0 0 0.02", "0 0 1")
    text += joint("tilt", "p", "t", "0 0 0.05", "0 1 0")
    robot = embodiment_from_urdf(write(text))
    assert [a.joints for a in robot.arms] == [("pan", "tilt")]
    assert {"family", "arms", "ee"} <= {f.field for f in robot.flags}


def test_three_like_chains_without_names_are_no_legs(write):
    """Neither a two-legged robot with three legs nor three arms: fingers are asked for."""
    ring = [(0.2 * np.cos(a), 0.2 * np.sin(a), a) for a in (0.0, 2 * np.pi / 3, -2 * np.pi / 3)]
    robot = embodiment_from_urdf(write(walker(ring, ("a", "b", "c"))))
    assert (robot.family, robot.base) == ("other", "fixed")
    assert [f.field for f in robot.flags] == ["family", "gripper", "arms"]


def person(turn: Rotation) -> str:
    """Two legs on a pelvis and two arms on a chest; ``turn``: root axes in which z was up."""
    back = turn.inv()

    def at_root(name: str, child: str, place, axis: str) -> str:
        xyz = " ".join(map(str, back.apply(place)))
        rpy = " ".join(map(str, back.as_euler("xyz")))
        return joint(name, "pelvis", child, xyz, axis, rpy=rpy)

    size = " ".join(str(abs(x)) for x in back.apply([0.1, 0.3, 0.1]).round(6))
    text = f'<link name="pelvis">{box(size)}</link>'
    text += f'<link name="chest">{box("0.1 0.2 0.4", "0 0 0.25")}</link>'
    text += at_root("waist", "chest", [0, 0, 0.06], "0 0 1")
    for side, y in (("left", 1), ("right", -1)):
        for k, (limb, reach) in enumerate((("leg", 0.4), ("arm", 0.25))):
            above, at = ("pelvis", "chest")[k], f"0 {0.14 * y} {0.4 * k}"
            for i, axis in enumerate(("1 0 0", "0 1 0", "0 1 0", "0 1 0")):
                name = f"{side}_{limb}_{i}"
                shape = box(f"0.05 0.05 {reach - 0.1}", f"0 0 {-reach / 2}") if i in (1, 2) else ""
                shape = box("0.15 0.06 0.04", "0.03 0 -0.05") if i == 3 and limb == "leg" else shape
                text += f'<link name="{name}_link">{shape}</link>'
                if above == "pelvis":
                    text += at_root(name, f"{name}_link", [0, 0.1 * y, -0.05], axis)
                else:
                    text += joint(name, above, f"{name}_link", at, axis)
                above, at = f"{name}_link", f"0 0 {-reach if i in (1, 2) else 0}"
    return text


@pytest.mark.parametrize(("axis", "names"), [("y", True), ("y", False), ("x", True)])
def test_a_root_on_its_side_is_put_upright(write, axis, names):
    """The same robot, with its root frame upright or lying with z to one side."""
    forward, left, up = {"y": ("x", "-z", "y"), "x": ("y", "z", "x")}[axis]
    axes = {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1], "-z": [0, 0, -1]}
    lying = Rotation.from_matrix([axes[forward], axes[left], axes[up]])
    robots = []
    for turn in (Rotation.identity(), lying):
        text = person(turn)
        if not names:
            for word, letter in (
                ("leg", "p"),
                ("arm", "q"),
                ("left", "u"),
                ("right", "v"),
                ("chest", "c"),
            ):
                text = text.replace(word, letter)
        robots.append(embodiment_from_urdf(write(text)))
    straight, turned = robots
    assert straight.family == turned.family == "humanoid"
    assert not any("points up" in r for r in straight.repairs)
    assert any(f"{axis} points up" in r for r in turned.repairs)
    assert [(g.name, g.joints) for g in straight.groups] == [
        (g.name, g.joints) for g in turned.groups
    ]
    assert np.allclose(straight.neutral_q, turned.neutral_q, atol=1e-3)
    ours, theirs = (
        RobotModel(r).T_base_frame(straight.neutral_q, r.of_kind("leg")[0].tip_link) for r in robots
    )
    assert np.allclose(ours, theirs, atol=1e-9)


def test_a_shank_without_a_foot_stands_on_its_end(write):
    robot = embodiment_from_urdf(write(walker([p for p in SIX if p[0]])))
    model = RobotModel(robot)
    poses = model.link_poses(robot.neutral_q)
    ends = [
        se3.act(poses[leg.tip_link], np.array([[0, 0, -0.15]]))[0] for leg in robot.of_kind("leg")
    ]
    knees = [poses[leg.tip_link][2, 3] for leg in robot.of_kind("leg")]
    assert np.ptp([p[2] for p in ends]) < 5e-3
    assert all(end[2] < knee - 0.1 for end, knee in zip(ends, knees, strict=True))
