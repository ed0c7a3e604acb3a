"""Does what was derived from a URDF hold in physics? Every joint, gripper and arm is tried.

The robot hangs in empty space with its base held: nothing but itself can be in its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from icl_vla_embodiments import Command, Embodiment, Group, TaskTarget, se3
from icl_vla_embodiments.picture import picture_of
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf import simulation_urdf
from icl_vla_wbc import ArmMpc

from .bullet import pybullet
from .driver import PyBulletDriver
from .scene import Scene

PERIOD = 1 / 60  # [s] of control
SAME = 1e-6  # [m] between Pinocchio and PyBullet
NEAR, TURNED = 5e-3, 0.05  # [m], [rad] at which a pose is reached
SHARE = 0.8  # of the reaches that must succeed: a target may lie behind a joint limit
PATIENCE = 6.0  # [s] for one reach
ARRIVED = 0.02  # share of a joint's travel that may be missing
DEPTH = 2e-3  # [m] that hulls may overlap


@dataclass(frozen=True)
class CheckResult:
    """One check: what was tried, whether it held, and the figures."""

    name: str
    passed: bool
    remark: str


@dataclass(frozen=True)
class CheckReport:
    """All checks of a robot.

    Attributes:
        robot: Its name.
        results: In the order in which they ran.
        marks: What the picture marks: label -> ``(N, 3)`` points in the base frame.
        seconds: Duration.
    """

    robot: str
    results: tuple[CheckResult, ...]
    marks: Mapping[str, Array] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return all(r.passed for r in self.results)


def check_embodiment(
    embodiment: Embodiment,
    folder: Path,
    *,
    configurations: int = 1000,
    reaches: int = 20,
    seed: int = 0,
    watch: Callable[[str], None] | None = None,
) -> CheckReport:
    """Try a robot in PyBullet.

    Args:
        embodiment: The robot; a mobile or floating one is held by its base.
        folder: Where its light URDF is written.
        configurations: Random configurations at which link poses are compared.
        reaches: Random poses for each arm.
        seed: Of everything random.
        watch: Called with the name of each check before it runs.
    """
    start = time.perf_counter()
    held = embodiment.with_(base="fixed")
    model = RobotModel(held)
    driver = PyBulletDriver(model, simulation_urdf(held, folder), lambda _: Scene((), {}))
    rng = np.random.default_rng(seed)
    marks: dict[str, list[Array]] = {"reached": [], "missed": []}
    checks: list[tuple[str, Callable[[], CheckResult]]] = [
        ("kinematics", partial(_kinematics, driver, rng, configurations)),
        ("neutral posture", partial(_neutral, driver)),
    ]
    for arm in embodiment.arms:
        checks.append((f"reach {arm.name}", partial(_reach, driver, arm, rng, reaches, marks)))
    for hand in (*embodiment.of_kind("gripper"), *embodiment.of_kind("hand")):
        checks.append((f"open {hand.name}", partial(_open, driver, hand)))
    checks.append(("single joints", partial(_joints, driver)))
    results = []
    try:
        for name, run in checks:
            if watch is not None:
                watch(name)
            _lay_out(driver)
            results.append(run())
    finally:
        driver.close()
    points = {label: np.array(found) for label, found in marks.items() if found}
    return CheckReport(embodiment.name, tuple(results), points, time.perf_counter() - start)


def check_picture(embodiment: Embodiment, report: CheckReport) -> bytes:
    """PNG of the robot with the places that its tools were sent to."""
    return picture_of(embodiment, marks=report.marks)


def _lay_out(driver: PyBulletDriver) -> None:
    driver.reset(0)
    driver.world.client.removeBody(driver.world.table)


def _place(driver: PyBulletDriver, q: Array) -> None:
    """Put the robot in a posture ``(n,)`` at once, and hold it there."""
    model, client, body = driver.model, driver.world.client, driver.body
    angles = model.G @ q + model.c
    for i in range(client.getNumJoints(body)):
        name = client.getJointInfo(body, i)[1].decode()
        if client.getJointInfo(body, i)[2] != pybullet.JOINT_FIXED:
            joint = model.model.getJointId(name)
            client.resetJointState(body, i, float(angles[model.model.idx_vs[joint]]))
    driver.stop()


def _kinematics(driver: PyBulletDriver, rng: np.random.Generator, count: int) -> CheckResult:
    """Every link's origin, against PyBullet's own forward kinematics."""
    model, client, body = driver.model, driver.world.client, driver.body
    names = [client.getJointInfo(body, i)[12].decode() for i in range(client.getNumJoints(body))]
    mount = model.embodiment.mount.matrix
    lower, upper = np.maximum(model.lower, -np.pi), np.minimum(model.upper, np.pi)
    worst, where = 0.0, ""
    for _ in range(count if names else 0):
        q = rng.uniform(lower, upper)
        _place(driver, q)
        poses = model.link_poses(q)
        states = client.getLinkStates(body, range(len(names)), computeForwardKinematics=True)
        for name, state in zip(names, states, strict=True):
            expected = se3.act(mount, poses[name][None, :3, 3])[0]
            distance = float(np.linalg.norm(expected - state[4]))
            if distance > worst:
                worst, where = distance, name
    remark = f"Pinocchio and PyBullet differ by at most {worst:.1e} m over {count} configurations"
    remark += f" (link {where})" if worst > SAME else ""
    return CheckResult("kinematics", worst <= SAME, remark)


def _neutral(driver: PyBulletDriver) -> CheckResult:
    """Inside the limits and free of self-collision, as PyBullet sees the hulls."""
    model, client, body = driver.model, driver.world.client, driver.body
    robot = model.embodiment
    _place(driver, model.neutral)
    beyond = np.maximum(model.neutral - model.upper, model.lower - model.neutral)
    outside = [j for j, x in zip(robot.joints, beyond, strict=True) if x > 1e-9]
    index = {client.getBodyInfo(body)[0].decode(): -1}
    for i in range(client.getNumJoints(body)):
        index[client.getJointInfo(body, i)[12].decode()] = i
    touching = [
        f"{a} and {b}"
        for a, b in robot.collision_pairs
        if a in index
        and b in index
        and client.getClosestPoints(body, body, -DEPTH, index[a], index[b])
    ]
    remark = f"free of collision between {len(robot.collision_pairs)} pairs of links"
    if touching:
        remark = "touching: " + ", ".join(touching[:4])
    if outside:
        remark = "outside the limits: " + ", ".join(outside[:4])
    return CheckResult("neutral posture", not touching and not outside, remark)


def _reach(
    driver: PyBulletDriver,
    arm: Group,
    rng: np.random.Generator,
    count: int,
    marks: dict[str, list[Array]],
) -> CheckResult:
    """Poses of random postures, each from the neutral posture, through the controller."""
    model = driver.model
    controller = ArmMpc(model, arm.name, period=PERIOD)
    columns = [model.embodiment.joints.index(j) for j in arm.joints]
    lower, upper = model.lower[columns], model.upper[columns]
    lower, upper = np.maximum(lower, -np.pi), np.minimum(upper, np.pi)
    middle, half = 0.5 * (lower + upper), 0.45 * (upper - lower)
    reached, errors = 0, []
    for _ in range(count):
        q = model.neutral.copy()
        step = np.clip(0.35 * (upper - lower), 0, 1.0) * rng.uniform(-1, 1, len(columns))
        q[columns] = np.clip(q[columns] + step, middle - half, middle + half)
        goal = model.poses(q)[arm.name]
        _place(driver, model.neutral)
        controller.reset(driver.observe(cameras=False))
        error = _go(driver, controller, arm.name, goal)
        near = error[0] < NEAR and error[1] < TURNED
        reached += near
        errors.append(error[0])
        marks["reached" if near else "missed"].append(goal[:3, 3])
    remark = f"{reached} of {count} random poses reached to {1e3 * NEAR:g} mm and {TURNED:g} rad"
    remark += f"; median error {1e3 * float(np.median(errors)):.2f} mm"
    return CheckResult(f"reach {arm.name}", reached >= SHARE * count, remark)


def _go(
    driver: PyBulletDriver, controller: ArmMpc, effector: str, goal: Array
) -> tuple[float, float]:
    """Track one pose until it is reached or patience ends; error [m] and [rad]."""
    target = TaskTarget(poses={effector: goal})
    start = driver.clock()
    while True:
        observation = driver.observe(cameras=False)
        assert observation.q is not None
        T = driver.model.poses(observation.q)[effector]
        distance = float(np.linalg.norm(T[:3, 3] - goal[:3, 3]))
        turn = float(np.linalg.norm(se3.log3(T[:3, :3].T @ goal[:3, :3])))
        arrived = distance < 0.4 * NEAR and turn < 0.4 * TURNED
        if arrived or driver.clock() - start > PATIENCE:
            return distance, turn
        driver.command(controller.track([target], observation), PERIOD)


def _open(driver: PyBulletDriver, hand: Group) -> CheckResult:
    """Close, open and close again; followers must come along."""
    model = driver.model
    columns = [model.embodiment.joints.index(j) for j in hand.joints]
    name = f"open {hand.name}"
    if len(hand.closed) != len(columns) or np.allclose(hand.closed, hand.open):
        return CheckResult(name, False, "closed and open are the same, or not known")
    closed, opened = np.array(hand.closed), np.array(hand.open)
    worst = 0.0
    for goal in (closed, opened, closed):
        q = model.neutral.copy()
        q[columns] = goal
        seconds = 1.0 + _travel_time(model, columns, opened - closed)
        here = _move(driver, q, seconds)[columns]
        travel = np.maximum(np.abs(opened - closed), 1e-6)
        worst = max(worst, float((np.abs(here - goal) / travel)[np.abs(opened - closed) > 0].max()))
    joints = ", ".join(
        f"{j} {a:.3g} to {b:.3g}" for j, a, b in zip(hand.joints, closed, opened, strict=True)
    )
    done = worst < 5 * ARRIVED  # fingers may touch before they are at their stops
    remark = f"closed to open: {joints}" if done else f"{worst:.0%} of the travel is missing"
    return CheckResult(name, done, remark)


def _joints(driver: PyBulletDriver) -> CheckResult:
    """Joints that no arm or gripper has: each moves alone, without weight."""
    model = driver.model
    robot = model.embodiment
    tried = {j for g in robot.groups if g.kind in ("arm", "gripper", "hand") for j in g.joints}
    columns = [i for i, j in enumerate(robot.joints) if j not in tried]
    driver.world.client.setGravity(0, 0, 0)
    stuck = []
    for i in columns:
        _place(driver, model.neutral)
        low, high = max(model.lower[i], -1.0), min(model.upper[i], 1.0)
        low, high = (low, high) if low < high else (model.lower[i], model.upper[i])
        away = high if high - model.neutral[i] > model.neutral[i] - low else low
        goal = model.neutral.copy()
        goal[i] += 0.5 * (away - goal[i])
        travel = goal[i] - model.neutral[i]
        here = _move(driver, goal, 0.5 + _travel_time(model, [i], np.array([travel])))
        if abs(here[i] - goal[i]) > max(5 * ARRIVED * abs(travel), 1e-4):
            stuck.append(f"{robot.joints[i]} ({here[i] - model.neutral[i]:.3g} of {travel:.3g})")
    driver.world.client.setGravity(0, 0, -9.81)
    remark = f"{len(columns)} moved one by one" if columns else "there are no others"
    remark = f"do not arrive: {', '.join(stuck[:6])}" if stuck else remark
    return CheckResult("single joints", not stuck, remark)


def _travel_time(model: RobotModel, columns: list[int], travel: Array) -> float:
    """Seconds at the velocity limits, with time to speed up and slow down."""
    limits = [model.embodiment.limits[model.embodiment.joints[i]] for i in columns]
    return max(
        float(abs(x)) / limit.velocity + 2 * limit.velocity / limit.acceleration
        for x, limit in zip(np.broadcast_to(travel, len(columns)), limits, strict=True)
    )


def _move(driver: PyBulletDriver, goal: Array, seconds: float) -> Array:
    """Drive all joints straight to a posture within the time; ``(n,)`` where they end."""
    start = driver.observe(cameras=False).q
    assert start is not None
    ticks = max(int(seconds / PERIOD), 1)
    for k in range(1, ticks + 1):
        share = min(k / (0.7 * ticks), 1.0)
        driver.command(Command(q=start + share * (goal - start)), PERIOD)
    end = driver.observe(cameras=False).q
    assert end is not None
    return end
