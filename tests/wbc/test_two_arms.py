"""A torso with two arms in one problem, twists, and tasks of the user's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import casadi as ca
import numpy as np
import pinocchio as pin
import pytest

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import ArmMpc, ArmTorqueMpc, WbcError
from icl_vla_wbc.chains import moves, own_joints
from icl_vla_wbc.dynamics import FrameKinematics
from icl_vla_wbc.tasks import Residual

H = 1 / 60
ARM = ("z", "y", "y", "x", "y", "x")  # axes, from the shoulder to the wrist
NEUTRAL = np.array([0.1, 0.0] + 2 * [0.0, 0.6, 0.9, 0.0, 0.5, 0.0])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RobotModel:
    """A lift and a waist that carry two arms of six joints."""
    parts = []

    def link(name: str, length: float) -> None:
        shape = f'<cylinder radius="0.04" length="{length}"/>'
        body = f'<origin xyz="0 0 {length / 2}"/><geometry>{shape}</geometry>'
        inertia = '<inertia ixx=".02" iyy=".02" izz=".02" ixy="0" ixz="0" iyz="0"/>'
        parts.append(
            f'<link name="{name}"><inertial><origin xyz="0 0 {length / 2}"/><mass value="2"/>'
            f"{inertia}</inertial><visual>{body}</visual><collision>{body}</collision></link>"
        )

    def joint(name: str, parent: str, axis: str, at: str, low: float, high: float) -> None:
        kind = "prismatic" if name == "lift" else "revolute"
        xyz = {"x": "1 0 0", "y": "0 1 0", "z": "0 0 1"}[axis]
        parts.append(
            f'<joint name="{name}_joint" type="{kind}"><parent link="{parent}"/>'
            f'<child link="{name}"/><origin xyz="{at}"/><axis xyz="{xyz}"/>'
            f'<limit lower="{low}" upper="{high}" effort="900" velocity="2"/></joint>'
        )

    link("base_link", 0.3)
    link("lift", 0.3)
    joint("lift", "base_link", "z", "0 0 0.3", 0.0, 0.3)
    link("waist", 0.2)
    joint("waist", "lift", "z", "0 0 0.3", -1.5, 1.5)
    for side, y in (("left", 0.25), ("right", -0.25)):
        parent, at = "waist", f"0.05 {y} 0.1"
        for i, axis in enumerate(ARM):
            name = f"{side}_{i}"
            length = 0.3 if axis == "y" and i < 4 else 0.1
            link(name, length)
            joint(name, parent, axis, at, -2.6, 2.6)
            parent, at = name, f"0 0 {length}"
        link(f"{side}_hand", 0.05)
        parts.append(
            f'<joint name="{side}_mount" type="fixed"><parent link="{parent}"/>'
            f'<child link="{side}_hand"/><origin xyz="{at}"/></joint>'
        )
    file = Path(tmp_path_factory.mktemp("two")) / "two_arms.urdf"
    file.write_text(f'<robot name="two_arms">{"".join(parts)}</robot>')
    return RobotModel.from_urdf(file)


@pytest.fixture(scope="module")
def arms(model: RobotModel) -> tuple[str, ...]:
    names = tuple(arm.name for arm in model.embodiment.arms)
    assert len(names) == 2
    return names


class Loop:
    """Commands are the truth; every one is checked against every limit."""

    def __init__(self, controller: ArmMpc) -> None:
        self.controller, self.model = controller, controller.model
        self.q, self.v = NEUTRAL.copy(), np.zeros(self.model.n)
        self.levels: Counter[str] = Counter()
        controller.reset(Observation(0.0, q=self.q))

    def tick(self, target: TaskTarget, **options: object) -> None:
        seen = Observation(0.0, q=self.q, v=self.v)
        command = self.controller.track([target], seen, **options)  # type: ignore[arg-type]
        assert command.q is not None and command.v is not None
        e, period = self.model.embodiment, self.controller.period
        assert (np.abs(command.v) <= e.array("velocity") + 1e-9).all()
        assert (np.abs(command.v - self.v) <= period * e.array("acceleration") + 1e-9).all()
        assert (command.q <= self.model.upper + 1e-9).all()
        assert (command.q >= self.model.lower - 1e-9).all()
        self.q, self.v = command.q, command.v
        self.levels[command.level] += 1

    def error(self, name: str, T: Array) -> float:
        """Distance [m] plus angle [rad]."""
        here = self.model.poses(self.q)[name]
        turn = se3.log3(here[:3, :3].T @ T[:3, :3])
        return float(np.linalg.norm(here[:3, 3] - T[:3, 3]) + np.linalg.norm(turn))


def moved(T: Array, *by: float) -> Array:
    T = T.copy()
    T[:3, 3] += by
    return T


def test_arms_share_the_torso(model: RobotModel, arms: tuple[str, ...]) -> None:
    """Joints are those that move the chosen arms and no other one."""
    torso = [model.embodiment.joints.index(j) for j in ("lift_joint", "waist_joint")]
    for arm in arms:
        assert moves(model, arm)[torso].all()
        assert len(own_joints(model, [arm])) == 6
    assert set(torso) < set(own_joints(model, arms)) and len(own_joints(model, arms)) == 14


def test_both_hands_reach_together(model: RobotModel, arms: tuple[str, ...]) -> None:
    """Targets higher and farther round than the arms reach alone: the torso must help."""
    loop = Loop(ArmMpc(model))
    goal = NEUTRAL.copy()
    goal[:2] = 0.28, 0.7
    goal[2:] += 0.25 * np.array([1, -1, 1, 1, -1, 1, -1, 1, -1, 1, 1, -1])
    T = {name: model.poses(goal)[name] for name in arms}
    for _ in range(360):
        loop.tick(TaskTarget(poses=T))
        found = loop.controller.solution.residuals()  # type: ignore[union-attr]
        assert found is not None and max(vars(found).values()) < 1e-6
    assert max(loop.error(name, T[name]) for name in arms) < 1e-3
    assert abs(loop.q[1]) > 0.3
    assert loop.levels == {"nominal": 360}


def test_an_arm_alone_leaves_the_torso(model: RobotModel, arms: tuple[str, ...]) -> None:
    loop = Loop(ArmMpc(model, arms[0]))
    T = moved(model.poses(NEUTRAL)[arms[0]], 0.05, 0.05, -0.05)
    for _ in range(240):
        loop.tick(TaskTarget(poses={arms[0]: T}))
    assert loop.error(arms[0], T) < 1e-3
    others = np.setdiff1d(np.arange(model.n), loop.controller.joints)
    np.testing.assert_allclose(loop.q[others], NEUTRAL[others], atol=1e-9)


def test_the_hand_that_is_not_asked_stays(model: RobotModel, arms: tuple[str, ...]) -> None:
    """It stays in space while the torso turns for the other one; with a posture it follows that."""
    loop = Loop(ArmMpc(model))
    rest = model.poses(NEUTRAL)[arms[1]]
    T = moved(model.poses(NEUTRAL)[arms[0]], 0.1, 0.2, 0.1)
    for _ in range(240):
        loop.tick(TaskTarget(poses={arms[0]: T}))
        assert loop.error(arms[1], rest) < 5e-3
    assert loop.error(arms[0], T) < 1e-3 and np.abs(loop.q[:2] - NEUTRAL[:2]).max() > 0.01
    posture = NEUTRAL.copy()
    own = own_joints(model, [arms[1]])
    posture[own] += 0.3
    for _ in range(360):
        loop.tick(TaskTarget(poses={arms[0]: T}, posture=posture))
    np.testing.assert_allclose(loop.q[own], posture[own], atol=2e-3)
    assert loop.error(arms[0], T) < 1e-3


def test_a_twist_is_followed_and_ends_at_rest(model: RobotModel, arms: tuple[str, ...]) -> None:
    loop = Loop(ArmMpc(model, arms[0]))
    T = model.poses(NEUTRAL)[arms[0]]
    twist = np.array([-0.05, -0.02, -0.04, 0.1, 0.0, -0.2])
    for _ in range(90):
        loop.tick(TaskTarget(twists={arms[0]: twist}))
    J = model.jacobian(loop.q, arms[0])
    np.testing.assert_allclose(J @ loop.v, twist, atol=5e-3)
    due = se3.pose(se3.exp3(1.5 * twist[3:]) @ T[:3, :3], T[:3, 3] + 1.5 * twist[:3])
    assert loop.error(arms[0], due) < 5e-3
    for _ in range(60):
        loop.tick(TaskTarget())
    assert np.abs(loop.v).max() < 1e-3


def test_weights_of_one_hand_and_in_other_directions(
    model: RobotModel, arms: tuple[str, ...]
) -> None:
    """Of targets that exclude each other the heavier one wins; a matrix frees a slanted line."""
    far = {name: moved(model.poses(NEUTRAL)[name], 1.0, 0, 0) for name in arms}
    errors = []
    for heavy in arms:
        loop = Loop(ArmMpc(model))
        for _ in range(300):
            loop.tick(TaskTarget(poses=far), weights={heavy: np.full(6, 3.0)})
        errors.append([loop.error(name, far[name]) for name in arms])
    assert errors[0][0] < errors[1][0] and errors[1][1] < errors[0][1]
    slope = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
    free = np.eye(6)
    free[:3, :3] -= np.outer(slope, slope)
    loop = Loop(ArmMpc(model, arms[0]))
    T = moved(model.poses(NEUTRAL)[arms[0]], 0.1, 0.0, 0.0)
    for _ in range(300):
        loop.tick(TaskTarget(poses={arms[0]: T}), weights=free)
    off = loop.model.poses(loop.q)[arms[0]][:3, 3] - T[:3, 3]
    assert np.linalg.norm(off - slope * (slope @ off)) < 1e-3 < 0.01 < abs(slope @ off)
    with pytest.raises(WbcError, match="six weights"):
        loop.tick(TaskTarget(), weights=np.ones(3))


def test_a_task_of_the_users_own(model: RobotModel, arms: tuple[str, ...]) -> None:
    """A hand's z axis stays level while its place is tracked and its turn is free."""
    kinematics = FrameKinematics.of(model, model.tcp_id(arms[0]))
    x, y, z, w = (kinematics.pose[i] for i in range(3, 7))
    up = ca.vertcat(2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y))
    goal = ca.SX.sym("goal")
    task = Residual(kinematics.q, up[2] - goal, goal, weights=20.0)
    task.parameter = np.array([-0.2])
    place = (True, True, True, False, False, False)
    loop = Loop(ArmMpc(model, arms[0], task_axes=place, tasks=[task]))
    T = moved(model.poses(NEUTRAL)[arms[0]], 0.05, 0.1, -0.05)
    for _ in range(300):
        loop.tick(TaskTarget(poses={arms[0]: T}))
    here = model.poses(loop.q)[arms[0]]
    assert np.linalg.norm(here[:3, 3] - T[:3, 3]) < 1e-3
    assert here[2, 2] == pytest.approx(-0.2, abs=1e-3)


def test_torques_of_two_arms(model: RobotModel, arms: tuple[str, ...]) -> None:
    """Both arms and the torso are driven onto the plan, and hold themselves up."""
    controller = ArmTorqueMpc(model, period=1 / 240)
    controller.reset(Observation(0.0, q=NEUTRAL))
    T = {name: moved(model.poses(NEUTRAL)[name], 0.05, 0.0, 0.05) for name in arms}
    effort = model.embodiment.array("effort")
    q, v = NEUTRAL.copy(), np.zeros(model.n)
    for _ in range(480):
        command = controller.track([TaskTarget(poses=T)], Observation(0.0, q=q, v=v))
        assert command.tau is not None and (np.abs(command.tau) <= effort + 1e-9).all()
        v = v + pin.aba(model.model, model.data, q, v, command.tau) / 240
        q = q + v / 240
    for name in arms:
        assert np.linalg.norm(model.poses(q)[name][:3, 3] - T[name][:3, 3]) < 2e-3


def test_distances_between_two_arms_are_kept(model: RobotModel, arms: tuple[str, ...]) -> None:
    """Hands sent to one place meet there, or stop a margin in front of each other."""
    start = model.poses(NEUTRAL)
    meet = 0.5 * (start[arms[0]][:3, 3] + start[arms[1]][:3, 3])
    T = {name: se3.pose(start[name][:3, :3], meet) for name in arms}
    gaps = []
    for hulls in (None, LinkHulls(model.embodiment).hulls):
        loop = Loop(ArmMpc(model, hulls=hulls))
        for _ in range(240):
            loop.tick(TaskTarget(poses=T))
        here = model.poses(loop.q)
        gaps.append(np.linalg.norm(here[arms[0]][:3, 3] - here[arms[1]][:3, 3]))
    assert gaps[0] < 1e-3
    assert gaps[1] > 0.99 * loop.controller.config.safety.self_margin  # the tips are the nearest
