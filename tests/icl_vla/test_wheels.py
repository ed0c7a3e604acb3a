"""Policies on robots that roll: which controller they get, and a reach behind in physics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pinocchio
import pybullet_data
import pytest

from icl_vla.runtime.controllers import WheeledArm, controller_for
from icl_vla.runtime.drivers import find_driver
from icl_vla.runtime.loop import PERIOD, run_episode
from icl_vla.runtime.station import Station
from icl_vla_embodiments import ActionChunk, Embodiment, Observation, ReportedError, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_wbc import ArmMpc

DATA = Path(pybullet_data.getDataPath())
SHARE = Path(pinocchio.__file__).parents[4] / "share/example-robot-data/robots"
MOBILE = SHARE / "tiago_description/robots/tiago.urdf"
STEPS, DT, SPEED = 8, 0.1, 0.25


@pytest.fixture(scope="module")
def mobile() -> Embodiment:
    if not MOBILE.is_file():
        pytest.skip(f"the robot is not here ({MOBILE})")
    return embodiment_from_urdf(MOBILE, name="mobile", allow_missing_meshes=True)


class Towards:
    """A policy that moves a hand straight to a place in the world; its chunks say it as usual."""

    def __init__(self, model: RobotModel, effector: str, goal: np.ndarray) -> None:
        self.model, self.effector, self.goal = model, effector, goal

    def act(self, observation: Observation) -> ActionChunk:
        assert observation.q is not None and observation.T_world_base is not None
        start = self.model.poses(observation.q)[self.effector]
        goal = se3.inverse(observation.T_world_base) @ self.goal
        gap, turn = goal[:3, 3] - start[:3, 3], se3.log3(goal[:3, :3] @ start[:3, :3].T)
        away = float(np.linalg.norm(gap))
        poses = []
        for h in range(1, STEPS + 1):
            share = min(1.0, h * DT * SPEED / max(away, 1e-9))
            R = se3.exp3(share * turn) @ start[:3, :3]
            poses.append(se3.pose(R, start[:3, 3] + share * gap))
        done = away < 2e-3 and float(np.linalg.norm(turn)) < 0.01
        return ActionChunk.from_poses(
            observation.time,
            DT,
            {self.effector: start},
            {self.effector: np.array(poses)},
            done=done,
        )


def test_a_policy_reaches_behind_a_mobile_manipulator(
    mobile: Embodiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICL_VLA_HOME", str(tmp_path))
    station = Station.around(mobile, lambda _: find_driver("pybullet-wheels")(mobile))
    assert isinstance(station.controller, WheeledArm)
    first = station.reset(0)
    assert first.q is not None and first.T_world_base is not None
    hand = first.T_world_base @ station.model.poses(first.q)[station.effector]
    goal = hand.copy()
    goal[:3, 3] += [-1.5, 0.3, 0.1]  # behind where the base stands now
    assert goal[0, 3] < first.T_world_base[0, 3] - 0.5
    outcome = run_episode(
        station.driver,
        station.controller,
        Towards(station.model, station.effector, goal),
        seconds=30.0,
        audit=station.audit,
    )
    assert outcome.reason == "done"
    last = station.driver.observe()
    assert last.q is not None and last.T_world_base is not None
    reached = last.T_world_base @ station.model.poses(last.q)[station.effector]
    assert np.linalg.norm((reached - goal)[:3, 3]) < 5e-3
    assert np.linalg.norm((last.T_world_base - first.T_world_base)[:2, 3]) > 1.0
    assert set(station.audit.levels) == {"nominal"} and station.audit.violations == 0


def test_the_controller_follows_from_what_the_actions_command(mobile: Embodiment) -> None:
    model = RobotModel(mobile)
    effector, space = mobile.arms[0].name, mobile.action_space()
    arm_only = replace(space, dimensions=tuple(d for d in space.dimensions if d.role != "base"))
    hulls = LinkHulls(mobile)
    assert isinstance(controller_for(model, effector, space, hulls), WheeledArm)
    assert isinstance(controller_for(model, effector, arm_only, hulls), ArmMpc)
    fixed = embodiment_from_urdf(DATA / "franka_panda/panda.urdf")
    name, space = fixed.arms[0].name, fixed.action_space()
    found = controller_for(RobotModel(fixed), name, space, LinkHulls(fixed))
    assert isinstance(found, ArmMpc)
    rover = embodiment_from_urdf(DATA / "husky/husky.urdf", allow_missing_meshes=True)
    with pytest.raises(ReportedError, match="has none"):
        Station.around(rover, lambda _: find_driver("pybullet-wheels")(rover))


def test_a_chunk_stays_where_it_was_asked_while_the_base_moves(mobile: Embodiment) -> None:
    model = RobotModel(mobile)
    effector = mobile.arms[0].name
    controller = WheeledArm(model, effector)
    q, T = model.neutral, se3.pose(se3.yaw(0.4), [1.0, 2.0, 0.0])
    controller.reset(Observation(0.0, q=q, T_world_base=T))
    goal = model.poses(q)[effector]
    goal[:3, 3] += [0.3, 0.0, 0.0]
    chunk = ActionChunk.from_poses(0.0, 1.0, {effector: goal}, {effector: goal[None]})
    targets = chunk.targets
    weights = np.array([1.0, 2.0, 3.0, 1.0, 1.0, 1.0])
    for k in range(400):
        command = controller.track(
            targets, Observation(k * PERIOD, q=q, T_world_base=T), times=[0.0], weights=weights
        )
        assert command.q is not None and command.base_twist is not None
        q, twist = command.q, PERIOD * command.base_twist
        T = T @ se3.pose(se3.yaw(twist[5]), twist[:3])
    reached = T @ model.poses(q)[effector]
    wanted = se3.pose(se3.yaw(0.4), [1.0, 2.0, 0.0]) @ goal
    np.testing.assert_allclose(reached, wanted, atol=2e-3)
    blind = controller.track(targets, Observation(9.0, q=q), times=[0.0])
    assert blind.level == "braking"
