"""One-step inverse kinematics beside pink and placo.

Run ``OMP_NUM_THREADS=1 python benchmarks/wbc/one_step.py [--folder DIR] [--json PATH]``. It needs
the ``bench`` extra (pin-pink, qpsolvers). placo needs an older Pinocchio than ours, so it runs in a
virtual environment that the script makes in DIR; without ``--folder`` it is left out.

Ours and the peer take turns of 20 ticks in one process, on the same targets: the figure and the
jumps of arm.py. Once every 10 ms each gets the pose that is due at the tick's end and integrates
its velocity exactly. Costs 30/m, 10/rad and 0.01 for the distance to the start; limits of position
and velocity; pink solves with DAQP, as ours, and with its limit of accelerations once more. Times
are the thread's CPU time; the first quarter is left out of the errors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pinocchio as pin
from venvs import environment, variables

from icl_vla_embodiments import se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc.ik import DifferentialIk, IkConfig

PINNED = ("placo==0.10.2",)
PERIOD = 0.01  # [s]
TURN = 20  # ticks in a row
ACCELERATION = 15.0  # [rad/s^2], of pink's limit
POSITION, ROTATION, POSTURE = 30.0, 10.0, 0.01
FASTER, EQUAL = 3.0, 1.1  # bars: times faster than pink, share of the peer's error
PEERS = ("pink", "pink with accelerations", "placo")
JUMPS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((0.15, 0.35, -0.15), (0.8, 0.5, 0.0)),
    ((-0.1, -0.35, 0.2), (-0.9, 0.3, 0.5)),
    ((0.1, 0.0, 0.3), (0.0, 0.0, 1.2)),
)

# velocities (n,) of the arm's joints for its positions and the pose that is due; None: no solution
Solver = Callable[[Array, Array], Array | None]


def target(scenario: str, T: Array, t: float) -> Array:
    """Where the tool should be, given its first pose."""
    a = 2 * np.pi * 0.4 * t
    offset = (0.05 * np.sin(2 * a), 0.15 * np.sin(a), 0.1 * (1 - np.cos(a)))
    turn = (0.3 * np.sin(a), 0.2 * np.sin(a), 0.0)
    if scenario == "step":
        offset, turn = JUMPS[int(t // 1.25) % len(JUMPS)]
    return se3.pose(T[:3, :3] @ se3.exp3(np.array(turn)), T[:3, 3] + np.array(offset))


class Arm:
    """The first arm of a robot."""

    def __init__(self, urdf: Path, start: list[float]) -> None:
        embodiment = RobotModel.from_urdf(urdf).embodiment
        names = embodiment.arms[0].joints
        neutral = {**embodiment.neutral, **dict(zip(names, start, strict=True))}
        self.model = RobotModel(embodiment.with_(neutral=neutral))
        self.names, self.start = names, np.array(start)
        self.effector = embodiment.arms[0].name
        self.joints = np.array([embodiment.joints.index(name) for name in names])
        self.velocity = embodiment.array("velocity")[self.joints]
        self.lower, self.upper = self.model.lower[self.joints], self.model.upper[self.joints]
        self.frame = self.model.model.frames[self.model.tcp_id(self.effector)].name

    def full(self, q: Array) -> Array:
        result = self.model.neutral.copy()
        result[self.joints] = q
        return result

    def tool(self, q: Array) -> Array:
        return self.model.poses(self.full(q))[self.effector]


def ours(arm: Arm) -> Solver:
    ik = DifferentialIk(arm.model, period=PERIOD, config=IkConfig(POSITION, ROTATION, POSTURE))

    def solve(q: Array, T: Array) -> Array | None:
        full = arm.full(q)
        begin = time.thread_time()
        v = ik.velocity(full, T)
        solve.seconds = time.thread_time() - begin  # type: ignore[attr-defined]
        return None if v is None else v[arm.joints]

    return solve


def pink_solver(arm: Arm, accelerations: bool) -> Solver:
    """Pink on the arm alone, with its limits."""
    import pink
    from pink.limits import AccelerationLimit, ConfigurationLimit, VelocityLimit
    from pink.tasks import FrameTask, PostureTask

    full = arm.model.model
    locked = [i for i in range(1, full.njoints) if full.names[i] not in arm.names]
    reduced = pin.buildReducedModel(full, locked, arm.model.full(arm.model.neutral))
    configuration = pink.Configuration(reduced, reduced.createData(), arm.start)
    tool = FrameTask(arm.frame, position_cost=POSITION, orientation_cost=ROTATION)
    posture = PostureTask(cost=POSTURE)
    posture.set_target(arm.start)
    limits = [ConfigurationLimit(reduced), VelocityLimit(reduced)]
    last = AccelerationLimit(reduced, np.full(reduced.nv, ACCELERATION))
    limits += [last] if accelerations else []

    def solve(q: Array, T: Array) -> Array | None:
        goal = pin.SE3(T)
        begin = time.thread_time()
        configuration.update(q)
        tool.set_target(goal)
        try:
            v = pink.solve_ik(
                configuration,
                [tool, posture],
                PERIOD,
                solver="daqp",
                damping=1e-6,
                limits=limits,
                safety_break=False,
            )
        except pink.exceptions.NoSolutionFound:
            v = None
        solve.seconds = time.thread_time() - begin  # type: ignore[attr-defined]
        if accelerations:
            last.set_last_integration(np.zeros(reduced.nv) if v is None else v, PERIOD)
        return v

    return solve


def placo_solver(arm: Arm) -> Solver:
    """Placo on the arm's URDF without its meshes."""
    import placo

    root = ElementTree.fromstring(arm.model.embodiment.urdf)
    for link in root.iter("link"):
        for part in [*link.findall("visual"), *link.findall("collision")]:
            link.remove(part)
    file = Path(tempfile.mkdtemp()) / "robot.urdf"
    ElementTree.ElementTree(root).write(file)
    robot = placo.RobotWrapper(str(file), placo.Flags.ignore_collisions)
    for name, angle in zip(arm.model.embodiment.joints, arm.model.neutral, strict=True):
        robot.set_joint(name, angle)
    robot.update_kinematics()
    solver = placo.KinematicsSolver(robot)
    solver.mask_fbase(True)
    solver.dt = PERIOD
    solver.enable_velocity_limits(True)
    solver.enable_joint_limits(True)
    link = arm.model.embodiment.arms[0].tip_link
    T_tool_link = se3.inverse(arm.tool(arm.start)) @ robot.get_T_world_frame(link)
    tool = solver.add_frame_task(link, robot.get_T_world_frame(link))
    tool.configure("tool", "soft", POSITION**2, ROTATION**2)
    posture = solver.add_joints_task()
    posture.set_joints(dict(zip(arm.names, arm.start, strict=True)))
    posture.configure("posture", "soft", POSTURE**2)
    solver.add_regularization_task(1e-6)

    def solve(q: Array, T: Array) -> Array | None:
        goal = T @ T_tool_link
        begin = time.thread_time()
        tool.T_world_frame = goal
        solver.solve(True)
        robot.update_kinematics()
        solve.seconds = time.thread_time() - begin  # type: ignore[attr-defined]
        # it has moved its own robot, which is where the loop's plant goes, too
        return (np.array([robot.get_joint(name) for name in arm.names]) - q) / PERIOD

    return solve


def make(name: str, arm: Arm) -> Solver:
    if name == "ours":
        return ours(arm)
    if name == "placo":
        return placo_solver(arm)
    return pink_solver(arm, "accelerations" in name)


@dataclass(frozen=True)
class Row:
    """One closed loop; ratios are the peer's over ours, None in our own rows."""

    arm: str
    scenario: str
    solver: str
    median_us: float
    p99_us: float
    rms_mm: float
    q_excess: float
    v_excess: float
    failures: int
    slower: float | None = None


def compare(name: str, urdf: Path, start: list[float], peer: str, ticks: int) -> list[Row]:
    """Ours and one peer in turns, in this process."""
    rows = []
    for scenario in ("track", "step"):
        arm = Arm(urdf, start)
        solvers = {which: make(which, arm) for which in ("ours", peer)}
        states = {which: arm.start.copy() for which in solvers}
        us: dict[str, list[float]] = {which: [] for which in solvers}
        mm: dict[str, list[float]] = {which: [] for which in solvers}
        excess, failures = {which: np.zeros(2) for which in solvers}, dict.fromkeys(solvers, 0)
        T = arm.tool(arm.start)
        for begin in range(0, ticks, TURN):
            for which, solve in solvers.items():
                for k in range(begin, min(begin + TURN, ticks)):
                    q, due = states[which], target(scenario, T, (k + 1) * PERIOD)
                    v = solve(q, due)
                    failures[which] += v is None
                    v = np.zeros(len(q)) if v is None else v
                    states[which] = q = q + PERIOD * v
                    us[which].append(1e6 * solve.seconds)  # type: ignore[attr-defined]
                    mm[which].append(1e3 * float(np.linalg.norm((arm.tool(q) - due)[:3, 3])))
                    worst = [np.maximum(arm.lower - q, q - arm.upper).max()]
                    worst += [(np.abs(v) - arm.velocity).max()]
                    excess[which] = np.maximum(excess[which], worst)
        medians = {which: float(np.median(us[which][10:])) for which in solvers}
        for which in solvers:
            rows.append(
                Row(
                    name,
                    scenario,
                    which,
                    medians[which],
                    float(np.percentile(us[which][10:], 99)),
                    float(np.sqrt(np.mean(np.square(mm[which][ticks // 4 :])))),
                    # below 1e-9 it is rounding
                    *(0.0 if x < 1e-9 else float(x) for x in excess[which]),
                    failures[which],
                    None if which == "ours" else medians[which] / medians["ours"],
                )
            )
    return rows


def verdict(rows: list[Row]) -> tuple[bool, str]:
    """Whether ours does as well as the peer on the figure, and says it faster."""
    mine, theirs = rows[0], rows[1]
    assert theirs.slower is not None
    bar = FASTER if theirs.solver.startswith("pink") else None
    met = mine.rms_mm <= EQUAL * theirs.rms_mm and (bar is None or theirs.slower >= bar)
    wanted = "" if bar is None else f" (bar {bar:g})"
    text = f"{theirs.arm}: {theirs.slower:.2f} times {theirs.solver}'s speed{wanted}"
    return met, f"{text} at {mine.rms_mm / theirs.rms_mm:.2f} of its error"


def main() -> int:
    """Print the table and the verdicts; with ``--json`` also write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="placo's environment, made where missing")
    parser.add_argument("--ticks", type=int, default=500)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--placo", help=argparse.SUPPRESS)  # in placo's environment: the arms
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.placo:
        made = [
            compare(name, Path(urdf), start, "placo", arguments.ticks)
            for name, urdf, start in json.loads(arguments.placo)
        ]
        print(json.dumps([[asdict(row) for row in rows] for rows in made]))
        return 0

    from arm import ARMS  # not in placo's environment, which has no PyBullet

    arms = [(n, str(urdf), list(q)) for n, (urdf, q) in ARMS.items() if urdf.is_file()]
    groups = [
        compare(name, Path(urdf), start, peer, arguments.ticks)
        for peer in PEERS
        if peer != "placo"
        for name, urdf, start in arms
    ]
    if arguments.folder:
        command = [str(environment(arguments.folder, PINNED)), __file__]
        command += ["--ticks", str(arguments.ticks), "--placo", json.dumps(arms)]
        done = subprocess.run(
            command, env=variables(), stdout=subprocess.PIPE, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        groups += [[Row(**row) for row in rows] for rows in found]
    head = f"{'arm':6} {'scenario':8} {'solver':24} {'median':>7} {'p99 us':>7} {'rms mm':>8}"
    print(head + f" {'q':>8} {'v excess':>8} failed")
    good = True
    for rows in groups:
        for r in rows:
            print(
                f"{r.arm:6} {r.scenario:8} {r.solver:24} {r.median_us:7.1f} {r.p99_us:7.1f}"
                f" {r.rms_mm:8.3f} {r.q_excess:8.1e} {r.v_excess:8.1e} {r.failures:6}"
            )
        met, text = verdict(rows)
        good &= met
        print(f"  {text}: {'met' if met else 'MISSED'}", flush=True)
    if arguments.json:
        rows = [asdict(row) for group in groups for row in group]
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
