"""The light URDF in PyBullet, and the hulls, against the model and brute force."""

import time

import numpy as np
import pybullet
import pytest
from scipy.optimize import linprog

from icl_vla_embodiments import se3
from icl_vla_embodiments.geometry import LinkHulls, hull_of
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf, simulation_urdf
from icl_vla_embodiments.urdf.meshes import mesh_points


@pytest.fixture
def world():
    client = pybullet.connect(pybullet.DIRECT)
    yield client
    pybullet.disconnect(client)


@pytest.mark.parametrize("file", ["franka_panda/panda.urdf", "kuka_iiwa/model.urdf"])
def test_pybullet_moves_like_the_model(data, tmp_path, world, file):
    robot = embodiment_from_urdf(data / file)
    light = simulation_urdf(robot, tmp_path)
    flags = pybullet.URDF_USE_INERTIA_FROM_FILE
    body = pybullet.loadURDF(str(light), useFixedBase=True, flags=flags, physicsClientId=world)
    model = RobotModel(robot)
    rng = np.random.default_rng(0)
    for _ in range(3):
        q = rng.uniform(model.lower, model.upper)
        angles = dict(zip(robot.joints, q, strict=True))
        angles |= {m.joint: m.multiplier * angles[m.master] + m.offset for m in robot.mimic}
        poses = model.link_poses(q)
        n = pybullet.getNumJoints(body, world)
        infos = [pybullet.getJointInfo(body, i, world) for i in range(n)]
        for info in infos:
            if info[1].decode() in angles:
                pybullet.resetJointState(body, info[0], angles[info[1].decode()], 0, world)
        for info in infos:
            state = pybullet.getLinkState(
                body, info[0], computeForwardKinematics=True, physicsClientId=world
            )
            T = se3.pose(se3.from_quat_xyzw(state[5]), state[4])
            assert np.allclose(T, poses[info[12].decode()], atol=1e-5)  # PyBullet keeps floats


def test_light_urdf_is_light_and_complete(panda, tmp_path, world):
    light = simulation_urdf(panda, tmp_path)
    written = light.stat().st_mtime_ns
    assert simulation_urdf(panda, tmp_path) == light and light.stat().st_mtime_ns == written
    body = pybullet.loadURDF(str(light), useFixedBase=True, physicsClientId=world)
    mass = {}
    for i in range(-1, pybullet.getNumJoints(body, world)):
        name = pybullet.getJointInfo(body, i, world)[12].decode() if i >= 0 else "panda_link0"
        mass[name] = pybullet.getDynamicsInfo(body, i, world)[0]
    assert mass["panda_link5"] == pytest.approx(3.0)
    assert mass["panda_grasptarget"] == mass["panda_link8"] == pytest.approx(1e-5)
    triangles = [
        sum(line.startswith("f ") for line in f.read_text().splitlines())
        for f in (tmp_path / "meshes").glob("*.obj")
    ]
    assert len(triangles) >= 10 and max(triangles) <= 100
    shapes = pybullet.getVisualShapeData(body, physicsClientId=world)
    assert {s[7] for s in shapes} == {(1.0, 1.0, 1.0, 1.0)}  # the file's colour


def test_simplified_hull_stays_close_and_its_planes_hold_all(data):
    points = mesh_points(data / "franka_panda/meshes/collision/link0.obj")
    hull = hull_of(points)
    assert len(hull.faces) <= 92
    inside = points @ hull.normals.T - hull.offsets
    assert inside.max() < 1e-9
    exact = hull_of(points, max_vertices=10_000)
    gap = (hull.normals @ exact.vertices.T).max(axis=1) - (hull.normals @ hull.vertices.T).max(
        axis=1
    )
    assert gap.max() < 0.01  # [m] of a body of 0.2 m
    lower, upper = hull.box
    assert np.allclose(lower, points.min(axis=0)) and np.allclose(upper, points.max(axis=0))


@pytest.mark.parametrize("kind", ["plane", "line", "point"])
def test_degenerate_points_have_a_hull(kind):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 3)) * {"plane": (1, 1, 0), "line": (1, 0, 0), "point": 0}[kind]
    hull = hull_of(points)
    assert ((points @ hull.normals.T) <= hull.offsets + 1e-9).all()


def test_mask_agrees_with_convex_combination(panda, panda_model):
    """A point is in the hull iff it is a convex combination of its vertices (linear program)."""
    hulls = LinkHulls(panda)
    poses = panda_model.link_poses(panda.neutral_q)
    rng = np.random.default_rng(3)
    points = rng.uniform((-0.2, -0.2, 0), (0.7, 0.2, 0.9), (300, 3))
    vertices = [h.moved(poses[k]) for k, v in hulls.hulls.items() for h in v]
    centres = rng.permutation(np.repeat([v.mean(axis=0) for v in vertices], 15, axis=0))[:150]
    points[:150] = centres + 0.06 * rng.normal(size=(150, 3))
    small = hulls.mask(points, poses, margin=-0.004)
    large = hulls.mask(points, poses, margin=0.0)
    truth = np.array([any(_in_hull(p, v) for v in vertices) for p in points])
    assert truth.sum() > 30
    assert (truth <= large).all()  # nothing of the robot is missed
    # simplification moves planes by millimetres, so points well inside them are truly inside
    assert np.mean(truth[small]) > 0.97


def test_rays_end_where_the_mask_begins(panda, panda_model):
    hulls = LinkHulls(panda)
    poses = panda_model.link_poses(panda.neutral_q)
    eye = np.array([1.6, 0.3, 0.9])
    aims = np.random.default_rng(5).uniform((-0.2, -0.3, 0), (0.7, 0.3, 0.9), (400, 3))
    rays = (aims - eye) * np.random.default_rng(6).uniform(0.2, 3.0, (400, 1))  # of any length
    for margin in (0.0, 0.006):
        begins = hulls.along(eye, rays, poses, margin)
        hit = np.isfinite(begins)
        assert 50 < hit.sum() < 350
        at = eye + begins[hit, None] * rays[hit]
        way = rays[hit] / np.linalg.norm(rays[hit], axis=1, keepdims=True)
        assert hulls.mask(at + 1e-4 * way, poses, margin).mean() > 0.98  # but for grazing ones
        assert not hulls.mask(at - 1e-4 * way, poses, margin).any()
        along = np.linspace(0.3, 1.5, 200)[:, None, None] * (aims[~hit] - eye) + eye
        assert not hulls.mask(along.reshape(-1, 3), poses, margin).any()
    inside = np.concatenate([h.moved(poses[k]) for k, v in hulls.hulls.items() for h in v]).mean(0)
    assert (hulls.along(inside, rays, {}) == np.inf).all()


def _in_hull(point, vertices):
    if (point < vertices.min(axis=0)).any() or (point > vertices.max(axis=0)).any():
        return False
    A = np.vstack([vertices.T, np.ones(len(vertices))])
    return linprog(np.zeros(len(vertices)), A_eq=A, b_eq=[*point, 1], method="highs").status == 0


def test_mask_is_fast(panda, panda_model):
    hulls = LinkHulls(panda)
    poses = panda_model.link_poses(panda.neutral_q)
    points = np.random.default_rng(0).uniform((-0.3, -0.5, 0), (0.8, 0.5, 1), (20_000, 3))
    durations = []
    for _ in range(20):
        start = time.perf_counter()
        hulls.mask(points, poses)
        durations.append(time.perf_counter() - start)
    assert np.min(durations) < 4e-3  # [s]; the best, as other work shares the machine


def test_hull_cache(panda, tmp_path):
    fresh = LinkHulls(panda, cache=tmp_path)
    file = tmp_path / "hulls.npz"
    stored = LinkHulls(panda, cache=tmp_path)
    assert fresh.hulls.keys() == stored.hulls.keys()
    for link, parts in fresh.hulls.items():
        for a, b in zip(parts, stored.hulls[link], strict=True):
            assert (a.vertices == b.vertices).all() and (a.offsets == b.offsets).all()
    file.write_bytes(b"damaged")
    assert LinkHulls(panda, cache=tmp_path).hulls.keys() == fresh.hulls.keys()
    other = panda.with_(urdf='<robot name="r"><link name="a"/></robot>', urdf_sha256="other")
    assert LinkHulls(other, cache=tmp_path).hulls == {}
