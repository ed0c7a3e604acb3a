from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import daqp
import numpy as np
import pybullet
import pytest

from icl_vla_embodiments import Command, FrameNotFound, Observation, TaskTarget, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_wbc import ArmMpc, GovernorConfig, MpcConfig, Sphere, WbcError
from icl_vla_wbc.mpc import PATIENCE

H = 1 / 60
LOOSE = GovernorConfig(2.0, 8.0, 50.0, 200.0, 0.5, 1.5)
Get = Callable[[str], RobotModel]


class Loop:
    """An arm that does as commanded; every command is checked against every joint's limits."""

    def __init__(self, controller: ArmMpc, q: np.ndarray | None = None) -> None:
        self.controller, self.model = controller, controller.model
        self.q = self.model.neutral.copy() if q is None else q
        self.v = np.zeros(self.model.n)
        self.levels: Counter[str] = Counter()
        self.acceleration = self.model.embodiment.array("acceleration")
        self.velocity = self.model.embodiment.array("velocity")
        controller.reset(Observation(0.0, q=self.q))

    def tick(
        self, targets: object, *, seen: np.ndarray | None = None, **options: object
    ) -> Command:
        observation = Observation(0.0, q=self.q if seen is None else seen)
        command = self.controller.track(targets, observation, **options)  # type: ignore[arg-type]
        assert command.mode == "position" and command.q is not None and command.v is not None
        assert np.isfinite(command.q).all() and np.isfinite(command.v).all()
        period = self.controller.period
        assert (np.abs(command.v) <= self.velocity + 1e-9).all()
        assert (np.abs(command.v - self.v) / period <= self.acceleration + 1e-9).all()
        assert (command.q <= np.maximum(self.model.upper, self.q) + 1e-9).all()
        assert (command.q >= np.minimum(self.model.lower, self.q) - 1e-9).all()
        np.testing.assert_allclose(
            command.q - self.q, 0.5 * period * (self.v + command.v), atol=1e-12
        )
        self.q, self.v = command.q, command.v
        self.levels[command.level] += 1
        return command

    @property
    def T(self) -> np.ndarray:
        return self.model.poses(self.q)["arm"]

    def error(self, T: np.ndarray) -> tuple[float, float]:
        """Distance [m] and angle [rad] to a pose."""
        turn = se3.log3(self.T[:3, :3].T @ T[:3, :3])
        return float(np.linalg.norm(self.T[:3, 3] - T[:3, 3])), float(np.linalg.norm(turn))


def at(T: np.ndarray, **fields: object) -> list[TaskTarget]:
    return [TaskTarget(poses={"arm": T}, **fields)]  # type: ignore[arg-type]


def figure(T0: np.ndarray, t: float) -> np.ndarray:
    """A figure of 10 x 15 x 20 cm and 0.36 rad, at 0.4 Hz."""
    w = 2 * np.pi * 0.4
    T = T0.copy()
    T[:3, 3] += [0.05 * np.sin(2 * w * t), 0.15 * np.sin(w * t), 0.1 * (1 - np.cos(w * t))]
    T[:3, :3] = T0[:3, :3] @ se3.exp3([0.3 * np.sin(w * t), 0.2 * np.sin(w * t), 0])
    return T


def reachable(model: RobotModel, rng: np.random.Generator, spread: float) -> np.ndarray:
    q = model.neutral + rng.uniform(-spread, spread, model.n)
    return model.poses(np.clip(q, model.lower, model.upper))["arm"]


@pytest.mark.parametrize("name", ["panda", "iiwa", "xarm"])
def test_targets_are_reached(robot: Get, rng: np.random.Generator, name: str) -> None:
    model = robot(name)
    controller = ArmMpc(model)
    for _ in range(4):
        loop = Loop(controller)
        T = reachable(model, rng, 0.5)
        for _ in range(300):
            loop.tick(at(T))
        assert max(loop.error(T)) < 1e-4
        # a seventh joint still settles in the null space; the tool does not move with it
        assert np.abs(model.jacobian(loop.q, "arm") @ loop.v).max() < 1e-4
        assert loop.levels == {"nominal": 300}


@pytest.mark.parametrize(("name", "bound_mm"), [("panda", 0.7), ("iiwa", 0.7), ("xarm", 0.7)])
def test_a_figure_is_tracked(robot: Get, name: str, bound_mm: float) -> None:
    # URDFs have no acceleration limits; 15 rad/s^2 is the setting of the figure's reference value
    e = robot(name).embodiment
    limits = {j: replace(limit, acceleration=15.0) for j, limit in e.limits.items()}
    controller = ArmMpc(RobotModel(e.with_(limits=limits)), config=MpcConfig(governor=LOOSE))
    loop = Loop(controller)
    T0, ahead = loop.T.copy(), 0.05 * np.arange(22)
    errors = []
    for k in range(300):
        targets = [TaskTarget(poses={"arm": figure(T0, k * H + s)}) for s in ahead]
        loop.tick(targets, times=ahead)
        errors.append(loop.error(figure(T0, (k + 1) * H))[0])
    assert 1e3 * np.sqrt(np.mean(np.square(errors[75:]))) <= bound_mm


@pytest.mark.parametrize("name", ["panda", "xarm"])
def test_every_program_is_solved_to_optimality(
    robot: Get, rng: np.random.Generator, name: str
) -> None:
    loop = Loop(ArmMpc(robot(name)))
    worst, bound = 0.0, 0
    for k in range(240):
        if k % 40 == 0:
            T = reachable(loop.model, rng, 1.5)
            T[:3, 3] *= 1 + (k % 80 == 0)  # every other one out of reach
        loop.tick(at(T))
        solution = loop.controller.solution
        assert solution is not None
        found = solution.residuals()
        assert found is not None
        worst = max(worst, found.primal, found.dual, found.complementarity)
        assert solution.multipliers is not None
        bound += bool(np.any(solution.multipliers))
    assert worst <= 1e-6
    assert bound > 50  # limits were active, so the residuals say something


def test_residuals_notice_a_wrong_solution(robot: Get) -> None:
    loop = Loop(ArmMpc(robot("panda")))
    T = loop.T.copy()
    T[:3, 3] += 0.3
    for _ in range(10):
        loop.tick(at(T))
    solution = loop.controller.solution
    assert solution is not None and solution.program is not None
    assert solution.primal is not None and solution.multipliers is not None
    assert solution.program.residuals(solution.primal + 1e-3, solution.multipliers).dual > 1e-6
    far = solution.program.residuals(solution.primal + 100, solution.multipliers)
    assert far.primal > 1


@pytest.mark.parametrize("name", ["panda", "iiwa", "xarm"])
def test_no_limit_is_broken_by_jumpy_or_unreachable_targets(
    robot: Get, rng: np.random.Generator, name: str
) -> None:
    loop = Loop(ArmMpc(robot(name), config=MpcConfig(governor=LOOSE)))
    fastest = np.zeros(loop.model.n)
    for k in range(900):
        if k % 12 == 0:
            T = se3.pose(se3.exp3(rng.normal(size=3) * 2), rng.uniform(-1.5, 1.5, 3))
            opening = rng.uniform(-0.5, 1.5)
        loop.tick(at(T, grippers={"arm": opening}))
        fastest = np.maximum(fastest, np.abs(loop.v) / loop.velocity)
    assert (loop.q <= loop.model.upper + 1e-9).all() and (loop.q >= loop.model.lower - 1e-9).all()
    if name != "iiwa":  # whose URDF allows 10 rad/s
        assert fastest.max() > 0.99  # the limits were met
    assert loop.levels["nominal"] > 890


@pytest.mark.parametrize("name", ["panda", "iiwa", "xarm"])
def test_it_does_not_tremble_at_what_is_out_of_reach(
    robot: Get, rng: np.random.Generator, name: str
) -> None:
    for _ in range(3):
        loop = Loop(ArmMpc(robot(name)))
        T = reachable(loop.model, rng, 0.5)
        T[:3, 3] += 0.8 * se3.exp3(rng.normal(size=3))[:, 0]
        for _ in range(600):
            loop.tick(at(T))
        v = loop.v
        for _ in range(60):
            loop.tick(at(T))
            assert (np.abs(loop.v - v) / H <= 0.02 * loop.acceleration).all()
            v = loop.v


def test_it_recovers_from_a_start_outside_the_limits(robot: Get) -> None:
    model = robot("panda")
    for joint, excess in ((3, 0.09), (3, 0.5), (1, -0.5)):
        q = model.neutral.copy()
        q[joint] = model.upper[joint] + excess if excess > 0 else model.lower[joint] + excess
        loop = Loop(ArmMpc(model), q)
        T = model.poses(model.neutral)["arm"]
        inside = []
        for _ in range(240):
            loop.tick(at(T))
            inside.append(
                (loop.q <= model.upper + 1e-9).all() and (loop.q >= model.lower - 1e-9).all()
            )
        first = inside.index(True)
        assert first * H < 2.0 and all(inside[first:])


def test_joints_without_ends_and_with_one(robot: Get, rng: np.random.Generator) -> None:
    e = robot("xarm").embodiment
    limits = dict(e.limits)
    first, second = e.joints[0], e.joints[1]
    limits[first] = replace(limits[first], lower=-np.inf, upper=np.inf)
    limits[second] = replace(limits[second], lower=-np.inf, upper=0.0)
    loop = Loop(ArmMpc(RobotModel(e.with_(limits=limits))))
    T = loop.T.copy()
    T[:3, 3] += [0.05, 0.2, 0.05]
    for _ in range(300):
        turns = np.zeros(loop.model.n)
        turns[0] = 2 * np.pi * rng.integers(-2, 3)  # an encoder that counts no turns
        loop.tick(at(T), seen=loop.q + turns)
        found = loop.controller.solution.residuals()  # type: ignore[union-attr]
        assert found is not None and max(vars(found).values()) <= 1e-6
    assert max(loop.error(T)) < 1e-4
    for _ in range(300):  # lean on the one end that the second joint has
        loop.tick([TaskTarget(posture=np.array([5.0, 0.5, -0.8, 0, 1.4, 0]))])
    assert loop.q[0] == pytest.approx(5.0, abs=1e-3) and loop.q[1] == pytest.approx(0.0, abs=1e-3)


def test_a_half_turn_is_made(robot: Get) -> None:
    loop = Loop(ArmMpc(robot("iiwa")), np.array([0.0, 0.5, 0, -1.3, 0, 1.2, -1.5]))
    T = loop.T.copy()
    T[:3, :3] = T[:3, :3] @ se3.exp3([0, 0, np.pi])
    for _ in range(400):
        loop.tick(at(T))
    assert max(loop.error(T)) < 1e-3


def test_the_ladder_when_the_solver_gives_up(robot: Get) -> None:
    # two iterations solve an unconstrained program but not one with many active limits
    model = robot("panda")
    loop = Loop(ArmMpc(model, config=MpcConfig(iterations=2, governor=LOOSE)))
    for _ in range(5):
        loop.tick(at(loop.T))
    assert loop.levels == {"nominal": 5}
    T = model.poses(np.array([1.5, 0.5, 0.5, -1.0, 0.5, 2.5, 0.5, 0.0]))["arm"]
    order = []
    for _ in range(600):
        command = loop.tick(at(T))
        assert loop.controller.solution is not None
        assert loop.controller.solution.level == command.level
        assert (loop.controller.solution.reason == "") == (command.level == "nominal")
        if not order or order[-1] != command.level:
            order.append(command.level)
    assert order[0] == "shifted" and "one_step" in order
    assert loop.levels["shifted"] * H >= 0.15
    assert loop.error(T)[0] < 0.02  # the lower rungs still get there


def test_the_last_rung_is_braking(robot: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icl_vla_wbc.ladder.ONE_STEP_ITERATIONS", 1)
    loop = Loop(ArmMpc(robot("panda"), config=MpcConfig(iterations=2, governor=LOOSE)))
    T = loop.T.copy()
    T[:3, 3] += [0.1, 0.5, 0.1]
    for _ in range(60):
        loop.tick(at(T))
    assert loop.levels["braking"] > 0
    assert loop.controller.solution is not None and "no plan" in loop.controller.solution.reason


@pytest.mark.parametrize("fault", ["q", "no q", "invalid", "pose", "scaled", "target", "opening"])
def test_bad_data_brakes_and_is_survived(robot: Get, fault: str) -> None:
    model = robot("panda")
    loop = Loop(ArmMpc(model))
    T = loop.T.copy()
    T[:3, 3] += [0.0, 0.3, 0.0]
    for _ in range(20):
        loop.tick(at(T))
    moving = np.abs(loop.v).max()
    assert moving > 0.2
    nan, good = np.full(model.n, np.nan), Observation(0.0, q=loop.q)
    cases = {
        "q": (at(T), replace(good, q=nan)),
        "no q": (at(T), replace(good, q=None)),
        "invalid": (at(T), replace(good, valid={"q": False})),
        "pose": (at(T * np.nan), good),
        "scaled": (at(T * 1.1), good),
        "target": (None, good),
        "opening": (at(T, grippers={"arm": np.nan}), good),
    }
    targets, observation = cases[fault]
    controller, q, v = loop.controller, loop.q, loop.v
    passed_over = round(PATIENCE / H) if observation is not good else 0
    for k in range(60):
        command = controller.track(targets, observation)  # type: ignore[arg-type]
        assert command.q is not None and command.v is not None
        assert np.isfinite(command.q).all()
        assert (np.abs(command.v - v) / H <= loop.acceleration + 1e-9).all()
        assert (command.level == "braking") == (k >= passed_over)
        if k >= passed_over:
            assert (np.abs(command.v) <= np.abs(v) + 1e-12).all()
        q, v = command.q, command.v
    assert not v.any()
    loop.q, loop.v = q, v
    for _ in range(240):
        loop.tick(at(T))
    assert max(loop.error(T)) < 1e-3


def test_faults_of_every_kind_at_random_moments(
    robot: Get, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failing solver, NaN from the solver, NaN states and 100 ms stalls: :class:`Loop` checks."""
    model = robot("panda")
    loop = Loop(ArmMpc(model, hulls=LinkHulls(model.embodiment).hulls))
    solve, fault = daqp.solve, ""

    def faulty(*arguments: object, **options: object) -> object:
        x, cost, flag, info = solve(*arguments, **options)
        if fault == "no solution":
            return x, cost, -1, info
        if fault == "NaN":
            return np.full_like(x, np.nan), np.nan, flag, info
        return x, cost, flag, info

    monkeypatch.setattr("icl_vla_wbc.qp.daqp.solve", faulty)
    kinds = ["", "no solution", "NaN", "state", "stall"]
    T, seen, obstacle = loop.T, Counter[str](), Sphere(np.array([0.5, 0.3, 0.5]), 0.08)
    assert round(PATIENCE / H) < 8
    for k in range(900):
        if k % 8 == 0:
            fault = kinds[rng.choice(5, p=[0.6, 0.1, 0.1, 0.1, 0.1])]
        if k % 60 == 0:
            T = reachable(model, rng, 0.6)
        q = loop.q
        if fault == "state":
            q = np.where(rng.random(model.n) < 0.3, np.nan, loop.q)
        if fault == "stall":  # 100 ms without a command: what was asked for last is where it rests
            q = loop.q - 0.1 * loop.v * rng.random(model.n)
        obstacle = replace(obstacle, center=obstacle.center + rng.normal(size=3) * 2e-3)
        loop.tick(at(T), seen=q, obstacles=[obstacle])
        seen[fault] += 1
    assert len(seen) == len(kinds)
    assert loop.levels["nominal"] > 300 and loop.levels["shifted"] and loop.levels["braking"]


def test_a_blocked_arm_keeps_its_command_on_a_leash(robot: Get) -> None:
    model, config = robot("panda"), MpcConfig()
    loop = Loop(ArmMpc(model, config=config))
    stuck = loop.q.copy()
    T = loop.T.copy()
    T[:3, 3] += [0.05, 0.35, 0.1]
    departure = []
    for _ in range(400):
        loop.tick(at(T), seen=stuck)
        departure.append(np.abs(loop.q - stuck)[:7].max())
    stopping = (loop.velocity**2 / (2 * loop.acceleration))[:7].max()
    assert max(departure) <= config.leash + stopping
    assert max(departure[100:]) < 1.05 * config.leash
    assert min(departure[100:]) > 0.99 * config.leash  # it leans on the leash, without bouncing
    for _ in range(300):
        loop.tick(at(T))
    assert max(loop.error(T)) < 1e-3


def test_a_pushed_arm_draws_its_command_along(robot: Get) -> None:
    model = robot("panda")
    loop = Loop(ArmMpc(model))
    T = loop.T.copy()
    pushed = loop.q.copy()
    pushed[[0, 3]] += [0.6, -0.5]
    for _ in range(120):
        loop.tick(at(T), seen=pushed)
    assert np.abs(loop.q - pushed)[:7].max() < 1.05 * MpcConfig().leash


def test_grippers_open_and_other_joints_stay(robot: Get) -> None:
    loop = Loop(ArmMpc(robot("panda")))
    T = loop.T.copy()
    fingers = []
    for opening in (1.0, 0.25):
        for _ in range(60):
            command = loop.tick(at(T, grippers={"arm": opening}))
            fingers.append(loop.q[7])
        assert loop.q[7] == pytest.approx(0.04 * opening, abs=1e-12)
        assert command.grippers == {"arm": opening}
    for _ in range(10):
        loop.tick(at(T))  # silence about the gripper leaves it where it is
    assert loop.q[7] == pytest.approx(0.01, abs=1e-12)
    assert max(fingers) <= 0.04


def test_postures_are_demanded_or_preferred(robot: Get) -> None:
    model = robot("panda")
    loop = Loop(ArmMpc(model))
    goal = model.neutral + 0.4
    goal[7] = 0.0
    for _ in range(240):
        loop.tick([TaskTarget(posture=goal)])
        assert (np.abs(loop.v[:7]) <= 0.5 * loop.velocity[:7] * 1.1).all()
    np.testing.assert_allclose(loop.q, goal, atol=1e-4)
    T = loop.T.copy()
    elbow = model.neutral + np.array([0.4, 0, -0.4, 0, 0, 0, 0, 0])
    before = np.linalg.norm((loop.q - elbow)[[0, 2]])
    for _ in range(600):
        loop.tick(at(T, posture=elbow))
    assert max(loop.error(T)) < 1e-3
    assert np.linalg.norm((loop.q - elbow)[[0, 2]]) < 0.8 * before


def test_without_a_target_it_stays(robot: Get) -> None:
    loop = Loop(ArmMpc(robot("panda")))
    T = loop.T.copy()
    for _ in range(30):
        loop.tick([])
        loop.tick([TaskTarget(grippers={"arm": 0.5})])
    assert max(loop.error(T)) < 1e-6


def test_free_axes_are_free(robot: Get) -> None:
    axes = (True, True, True, False, False, False)
    loop = Loop(ArmMpc(robot("xarm"), task_axes=axes))
    T = loop.T.copy()
    T[:3, 3] += [0.05, 0.1, 0.05]
    T[:3, :3] = se3.exp3([2.0, 0.5, 0])
    for _ in range(300):
        loop.tick(at(T))
    distance, angle = loop.error(T)
    assert distance < 1e-4 and angle > 0.5


def test_timed_targets_are_met_in_time(robot: Get) -> None:
    loop = Loop(ArmMpc(robot("panda")))
    T = loop.T.copy()
    T[:3, 3] += [0.0, 0.2, 0.0]
    for k in range(120):
        before = loop.error(T)[0]
        loop.tick(at(T), times=[1.0 - k * H])
        if k == 30:
            assert 0.06 < before < 0.14  # half the time, about half the way
    assert max(loop.error(T)) < 1e-3


def test_wrong_use_is_reported(robot: Get) -> None:
    model = robot("panda")
    observation = Observation(0.0, q=model.neutral)
    controller = ArmMpc(model)
    with pytest.raises(WbcError, match="no state"):
        controller.track([], observation)
    with pytest.raises(WbcError, match="without measured"):
        controller.reset(Observation(0.0))
    controller.reset(observation)
    T = model.poses(model.neutral)["arm"]
    with pytest.raises(WbcError, match="obstacles"):
        controller.track(at(T), observation, obstacles=[object()])
    with pytest.raises(WbcError, match="needs its time"):
        controller.track(at(T) * 2, observation)
    with pytest.raises(WbcError, match="increase"):
        controller.track(at(T) * 2, observation, times=[0.1, 0.1])
    with pytest.raises(WbcError, match="posture"):
        controller.track([TaskTarget(posture=np.zeros(3))], observation)
    with pytest.raises(WbcError, match="entries"):
        controller.track([TaskTarget(twists={"arm": np.zeros(3)})], observation)
    with pytest.raises(WbcError, match="not controlled"):
        controller.track([TaskTarget(poses={"left": T})], observation)
    with pytest.raises(WbcError, match="period"):
        ArmMpc(model, period=0.1)
    with pytest.raises(FrameNotFound, match="end effector"):
        ArmMpc(model, "left")
    limits = {j: replace(v, acceleration=np.inf) for j, v in model.embodiment.limits.items()}
    with pytest.raises(WbcError, match="acceleration limit"):
        ArmMpc(RobotModel(model.embodiment.with_(limits=limits)))


def test_a_simulated_servo_reaches_the_target(robot: Get) -> None:
    """Closed loop with PyBullet's dynamics: gravity, servo lag, contact-free."""
    model = robot("panda")
    client = pybullet.connect(pybullet.DIRECT)
    try:
        pybullet.setGravity(0, 0, -9.81, physicsClientId=client)
        pybullet.setTimeStep(1 / 240, physicsClientId=client)
        body = pybullet.loadURDF(
            str(model.embodiment.urdf_path), useFixedBase=True, physicsClientId=client
        )
        index = {
            pybullet.getJointInfo(body, i, physicsClientId=client)[1].decode(): i
            for i in range(pybullet.getNumJoints(body, physicsClientId=client))
        }
        joints = [index[j] for j in model.embodiment.joints]
        for i, value in zip(joints, model.neutral, strict=True):
            pybullet.resetJointState(body, i, value, physicsClientId=client)

        def measure() -> Observation:
            states = pybullet.getJointStates(body, joints, physicsClientId=client)
            return Observation(0.0, q=np.array([s[0] for s in states]))

        controller = ArmMpc(model)
        controller.reset(measure())
        T = model.poses(model.neutral)["arm"].copy()
        T[:3, 3] += [0.05, 0.25, -0.1]
        T[:3, :3] = T[:3, :3] @ se3.exp3([0.3, -0.2, 0.5])
        for _ in range(240):
            command = controller.track(at(T), measure())
            assert command.level == "nominal" and command.q is not None
            pybullet.setJointMotorControlArray(
                body,
                joints,
                pybullet.POSITION_CONTROL,
                targetPositions=command.q.tolist(),
                forces=[500.0] * len(joints),
                physicsClientId=client,
            )
            for _ in range(4):
                pybullet.stepSimulation(physicsClientId=client)
        measured = measure().q
        assert measured is not None
        reached = model.poses(measured)["arm"]
        assert np.linalg.norm(reached[:3, 3] - T[:3, 3]) < 1e-3
        assert np.linalg.norm(se3.log3(reached[:3, :3].T @ T[:3, :3])) < 1e-2
    finally:
        pybullet.disconnect(client)
