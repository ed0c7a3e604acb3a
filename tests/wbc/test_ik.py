from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from icl_vla_embodiments import se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_wbc import WbcError
from icl_vla_wbc.ik import DifferentialIk, IkConfig

Get = Callable[[str], RobotModel]


@pytest.mark.parametrize("name", ["panda", "iiwa", "xarm"])
def test_poses_are_reached_within_limits(robot: Get, rng: np.random.Generator, name: str) -> None:
    model, h = robot(name), 0.02
    ik = DifferentialIk(model, period=h, config=IkConfig(posture_weight=1e-4))
    fastest = model.embodiment.array("velocity")
    for _ in range(5):
        goal = np.clip(model.neutral + rng.uniform(-0.5, 0.5, model.n), model.lower, model.upper)
        T, q = model.poses(goal)["arm"], model.neutral
        for _ in range(200):
            v = ik.velocity(q, T)
            assert v is not None and (np.abs(v) <= fastest + 1e-9).all()
            q = q + h * v
            assert (q <= model.upper + 1e-9).all() and (q >= model.lower - 1e-9).all()
        off = se3.inverse(model.poses(q)["arm"]) @ T
        assert np.linalg.norm(off[:3, 3]) < 1e-5 and np.linalg.norm(se3.log3(off[:3, :3])) < 1e-5


def test_a_start_outside_the_range_comes_back(robot: Get) -> None:
    e, h = robot("panda").embodiment, 0.02
    joint = e.arms[0].joints[1]
    limits = {**e.limits, joint: replace(e.limits[joint], upper=e.neutral[joint] - 0.2)}
    model = RobotModel(e.with_(limits=limits))
    ik, q = DifferentialIk(model, period=h), robot("panda").neutral
    T = model.poses(q)["arm"]
    for _ in range(20):
        v = ik.velocity(q, T)
        assert v is not None and (np.abs(v) <= model.embodiment.array("velocity") + 1e-9).all()
        q = q + h * v
    assert (q <= model.upper + 1e-9).all()


def test_bad_numbers_and_wrong_use(robot: Get) -> None:
    model = robot("panda")
    ik = DifferentialIk(model)
    T = model.poses(model.neutral)["arm"]
    assert ik.velocity(np.full(model.n, np.nan), T) is None
    assert ik.velocity(model.neutral, np.full((4, 4), np.inf)) is None
    assert np.abs(ik.velocity(model.neutral, T)).max() < 1e-9  # and it is not upset by them
    with pytest.raises(WbcError, match="period"):
        DifferentialIk(model, period=0.0)
    with pytest.raises(WbcError, match="positive"):
        IkConfig(posture_weight=-1.0)
