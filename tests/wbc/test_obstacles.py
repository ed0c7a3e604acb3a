from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import coal
import numpy as np
import pytest

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_wbc import ArmMpc, Box, MpcConfig, SafetyConfig, Sphere, WbcError
from icl_vla_wbc.avoidance import Avoidance
from icl_vla_wbc.collision import CollisionModel
from icl_vla_wbc.collision import damped as damped_program
from icl_vla_wbc.monitor import obstacle_shape
from icl_vla_wbc.obstacles import Obstacle, Obstacles
from icl_vla_wbc.qp import QuadraticProgram

H = 1 / 60


Load = Callable[[str], Any]  # an arm of benchmarks/wbc/safety.py, with its judge


@pytest.fixture(scope="session")
def arm(benchmark: Callable[[str], ModuleType]) -> Load:
    """A robot as its URDF is analysed, and exact distances of its full meshes."""
    module = benchmark("safety")
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            made[name] = module.Arm.load(name)
        return made[name]

    return get


def safe(arm: Any, **safety: object) -> ArmMpc:
    """A controller that knows the robot's shape."""
    config = MpcConfig(safety=SafetyConfig(**safety))  # type: ignore[arg-type]
    return ArmMpc(arm.model, hulls=LinkHulls(arm.model.embodiment).hulls, config=config)


def drive(
    arm: Any,
    controller: ArmMpc,
    goal: np.ndarray,
    ticks: int,
    obstacles: Sequence[Obstacle] = (),
) -> Iterator[tuple[dict[str, np.ndarray], list[Obstacle], str]]:
    """Poses of the links, obstacles and level after each tick towards a pose of the tool."""
    q = arm.start.copy()
    controller.reset(Observation(0.0, q=q))
    for k in range(ticks):
        now = [replace(o, center=o.at(np.array([k * H]))[0]) for o in obstacles]
        target = TaskTarget(poses={controller.effectors[0]: goal})
        command = controller.track([target], Observation(0.0, q=q), obstacles=now)
        assert command.q is not None and np.isfinite(command.q).all()
        q = command.q
        then = [replace(o, center=o.at(np.array([(k + 1) * H]))[0]) for o in obstacles]
        yield arm.model.link_poses(q), then, command.level


def drawn(rng: np.random.Generator) -> list[Obstacle]:
    """A ball and a box somewhere."""
    R = se3.exp3(rng.normal(size=3))
    sphere = Sphere(rng.uniform(-0.7, 0.7, 3), rng.uniform(0.02, 0.1), rng.uniform(-0.4, 0.4, 3))
    box = Box(rng.uniform(-0.7, 0.7, 3), rng.uniform(0.05, 0.3, 3), R, rng.uniform(-0.4, 0.4, 3))
    return [sphere, box]


def test_distances_of_points_and_their_gradients(rng: np.random.Generator) -> None:
    request, result = coal.DistanceRequest(), coal.DistanceResult()
    eps = 1e-6
    for _ in range(40):
        obstacles = drawn(rng)
        stack = Obstacles(obstacles)
        for i, obstacle in enumerate(obstacles):
            which = np.array([i])

            def away(points: np.ndarray, which: np.ndarray = which) -> np.ndarray:
                return stack.distance(which, points[None])[0]  # noqa: B023

            point = rng.uniform(-0.8, 0.8, 3)
            distance = away((point - obstacle.center)[None])[0]
            gradient = stack.normal(which, (point - obstacle.center)[None])[0]
            result.clear()
            there = coal.Transform3s(np.eye(3), point)
            exact = coal.distance(
                coal.Sphere(1e-9), there, *obstacle_shape(obstacle), request, result
            )
            assert distance == pytest.approx(exact, abs=1e-6)
            steps = np.array([point + eps * e - obstacle.center for e in np.eye(3)])
            np.testing.assert_allclose(gradient, (away(steps) - distance) / eps, atol=1e-4)
            u = se3.exp3(rng.normal(size=3))[0]
            inside = rng.normal(size=(500, 3)) * 0.1
            inside = inside[away(inside) <= 0]
            top = stack.farthest(which, u[None])
            assert away(top)[0] == pytest.approx(0.0, abs=1e-9)
            assert (inside @ u <= top[0] @ u + 1e-9).all()


@pytest.mark.parametrize("name", ["panda", "xarm6"])
def test_rows_bound_the_distance_and_are_exact_now(
    arm: Load, rng: np.random.Generator, name: str
) -> None:
    judge = arm(name).judge
    e = arm(name).model.embodiment.with_(collision_pairs=())
    model = RobotModel(e)
    joints = np.array([e.joints.index(j) for j in e.arms[0].joints])
    config = SafetyConfig(rows=40, range=0.2)
    look = CollisionModel(model, LinkHulls(e).hulls, joints, [e.arms[0].name], 3, config)
    base = {link for link in judge.points if not _moves(model, link)}
    times, eps = np.array([0.0, 0.0, 0.3]), 1e-3
    loose, wrong = [], []
    for _ in range(60):
        q = rng.uniform(0.6 * model.lower, 0.6 * model.upper)
        Q = np.array([q, q, q + rng.uniform(-0.2, 0.2, model.n)])
        near = model.poses(q)[e.arms[0].name][:3, 3] + rng.uniform(-0.2, 0.2, 3)
        obstacles = [replace(o, center=near) for o in drawn(rng)[: 1 + rng.integers(2)]]
        rows = look.look(Q, times, obstacles)
        for stage, then in ((1, 0.0), (2, 0.3)):
            world = [replace(o, center=o.center + then * o.velocity) for o in obstacles]
            least = judge.to_obstacles(model.link_poses(Q[stage]), world, base)
            if 0 < least < 0.1:
                nearest = rows.distance[rows.stage == stage].min()
                assert nearest <= least + 1e-6
                if stage == 1:
                    loose.append(least - nearest)
        move = rng.normal(size=len(joints))
        ends = []
        for sign in (-1, 1):
            moved = Q.copy()
            moved[:, joints] += sign * eps * move
            ends.append(look.look(moved, times, obstacles))
        if all(len(end.stage) == len(rows.stage) for end in ends):
            now = (rows.stage == 1) & (rows.distance > 0)
            change = (ends[1].distance - ends[0].distance) / (2 * eps)
            wrong += np.abs(change - rows.gradient @ move)[now].tolist()
    assert len(loose) >= 5 and max(loose) < 0.015  # by which the hulls are grown over the meshes
    # not all: where faces or edges are parallel the nearest points jump
    assert len(wrong) > 20 and np.median(wrong) < 1e-3


def _moves(model: Any, link: str) -> bool:
    here, there = model.link_poses(model.lower * 0.1), model.link_poses(model.upper * 0.1)
    return not np.allclose(here[link], there[link])


@pytest.mark.parametrize("name", ["panda", "xarm6", "iiwa"])
def test_it_goes_round_what_moves(arm: Load, name: str) -> None:
    robot = arm(name)
    T = robot.model.poses(robot.start)[robot.controller.effectors[0]]
    start = T[:3, 3] + [0.0, -0.55, 0.02]
    velocity = np.array([0.0, 0.4, 0.0])
    for obstacle in (
        Sphere(start, 0.06, velocity),
        Box(start, np.array([0.1, 0.12, 0.14]), se3.exp3([0.3, 0.4, 0.5]), velocity),
    ):
        least = np.inf
        for poses, world, _ in drive(robot, robot.controller, T, 170, [obstacle]):
            least = min(least, robot.judge.to_obstacles(poses, world, set()))
        assert 0.025 <= least < 0.06


def test_a_plan_in_trouble_gives_way_to_a_better_one(arm: Load) -> None:
    """A plan that swings the arm into a wall is replaced by one that breaks margins less."""
    robot = arm("panda")
    avoidance, n = robot.controller._distances._avoidance, 7
    T = robot.model.poses(robot.start)[robot.controller.effectors[0]]
    wall = Box(T[:3, 3] + [0.0, 0.3, 0.0], np.array([0.6, 0.05, 0.6]))
    plan = np.zeros((robot.controller.config.knots, n))
    plan[:3, 0] = 4.0  # rad/s^2 about the vertical
    q, v = robot.start, np.zeros(n)
    avoidance.reset()
    kept, rows = avoidance.around(q, q, v, np.zeros_like(plan), [wall])
    assert (kept == 0).all() and not avoidance.pressed and rows.broken.max(initial=-1) < 0
    escape, rows = avoidance.around(q, q, v, plan, [wall])
    into = avoidance._look(q, q, v, plan, [wall]).broken.max()
    assert into > 1 and rows.broken.max(initial=-1) < 0.25
    assert not np.array_equal(escape, plan) and not avoidance.pressed
    assert (np.abs(escape) <= robot.controller._own_limits.acceleration + 1e-12).all()
    # the same draws again after a reset
    avoidance.reset()
    avoidance.around(q, q, v, np.zeros_like(plan), [wall])
    np.testing.assert_array_equal(avoidance.around(q, q, v, plan, [wall])[0], escape)


def test_it_stays_off_itself(arm: Load) -> None:
    robot = arm("panda")
    T = robot.model.poses(robot.start)[robot.controller.effectors[0]].copy()
    T[:3, 3] = [0.1, 0.0, 0.1]  # inside its own base
    runs = (drive(robot, c, T, 150) for c in (ArmMpc(robot.model), robot.controller))
    blind, kept = (min(robot.judge.between_links(p) for p, _, _ in run) for run in runs)
    assert blind <= 0  # so there is something to avoid
    assert kept > 0.004


def test_workspace_and_keep_out_boxes(arm: Load) -> None:
    robot = arm("panda")
    T = robot.model.poses(robot.start)[robot.controller.effectors[0]].copy()
    here = T[:3, 3].copy()
    workspace = Box(here, np.array([0.2, 0.3, 0.2]), se3.exp3([0, 0, 0.3]))
    shelf = Box(here + np.array([0.0, -0.1, -0.2]), np.array([0.3, 0.1, 0.1]))
    T[:3, 3] += [0.0, -0.4, -0.2]
    controller = safe(robot, workspace=workspace, keep_out=(shelf,))
    nearest, beyond = np.inf, -np.inf
    spec = robot.model.embodiment.tcp[controller.effectors[0]]
    for poses, _, _ in drive(robot, controller, T, 150):
        nearest = min(nearest, robot.judge.to_obstacles(poses, [shelf], set()))
        tool = (poses[spec.link] @ spec.matrix)[:3, 3]
        local = (tool - here) @ np.asarray(workspace.rotation)
        beyond = max(beyond, float((np.abs(local) - 0.5 * workspace.size).max()))
    assert -0.01 < beyond < 2e-3  # it leans on the wall
    assert 0.025 < nearest < 0.05  # and on the shelf


@pytest.mark.parametrize("damped", [True, False])
def test_without_plans_the_lower_rungs_keep_off(
    arm: Load, monkeypatch: pytest.MonkeyPatch, damped: bool
) -> None:
    """The one-step program keeps its distance; if it did not, the monitor would brake."""
    robot = arm("panda")
    solve = QuadraticProgram.solve

    def fails(program: QuadraticProgram, iterations: int) -> tuple[np.ndarray, np.ndarray] | None:
        return solve(program, iterations) if len(program.g) < 42 else None  # plans fail

    monkeypatch.setattr(QuadraticProgram, "solve", fails)
    if not damped:
        monkeypatch.setattr(CollisionModel, "damped", lambda _, program: program)
        monkeypatch.setattr(Avoidance, "escape", lambda *_: None)
    T = robot.model.poses(robot.start)[robot.controller.effectors[0]].copy()
    wall = Box(T[:3, 3] + [0.0, 0.3, 0.0], np.array([0.6, 0.05, 0.6]))
    T[:3, 3] += [0.0, 0.6, 0.0]
    levels, reasons, least = set(), set(), np.inf
    for poses, world, level in drive(robot, robot.controller, T, 150, [wall]):
        least = min(least, robot.judge.to_obstacles(poses, world, set()))
        levels.add(level)
        reasons.add(robot.controller.solution.reason)
    if damped:
        assert levels == {"one_step"}
        assert 0.028 < least < 0.045
    else:
        assert levels == {"one_step", "braking"}
        assert any("obstacle 0" in reason for reason in reasons)
        assert 0.005 < least < 0.028


def test_wrong_obstacles_are_reported(arm: Load) -> None:
    model = arm("xarm6").model
    observation = Observation(0.0, q=model.neutral)
    controller = ArmMpc(model)
    controller.reset(observation)
    with pytest.raises(WbcError, match="shape"):
        controller.track([], observation, obstacles=[Sphere(np.ones(3), 0.1)])
    controller = arm("xarm6").controller
    controller.reset(observation)
    with pytest.raises(WbcError, match="unknown shape"):
        controller.track([], observation, obstacles=["a cat"])
    with pytest.raises(WbcError, match="known shape"):
        ArmMpc(model, hulls={})
    for wrong in (
        lambda: Sphere(np.array([np.nan, 0, 0]), 0.1),
        lambda: Sphere(np.zeros(3), -1.0),
        lambda: Box(np.zeros(3), np.array([0.1, 0.0, 0.1])),
        lambda: Box(np.zeros(3), np.ones(3), 2 * np.eye(3)),
        lambda: SafetyConfig(margin=0.2),
        lambda: SafetyConfig(stop=1.5),
    ):
        with pytest.raises(WbcError):
            wrong()


@pytest.mark.slow
def test_random_runs_touch_nothing(arm: Load, benchmark: Callable[[str], ModuleType]) -> None:
    for seed in (5000, 5001, 5002):
        row = benchmark("safety").run(arm("panda"), seed)
        assert row.obstacle_mm > 25 and row.self_mm > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [50014, 70003, 70034])
def test_an_arm_without_a_spare_joint_gets_out_of_the_way(
    arm: Load, benchmark: Callable[[str], ModuleType], seed: int
) -> None:
    """Runs that ended in a collision before dampers were priced alike and laid behind the plan."""
    row = benchmark("safety").run(arm("xarm6"), seed)
    assert row.obstacle_mm > 20 and row.self_mm > 0


def test_a_link_that_can_hardly_move_does_not_rule_the_others() -> None:
    """Two distances shrink too fast; of the one nearly nothing can be had, of the other all."""
    slow, quick = np.array([0.01, 0.0]), np.array([-0.005, 0.3])
    still = QuadraticProgram(
        np.eye(2), np.zeros(2), np.zeros((0, 2)), np.full(2, -2.0), np.full(2, 2.0)
    )
    solved = damped_program(still, np.stack([slow, quick]), np.array([0.5, 0.1])).solve(100)
    assert solved is not None
    velocity = solved[0][:2]
    assert quick @ velocity > 0.095
    assert slow @ velocity > 0  # as far as the other lets it
