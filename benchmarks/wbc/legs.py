"""Robots on legs under disturbances that the controller is not told of, in PyBullet.

    python benchmarks/wbc/legs.py [ROBOT.urdf ...] [--seconds 20] [--pushes 100] [--seed 0]

One set of parameters for every robot. Without files: the quadrupeds of pybullet_data and, where the
extra ``robots`` is installed, those of example-robot-data. Times are the thread's CPU time.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icl_vla.sim.legged import LeggedDriver, Terrain
from icl_vla_embodiments import Embodiment, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf import embodiment_from_urdf, simulation_urdf
from icl_vla_wbc.legs import Gait, LegConfig, LegMpc

Twist = tuple[float, float, float]


@dataclass(frozen=True)
class Case:
    """What is asked for, and on what.

    Attributes:
        twist: Forward [m/s], sideways [m/s], turn [rad/s].
        terrain: The ground, and what the robot is not told.
        walk: One foot at a time instead of a trot.
        blind: Nothing is estimated: no wrench.
    """

    twist: Twist = (0.0, 0.0, 0.0)
    terrain: Terrain = Terrain()  # noqa: RUF009 - frozen
    walk: bool = False
    blind: bool = False


CASES = {
    "stand": Case(),
    "trot 0.5 m/s": Case((0.5, 0, 0)),
    "turn 0.5 rad/s": Case((0.3, 0, 0.5)),
    "walk 0.25 m/s": Case((0.25, 0, 0), walk=True),
    "+20% mass, stand": Case(terrain=Terrain(payload=0.2)),
    "  not estimated": Case(terrain=Terrain(payload=0.2), blind=True),
    "+20% mass, trot": Case((0.4, 0, 0), Terrain(payload=0.2)),
    "   not estimated": Case((0.4, 0, 0), Terrain(payload=0.2), blind=True),
    "friction 0.3": Case((0.4, 0, 0), Terrain(friction=0.3)),
    "10 ms late": Case((0.4, 0, 0), Terrain(delay=0.01)),
    "3 cm steps": Case((0.3, 0, 0), Terrain(steps=0.03)),
    "5 degree slope": Case((0.3, 0, 0), Terrain(slope=np.radians(5))),
}
BLIND = LegConfig(estimator=1e-6)  # [1/s]: learns nothing in a run
FORCE, LASTS = 20.0, 1.0  # [N], [s] at a robot on two legs
KICK = 0.1  # [s] in which a robot on four legs is pushed to 1 m/s


@dataclass
class Run:
    """What happened.

    Attributes:
        fell: Whether the body tipped over or dropped.
        speed: Root mean square error of the forward velocity, second half [m/s].
        sag: Mean height below the standing height, second half [m].
        hand: Root mean square distance of the hand from its target [m]; NaN without one.
        plan: ``(P,)`` CPU seconds of force plans; tick: ``(T,)`` of the rest of each tick.
    """

    fell: bool
    speed: float
    sag: float
    hand: float
    plan: Array
    tick: Array


def run(
    robot: Embodiment,
    folder: Path,
    case: Case,
    seconds: float,
    push: tuple[float, Array, float] | None = None,
    hand: str | None = None,
) -> Run:
    """Drive for some seconds; ``push`` is a time [s], a force ``(3,)`` [N] and how long [s]."""
    model, twist = RobotModel(robot), case.twist
    config = BLIND if case.blind else LegConfig()
    controller = LegMpc(model, config=config, gait=_walk(model) if case.walk else None)
    driver = LeggedDriver(model, simulation_urdf(robot, folder), controller.height, case.terrain)
    observation = driver.reset()
    controller.reset(observation)
    home = model.poses(model.neutral)
    heights, speeds, misses, plans, ticks = [], [], [], [], []
    fell = False
    for k in range(round(seconds / controller.period)):
        t = k * controller.period
        asked = np.zeros(6)
        if t > 0.5:
            asked[[0, 1, 5]] = twist
        if push is not None and push[0] <= t < push[0] + controller.period:
            driver.push(push[1], push[2])
        target = TaskTarget(base_twist=asked)
        if hand is not None:
            target = _eight(asked, hand, home[hand], t)
        command = controller.track(target, observation)
        if hand is not None and t > 1:
            misses.append(controller.hand_error(target)[hand])
        driver.command(command, controller.period)
        observation = driver.observe()
        T = observation.T_world_base
        assert T is not None and observation.base_twist is not None
        height = controller.height_over_ground()
        heights.append(height - controller.height)
        speeds.append(observation.base_twist[0])
        ticks.append(controller.seconds[1])
        if controller.seconds[0]:
            plans.append(controller.seconds[0])
        if T[2, 2] < 0.5 or height < 0.4 * controller.height:
            fell = True
            break
    driver.close()
    half = len(heights) // 2
    return Run(
        fell,
        float(np.sqrt(np.mean((np.array(speeds[half:]) - twist[0]) ** 2))),
        -float(np.mean(heights[half:])),
        float(np.sqrt(np.mean(np.square(misses)))) if misses else np.nan,
        np.array(plans),
        np.array(ticks),
    )


def _walk(model: RobotModel) -> Gait:
    """One foot at a time."""
    d = LegMpc(model).dynamics
    first = np.flatnonzero(np.diff(d.owner, prepend=-1))
    return Gait.walk(d.points[first, :2])


def _eight(twist: Array, hand: str, T: Array, t: float) -> TaskTarget:
    """A figure of eight of 6 by 8 cm about a hand's neutral pose, with its velocity."""
    w, on = 1.5, float(t > 0.5)
    place = np.array([0.06 * np.sin(w * t), 0.08 * np.sin(2 * w * t), 0.06 * (1 - np.cos(w * t))])
    speed = w * np.array([0.06 * np.cos(w * t), 0.16 * np.cos(2 * w * t), 0.06 * np.sin(w * t)])
    goal = se3.pose(T[:3, :3], T[:3, 3] + on * place)
    rate = np.concatenate([on * speed, np.zeros(3)])
    return TaskTarget(base_twist=twist, poses={hand: goal}, twists={hand: rate})


def files() -> list[Path]:
    """URDFs of robots on legs that are installed."""
    import pybullet_data

    data = Path(pybullet_data.getDataPath())
    names = ["a1/a1", "aliengo/aliengo", "mini_cheetah/mini_cheetah"]
    found = [data / f"{name}.urdf" for name in names]
    share = Path(np.__file__).parents[1] / "cmeel.prefix/share/example-robot-data/robots"
    more = [
        "laikago_description/urdf/laikago",
        "go1_description/urdf/go1",
        "go2_description/urdf/go2",
        "b1_description/urdf/b1",
        "anymal_b_simple_description/robots/anymal",
        "anymal_c_simple_description/urdf/anymal",
        "solo_description/robots/solo12",
        "hyq_description/robots/hyq_no_sensors",
        "anymal_b_simple_description/robots/anymal-kinova",
        "g1_description/urdf/g1_29dof_rev_1_0",
        "talos_data/robots/talos_reduced",
        "romeo_description/urdf/romeo",
    ]
    return found + [p for n in more if (p := share / f"{n}.urdf").is_file()]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--cases", nargs="*", default=list(CASES), help="those that start so")
    parser.add_argument("--pushes", type=int, default=20, help="of 1 m/s, at random")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cases = [name for name in CASES if any(name.strip().startswith(c.strip()) for c in args.cases)]
    with tempfile.TemporaryDirectory() as scratch:
        for file in args.files or files():
            robot = embodiment_from_urdf(file, allow_missing_meshes=True)
            legs = len(robot.of_kind("leg"))
            print(f"{file.stem}: {robot.name} ({robot.family}, {legs} legs)", flush=True)
            report(robot, Path(scratch), cases, args.seconds)
            if legs < 4:
                push_standing(robot, Path(scratch))
            elif args.pushes:
                push_walking(robot, Path(scratch), args.pushes, args.seed)


def report(robot: Embodiment, folder: Path, cases: list[str], seconds: float) -> None:
    """Print what one robot does in some cases."""
    two = len(robot.of_kind("leg")) < 4
    plans, ticks = [], []
    for name in cases:
        case = CASES[name]
        if two and (any(case.twist) or case.terrain.slope or case.terrain.steps):
            continue
        r = run(robot, folder, case, seconds)
        plans.append(r.plan)
        ticks.append(r.tick)
        state = "FELL" if r.fell else "stood"
        sag = f"sag {1e3 * r.sag:5.1f} mm"
        print(f"  {name:17s} {state:6s} speed {r.speed:.3f} m/s  {sag}", flush=True)
    for arm in robot.arms[:1]:
        for name, twist in (("hand, stand", (0.0, 0.0, 0.0)), ("hand, trot", (0.3, 0.0, 0.0))):
            if two and any(twist):
                continue
            r = run(robot, folder, Case(twist), seconds, hand=arm.name)
            plans.append(r.plan)
            ticks.append(r.tick)
            state = "FELL" if r.fell else "stood"
            print(f"  {name:17s} {state:6s} hand {1e3 * r.hand:.2f} mm rms", flush=True)
    for name, values in (("force plan", plans), ("tick", ticks)):
        v = 1e3 * np.concatenate(values)
        print(f"  {name:17s} {np.median(v):.2f} ms median, {np.percentile(v, 99):.2f} p99")


def push_walking(robot: Embodiment, folder: Path, count: int, seed: int) -> None:
    """Pushes of 1 m/s in random directions at random moments of a trot."""
    rng = np.random.default_rng(seed)
    mass = LegMpc(RobotModel(robot)).dynamics.mass
    kept = 0
    for _ in range(count):
        angle, at = rng.uniform(0, 2 * np.pi), rng.uniform(2.0, 2.5)
        force = mass / KICK * np.array([np.cos(angle), np.sin(angle), 0.0])
        kept += not run(robot, folder, Case((0.3, 0, 0)), 4.5, (at, force, KICK)).fell
    print(f"  pushes of 1 m/s    {kept} of {count} survived", flush=True)


def push_standing(robot: Embodiment, folder: Path) -> None:
    """Pushes of 20 N for a second from eight sides."""
    kept = 0
    for angle in np.arange(8) * np.pi / 4:
        force = FORCE * np.array([np.cos(angle), np.sin(angle), 0.0])
        kept += not run(robot, folder, Case(), 4.0, (1.0, force, LASTS)).fell
    print(f"  pushes of 20 N, 1 s {kept} of 8 survived", flush=True)


if __name__ == "__main__":
    main()
