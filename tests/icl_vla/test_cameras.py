"""Cameras that were knocked are found again, and those that were not are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from icl_vla.evaluation.disturbances import MovedCamera
from icl_vla.perception.cameras import CameraCheck, knocked
from icl_vla_embodiments import Observation, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval.calibration import Body

SEEDS = range(40, 48)


@pytest.fixture(scope="module")
def at_work(cell):
    """A robot at a table, its visible shapes, and how high its table is in its base frame."""
    at_task = cell("push")
    model = at_task.model
    table = -at_task.embodiment.mount.matrix[2, 3]
    return at_task, Body(model, model.neutral[None]), table


def looks(at_task, severity: int) -> Iterator[tuple[Observation, dict[str, np.ndarray]]]:
    """What is seen with the old calibration, and where the cameras are."""
    for seed in SEEDS:
        observation = at_task.reset(seed)
        if severity:
            disturbance = MovedCamera(severity)
            disturbance.begin(at_task.driver, np.random.default_rng(seed))
            observation = at_task.driver.observe()
        true = {n: np.asarray(c.T_mount_camera) for n, c in observation.cameras.items()}
        yield disturbance.see(observation) if severity else observation, true


def off(T: np.ndarray, true: np.ndarray, table: float) -> float:
    """How far places on the table are thought to be from where they are [m]."""
    places = np.array([[x, y, table] for x in (0.35, 0.5, 0.65) for y in (-0.2, 0, 0.2)])
    seen = se3.act(se3.inverse(true), places)
    return float(np.linalg.norm(se3.act(T, seen) - places, axis=1).mean())


def noisy(observation: Observation, rng: np.random.Generator) -> Observation:
    cameras = {
        name: replace(c, depth=c.depth * (1 + 0.002 * rng.normal(size=c.depth.shape)))
        for name, c in observation.cameras.items()
    }
    return replace(observation, cameras=cameras)


def test_cameras_that_were_knocked_are_found_from_one_look(at_work) -> None:
    """Depth has noise of 2 mm and the table's height an error of 4; before it is some 40 mm."""
    at_task, body, table = at_work
    rng, before, after = np.random.default_rng(0), [], []
    for observation, true in looks(at_task, 3):
        check = CameraCheck(body, table + 0.004)
        seen = check(noisy(observation, rng))
        for name, T in true.items():
            before.append(off(np.asarray(observation.cameras[name].T_mount_camera), T, table))
            after.append(off(np.asarray(seen.cameras[name].T_mount_camera), T, table))
            if name in check.moved:
                assert after[-1] < 0.012
    assert np.mean(before) > 0.02
    assert np.median(after) < 0.005
    assert np.mean(np.array(after) < 0.012) >= 0.75


def test_a_camera_that_stands_where_it_stood_is_left_there(at_work) -> None:
    at_task, body, table = at_work
    rng = np.random.default_rng(0)
    for observation, _ in looks(at_task, 0):
        for height in (table, table + 0.01):
            check = CameraCheck(body, height)
            assert check(noisy(observation, rng)).cameras.keys() == observation.cameras.keys()
            assert not check.moved


def test_what_was_found_holds_for_later_looks(at_work) -> None:
    at_task, body, table = at_work
    observation, _ = next(looks(at_task, 3))
    check = CameraCheck(body, table)
    first = check(observation)
    assert check.moved
    blind = {n: replace(c, depth=0 * c.depth) for n, c in observation.cameras.items()}
    later = check(replace(observation, cameras=blind))
    for name, moved in check.moved.items():
        assert moved.shift > 0.002 or moved.turn > 0.005
        for seen in (first, later):
            np.testing.assert_array_equal(seen.cameras[name].T_mount_camera, moved.T_base_camera)


def test_a_camera_that_sees_no_robot_tells_nothing(at_work) -> None:
    at_task, body, table = at_work
    observation, _ = next(looks(at_task, 3))
    image = next(iter(observation.cameras.values()))
    far = replace(image, depth=np.full_like(image.depth, 2.5))
    assert knocked(far, body.posed(observation.q[None]), table) is None


def test_a_robot_without_shapes_tells_nothing(at_work, tmp_path: Path) -> None:
    at_task, _, table = at_work
    tree = ElementTree.fromstring(at_task.embodiment.urdf)
    for link in tree.iter("link"):
        for shape in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(shape)
    file = tmp_path / "bare.urdf"
    file.write_text(ElementTree.tostring(tree, encoding="unicode"))
    model = RobotModel(embodiment_from_urdf(file))
    observation, _ = next(looks(at_task, 3))
    check = CameraCheck(Body(model, model.neutral[None]), table)
    seen = check(replace(observation, q=model.neutral))
    assert not check.moved
    assert seen.cameras.keys() == observation.cameras.keys()
