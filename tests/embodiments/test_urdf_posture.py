"""Neutral postures free of self-collision, and what is left out of the collision check."""

import itertools

import numpy as np
import pytest

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.geometry import hulls_of_tree
from icl_vla_embodiments.urdf import embodiment_from_urdf, simulation_urdf
from icl_vla_embodiments.urdf.collision import CollisionScene
from icl_vla_embodiments.urdf.meshes import mesh_points, mesh_triangles
from icl_vla_embodiments.urdf.normalise import tree_of_text

LIMIT = '<limit lower="-1" upper="1" effort="9" velocity="1"/>'


def link(name: str, *boxes: str) -> str:
    shapes = "".join(
        f'<collision><origin xyz="{at}"/><geometry><box size="{size}"/></geometry></collision>'
        for size, at in (b.split("@") for b in boxes)
    )
    return f'<link name="{name}">{shapes}</link>'


def joint(name: str, parent: str, child: str, at: str, kind: str = "revolute") -> str:
    return (
        f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{at}"/><axis xyz="0 0 1"/>{LIMIT}</joint>\n'
    )


def touching(robot) -> list[tuple[str, str]]:
    tree = tree_of_text(robot.urdf, robot.urdf_path)
    scene = CollisionScene(tree, hulls_of_tree(tree)[0])
    q = dict(zip(robot.joints, robot.neutral_q, strict=True))
    return scene.touching(tree.poses(q), robot.collision_pairs)


def test_bars_that_cross_at_zero_are_turned_apart(write):
    """Two bars whose ends overlap by 1 cm where both joints stand at zero."""
    body = link("base") + link("a", "0.4 0.04 0.04@0.2 0 0") + link("b", "0.4 0.04 0.04@-0.2 0 0")
    body += joint("j", "base", "a", "0 0 0") + joint("k", "base", "b", "0.79 0 0")
    robot = embodiment_from_urdf(write(body))
    assert ("a", "b") in robot.collision_pairs
    assert not touching(robot)
    assert 0 < np.abs(robot.neutral_q).max() < 0.3
    assert touching(robot.with_(neutral={})) == [("a", "b")]


def wedge(path):
    """An open U of three plates as one mesh: its hull fills the gap."""
    corners = []
    for centre, size in (
        ((0, 0, -0.2), (0.4, 0.4, 0.02)),
        ((-0.2, 0, 0), (0.02, 0.4, 0.4)),
        ((0.2, 0, 0), (0.02, 0.4, 0.4)),
    ):
        points = np.array(centre) + 0.5 * np.array(size) * list(
            itertools.product((-1, 1), repeat=3)
        )
        corners.append(points)
    faces = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
    faces += [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
    lines = [f"v {x} {y} {z}" for x, y, z in np.concatenate(corners)]
    lines += [f"f {a + k + 1} {b + k + 1} {c + k + 1}" for k in (0, 8, 16) for a, b, c in faces]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("filling", [0.05, 0.5])
def test_what_lies_in_a_hollow_is_left_out_and_named(write, tmp_path, filling):
    """A small block between the plates of a U touches its hull alone; a large one its plates."""
    wedge(tmp_path / "u.obj")
    body = (
        link("base", "0.1 0.1 0.1@0 0 -1")
        + link("arm")
        + link("block", f"{filling} 0.3 0.05@0 0 0")
    )
    body += (
        '<link name="u"><collision><geometry><mesh filename="u.obj"/></geometry></collision></link>'
    )
    body += joint("j", "base", "arm", "0.6 0 0") + joint("k", "arm", "block", "-0.6 0 0")
    body += joint("w", "base", "u", "0 0 0", "fixed")
    robot = embodiment_from_urdf(write(body))
    (warning,) = [w for w in robot.warnings if "not checked for self-collision" in w]
    assert "block and u" in warning or "u and block" in warning
    assert ("their meshes do not" in warning) == (filling < 0.4)
    assert not touching(robot)
    assert not any({"u", "block"} == {*p} for p in robot.collision_pairs)


@pytest.mark.parametrize(
    "file", ["franka_panda/meshes/collision/hand.obj", "kuka_iiwa/meshes/link_1.stl"]
)
def test_triangles_have_the_corners_of_the_mesh(data, file):
    path = data / file
    corners = mesh_triangles(path).reshape(-1, 3)
    for end in (np.min, np.max):
        assert np.allclose(end(corners, axis=0), end(mesh_points(path), axis=0), atol=1e-6)


def test_collada_polygons_become_triangles(tmp_path):
    """A quad and a triangle with normals between the vertex numbers, lifted by the node."""
    file = tmp_path / "roof.dae"
    file.write_text(
        '<COLLADA><library_geometries><geometry id="g"><mesh><source id="p">'
        '<float_array count="15">0 0 0 1 0 0 1 1 0 0 1 0 0 0 1</float_array></source>'
        '<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>'
        '<polylist count="2"><input semantic="VERTEX" source="#v" offset="0"/>'
        '<input semantic="NORMAL" source="#n" offset="1"/><vcount>4 3</vcount>'
        "<p>0 9 1 9 2 9 3 9 0 9 1 9 4 9</p></polylist></mesh></geometry></library_geometries>"
        "<library_visual_scenes><visual_scene><node><translate>0 0 5</translate>"
        '<instance_geometry url="#g"/></node></visual_scene></library_visual_scenes></COLLADA>'
    )
    triangles = mesh_triangles(file)
    assert triangles.shape == (3, 3, 3)
    area = 0.5 * np.linalg.norm(
        np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1
    )
    assert np.allclose(area, 0.5) and triangles[..., 2].min() == 5


def test_a_robot_of_many_frames_is_simulated(write, tmp_path):
    """PyBullet reads the states of 127 links; frames without shape and mass are left out."""
    from icl_vla.sim.driver import PyBulletDriver
    from icl_vla.sim.scene import Scene
    from icl_vla_embodiments.robot_model import RobotModel

    body = link("base", "0.1 0.1 0.1@0 0 0")
    for k in range(150):
        body += f'<link name="frame{k}"/>' + joint(f"f{k}", "base", f"frame{k}", "0 0 0", "fixed")
    for k in range(3):
        body += link(f"l{k}", "0.05 0.05 0.2@0 0 0.1")
        body += joint(f"j{k}", f"l{k - 1}" if k else "base", f"l{k}", "0 0 0.2")
    robot = embodiment_from_urdf(write(body)).with_(base="fixed")
    model = RobotModel(robot)
    driver = PyBulletDriver(model, simulation_urdf(robot, tmp_path), lambda _: Scene((), {}))
    try:
        observation = driver.reset(0)
        assert np.allclose(observation.q, robot.neutral_q, atol=1e-3)
        assert driver.world.client.getNumJoints(driver.body) == 127
    finally:
        driver.close()


def test_a_chain_that_pybullet_cannot_hold_is_refused(panda, tmp_path):
    body = link("l0") + "".join(
        link(f"l{k}") + joint(f"j{k}", f"l{k - 1}", f"l{k}", "0 0 0.01") for k in range(1, 123)
    )
    with pytest.raises(ReportedError, match="so many joints"):
        simulation_urdf(panda.with_(urdf=f'<robot name="long">{body}</robot>'), tmp_path)


def test_a_gripper_that_nothing_opens_is_told(write):
    """A spinning disc that is called gripper: closed and open cannot be told apart."""
    body = link("base", "0.1 0.1 0.1@0 0 0")
    for k in range(6):
        body += link(f"l{k}", "0.04 0.04 0.2@0 0 0.1")
        body += joint(f"j{k}", f"l{k - 1}" if k else "base", f"l{k}", "0 0 0.2")
    body += link("gripper_finger", "0.01 0.01 0.0001@0 0 0")
    body += joint("gripper", "l5", "gripper_finger", "0 0 0.2", "continuous").replace(LIMIT, "")
    robot = embodiment_from_urdf(write(body))
    (gripper,) = robot.of_kind("gripper")
    assert gripper.closed == gripper.open == (0.0,)
    assert any("gripper" in w and "seen to open" in w for w in robot.warnings)


def test_cameras_and_sides(write):
    """Ends called camera look along x; the side that names say outweighs a root turned about z."""
    body = link("torso", "0.2 0.2 0.4@0 0 0")
    for side, y in (("left", -0.2), ("right", 0.2)):  # the root looks backwards
        before = "torso"
        for k, part in enumerate(("shoulder", "upper_arm", "elbow", "forearm", "wrist", "hand")):
            name = f"{side}_{part}"
            body += link(name, "0.05 0.05 0.1@0 0 -0.05")
            at = f"0 {y} 0.15" if k == 0 else "0 0 -0.1"
            body += joint(f"{name}_joint", before, name, at).replace(
                "0 0 1", "0 1 0" if k % 2 else "1 0 0"
            )
            before = name
    body += '<link name="chest_camera_link"/><link name="camera_mount"/>'
    body += joint("c", "torso", "chest_camera_link", "0.1 0 0.1", "fixed")
    body += joint("d", "torso", "camera_mount", "0.1 0 0", "fixed")
    robot = embodiment_from_urdf(write(body))
    arms = {arm.name: arm.joints[0] for arm in robot.arms}
    assert arms == {"left_arm": "left_shoulder_joint", "right_arm": "right_shoulder_joint"}
    assert set(robot.cameras) == {"chest_camera_link"}
    ahead = robot.cameras["chest_camera_link"].matrix[:3, 2]
    assert np.allclose(ahead, [1, 0, 0])
    assert np.allclose(se3.inverse(robot.cameras["chest_camera_link"].matrix)[:3, 3], 0)
