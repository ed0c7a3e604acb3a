"""Mobile bases: targets reached on a perfect base, tracking in physics, time of a tick.

For each robot: how many of N random hand (or, without arm, base) targets within 3 m are reached,
behind the robot included, with every command inside its limits; the root mean square error of a
winding line in PyBullet with wheel motors; the CPU time of a tick, beside that of a seven-joint
arm's controller in the same process. Without files: three carts, and installed robots.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from carts import cart

from icl_vla.sim.wheeled import WheeledDriver
from icl_vla_embodiments import Observation, TaskTarget, se2, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf import embodiment_from_urdf, simulation_urdf
from icl_vla_wbc import ArmMpc
from icl_vla_wbc.mobile import MobileMpc

HAND, BASE = 0.005, 0.015  # [m, rad]; errors at which a target counts as reached
PATIENCE = 120.0  # [s]


def random_target(controller: MobileMpc, rng: np.random.Generator) -> TaskTarget:
    """The hand's pose of a random posture and place, or a random place."""
    model = controller.model
    angle, away = rng.uniform(-np.pi, np.pi), rng.uniform(0, 3)
    place = np.array([away * np.cos(angle), away * np.sin(angle), rng.uniform(-np.pi, np.pi)])
    if not controller.effectors:
        return TaskTarget(T_world_base=se2.lifted(place))
    name, q = controller.effectors[0], model.neutral.copy()
    joints = [model.embodiment.joints.index(j) for j in model.embodiment.group(name).joints]
    moved = q[joints] + rng.uniform(-0.5, 0.5, len(joints))
    q[joints] = np.clip(moved, model.lower[joints], model.upper[joints])
    return TaskTarget(poses={name: se2.lifted(place) @ model.poses(q)[name]})


def error(T: Array, goal: Array) -> float:
    """Larger of distance [m] and angle [rad]."""
    turn = se3.log3(T[:3, :3].T @ goal[:3, :3])
    return float(max(np.linalg.norm(T[:3, 3] - goal[:3, 3]), np.linalg.norm(turn)))


def reach(controller: MobileMpc, target: TaskTarget) -> tuple[float, float, list[float]]:
    """Seconds until a target is reached (NaN: never), worst excess over a limit, tick times."""
    model, h, drive = controller.model, controller.period, controller.drive
    e = model.embodiment
    q, v, T, ticks, excess = model.neutral.copy(), np.zeros(model.n), np.eye(4), [], 0.0
    controller.reset(Observation(0.0, q=q, T_world_base=T))
    for k in range(round(PATIENCE / h)):
        command = controller.track(target, Observation(0.0, q=q, T_world_base=T))
        assert command.q is not None and command.v is not None and command.base_twist is not None
        assert controller.solution is not None
        ticks.append(controller.solution.seconds)
        twist = drive.centre_twist(command.base_twist)
        excess = max(
            excess,
            float((np.abs(command.v) - e.array("velocity")).max()),
            float((np.abs(command.v - v) / h - e.array("acceleration")).max()),
            float((command.q - model.upper).max()),
            float((model.lower - command.q).max()),
            float((np.abs(twist) - drive.twist_limit).max()),
        )
        q, v = command.q, command.v
        T = T @ drive.T_base_centre @ se2.lifted(se2.exp(h * twist[None])[0])
        T = T @ se3.inverse(drive.T_base_centre)
        if target.T_world_base is not None:
            done = error(T, target.T_world_base) < BASE
        else:
            ((name, goal),) = target.poses.items()
            done = error(T @ model.poses(q)[name], goal) < HAND
        if done:
            return (k + 1) * h, excess, ticks
    return np.nan, excess, ticks


def line(start: Array, speed: float, t: float) -> Array:
    """A line along x that winds sideways and, for a hand, up and down; from rest."""
    T, s = start.copy(), t - 1 + np.exp(-t)
    T[:3, 3] += [speed * s, 0.15 * np.sin(0.6 * s), 0.05 * np.sin(s)]
    return T


def places(start: Array, speed: float, count: int, dt: float) -> list[Array]:
    """Poses of a base on a winding path, from rest."""
    T, out = start, [start]
    for k in range(count):
        t = k * dt
        v = speed * (1 - np.exp(-t))
        T = T @ se2.lifted(se2.exp(dt * np.array([[v, 0.0, 0.6 * v * np.sin(0.5 * t)]]))[0])
        out.append(T)
    return out


def physics(controller: MobileMpc, folder: Path, seconds: float) -> tuple[float, float]:
    """Root mean square and largest error [m] of hand or base on a winding line in PyBullet."""
    model, h = controller.model, controller.period
    driver = WheeledDriver(model, simulation_urdf(model.embodiment, folder))
    observation = driver.reset()
    controller.reset(observation)
    assert observation.T_world_base is not None and observation.q is not None
    speed = min(0.25, 0.5 * float(controller.drive.velocity[0]))
    ahead = controller.config.dt * np.arange(controller.config.stages + 2)
    count = round(seconds / h)
    way = places(observation.T_world_base, speed, count + round(ahead[-1] / h) + 1, h)
    name = controller.effectors[0] if controller.effectors else ""
    T0 = observation.T_world_base
    if name:
        T0 = T0 @ model.poses(observation.q)[name]
    errors = []
    for k in range(count):
        if name:
            targets = [TaskTarget(poses={name: line(T0, speed, k * h + s)}) for s in ahead]
            goal = line(T0, speed, (k + 1) * h)
        else:
            targets = [TaskTarget(T_world_base=way[k + round(s / h)]) for s in ahead]
            goal = way[k + 1]
        driver.command(controller.track(targets, observation, times=ahead), h)
        observation = driver.observe()
        assert observation.T_world_base is not None and observation.q is not None
        T = observation.T_world_base
        if name:
            T = T @ model.poses(observation.q)[name]
        gap = (T - goal)[: 3 if name else 2, 3]
        errors.append(float(np.linalg.norm(gap)))
    driver.close()
    return float(np.sqrt(np.mean(np.square(errors)))), max(errors)


def arm_tick(seconds: float = 4.0) -> float:
    """Median CPU seconds of a tick of a seven-joint arm's controller, for comparison."""
    import pybullet_data

    file = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
    model = RobotModel(embodiment_from_urdf(file))
    controller, q, ticks = ArmMpc(model), model.neutral.copy(), []
    controller.reset(Observation(0.0, q=q))
    start = model.poses(q)["arm"]
    for k in range(round(seconds / controller.period)):
        T = start.copy()
        T[:3, 3] += 0.1 * np.sin(0.02 * k * np.array([1.0, 2.0, 1.5]))
        command = controller.track([TaskTarget(poses={"arm": T})], Observation(0.0, q=q))
        assert command.q is not None and controller.solution is not None
        q = command.q
        ticks.append(controller.solution.seconds)
    return float(np.median(ticks))


def report(model: RobotModel, folder: Path, targets: int, seconds: float, seed: int) -> None:
    """Print what one robot does."""
    arms = tuple(arm.name for arm in model.embodiment.arms[:1])
    controller = MobileMpc(model, arms)
    inputs = controller.drive.n + len(controller.joints)
    print(f"{model.embodiment.name}: {controller.drive.kind}, {inputs} inputs", flush=True)
    rng, times, ticks, worst = np.random.default_rng(seed), [], [], 0.0
    for _ in range(targets):
        time, excess, spent = reach(controller, random_target(controller, rng))
        times.append(time)
        ticks += spent
        worst = max(worst, excess)
    if targets:
        reached = np.isfinite(times)
        ms, arm = 1e3 * np.array(ticks), 1e3 * arm_tick()
        print(
            f"  reached {reached.sum()} of {targets}, median {np.nanmedian(times):.1f} s, longest "
            f"{np.nanmax(times):.1f} s; worst excess over a limit {worst:.1e}\n"
            f"  tick {np.median(ms):.3f} ms median, {np.percentile(ms, 99):.3f} p99 "
            f"({np.median(ms) / arm:.2f} times the arm's {arm:.3f})",
            flush=True,
        )
    if seconds:
        rms, most = physics(controller, folder, seconds)
        print(f"  physics: {1e3 * rms:.2f} mm rms, {1e3 * most:.2f} largest", flush=True)


def files() -> list[Path]:
    """URDFs of wheeled robots that are installed."""
    import pybullet_data

    data = Path(pybullet_data.getDataPath())
    share = Path(np.__file__).parents[1] / "cmeel.prefix/share/example-robot-data/robots"
    more = [share / "tiago_description/robots/tiago.urdf"]
    found = [data / f"{name}.urdf" for name in ("racecar/racecar", "husky/husky")]
    return found + [file for file in more if file.is_file()]


def main() -> None:
    """Print a report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--carts", nargs="*", default=None, help="kinds; alone: these only")
    parser.add_argument("--targets", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15.0, help="in physics")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    kinds = ["differential", "holonomic", "ackermann"] if args.carts is None else args.carts
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if args.carts is not None or not args.files:
            for kind in kinds:
                report(cart(kind, folder), folder, args.targets, args.seconds, args.seed)
        for file in args.files or ([] if args.carts is not None else files()):
            model = RobotModel(embodiment_from_urdf(file, allow_missing_meshes=True))
            report(model, folder, args.targets, args.seconds, args.seed)


if __name__ == "__main__":
    main()
