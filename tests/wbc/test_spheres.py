from __future__ import annotations

import coal
import numpy as np
import pytest

from icl_vla_embodiments.geometry import Hull, LinkHulls, hull_of, shape_points
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf.collision import convex_body
from icl_vla_embodiments.urdf.normalise import tree_of_text
from icl_vla_wbc.spheres import BUDGET, Spheres, corners


def outside(points: np.ndarray, cover: Spheres) -> np.ndarray:
    """How far each point ``(N, 3)`` is from the nearest sphere's inside [m]."""
    return (np.linalg.norm(points[:, None] - cover.centers, axis=2) - cover.radii).min(axis=1)


def inner_points(hull: Hull, rng: np.random.Generator, count: int = 2000) -> np.ndarray:
    """Random points of the hull, and of the edges between its corners."""
    held = corners(hull)
    inner = rng.dirichlet(np.full(len(held), 0.05), count) @ held
    a, b = held[rng.integers(len(held), size=(2, count))]
    return np.concatenate([inner, a + rng.random((count, 1)) * (b - a)])


@pytest.mark.parametrize("name", ["panda", "xarm", "iiwa"])
def test_spheres_cover_the_meshes(robot, rng: np.random.Generator, name: str) -> None:
    embodiment = robot(name).embodiment
    tree = tree_of_text(embodiment.urdf, embodiment.urdf_path)
    hulls = LinkHulls(embodiment).hulls
    for link, shapes in tree.shapes.items():
        clouds = [shape_points(s) for s in shapes if s.role == "collision"]
        for cloud, hull in zip(clouds, hulls.get(link, ()), strict=True):
            cover = Spheres.covering(hull)
            assert 1 <= len(cover.radii) <= BUDGET
            assert outside(cloud, cover).max() <= 1e-9  # every vertex of the full mesh
            assert outside(inner_points(hull, rng), cover).max() <= 1e-9
            whole = Spheres.covering(hull, budget=1)
            assert cover.radii.max() <= whole.radii[0]


def test_thin_flat_and_tiny_hulls_are_covered(rng: np.random.Generator) -> None:
    for size in ([1.0, 0.01, 0.01], [0.5, 0.5, 0.0], [1e-3, 2e-3, 1e-3], [0.2, 0.3, 0.4]):
        for _ in range(5):
            hull = hull_of(rng.uniform(-0.5, 0.5, (60, 3)) * size)
            assert outside(inner_points(hull, rng, 1000), Spheres.covering(hull)).max() <= 1e-9


def test_a_cover_has_nothing_to_spare() -> None:
    # a cube in eight pieces: the halves' spheres are the best there are
    cube = hull_of(np.array(np.meshgrid(*[(-0.1, 0.1)] * 3)).reshape(3, -1).T)
    cover = Spheres.covering(cube, budget=8, fine=0.0)
    assert len(cover.radii) == 8
    assert cover.radii.max() == pytest.approx(0.05 * np.sqrt(3), rel=0.02)


@pytest.mark.parametrize("name", ["panda", "xarm"])
def test_spheres_are_never_farther_apart_than_the_hulls(
    robot, rng: np.random.Generator, name: str
) -> None:
    model: RobotModel = robot(name)
    hulls = {link: parts[0] for link, parts in LinkHulls(model.embodiment).hulls.items()}
    covers = {link: Spheres.covering(hull) for link, hull in hulls.items()}
    bodies = {link: convex_body(hull) for link, hull in hulls.items()}
    request, result = coal.DistanceRequest(), coal.DistanceResult()
    links, under = list(hulls), []
    for _ in range(30):
        poses = model.link_poses(rng.uniform(model.lower, model.upper))
        placed = {k: coal.Transform3s(poses[k][:3, :3], poses[k][:3, 3]) for k in links}
        centers = {k: covers[k].centers @ poses[k][:3, :3].T + poses[k][:3, 3] for k in links}
        for i, a in enumerate(links):
            for b in links[i + 2 :]:
                result.clear()
                exact = coal.distance(bodies[a], placed[a], bodies[b], placed[b], request, result)
                gap = np.linalg.norm(centers[a][:, None] - centers[b], axis=2)
                gap = (gap - covers[a].radii[:, None] - covers[b].radii).min()
                if exact > 0:
                    under.append(exact - gap)
    assert min(under) >= -1e-6
    assert np.median(under) < 0.06  # and they still say something
