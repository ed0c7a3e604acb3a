"""Cameras found from the robot's motion, against where the simulator put them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from icl_vla.paths import bank_path
from icl_vla_embodiments import se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_retrieval import CameraTrack, DemoBank
from icl_vla_retrieval.calibration import (
    CalibrationError,
    Pinhole,
    calibrate_camera,
    calibrated,
    calibration_error,
)
from icl_vla_retrieval.calibration.body import Body
from icl_vla_retrieval.calibration.borders import _falls
from icl_vla_retrieval.calibration.pictures import Pictures
from icl_vla_retrieval.calibration.surface import surface_rows

ROBOT, CAMERA = "panda", "front"
NOTES = "icl_vla/episodes/episode_{:06d}.json"


@pytest.fixture(scope="module")
def model(home):
    return RobotModel(EmbodimentStore(home).get(ROBOT))


@pytest.fixture(scope="module")
def demonstrations(bank):
    return list(bank)


@pytest.fixture(scope="module")
def true(demonstrations):
    track = demonstrations[0].cameras[CAMERA]
    return Pinhole.of(track.intrinsics, track.T_mount_camera)


@pytest.fixture(scope="module")
def pictures(demonstrations):
    return Pictures.of(demonstrations, CAMERA, 12)


@pytest.fixture(scope="module")
def body(model, pictures):
    return Body(model, pictures.q)


def withheld(home: Path, folder: Path) -> DemoBank:
    """A copy of a home whose bank's cameras have no calibration."""
    shutil.copytree(home, folder)
    path = bank_path(folder, ROBOT)
    for i in range(len(DemoBank.open(path))):
        file = path / NOTES.format(i)
        notes = json.loads(file.read_text())
        notes["cameras"][CAMERA] = {"intrinsics": None, "mount": None, "T_mount_camera": None}
        file.write_text(json.dumps(notes))
    return DemoBank.open(path)


def test_the_command_finds_and_stores_a_camera(home, tmp_path, icl_vla, true):
    before = withheld(home, tmp_path / "home")
    assert before[0].cameras[CAMERA].intrinsics is None  # and the bank is usable all the same
    done = icl_vla(tmp_path / "home", "demos", "calibrate", ROBOT, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["stored"] and not report["doubts"]
    assert Path(report["picture"]).read_bytes().startswith(b"\x89PNG")
    after = DemoBank.open(before.path)
    for i in range(len(after)):
        d, old = after[i], before[i]
        found = Pinhole.of(d.cameras[CAMERA].intrinsics, d.cameras[CAMERA].T_mount_camera)
        shift, turn = found.difference(true)
        assert shift < 0.005 and turn < np.radians(0.5)  # the bar, with 6 demonstrations
        assert "colour and depth of 6 demonstrations" in d.provenance[f"calibration.{CAMERA}"]
        assert np.array_equal(d.q, old.q) and np.array_equal(d.actions, old.actions)
        assert np.array_equal(d.cameras[CAMERA].rgb, home_rgb(home, i))
    assert after.history[-1]["before"] == "panda.v1"  # the old version is kept


def home_rgb(home: Path, episode: int) -> np.ndarray:
    return DemoBank.open(bank_path(home, ROBOT))[episode].cameras[CAMERA].rgb


def test_a_calibration_that_is_off_is_noticed_and_a_right_one_is_not(demonstrations, model, true):
    right = calibration_error(demonstrations, CAMERA, model, frames=24)
    assert right.shift < 0.004 and right.turn < np.radians(0.3) and right.reprojection < 1
    for step in (0.010 * np.eye(7)[0], np.radians(5) * np.eye(7)[4]):  # [m], [rad]
        wrong = true.moved(step)
        given = [moved(d, wrong) for d in demonstrations]
        check = calibration_error(given, CAMERA, model, frames=24)
        # the fitted camera does not depend on how wrong the stored one is
        assert max(check.fitted.difference(true)) < 0.005
        assert check.shift + check.turn > 0.8 * np.linalg.norm(step)
        assert check.reprojection > 2


def moved(d, pinhole):
    track = replace(d.cameras[CAMERA], T_mount_camera=pinhole.T_base_camera)
    return replace(d, cameras={CAMERA: track})


def test_pictures_that_do_not_show_the_robot_are_refused(demonstrations, model):
    rng = np.random.default_rng(0)
    d = demonstrations[0]
    shape = d.cameras[CAMERA].rgb.shape
    calm = np.full(shape, 120, np.uint8)
    noise = rng.integers(0, 255, shape, dtype=np.uint8)
    for rgb in (calm, noise):
        given = replace(d, cameras={CAMERA: CameraTrack.from_arrays(rgb)})
        with pytest.raises(CalibrationError, match="do not change as the robot moves"):
            calibrate_camera([given], CAMERA, model)
    still = replace(demonstrations[0], q=np.repeat(d.q[:1], len(d), axis=0))
    with pytest.raises(CalibrationError, match="stands still"):
        calibrate_camera([still], CAMERA, model)


@pytest.mark.slow
def test_few_demonstrations_are_doubted_and_known_intrinsics_are_kept(demonstrations, model, true):
    found = calibrate_camera(
        demonstrations[:2], CAMERA, model, intrinsics=true.intrinsics, depth=False
    )
    assert "2 demonstrations" in found.doubts[-1] and found.surface is None
    assert np.allclose(found.pinhole.intrinsics, true.intrinsics)
    noted = calibrated(demonstrations[0], found)
    assert "doubtful" in noted.provenance[f"calibration.{CAMERA}"]


def test_derivatives_agree_with_finite_differences(true, pictures, body):
    rng = np.random.default_rng(1)
    points = body.surface(40, rng)[0]
    camera = replace(true, aspect=1.1)
    J = camera.jacobian(points)
    distances, K = surface_rows(camera, pictures, body)
    h = 1e-6
    for i, step in enumerate(h * np.eye(7)):
        there, back = camera.moved(step), camera.moved(-step)
        difference = (there.project(points)[0] - back.project(points)[0]) / (2 * h)
        assert np.allclose(difference, J[..., i], rtol=1e-5, atol=1e-3)
        ends = [surface_rows(c, pictures, body)[0] for c in (there, back)]
        assert len(ends[0]) == len(ends[1]) == len(distances)  # no pixel changed sides
        numeric = (ends[0] - ends[1]) / (2 * h)
        # another face may be the nearest after the step; then the two sides differ
        assert np.mean(np.isclose(numeric, K[:, i], rtol=1e-4, atol=1e-4)) > 0.99


def test_camera_pictures_and_poses_convert_both_ways(true):
    rng = np.random.default_rng(2)
    again = Pinhole.of(true.intrinsics, true.T_base_camera)
    assert max(again.difference(true)) < 1e-7
    pixels = rng.uniform(0, 180, (20, 2))
    base = se3.act(true.T_base_camera, 0.8 * true.rays(pixels))
    assert np.allclose(true.project(base)[0], pixels)
    # the corner of the picture stays the corner in one twice as large
    corner = np.array([[-0.5, -0.5], [239.5, 179.5]])
    large = true.scaled(2.0).project(se3.act(true.T_base_camera, true.rays(corner)))[0]
    assert np.allclose(large, [[-0.5, -0.5], [479.5, 359.5]])


def test_outline_lies_on_the_edge_of_the_mask(true, pictures, body):
    total = 0
    for t in range(len(pictures)):
        outline = body.outline(t, true, pictures.size)
        mask = body.mask(t, true, pictures.size)
        look = partial(_at, mask, outline)
        # pixels are whole: where two links meet at an angle, a point's pixel may be the other's
        assert look(-1.5).mean() > 0.9 and look(1.5).mean() < 0.1
        total += len(outline.points)
    assert total > 300


def _at(mask, outline, along):
    u, v = np.round(outline.pixels + along * outline.normals).astype(int).T
    return mask[v, u]


def test_distance_from_the_robot_agrees_with_its_surface(body):
    """On the surface it is zero; off along a face's normal it is the way that was gone."""
    rng = np.random.default_rng(3)
    points = body.surface(400, rng)[0]
    distance, normals = body.distance(0, points)
    # points on one link may lie inside another: those are deeper, never farther out
    assert distance.max() < 1e-9 and np.mean(np.abs(distance) < 1e-9) > 0.4
    outer = np.abs(distance) < 1e-9
    farther, _ = body.distance(0, points[outer] + 0.004 * normals[outer])
    assert farther.max() < 0.004 + 1e-9  # another link may be nearer there
    assert np.mean(np.isclose(farther, 0.004, atol=1e-6)) > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_borders_are_found_to_a_fraction_of_a_sample(seed):
    rng = np.random.default_rng(seed)
    place = rng.uniform(14, 36, 300)
    x = np.arange(50)
    # a border of one pixel (two samples) width between 60 and 0, with noise of 2
    lines = 60 * np.clip((place[:, None] - x) / 2 + 0.5, 0, 1) + rng.normal(0, 2, (300, 50))
    where, found = _falls(lines, noise=2.0)
    assert found.mean() > 0.99
    assert np.abs(where - place)[found].mean() < 0.1
    _, in_noise = _falls(rng.normal(0, 2, (300, 50)), noise=2.0)
    assert in_noise.mean() < 0.01


def test_large_pictures_are_made_smaller_without_a_shift(demonstrations):
    d = demonstrations[0]
    rgb = d.cameras[CAMERA].rgb[:4]
    large = rgb.repeat(3, axis=1).repeat(3, axis=2)
    depth = d.cameras[CAMERA].depth[:4].repeat(3, axis=1).repeat(3, axis=2)
    few = {"times": d.times[:4], "q": d.q[:4], "actions": d.actions[:4]}
    few |= {"grippers": {}, "poses": {}, "commands": {}, "gripper_commands": {}}
    given = replace(d, **few, cameras={CAMERA: CameraTrack.from_arrays(large, depth)})
    small = Pictures.of([given], CAMERA, 4)
    assert small.scale == pytest.approx(1 / 2) and small.size == (270, 360)
    assert np.abs(small.rgb.mean() - rgb.mean()) < 0.5
    assert small.depth.shape == small.rgb.shape[:3]
