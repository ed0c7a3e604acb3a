"""Wheels: derivatives and paths against geometry, control of a perfect base and in physics."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pybullet_data
import pytest

from icl_vla.sim.wheeled import RollingWheels, WheeledDriver
from icl_vla_embodiments import Command, Observation, TaskTarget, se2, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf, simulation_urdf
from icl_vla_wbc import WbcError
from icl_vla_wbc.horizon import Horizon
from icl_vla_wbc.limits import ViableLimits
from icl_vla_wbc.mobile import Drive, MobileConfig, MobileMpc
from icl_vla_wbc.mobile.path import TIGHT, BasePath
from icl_vla_wbc.mobile.program import MobileProgram, State

KINDS = ("differential", "holonomic", "ackermann")
SHARED = Path(os.environ.get("ICL_VLA_SHARED", Path(__file__).parents[3] / "shared"))
DATA = Path(pybullet_data.getDataPath())
Get = Callable[..., RobotModel]


@pytest.fixture(scope="module")
def carts(tmp_path_factory: pytest.TempPathFactory, benchmark: Callable[[str], ModuleType]) -> Get:
    folder, made = tmp_path_factory.mktemp("carts"), {}
    module = benchmark("carts")

    def get(kind: str, arm: bool = True) -> RobotModel:
        if (kind, arm) not in made:
            made[kind, arm] = module.cart(kind, folder, arm)
        return made[kind, arm]

    return get


def flat(pose: np.ndarray, z: float = 0.0) -> np.ndarray:
    return se3.pose(se3.yaw(pose[2]), [pose[0], pose[1], z])


class Loop:
    """A base and an arm that do as commanded; every command is checked against every limit."""

    def __init__(self, controller: MobileMpc, T: np.ndarray | None = None) -> None:
        self.controller, self.model = controller, controller.model
        self.q, self.T = self.model.neutral.copy(), np.eye(4) if T is None else T
        self.v, self.twist = np.zeros(self.model.n), np.zeros(3)
        self.levels: Counter[str] = Counter()
        controller.reset(self.observation)

    @property
    def observation(self) -> Observation:
        return Observation(0.0, q=self.q, T_world_base=self.T)

    def tick(self, targets: object, seen: Observation | None = None, **options: object) -> Command:
        command = self.controller.track(targets, seen or self.observation, **options)  # type: ignore[arg-type]
        h, e, drive = self.controller.period, self.model.embodiment, self.controller.drive
        assert command.q is not None and command.v is not None and command.base_twist is not None
        for part in (command.q, command.v, command.base_twist):
            assert np.isfinite(part).all()
        assert (np.abs(command.v) <= e.array("velocity") + 1e-9).all()
        assert (np.abs(command.v - self.v) <= h * e.array("acceleration") + 1e-9).all()
        assert (command.q <= np.maximum(self.model.upper, self.q) + 1e-9).all()
        assert (command.q >= np.minimum(self.model.lower, self.q) - 1e-9).all()
        twist = drive.centre_twist(command.base_twist)
        assert (np.abs(twist) <= drive.twist_limit + 2e-6).all()
        free = [0, 1, 2] if drive.kind == "planar_holo" else [0]
        free += [2] if drive.kind == "planar_diff" else []
        change = np.abs(twist - self.twist)[free]
        assert (change <= h * drive.twist_rate[free] + 3e-6).all()
        if drive.kind == "planar_ackermann":
            assert abs(twist[2]) <= abs(twist[0]) / drive.radius + 1e-9
        centre = self.T @ drive.T_base_centre @ flat(se2.exp(h * twist[None])[0])
        self.T = centre @ se3.inverse(drive.T_base_centre)
        self.q, self.v, self.twist = command.q, command.v, twist
        self.levels[command.level] += 1
        return command

    def error(self, effector: str, T: np.ndarray) -> float:
        """Larger of the distance [m] and the angle [rad] to a pose."""
        here = self.T @ self.model.poses(self.q)[effector]
        turn = se3.log3(here[:3, :3].T @ T[:3, :3])
        return float(max(np.linalg.norm(here[:3, 3] - T[:3, 3]), np.linalg.norm(turn)))


def anywhere(rng: np.random.Generator, reach: float) -> np.ndarray:
    angle, away = rng.uniform(-np.pi, np.pi), rng.uniform(0, reach)
    return np.array([away * np.cos(angle), away * np.sin(angle), rng.uniform(-np.pi, np.pi)])


def hand_target(model: RobotModel, rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    arm = [model.embodiment.joints.index(j) for j in model.embodiment.arms[0].joints]
    q = model.neutral.copy()
    q[arm] = np.clip(q[arm] + rng.uniform(-0.5, 0.5, len(arm)), model.lower[arm], model.upper[arm])
    return flat(base) @ model.poses(q)[model.embodiment.arms[0].name]


def test_planar_motions_are_their_logarithms_exponentials(rng: np.random.Generator) -> None:
    twists = rng.uniform(-3, 3, (50, 3))
    for twist, pose in zip(twists, se2.exp(twists), strict=True):
        np.testing.assert_allclose(se2.log(pose), twist, atol=1e-12)
    steps = np.tile(twists[0] / 4000, (4000, 1))
    T = np.eye(4)
    for step in se2.exp(steps):
        T = T @ flat(step)
    np.testing.assert_allclose(T, flat(se2.exp(twists[:1])[0]), atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_paths_lead_to_their_goals_as_the_base_can_drive(
    carts: Get, rng: np.random.Generator, kind: str
) -> None:
    drive = Drive.of(carts(kind), MobileConfig())
    for _ in range(30):
        start, goal = anywhere(rng, 3), anywhere(rng, 3)
        path = BasePath.plan(drive, start, goal)
        times = np.linspace(0, path.duration, round(path.duration / 0.005) + 2)
        poses = path.at(times)
        assert np.abs(se2.between(poses[-1], goal)).max() < 1e-9
        assert np.abs(se2.between(poses[0], start)).max() < 1e-9
        steps = np.array([se2.log(se2.between(a, b)) for a, b in pairwise(poses)])
        rates = steps / np.diff(times)[:, None]
        assert (np.abs(rates) <= drive.twist_limit + 1e-6).all()
        changes = np.abs(np.diff(rates, axis=0)) / np.diff(times)[:-1, None]
        if kind != "ackermann":
            assert (changes <= drive.twist_rate * 1.001 + 1e-3).all()
        else:  # but for steps over the joint of two pieces
            sharp = np.abs(steps[:, 2]) * drive.radius * TIGHT > np.abs(steps[:, 0]) + 1e-9
            assert sharp.sum() < len(path.twists)


def test_centre_and_curvature_come_from_the_wheels(carts: Get) -> None:
    drive = Drive.of(carts("ackermann"), MobileConfig())
    np.testing.assert_allclose(drive.T_base_centre[:2, 3], 0, atol=1e-9)  # the rear axle
    assert drive.radius == pytest.approx((0.35 / np.tan(0.7) + 0.2) / 0.95)
    twist = drive.base_twist(np.array([0.0, 0.5]), np.array([0.4, 0.0]))
    np.testing.assert_allclose(twist, [0.4, 0, 0, 0, 0, 0.2], atol=1e-12)
    np.testing.assert_allclose(drive.centre_twist(twist), [0.4, 0, 0.2], atol=1e-12)
    assert Drive.of(carts("differential"), MobileConfig()).kind == "planar_diff"
    assert Drive.of(carts("holonomic"), MobileConfig()).kind == "planar_holo"


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_of_the_rolling_base_and_the_hand(
    carts: Get, rng: np.random.Generator, kind: str
) -> None:
    model, config = carts(kind), MobileConfig()
    drive = Drive.of(model, config)
    horizon = Horizon(config.stages, config.knots, config.dt, 0.02)
    joints = np.array([model.embodiment.joints.index(j) for j in model.embodiment.arms[0].joints])
    limits = drive.limits(ViableLimits.of(model.embodiment, 0.02))
    inside = np.concatenate([np.arange(drive.n), drive.n + joints])
    program = MobileProgram(model, ["arm"], joints, drive, limits.subset(inside), horizon, config)
    centre = np.array([0.3, -0.2, 0.7])
    X = rng.uniform(-0.5, 0.5, (2 + config.knots, drive.n))
    way, S, twists, D = (x.copy() for x in program._rollout(centre, X))
    d = 1e-6
    for knot in range(config.knots):
        for i in range(drive.n):
            up, down = X.copy(), X.copy()
            up[2 + knot, i] += d
            down[2 + knot, i] -= d
            a = [x.copy() for x in program._rollout(centre, up)]
            b = program._rollout(centre, down)
            np.testing.assert_allclose((a[0] - b[0]) / (2 * d), S[:, :, knot, i], atol=1e-8)
            np.testing.assert_allclose((a[2] - b[2]) / (2 * d), D[:, :, knot, i], atol=1e-8)
    # the base really moves so: the same twists, integrated exactly
    pose = flat(centre)
    for step in se2.exp(config.dt * twists):
        pose = pose @ flat(step)
    assert np.abs(se2.between(way[-1], se2.planar(pose))).max() < 0.005

    q = model.neutral + rng.uniform(-0.3, 0.3, model.n)
    T = flat(centre, 0.2) @ se3.pose(se3.exp3(np.array([0.05, -0.03, 0.0])))
    lift = se3.inverse(flat(centre)) @ T
    state = State(
        centre,
        np.concatenate([lift[:3, 3], se3.quat_xyzw(lift[:3, :3])]),
        np.concatenate([np.zeros(drive.n), q[joints]]),
        np.zeros(len(inside)),
        q,
    )
    hand = program.pose("arm", state)
    expected = T @ model.poses(q)["arm"]
    np.testing.assert_allclose(hand[:3], expected[:3, 3], atol=1e-12)
    np.testing.assert_allclose(se3.from_quat_xyzw(hand[3:]), expected[:3, :3], atol=1e-12)
    goal = np.concatenate(
        [hand[:3] + 0.1, se3.quat_xyzw(se3.exp3([0.2, 0.4, -0.3]) @ expected[:3, :3])]
    )

    def residual(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        posture = q.copy()
        posture[joints] = z[3:]
        return program._hands["arm"].here(z[:3], state.lift, posture, goal)

    z = np.concatenate([centre, q[joints]])
    J = residual(z)[1]
    steps = d * np.eye(len(z))
    numeric = [(residual(z + s)[0] - residual(z - s)[0]) / (2 * d) for s in steps]
    np.testing.assert_allclose(J, np.array(numeric).T, atol=1e-7)

    # the whole plan: residuals of all stages by all accelerations
    weights = rng.uniform(0.5, 2, (6, 6))
    goals = np.tile(goal, (config.stages, 1))
    U = rng.uniform(-0.3, 0.3, (config.knots, len(inside)))

    def planned(U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        X = np.concatenate([state.q[None], state.v[None], U])
        way, slopes, _, _ = program._rollout(centre, X[:, : drive.n])
        Q = (horizon.P @ X)[:, drive.n :]
        r, F = program._hands["arm"].planned(way, slopes, state.lift, q, Q, goals, weights)
        return r.reshape(-1).copy(), F.copy()

    F = planned(U)[1]
    for k in range(U.size):
        step = np.zeros(U.size)
        step[k] = d
        step = step.reshape(U.shape)
        column = (planned(U + step)[0] - planned(U - step)[0]) / (2 * d)
        np.testing.assert_allclose(F[:, k], column, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_hands_reach_targets_anywhere(carts: Get, rng: np.random.Generator, kind: str) -> None:
    controller = MobileMpc(carts(kind))
    behind = np.array([-2.0, 1.0, 2.5])
    for base in (behind, anywhere(rng, 3), anywhere(rng, 3)):
        loop = Loop(controller)
        T = hand_target(loop.model, rng, base)
        for _ in range(1500):
            loop.tick(TaskTarget(poses={"arm": T}))
            if loop.error("arm", T) < 1e-3:
                break
        assert loop.error("arm", T) < 1e-3
        assert set(loop.levels) == {"nominal"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_of_two_hundred_targets_are_reached(carts: Get, kind: str) -> None:
    rng, controller = np.random.default_rng(1), MobileMpc(carts(kind))
    for k in range(200):
        loop = Loop(controller)
        T = hand_target(loop.model, rng, anywhere(rng, 3))
        reached = False
        for _ in range(3000):
            loop.tick(TaskTarget(poses={"arm": T}))
            reached = loop.error("arm", T) < 5e-3
            if reached:
                break
        assert reached, k


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_alone_goes_to_a_pose_and_at_a_velocity(
    carts: Get, rng: np.random.Generator, kind: str
) -> None:
    model = carts(kind, arm=False)
    controller = MobileMpc(model)
    assert controller.effectors == ()
    for goal in (np.array([0.0, 0.5, 0.0]), anywhere(rng, 3)):
        loop = Loop(controller, flat(np.array([0.0, 0.0, 3.0])))
        for _ in range(1500):
            loop.tick(TaskTarget(T_world_base=flat(goal)))
            here = se2.planar(loop.T)
            if max(np.abs(se2.between(goal, here)).max(), np.abs(loop.twist).max()) < 0.015:
                break
        assert np.abs(se2.between(goal, here)).max() < 0.015
    loop, twist = Loop(controller), np.array([0.3, 0, 0, 0, 0, 0.2])
    for _ in range(150):
        command = loop.tick(TaskTarget(base_twist=twist))
    assert command.base_twist is not None
    np.testing.assert_allclose(command.base_twist, twist, atol=0.01)
    for _ in range(150):
        command = loop.tick(TaskTarget())
    assert command.base_twist is not None
    assert np.abs(command.base_twist).max() < 1e-3  # what is not asked for stays


@pytest.mark.parametrize("kind", KINDS)
def test_a_moving_hand_target_is_tracked(carts: Get, kind: str) -> None:
    loop = Loop(MobileMpc(carts(kind)))
    T0, ahead = loop.model.poses(loop.q)["arm"], 0.08 * np.arange(22)

    def at(t: float) -> np.ndarray:
        T = T0.copy()
        s = t - 1 + np.exp(-t)  # starts at rest
        T[:3, 3] += [0.25 * s, 0.1 * np.sin(0.5 * s), 0.05 * np.sin(s)]
        return T

    errors = []
    for k in range(500):
        t = k * loop.controller.period
        loop.tick([TaskTarget(poses={"arm": at(t + s)}) for s in ahead], times=ahead)
        errors.append(loop.error("arm", at(t + loop.controller.period)))
    assert np.sqrt(np.mean(np.square(errors))) < 1e-3


def test_every_program_is_solved_to_optimality(carts: Get, rng: np.random.Generator) -> None:
    loop = Loop(MobileMpc(carts("differential")))
    worst, bound = 0.0, 0
    for k in range(300):
        if k % 50 == 0:
            T = hand_target(loop.model, rng, anywhere(rng, 2))
        loop.tick(TaskTarget(poses={"arm": T}))
        solution = loop.controller.solution
        assert solution is not None and solution.multipliers is not None
        found = solution.residuals()
        assert found is not None
        worst = max(worst, found.primal, found.dual, found.complementarity)
        bound += bool(np.any(solution.multipliers))
    assert worst <= 1e-6
    assert bound > 50  # limits were active, so the residuals say something


@pytest.mark.parametrize("kind", KINDS)
def test_no_failure_breaks_a_limit(carts: Get, rng: np.random.Generator, kind: str) -> None:
    """A solver that may not iterate, bad numbers, jumps: always finite, inside, and told."""
    T = hand_target(carts(kind), rng, np.array([1.0, 0.5, 1.0]))
    loop = Loop(MobileMpc(carts(kind)))
    bad = T.copy()
    bad[0, 3] = np.nan
    for k in range(200):
        target = TaskTarget(poses={"arm": bad if k % 10 == 3 else T}, grippers={})
        seen = None
        if k % 10 == 7:
            seen = Observation(0.0, q=np.full(loop.model.n, np.nan), T_world_base=loop.T)
        if k % 50 == 9:
            seen = Observation(0.0, q=loop.q)  # no base pose
        command = loop.tick(target, seen)
        assert (command.level == "braking") == (k % 10 in (3, 7) or k % 50 == 9)
    loop = Loop(MobileMpc(carts(kind), config=MobileConfig(iterations=1)))
    for _ in range(100):
        loop.tick(TaskTarget(poses={"arm": T}))
    assert set(loop.levels) != {"nominal"}


def test_after_a_lost_solution_the_plan_is_shifted_then_one_step_taken(
    carts: Get, rng: np.random.Generator
) -> None:
    controller = MobileMpc(carts("differential"))
    loop = Loop(controller)
    T = hand_target(loop.model, rng, np.array([0.5, 0.0, 0.3]))
    for _ in range(20):
        loop.tick(TaskTarget(poses={"arm": T}))
    # unbounded numbers in the cost leave the solver without a solution
    good = controller._program._fixed
    controller._program._fixed = {k: np.full_like(H, np.nan) for k, H in good.items()}
    levels = [loop.tick(TaskTarget(poses={"arm": T})).level for _ in range(15)]
    assert levels[0] == "shifted" and levels[-1] == "one_step"
    controller._program._fixed = good
    for _ in range(600):
        loop.tick(TaskTarget(poses={"arm": T}))
    assert loop.error("arm", T) < 1e-3


def test_wrong_use_is_told(carts: Get, robot: Callable[[str], RobotModel]) -> None:
    with pytest.raises(WbcError, match="roll"):
        MobileMpc(robot("panda"))
    controller = MobileMpc(carts("differential"))
    with pytest.raises(WbcError, match="reset"):
        controller.track(TaskTarget(), Observation(0.0))
    with pytest.raises(WbcError, match="base's pose"):
        controller.reset(Observation(0.0, q=controller.model.neutral))
    loop = Loop(controller)
    with pytest.raises(WbcError, match="not controlled"):
        loop.tick(TaskTarget(poses={"leg": np.eye(4)}))


@pytest.mark.parametrize("kind", ["differential", "ackermann"])
def test_wheels_roll_without_slipping(carts: Get, rng: np.random.Generator, kind: str) -> None:
    model = carts(kind, arm=False)
    rolling, drive = RollingWheels(model), Drive.of(carts(kind, arm=False), MobileConfig())
    q, index = model.neutral.copy(), {j: i for i, j in enumerate(model.embodiment.joints)}
    for _ in range(20):
        v = rng.uniform(-0.5, 0.5)
        twist = np.array([v, 0, 0, 0, 0, v * rng.uniform(-1, 1) / max(drive.radius, 0.5)])
        angles, speeds = rolling.follow(q, twist)
        for joint, angle in angles.items():
            q[index[joint]] = angle
        for wheel in rolling.wheels:
            T = model.T_base_frame(q, wheel.tip_link)
            axle = T[:3, 1]
            contact = np.cross(axle, [0, 0, -0.1]) * speeds[wheel.joints[0]]
            base = np.array([v, 0, 0]) + np.cross([0, 0, twist[5]], T[:3, 3])
            assert np.abs((base + contact)[:2]).max() < 1e-7


def test_what_wheels_miss_is_made_up_for(carts: Get) -> None:
    """A base that drives 10% short and turns half as much as told, once without its velocity."""
    controller = MobileMpc(carts("differential", arm=False))
    T0, ahead = np.eye(4), controller.config.dt * np.arange(controller.config.stages + 2)
    way = [T0]
    for k in range(800):
        twist = np.array([[0.3, 0.0, 0.25]]) * (1 - np.exp(-0.02 * k))
        way.append(way[-1] @ flat(se2.exp(controller.period * twist)[0]))
    errors = {}
    for told in (False, True):
        T, twist, gaps = T0, np.zeros(6), []
        controller.reset(Observation(0.0, q=controller.model.neutral, T_world_base=T))
        for k in range(600):
            seen = Observation(
                0.0,
                q=controller.model.neutral,
                T_world_base=T,
                base_twist=twist if told else None,
            )
            targets = [TaskTarget(T_world_base=way[k + round(s / 0.02)]) for s in ahead]
            command = controller.track(targets, seen, times=ahead)
            assert command.base_twist is not None
            twist = command.base_twist * [0.9, 1, 1, 1, 1, 0.5]
            T = T @ flat(se2.exp(controller.period * twist[None, [0, 1, 5]])[0])
            gaps.append(np.linalg.norm((T - way[k + 1])[:2, 3]))
        errors[told] = max(gaps[300:])
    assert errors[True] < 2e-3 < 5e-3 < errors[False]
    for _ in range(200):  # it stays where it is, whatever was learnt
        seen = Observation(0.0, q=controller.model.neutral, T_world_base=T, base_twist=np.zeros(6))
        command = controller.track(TaskTarget(), seen)
    assert command.base_twist is not None and np.abs(command.base_twist).max() < 1e-6


def test_skidding_wheels_turn_about_the_mass_with_balanced_forces() -> None:
    model = RobotModel(embodiment_from_urdf(DATA / "husky/husky.urdf", allow_missing_meshes=True))
    drive, rolling = Drive.of(model, MobileConfig()), RollingWheels(model)
    x, y = (abs(model.T_base_frame(model.neutral, "front_left_wheel_link")[i, 3]) for i in (0, 1))
    masses = [inertia.mass for inertia in model.model.inertias]
    lever = masses[0] * model.model.inertias[0].lever[0] / sum(masses)  # wheels lie evenly
    np.testing.assert_allclose(drive.T_base_centre[:3, 3], [lever, 0, 0], atol=1e-6)
    _, speeds = rolling.follow(model.neutral, np.array([0.2, 0, 0, 0, 0, 0.1]))
    rim = np.array(list(speeds.values())) * rolling.wheels[0].radius
    expected = 0.2 + 0.1 * (y + x**2 / y) * np.array([-1, 1, -1, 1])
    np.testing.assert_allclose(rim, expected, rtol=1e-4)


def track_in_physics(model: RobotModel, folder: Path, seconds: float) -> float:
    """Root mean square distance [m] of a hand from a winding line that it follows."""
    effector = model.embodiment.arms[0].name
    controller = MobileMpc(model, (effector,))
    driver = WheeledDriver(model, simulation_urdf(model.embodiment, folder))
    observation = driver.reset()
    controller.reset(observation)
    assert observation.T_world_base is not None and observation.q is not None
    T0 = observation.T_world_base @ model.poses(observation.q)[effector]
    speed = min(0.25, 0.5 * controller.drive.velocity[0])
    ahead = controller.config.dt * np.arange(controller.config.stages + 2)

    def at(t: float) -> np.ndarray:
        T, s = T0.copy(), t - 1 + np.exp(-t)
        T[:3, 3] += [speed * s, 0.15 * np.sin(0.6 * s), 0.05 * np.sin(s)]
        return T

    errors = []
    for k in range(round(seconds / controller.period)):
        t = k * controller.period
        targets = [TaskTarget(poses={effector: at(t + s)}) for s in ahead]
        driver.command(controller.track(targets, observation, times=ahead), controller.period)
        observation = driver.observe()
        assert observation.T_world_base is not None and observation.q is not None
        here = observation.T_world_base @ model.poses(observation.q)[effector]
        errors.append(np.linalg.norm(here[:3, 3] - at(t + controller.period)[:3, 3]))
    driver.close()
    return float(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.parametrize("kind", KINDS)
def test_a_hand_is_tracked_in_physics(carts: Get, tmp_path: Path, kind: str) -> None:
    assert track_in_physics(carts(kind), tmp_path, 6.0) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiago", "hsrb4s"])
def test_real_robots_are_tracked_in_physics(tmp_path: Path, name: str) -> None:
    share = Path(np.__file__).parents[1] / "cmeel.prefix/share/example-robot-data/robots"
    file = SHARED / "robots" / name / "robot.urdf"
    if name == "tiago":
        file = share / "tiago_description/robots/tiago.urdf"
    if not file.is_file():
        pytest.skip(f"the robot is not here ({file})")
    model = RobotModel(embodiment_from_urdf(file, allow_missing_meshes=True))
    assert track_in_physics(model, tmp_path, 15.0) < 0.01


def test_angles_are_wrapped() -> None:
    np.testing.assert_allclose(
        se2.wrap(np.array([3.5, -3.5, np.pi])), [3.5 - 2 * np.pi, 2 * np.pi - 3.5, np.pi]
    )


def test_a_hand_follows_a_twist_with_the_base_behind_it(carts: Get) -> None:
    """Longer than the arm reaches: the base comes along, and all rest when nothing is asked."""
    model = carts("holonomic")
    controller = MobileMpc(model)
    q, T = model.neutral, np.eye(4)
    controller.reset(Observation(0.0, q=q, T_world_base=T))
    start = (T @ model.poses(q)["arm"])[:3, 3]
    twist = np.array([0.0, 0.25, 0.0, 0.0, 0.0, 0.0])
    for k in range(500):
        target = TaskTarget(twists={"arm": twist} if k < 400 else {})
        command = controller.track(target, Observation(0.0, q=q, T_world_base=T))
        assert command.q is not None and command.base_twist is not None
        q, step = command.q, command.base_twist * controller.period
        T = T @ se3.pose(se3.exp3(step[3:]), step[:3])
        if k == 399:
            moved = (T @ model.poses(q)["arm"])[:3, 3] - start
    np.testing.assert_allclose(moved, [0, 0.25 * 8, 0], atol=0.03)
    assert np.abs(command.base_twist).max() < 0.01
