"""The check passes good robots and finds what is wrong with bad ones."""

import json
from dataclasses import replace

import pytest

from icl_vla.sim.check import check_embodiment, check_picture
from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.urdf import embodiment_from_urdf


def outcome(robot, folder, **options):
    report = check_embodiment(robot, folder, **{"configurations": 50, "reaches": 3, **options})
    return {r.name: r for r in report.results}, report


@pytest.mark.parametrize("file", ["xarm/xarm6_with_gripper.urdf", "mini_cheetah/mini_cheetah.urdf"])
def test_good_robots_pass(data, tmp_path, file):
    robot = embodiment_from_urdf(data / file)
    results, report = outcome(robot, tmp_path)
    assert report.passed, [r for r in report.results if not r.passed]
    assert ("reach arm" in results) == bool(robot.arms)
    assert check_picture(robot, report)[:4] == b"\x89PNG"


def test_another_geometry_is_seen(panda, tmp_path):
    """PyBullet has the URDF of before: the model must not agree with it."""
    outcome(panda, tmp_path, configurations=1, reaches=1)
    (file,) = tmp_path.glob("*.sim.urdf")
    file.write_text(file.read_text().replace("0.333", "0.334"))
    results, report = outcome(panda, tmp_path)
    assert not report.passed and not results["kinematics"].passed
    assert "1.0e-03 m" in results["kinematics"].remark


def test_a_gripper_the_same_closed_and_open(panda, tmp_path):
    groups = tuple(replace(g, open=g.closed) if g.kind == "gripper" else g for g in panda.groups)
    results, _ = outcome(panda.with_(groups=groups), tmp_path)
    assert not results["open gripper"].passed


def test_a_weak_motor_is_noticed(panda, tmp_path):
    weak = {j: replace(limit, effort=0.05) for j, limit in panda.limits.items()}
    results, _ = outcome(panda.with_(limits=weak), tmp_path)
    assert not results["reach arm"].passed


def test_a_neutral_posture_that_collides(panda, tmp_path):
    folded = {**panda.neutral, "panda_joint2": 1.7, "panda_joint4": -3.0, "panda_joint6": 3.5}
    results, _ = outcome(panda.with_(neutral=folded), tmp_path)
    assert not results["neutral posture"].passed


@pytest.mark.slow
def test_kinematics_of_every_labelled_robot(labels, benchmark, tmp_path):
    """At most 1e-6 m between Pinocchio and PyBullet over 1,000 configurations."""
    accuracy = benchmark("urdf_accuracy")
    tried = 0
    for name, label in json.loads(labels.read_text()).items():
        file = accuracy.locate(labels, label["urdf"])
        if not file.is_file():
            continue
        try:
            robot = embodiment_from_urdf(file, allow_missing_meshes=True)
        except ReportedError:
            continue
        only = robot.with_(groups=(), base="fixed", mount=robot.mount)
        results, _ = outcome(only.with_(tcp={}), tmp_path / name, configurations=1000)
        assert results["kinematics"].passed, (name, results["kinematics"].remark)
        tried += 1
    assert tried > 40
