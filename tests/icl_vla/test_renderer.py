from __future__ import annotations

import numpy as np
import pytest

from icl_vla.sim.scene import CameraSpec, ObjectSpec, Scene
from icl_vla.sim.world import World
from icl_vla_embodiments import se3

pytest.importorskip("numba", reason="the extra `train` is not installed")

from icl_vla.training import meshes
from icl_vla.training.stage import Prop, Stage, of_client, place

CAMERA = CameraSpec((0.9, 0.2, 0.7), (0.4, 0.0, 0.05), 120, 90)


def taken(stage: Stage, camera: CameraSpec = CAMERA) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    picture = stage.photograph(
        camera.intrinsics, camera.T_world_camera, camera.height, camera.width
    )
    return picture.rgb, picture.depth, picture.instance


def rays(camera: CameraSpec) -> np.ndarray:
    """``(H, W, 3)`` of depth 1, in camera axes."""
    v, u = np.mgrid[: camera.height, : camera.width]
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    return pixels @ np.linalg.inv(camera.intrinsics).T


@pytest.mark.parametrize(
    ("mesh", "exact"),
    [(meshes.box(), 1.0), (meshes.cylinder(), np.pi / 4), (meshes.sphere(48), np.pi / 6)],
)
def test_meshes_are_closed_and_face_outwards(mesh: meshes.Mesh, exact: float) -> None:
    a, b, c = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
    volume = float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)
    assert volume == pytest.approx(exact, rel=0.02)  # as large as a polygon of 24 corners is
    face = np.cross(b - a, c - a)
    outward = np.einsum("ij,ij->i", face, mesh.normals[mesh.triangles].mean(axis=1))
    area = np.linalg.norm(face, axis=1)
    assert (outward[area > 1e-9] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-9)


def test_a_sphere_is_where_rays_meet_it() -> None:
    radius = 0.12
    stage = Stage([Prop(meshes.sphere(96), (2 * radius,) * 3)])
    stage.poses[0] = se3.pose(np.eye(3), [0.4, 0.05, 0.1])
    _, depth, instance = taken(stage)
    center = se3.act(se3.inverse(CAMERA.T_world_camera), np.array([[0.4, 0.05, 0.1]]))[0]
    ray = rays(CAMERA)
    b, square = ray @ center, (ray**2).sum(axis=-1)
    root = b**2 - square * (center @ center - radius**2)
    exact = (b - np.sqrt(np.maximum(root, 0))) / square
    inside = root > 0.02 * square * radius**2  # not at the rim
    np.testing.assert_allclose(depth[inside], exact[inside], atol=1e-3)
    assert (instance[inside] == 0).all()
    assert (instance[root < 0] == -1).all() and (depth[root < 0] == 0).all()


def test_what_is_in_front_hides_what_is_behind_in_any_order() -> None:
    eye = np.array(CAMERA.eye)
    toward = np.array(CAMERA.target) - eye
    props = [Prop(meshes.box(), (0.1,) * 3, color=(0.2 * k, 0.5, 0.5)) for k in range(4)]
    seen = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        stage = Stage([props[k] for k in order])
        for row, k in enumerate(order):
            stage.poses[row, :3, 3] = eye + (0.5 + 0.15 * k) * toward
        _, depth, instance = taken(stage)
        assert order[instance[44, 60]] == 0
        seen.append(depth)
    np.testing.assert_array_equal(*seen)


def test_a_plane_that_passes_the_camera_is_cut_and_not_lost() -> None:
    floor = Stage([Prop(meshes.box(), (40.0, 40.0, 0.1))])
    floor.poses[0, 2, 3] = -0.05
    _, depth, _ = taken(floor)
    T = CAMERA.T_world_camera
    down = rays(CAMERA) @ T[:3, :3].T
    exact = -T[2, 3] / down[..., 2]
    np.testing.assert_allclose(depth, exact, rtol=1e-4)


def test_light_and_textures() -> None:
    texture = np.zeros((4, 4, 3), np.uint8)
    texture[:, 2:] = 200
    stage = Stage([Prop(meshes.box(), (0.5, 0.5, 0.02), texture=0)], [texture])
    above = CameraSpec((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 64, 64, up=(0.0, 1.0, 0.0))
    stage.shine = (0.5, 0.5)
    rgb, _, instance = taken(stage, above)
    top = rgb[instance == 0]
    assert set(np.unique(top)) <= {0, 200}  # light straight on it: as bright as it is
    stage.light = np.array([0.0, 0.0, -1.0])
    rgb, _, _ = taken(stage, above)
    assert set(np.unique(rgb[instance == 0])) <= {0, 100}


def test_it_draws_what_pybullet_draws() -> None:
    objects = (
        ObjectSpec("box", "box", (0.05, 0.05, 0.05), (0.8, 0.1, 0.1), (0.5, 0.0, 0.025), 0.4),
        ObjectSpec("can", "cylinder", (0.05, 0.05, 0.08), (0.1, 0.25, 0.75), (0.45, 0.15, 0.04)),
        ObjectSpec("bowl", "bowl", (0.14, 0.14, 0.05), (0.15, 0.62, 0.2), (0.5, -0.2, 0.025)),
        ObjectSpec("tee", "tee", (0.1, 0.1, 0.03), (0.5, 0.15, 0.6), (0.35, -0.05, 0.015), 0.3),
        ObjectSpec("button", "button", (0.06, 0.06, 0.03), (0.9, 0.5, 0.1), (0.3, 0.1, 0.015)),
    )
    world = World()
    try:
        world.reset(Scene(objects, {}))
        stage = of_client(world.client, range(world.client.getNumBodies()))
        stage.light = np.array(world.scene.light)
        for push in (0.0, 0.07):
            body = world.bodies["box"]
            world.client.resetBasePositionAndOrientation(body, [0.5 + push, 0, 0.025], [0, 0, 0, 1])
            place(stage, world.client)
            theirs = world.image(CAMERA, noise=False)
            rgb, depth, _ = taken(stage)
            assert theirs.depth is not None
            off = np.abs(depth - theirs.depth)
            assert np.percentile(off, 98) < 1e-3  # the rest are edges of round things
            assert np.median(np.abs(rgb.astype(int) - theirs.rgb)) < 10
    finally:
        world.close()


def test_coarse_meshes_keep_their_shape() -> None:
    fine = meshes.sphere(96)
    rough = meshes.coarsened(fine, 0.1)
    assert len(rough.triangles) < 0.2 * len(fine.triangles)
    stages = [Stage([Prop(m, (0.3,) * 3)]) for m in (fine, rough)]
    for stage in stages:
        stage.poses[0, :3, 3] = [0.4, 0.0, 0.1]
    (_, a, seen), (_, b, also) = (taken(stage) for stage in stages)
    both = (seen == 0) & (also == 0)
    assert both.sum() > 0.85 * (seen == 0).sum()  # means of a round thing lie inside it
    assert np.abs(a - b)[both].max() < 0.03
