"""Legs: the numbers against Pinocchio and finite differences, the controller in physics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pinocchio as pin
import pybullet
import pybullet_data
import pytest

from icl_vla.sim.legged import LeggedDriver, Terrain
from icl_vla_embodiments import Observation, ReportedError, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf, simulation_urdf
from icl_vla_wbc import WbcError
from icl_vla_wbc.legs import Gait, LegMpc, controller
from icl_vla_wbc.legs.config import LegConfig
from icl_vla_wbc.legs.dynamics import FloatingDynamics
from icl_vla_wbc.legs.feet import find_feet
from icl_vla_wbc.legs.forces import BodyState, ForceMpc
from icl_vla_wbc.legs.stance import Stance
from icl_vla_wbc.legs.swing import Arc, chase, footholds, rise
from icl_vla_wbc.legs.tasks import joint_bounds
from icl_vla_wbc.legs.whole_body import AccelerationTask, solve_whole_body

DATA = Path(pybullet_data.getDataPath())


@pytest.fixture(scope="module")
def dog():
    return embodiment_from_urdf(DATA / "a1/a1.urdf")


def state(model: RobotModel, rng: np.random.Generator) -> Observation:
    return Observation(
        time=0.0,
        q=model.neutral + rng.uniform(-0.3, 0.3, model.n),
        v=rng.uniform(-1, 1, model.n),
        T_world_base=se3.pose(se3.exp3(rng.uniform(-0.5, 0.5, 3)), rng.uniform(-1, 1, 3)),
        base_twist=rng.uniform(-1, 1, 6),
    )


def full(model: RobotModel, o: Observation) -> np.ndarray:
    q = model.full(o.q)
    q[:3], q[3:7] = o.T_world_base[:3, 3], se3.quat_xyzw(o.T_world_base[:3, :3])
    return q


def test_equation_of_motion_and_momentum_agree_with_pinocchio(dog):
    model = RobotModel(dog)
    dynamics = FloatingDynamics(model, find_feet(model))
    rng = np.random.default_rng(0)
    data = model.model.createData()
    for _ in range(5):
        o = state(model, rng)
        dynamics.update(o)
        a = rng.uniform(-3, 3, 6 + model.n)
        q, v = full(model, o), dynamics.S @ dynamics.u
        forces = dynamics.S.T @ pin.rnea(model.model, data, q, v, dynamics.S @ a)
        np.testing.assert_allclose(dynamics.M @ a + dynamics.h, forces, atol=1e-9)
        momentum = pin.computeCentroidalMomentum(model.model, data, q, v).vector
        np.testing.assert_allclose(dynamics.momentum, momentum, atol=1e-9)
        np.testing.assert_allclose(dynamics.momentum_map @ dynamics.u, momentum, atol=1e-9)


def test_contact_velocities_and_drifts_are_derivatives(dog):
    model = RobotModel(dog)
    dynamics = FloatingDynamics(model, find_feet(model))
    o = state(model, np.random.default_rng(1))
    dt = 1e-6

    def moved(sign: float) -> Observation:
        """The same velocities half a step later or earlier (no acceleration)."""
        q = pin.integrate(model.model, full(model, o), sign * dt * (dynamics.S @ u))
        T = se3.pose(se3.from_quat_xyzw(q[3:7]), q[:3])
        at = np.linalg.pinv(model.G[6:]) @ (q[7:] - model.c[6:])
        return Observation(0.0, q=at, v=o.v, T_world_base=T, base_twist=o.base_twist)

    dynamics.update(o)
    u, velocities, drift = dynamics.u, dynamics.point_velocities, dynamics.drift
    dynamics.update(moved(1.0))
    after, v_after = dynamics.points, dynamics.point_velocities
    dynamics.update(moved(-1.0))
    np.testing.assert_allclose((after - dynamics.points) / (2 * dt), velocities, atol=1e-7)
    slope = (v_after - dynamics.point_velocities) / (2 * dt)
    np.testing.assert_allclose(slope, drift, atol=1e-5)


def test_feet_are_balls_or_soles(dog):
    feet = find_feet(RobotModel(dog))
    assert [len(f.points) for f in feet] == [1] * 4
    assert all(0.015 < f.radius < 0.025 for f in feet)  # the file says 20 mm


def test_planned_forces_carry_the_body_and_lean_against_its_motion():
    config = LegConfig()
    mpc = ForceMpc(12.0, config)
    N = config.stages
    arms = np.array([[x, y, -0.3] for x in (0.2, -0.2) for y in (0.15, -0.15)])
    stands = np.ones((N, 4), dtype=bool)
    still = BodyState(
        np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), np.diag([0.1, 0.3, 0.3]), np.zeros(6)
    )
    rest = (np.zeros((N, 3)), np.zeros(3), np.zeros(3), np.tile(arms, (N, 1, 1)), stands, 0.5)
    forces = mpc.plan(still, *rest)
    np.testing.assert_allclose(forces.sum(axis=0), [0, 0, 12 * 9.81], rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(np.cross(arms, forces).sum(axis=0), 0, atol=1e-6)

    drifting = BodyState(
        np.zeros(3), np.zeros(3), np.zeros(3), np.array([0.0, 0.5, 0]), still.inertia, np.zeros(6)
    )
    forces = mpc.plan(drifting, *rest)
    assert forces[:, 1].sum() < -5.0
    horizontal = np.abs(forces[:, :2]).max(axis=1)
    assert (horizontal <= 0.5 * forces[:, 2] + 1e-6).all()

    loaded = BodyState(*[np.zeros(3)] * 4, still.inertia, np.array([0, 0, -30.0, 0, 0, 0]))
    forces = mpc.plan(loaded, *rest)
    assert forces[:, 2].sum() == pytest.approx(12 * 9.81 + 30, rel=2e-3)

    stands[:, 0] = False
    forces = mpc.plan(still, *rest)
    assert (forces[0] == 0).all() and forces[:, 2].sum() > 0.8 * 12 * 9.81


def test_whole_body_torques_obey_the_equation_of_motion(dog):
    model = RobotModel(dog)
    dynamics = FloatingDynamics(model, find_feet(model))
    dynamics.update(state(model, np.random.default_rng(2)))
    n = model.n
    stands = np.array([True, False, True, True])
    forces = np.tile([0.0, 0.0, 30.0], (4, 1))
    wrench = np.array([1.0, 2.0, -10.0, 0.1, 0.2, 0.3])
    efforts, loads, armature = np.full(n, 30.0), np.linspace(-1, 1, n), np.linspace(0, 0.1, n)
    task = AccelerationTask(None, np.zeros(6 + n), np.ones(6 + n))
    s = solve_whole_body(
        dynamics,
        [task],
        stands,
        forces,
        1e-3,
        wrench,
        loads,
        efforts,
        0.4,
        np.full(4, 60.0),
        armature,
        (np.full(n, -np.inf), np.full(n, np.inf)),
    )
    J = dynamics.J.reshape(-1, 6 + n)
    base = np.zeros((6, 6 + n))
    base[:, :6] = np.eye(6)
    R, p = dynamics.base[:3, :3], dynamics.base[:3, 3]
    moment = wrench[3:] + np.cross(dynamics.com - p, wrench[:3])
    outer = base.T @ np.concatenate([R.T @ wrench[:3], R.T @ moment])
    tau = np.concatenate([np.zeros(6), s.torques + loads - armature * s.accelerations[6:]])
    residual = dynamics.M @ s.accelerations + dynamics.h - J.T @ s.forces.reshape(-1) - outer - tau
    np.testing.assert_allclose(residual, 0, atol=1e-6)
    assert (s.forces[1] == 0).all()
    assert (np.abs(s.forces[stands, :2]) <= 0.4 * s.forces[stands, 2:] + 1e-6).all()
    assert (s.forces[stands, 2] <= 60 + 1e-6).all() and (np.abs(s.torques) <= 30 + 1e-6).all()


@pytest.mark.parametrize("kept", [True, False])
def test_joints_rest_at_the_ends_of_their_ranges(dog, kept):
    """Pushed to their ends for good; a program that does not know the ranges goes beyond."""
    model, config, period = RobotModel(dog), LegConfig(), 0.002
    dynamics = FloatingDynamics(model, find_feet(model))
    ranges = model.embodiment.array("lower"), model.embodiment.array("upper")
    none = np.full(model.n, -np.inf), np.full(model.n, np.inf)
    task = AccelerationTask(None, np.full(6 + model.n, 50.0), np.ones(6 + model.n))
    q, v, zero = model.neutral.copy(), np.zeros(model.n), np.zeros(model.n)
    for _ in range(400):
        dynamics.update(Observation(0.0, q=q, v=v, T_world_base=np.eye(4), base_twist=np.zeros(6)))
        bounds = joint_bounds(dynamics, ranges, config) if kept else none
        s = solve_whole_body(
            dynamics, [task], np.zeros(4, dtype=bool), np.zeros((4, 3)), 1e-3, np.zeros(6),
            zero, np.full(model.n, 1e4), 0.4, np.full(4, 60.0), zero, bounds,
        )  # fmt: skip
        v = v + period * s.accelerations[6:]
        q = q + period * v
    beyond = (q - ranges[1]).max()
    assert beyond < 1e-3 if kept else beyond > 1.0
    if kept:
        np.testing.assert_allclose(q, ranges[1], atol=0.1)


def test_rising_feet_start_and_end_at_rest_and_their_rates_are_derivatives():
    start, goal, dt = np.zeros((1, 1)), np.full((1, 1), 0.02), 1e-5
    for s in (0.0, 0.2, 0.5, 0.9, 1.0):
        now = rise(start, goal, 0.08, s, 0.3)
        if 0 < s < 1:
            before, after = (rise(start, goal, 0.08, s + k * dt, 0.3) for k in (-1, 1))
            span = 2 * dt * 0.3
            np.testing.assert_allclose(now.velocity, (after.place - before.place) / span, atol=1e-6)
            slope = (after.velocity - before.velocity) / span
            np.testing.assert_allclose(now.acceleration, slope, atol=1e-5)
        else:
            np.testing.assert_allclose(now.velocity, 0, atol=1e-12)
            np.testing.assert_allclose(now.place, goal if s else start, atol=1e-12)


def test_a_foot_is_on_a_goal_that_moves_when_it_lands():
    """A push halfway moves the goal; what is left is the motion of least jerk to it."""
    swing, period = 0.2, 0.002
    rest = np.zeros((1, 2))
    way = Arc(rest, rest, rest)
    for k in range(round(swing / period)):
        t = k * period
        goal = np.array([[0.1, 1.0 * np.clip(t - 0.05, 0, 0.1)]])  # 1 m/s for a tenth of a second
        way = chase(way, goal, swing - t, period)
    np.testing.assert_allclose(way.place, goal, atol=3e-3)
    assert np.abs(way.velocity).max() < 0.2
    still = np.array([[0.1, 0.0]])
    way, ways = Arc(rest, rest, rest), []
    for k in range(100):
        way = chase(way, still, swing - k * period, period)
        ways.append(way.place[0, 0])
    s = np.arange(1, 101) / 100
    np.testing.assert_allclose(ways, 0.1 * (10 * s**3 - 15 * s**4 + 6 * s**5), atol=2e-3)


def test_footholds_follow_the_speed_and_stay_in_reach():
    hips = np.array([[0.2, 0.1]])
    args = (0.0, np.zeros(2), 0.3, 0.3, 0.2)
    asked = np.array([0.4, 0.0])
    steady = footholds(hips, asked, asked, *args)
    np.testing.assert_allclose(steady, hips + np.array([[0.06, 0.0]]))
    pushed = footholds(hips, np.array([0.4, 0.5]), asked, *args)
    assert pushed[0, 1] > hips[0, 1] + 0.05
    thrown = footholds(hips, np.array([9.0, 0.0]), asked, *args)
    assert np.linalg.norm(thrown - hips) == pytest.approx(0.2)


def test_a_trot_moves_diagonal_pairs():
    feet = np.array([[0.2, 0.1], [0.2, -0.1], [-0.2, 0.1], [-0.2, -0.1]])
    trot = Gait.trot(feet)
    stands = trot.stands(np.linspace(0, 1, 101))
    assert (stands[:, 0] == stands[:, 3]).all() and (stands[:, 1] == stands[:, 2]).all()
    assert (stands.sum(axis=1) >= 2).all() and (stands.sum(axis=1) == 2).any()
    walk = Gait.walk(feet).stands(np.linspace(0, 1, 101))
    assert (walk.sum(axis=1) >= 3).all()


def test_a_robot_without_legs_is_refused(robot):
    with pytest.raises(WbcError, match="no legs"):
        LegMpc(robot("panda"))


def test_a_posture_that_does_not_stand_is_refused(dog):
    kicking = {"hip": 0.0, "upper": -1.0, "lower": -0.92}  # all feet ahead of the body
    posture = {j: kicking[j.split("_")[1]] for j in dog.joints}
    with pytest.raises(WbcError, match="does not stand"):
        LegMpc(RobotModel(dog.with_(neutral=posture)))


@pytest.mark.slow
def test_a_robot_without_shapes_is_refused_instead_of_falling_through_the_ground(tmp_path):
    robot = embodiment_from_urdf(example("human_description/robots/human.urdf"))
    model = RobotModel(robot)
    driver = LeggedDriver(model, simulation_urdf(robot, tmp_path), LegMpc(model).height)
    with pytest.raises(ReportedError, match="no link has a collision shape"):
        driver.reset()
    driver.close()


def test_feet_in_a_line_are_refused(dog):
    """Two feet of one point each, beside each other."""
    model = RobotModel(dog)
    dynamics = FloatingDynamics(model, find_feet(model)[:2])
    dynamics.update(replace(state(model, np.random.default_rng(0)), T_world_base=np.eye(4)))
    under = dynamics.points.mean(axis=0) + np.array([0.0, 0.0, 0.3])
    dynamics.com = under  # above them, so that only the line is left to object to
    with pytest.raises(WbcError, match="in a line"):
        Stance.of(model, dynamics)


def test_no_torque_is_ever_not_a_number(dog):
    model = RobotModel(dog)
    controller = LegMpc(model)
    sound = state(model, np.random.default_rng(3))
    nan = np.full(6, np.nan)
    bad = [
        (TaskTarget(), replace(sound, q=np.full(model.n, np.nan))),
        (TaskTarget(), replace(sound, base_twist=nan)),
        (TaskTarget(), replace(sound, T_world_base=np.full((4, 4), np.inf))),
        (TaskTarget(base_twist=nan), sound),
    ]
    for before in (False, True):  # before the first sound tick and after it
        if before:
            assert np.isfinite(controller.track(TaskTarget(), sound).tau).all()
        for target, observation in bad:
            command = controller.track(target, observation)
            assert np.isfinite(command.tau).all() and command.level == "braking"
    assert controller.track(TaskTarget(), sound).level == "nominal"


def walk(embodiment, folder, twist, seconds, terrain=Terrain(), push=None):  # noqa: B008
    """``(T,)`` heights over the ground, ``(T, 2)`` velocities, the last pose."""
    model = RobotModel(embodiment)
    controller = LegMpc(model)
    robot = LeggedDriver(model, simulation_urdf(embodiment, folder), controller.height, terrain)
    observation = robot.reset()
    controller.reset(observation)
    heights, speeds = [], []
    for tick in range(int(seconds / controller.period)):
        if push is not None and tick == int(0.6 * seconds / controller.period):
            robot.push(push * controller.dynamics.mass / 0.1, 0.1)
        command = controller.track(TaskTarget(base_twist=np.asarray(twist)), observation)
        assert np.isfinite(command.tau).all()
        robot.command(command, controller.period)
        observation = robot.observe()
        heights.append(observation.T_world_base[2, 3] - controller.height)
        speeds.append(observation.base_twist[:2])
    robot.close()
    return np.array(heights), np.array(speeds), observation.T_world_base


def test_stands_and_trots_with_an_unknown_load(dog, tmp_path):
    heights, speeds, T = walk(
        dog, tmp_path, [0.5, 0, 0, 0, 0, 0], 2.5, Terrain(payload=0.2, delay=0.002)
    )
    half = len(heights) // 2
    assert abs(heights[half:].mean()) < 0.01 and T[2, 2] > 0.99
    assert abs(speeds[half:, 0].mean() - 0.5) < 0.04


def test_a_stretched_leg_is_singular_and_a_bent_one_is_not(dog):
    model = RobotModel(dog)
    dynamics = FloatingDynamics(model, find_feet(model))
    dynamics.update(state(model, np.random.default_rng(0)))
    neutral = replace(
        state(model, np.random.default_rng(0)), q=model.neutral, T_world_base=np.eye(4)
    )
    dynamics.update(neutral)
    stance = Stance.of(model, dynamics)
    np.testing.assert_allclose(stance.singularity(dynamics), 0)
    straight = model.neutral.copy()
    straight[stance.legs[2][2]] = 0.0  # the knee
    dynamics.update(replace(neutral, q=straight))
    singular = stance.singularity(dynamics)
    assert singular[2] > 0.99 and (singular[[0, 1, 3]] == 0).all()


def test_lost_numbers_stalls_and_failed_programs_neither_fell_it_nor_reach_the_motors(
    dog, tmp_path, monkeypatch
):
    model = RobotModel(dog)
    leg_mpc = LegMpc(model)
    driver = LeggedDriver(model, simulation_urdf(dog, tmp_path), leg_mpc.height)
    observation = driver.reset()
    leg_mpc.reset(observation)
    rng = np.random.default_rng(4)
    failing = {"program": False, "plan": False}
    program, plan = controller.solve_whole_body, leg_mpc._mpc.plan
    monkeypatch.setattr(
        controller, "solve_whole_body", lambda *a: None if failing["program"] else program(*a)
    )
    monkeypatch.setattr(leg_mpc._mpc, "plan", lambda *a: None if failing["plan"] else plan(*a))
    target = TaskTarget(base_twist=np.array([0.3, 0, 0, 0, 0, 0]))
    efforts, levels = dog.array("effort"), set()
    for tick in range(1250):
        failing["program"], failing["plan"] = rng.random() < 0.03, rng.random() < 0.2
        seen = observation
        if rng.random() < 0.02:
            seen = replace(observation, v=np.full(model.n, np.nan))
        command = leg_mpc.track(target, seen)
        levels.add(command.level)
        assert np.isfinite(command.tau).all() and (np.abs(command.tau) <= efforts).all()
        stalled = tick in (400, 900)  # the same torques for 100 ms
        driver.command(command, 0.1 if stalled else leg_mpc.period)
        observation = driver.observe()
    driver.close()
    assert levels == {"nominal", "shifted", "braking"}
    assert observation.T_world_base[2, 2] > 0.98
    assert abs(observation.T_world_base[2, 3] - leg_mpc.height) < 0.03


def example(name: str) -> Path:
    """A URDF of example-robot-data."""
    share = Path(np.__file__).parents[1] / "cmeel.prefix/share/example-robot-data/robots"
    if not (share / name).is_file():
        pytest.skip("needs example-robot-data (extra `robots`)")
    return share / name


@pytest.mark.parametrize(
    "name, largest",
    [
        ("anymal_b_simple_description/robots/anymal-kinova.urdf", 0.001),
        ("b1_description/urdf/b1-z1.urdf", 0.001),
    ],
)
def test_a_hand_draws_while_the_legs_trot(name, largest, tmp_path, benchmark):
    """Without the rate of the wanted velocity it lags by 1.6 mm on average."""
    legs = benchmark("legs")
    robot = embodiment_from_urdf(example(name))
    drawn = legs.run(robot, tmp_path, legs.Case((0.3, 0, 0)), 2.5, hand=robot.arms[0].name)
    assert not drawn.fell and drawn.hand < largest


@pytest.mark.slow
@pytest.mark.parametrize("speed, tolerance", [(0.0, 1.5), (0.3, 8.0)])  # N and N m; one gait
def test_a_wrench_at_the_hand_enters_the_planned_forces(speed, tolerance, tmp_path):
    """Forces and moments balance about the centre of mass, on average over the steps."""
    robot = embodiment_from_urdf(example("anymal_b_simple_description/robots/anymal-kinova.urdf"))
    model = RobotModel(robot)
    leg_mpc = LegMpc(model)
    driver = LeggedDriver(model, simulation_urdf(robot, tmp_path), leg_mpc.height)
    observation = driver.reset()
    leg_mpc.reset(observation)
    hand, force = robot.arms[0].name, np.array([0.0, 8.0, -30.0])
    last = robot.arms[0].joints[-1]
    infos = (driver.client.getJointInfo(driver.body, i) for i in driver._indices)
    link = next(i[0] for i in infos if i[1].decode() == last)
    target = TaskTarget(
        base_twist=np.array([speed, 0, 0, 0, 0, 0]), poses=model.poses(model.neutral)
    )
    sums, moments, wanted = [], [], []
    for tick in range(2000):
        command = leg_mpc.track(target, observation)
        d = leg_mpc.dynamics
        at = d.tool(hand)[0][:3, 3]
        if tick >= 1250:
            forces = leg_mpc._forces
            sums.append(forces.sum(axis=0))
            moments.append(np.cross(d.points - d.com, forces).sum(axis=0))
            wanted.append(-np.cross(at - d.com, force))
        for _ in range(2):  # an external force lasts one step of physics
            driver.client.applyExternalForce(driver.body, link, force, at, pybullet.WORLD_FRAME)
            driver.command(command, leg_mpc.period / 2)
        observation = driver.observe()
    driver.close()
    weight = leg_mpc.dynamics.mass * 9.81
    np.testing.assert_allclose(np.mean(sums, axis=0), [0, -8, weight + 30], atol=tolerance)
    np.testing.assert_allclose(
        np.mean(moments, axis=0)[:2], np.mean(wanted, axis=0)[:2], atol=0.5 * tolerance
    )
    assert np.linalg.norm(np.mean(wanted, axis=0)[:2]) > 10  # it is no small moment


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "g1_description/urdf/g1_29dof_rev_1_0.urdf",
        "talos_data/robots/talos_reduced.urdf",
        "romeo_description/urdf/romeo.urdf",
    ],
)
def test_a_humanoid_keeps_its_balance(name, tmp_path, benchmark):
    legs = benchmark("legs")
    robot = embodiment_from_urdf(example(name), allow_missing_meshes=True)
    for angle in np.radians([0, 120, 180, 270]):
        force = 20.0 * np.array([np.cos(angle), np.sin(angle), 0.0])
        assert not legs.run(robot, tmp_path, legs.Case(), 3.5, (1.0, force, 1.0)).fell
    loaded = legs.run(robot, tmp_path, legs.CASES["+20% mass, stand"], 6.0)
    assert not loaded.fell and abs(loaded.sag) < 0.002
    reached = legs.run(robot, tmp_path, legs.Case(), 4.0, hand=robot.arms[0].name)
    assert not reached.fell and reached.hand < 0.0015


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a1/a1", "mini_cheetah/mini_cheetah", "aliengo/aliengo"])
@pytest.mark.parametrize(
    "terrain",
    [
        Terrain(friction=0.3),
        Terrain(delay=0.01),
        Terrain(slope=np.radians(5)),
        Terrain(steps=0.03),
        Terrain(payload=0.2),
    ],
    ids=["slippery", "late", "slope", "steps", "loaded"],
)
def test_rough_conditions(name, terrain, tmp_path):
    robot = embodiment_from_urdf(DATA / f"{name}.urdf")
    _, speeds, T = walk(robot, tmp_path, [0.4, 0, 0, 0, 0, 0], 5.0, terrain)
    assert T[2, 2] > 0.95
    assert abs(speeds[len(speeds) // 2 :, 0].mean() - 0.4) < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("at, angle", [(2.27, 4.73), (2.43, 5.37), (2.22, 4.11), (2.24, 0.95)])
def test_heavy_legs_that_hurry_do_not_throw_the_body(at, angle, tmp_path, benchmark):
    """Legs of 60% of the mass; each of these pushes fell it while swings were not bounded."""
    legs = benchmark("legs")
    robot = embodiment_from_urdf(DATA / "mini_cheetah/mini_cheetah.urdf")
    mass = LegMpc(RobotModel(robot)).dynamics.mass
    force = mass / legs.KICK * np.array([np.cos(angle), np.sin(angle), 0.0])
    assert not legs.run(robot, tmp_path, legs.Case((0.3, 0, 0)), 4.5, (at, force, legs.KICK)).fell


@pytest.mark.slow
@pytest.mark.parametrize("at, angle", [(2.23, 1.62), (2.249, 1.07), (2.301, 4.26), (2.494, 3.91)])
def test_short_legs_that_are_stretched_step_on(at, angle, tmp_path, benchmark):
    """Each of these pushes fell it while feet lagged behind their goals and were dragged."""
    legs = benchmark("legs")
    robot = embodiment_from_urdf(example("solo_description/robots/solo12.urdf"))
    mass = LegMpc(RobotModel(robot)).dynamics.mass
    force = mass / legs.KICK * np.array([np.cos(angle), np.sin(angle), 0.0])
    assert not legs.run(robot, tmp_path, legs.Case((0.3, 0, 0)), 4.5, (at, force, legs.KICK)).fell


@pytest.mark.slow
@pytest.mark.parametrize("angle", np.arange(8) * np.pi / 4)
def test_pushes_of_one_metre_a_second(dog, angle, tmp_path):
    push = np.array([np.cos(angle), np.sin(angle), 0.0])
    _, speeds, T = walk(dog, tmp_path, [0.3, 0, 0, 0, 0, 0], 4.0 + 0.1 * angle, push=push)
    assert T[2, 2] > 0.98
    assert np.abs(speeds[-100:].mean(axis=0) - [0.3, 0]).max() < 0.1


def test_four_legs_are_commanded_by_velocities_of_the_body(dog):
    space = dog.action_space()
    assert [d.name for d in space.dimensions] == ["base_vx", "base_vy", "base_wz"]
    assert {s.name for s in dog.action_spaces} == {"base_velocity", "joint_position"}
    assert "base_vx" not in [d.name for d in dog.action_space("joint_position").dimensions]
