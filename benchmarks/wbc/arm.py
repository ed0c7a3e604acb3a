"""An arm's MPC beside general solvers of the same horizon problem, in one process.

Run ``OMP_NUM_THREADS=1 python benchmarks/wbc/arm.py [--ticks 400] [--jit] [--json PATH]``. The
peers are in CasADi's wheel; ur5 needs the extra ``robots``.

The problem: 20 steps of 50 ms, accelerations held in each; residuals of the tool's pose (30/m,
10/rad), velocities (0.03), accelerations (0.003) and the distance to a posture (0.01); limits of
position, velocity and acceleration. Everybody sees the tool's poses of the coming second, every
50 ms, and gives the acceleration for a tick of 10 ms. The plant integrates it exactly, so every
error is the solver's.

    ours: one real-time iteration of the controller's program, on 6 acceleration knots. The clamp
        behind it keeps the limits; its time, like everything around the program, is in ArmMpc's.
    ArmMpc: the whole controller, with its checks of what is asked for, governor and ladder.
    ipopt: to its end (tolerance 1e-3), with the exact Hessian or with Gauss-Newton's, which is
        faster on the figure but does not converge on jumps and out of reach: no bar stands on it.
    OSQP, HPIPM: CasADi's sqpmethod, one iteration with Gauss-Newton's Hessian, on these.

The peers solve for 20 free accelerations by multiple shooting, each from its last solution (shared
memory in and out, no Python objects between). These were their fastest settings of those tried:
ipopt with small pushes away from the bounds and a barrier that begins at 1e-4; OSQP to 1e-3, which
leaves limits broken by as much. Six knots make all of them slower. ``--jit`` has their functions
compiled (half a minute for each solver), as ours are; it gains them a tenth.

Scenarios:
    track: a figure of 10 x 15 x 20 cm and 0.36 rad at 0.4 Hz. It gives the ratios.
    step: jumps of up to 40 cm and 1.2 rad, every 1.25 s.
    far: a target about a metre out of reach.
    outside: a joint starts 5 degrees outside its range.

Times are the thread's CPU time, in turns of 20 ticks, so that all meet the same machine. A
violation is the excess of a motion over the limits: positions [rad], velocities [rad/s] and
accelerations [rad/s^2]; it counts from the first tick with all joints inside their ranges.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pinocchio as pin
import pybullet_data
from iteration import Iteration

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import ArmMpc, GovernorConfig, MpcConfig
from icl_vla_wbc.dynamics import FrameKinematics, InPlace
from icl_vla_wbc.gauss_newton import pose_residual
from icl_vla_wbc.limits import ViableLimits

PERIOD = 0.01  # [s]
TURN = 20  # ticks in a row
ACCELERATION = 15.0  # [rad/s^2]; URDFs have no such limit
# nothing but the limits may hold back the figure and the jumps
CONFIG = MpcConfig(governor=GovernorConfig(2.0, 8.0, 50.0, 200.0, 0.5, 1.5))
N, DT = CONFIG.stages, CONFIG.dt
WEIGHTS = np.repeat([CONFIG.position_weight, CONFIG.rotation_weight], 3)
OUTSIDE = np.radians(5)
BARS = {"ipopt": 35.0, "OSQP": 8.0, "HPIPM": 8.0}  # times faster
RMS_BAR = 0.7  # [mm] on the figure

EXAMPLES = Path(sysconfig.get_paths()["purelib"]) / "cmeel.prefix/share/example-robot-data/robots"
ARMS = {
    "panda": (
        Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf",
        (0.0, -0.4, 0.0, -2.0, 0.0, 1.7, 0.7),
    ),
    "ur5": (
        EXAMPLES / "ur_description/urdf/ur5_robot.urdf",
        (0.0, -1.4, 1.6, -1.8, -1.57, 0.0),
    ),
}
JUMPS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((0.15, 0.35, -0.15), (0.8, 0.5, 0.0)),
    ((-0.1, -0.35, 0.2), (-0.9, 0.3, 0.5)),
    ((0.1, 0.0, 0.3), (0.0, 0.0, 1.2)),
)


def moved(T: Array, offset: object, turn: object) -> Array:
    """``T`` shifted in base axes and turned in its own."""
    return se3.pose(T[:3, :3] @ se3.exp3(np.array(turn)), T[:3, 3] + np.array(offset))


def track(T: Array, t: float) -> Array:
    a = 2 * np.pi * 0.4 * t
    offset = (0.05 * np.sin(2 * a), 0.15 * np.sin(a), 0.1 * (1 - np.cos(a)))
    return moved(T, offset, (0.3 * np.sin(a), 0.2 * np.sin(a), 0.0))


def step(T: Array, t: float) -> Array:
    return moved(T, *JUMPS[int(t // 1.25) % len(JUMPS)])


def far(T: Array, t: float) -> Array:
    return moved(T, (1.5, 0.5, 0.5), (0.0, 0.0, 0.0))


def outside(T: Array, t: float) -> Array:
    return T


# where the tool should be at a time, given its pose at home
SCENARIOS: dict[str, Callable[[Array, float], Array]] = {
    "track": track,
    "step": step,
    "far": far,
    "outside": outside,
}


@dataclass(frozen=True)
class Arm:
    """One arm of a robot, and where it starts; ``home`` ``(n,)`` is what the target belongs to."""

    model: RobotModel
    start: Array
    home: Array

    @cached_property
    def joints(self) -> Array:
        names = self.model.embodiment.arms[0].joints
        return np.array([self.model.embodiment.joints.index(name) for name in names])

    @cached_property
    def limits(self) -> ViableLimits:
        return ViableLimits.of(self.model.embodiment, PERIOD).subset(self.joints)

    @cached_property
    def kinematics(self) -> FrameKinematics:
        return FrameKinematics.of(self.model, self.model.tcp_id(self.effector))

    @property
    def effector(self) -> str:
        return self.model.embodiment.arms[0].name

    def full(self, q: Array) -> Array:
        """All actuated positions."""
        result = self.model.neutral.copy()
        result[self.joints] = q
        return result

    def tool(self, q: Array) -> Array:
        """``(4, 4)``."""
        return self.model.poses(self.full(q))[self.effector]


def load(urdf: Path, start: Array, scenario: str) -> Arm:
    """The arm with :data:`ACCELERATION`, and in ``outside`` with the start outside a range."""
    embodiment = RobotModel.from_urdf(urdf).embodiment
    limits = {j: replace(x, acceleration=ACCELERATION) for j, x in embodiment.limits.items()}
    home = start.copy()
    if scenario == "outside":
        joint = embodiment.arms[0].joints[1]
        limits[joint] = replace(limits[joint], upper=float(start[1] - OUTSIDE))
        home[1] -= 3 * OUTSIDE
    return Arm(RobotModel(embodiment.with_(limits=limits)), start, home)


# accelerations (n,) for the state (q, v), the time and the poses (N + 1, 4, 4) from now on
Solver = Callable[[Array, Array, float, Array], Array]


def ours(arm: Arm) -> Solver:
    """One real-time iteration, as the controller makes it."""
    iteration = Iteration(arm.model, arm.joints, arm.full(arm.home), CONFIG, PERIOD)

    def solve(q: Array, v: Array, t: float, poses: Array) -> Array:
        targets = columns(poses)
        begin = time.thread_time()
        solved = iteration.solve(q, v, targets)
        solve.seconds = time.thread_time() - begin  # type: ignore[attr-defined]
        solve.failed = not solved  # type: ignore[attr-defined]
        _, speed = arm.limits.advance(q, v, v + PERIOD * iteration.U[0])
        return (speed - v) / PERIOD

    return solve


def controller(arm: Arm) -> Solver:
    """The controller as shipped, but for its governor."""
    mpc = ArmMpc(arm.model, config=CONFIG, period=PERIOD)
    mpc.reset(Observation(0.0, q=arm.full(arm.start)))
    times = DT * np.arange(N + 1)
    posture = arm.full(arm.home)

    def solve(q: Array, v: Array, t: float, poses: Array) -> Array:
        targets = [TaskTarget(poses={arm.effector: T}, posture=posture) for T in poses]
        observation = Observation(t, q=arm.full(q))
        begin = time.thread_time()
        command = mpc.track(targets, observation, times=times)
        solve.seconds = time.thread_time() - begin  # type: ignore[attr-defined]
        solve.failed = command.level != "nominal"  # type: ignore[attr-defined]
        assert command.v is not None
        return (command.v[arm.joints] - v) / PERIOD

    return solve


IPOPT = {
    "calc_lam_p": False,
    "ipopt": {
        "print_level": 0,
        "sb": "yes",
        "tol": 1e-3,
        "max_iter": 50,
        "mu_init": 1e-4,
        "warm_start_init_point": "yes",
        "warm_start_bound_push": 1e-6,
        "warm_start_bound_frac": 1e-6,
        "warm_start_slack_bound_push": 1e-6,
        "warm_start_slack_bound_frac": 1e-6,
        "warm_start_mult_bound_push": 1e-6,
    },
}
SQP = {
    "max_iter": 1,
    "print_header": False,
    "print_iteration": False,
    "print_status": False,
    "error_on_fail": False,
}
OSQP = {
    "osqp": {"verbose": False, "eps_abs": 1e-3, "eps_rel": 1e-3, "max_iter": 200},
    "warm_start_primal": True,
    "warm_start_dual": True,
    "error_on_fail": False,
}
HPIPM = {"hpipm": {"iter_max": 30}, "error_on_fail": False}
JIT = {"jit": True, "compiler": "shell", "jit_options": {"flags": ["-O1"]}}
PEERS: dict[str, tuple[str, dict[str, Any], bool]] = {  # solver, options, Gauss-Newton
    "ipopt": ("ipopt", IPOPT, False),
    "ipopt, Gauss-Newton": ("ipopt", IPOPT, True),
    "OSQP": ("sqpmethod", {**SQP, "qpsol": "osqp", "qpsol_options": OSQP}, True),
    "HPIPM": ("sqpmethod", {**SQP, "qpsol": "hpipm", "qpsol_options": HPIPM}, True),
}


def peer(arm: Arm, name: str, jit: bool) -> Solver:
    """One of CasADi's solvers on the problem by multiple shooting."""
    plugin, options, gauss_newton = PEERS[name]
    n, (nlp, bounds, hessian) = len(arm.joints), horizon_problem(arm)
    options = {**options, "print_time": False, **(JIT if jit else {})}
    if gauss_newton:
        # ipopt wants the upper triangle, sqpmethod the whole
        options["hess_lag"] = hessian(ca.triu if plugin == "ipopt" else lambda H: H)
    solver = ca.nlpsol("solver", plugin, nlp, options)
    io = InPlace(solver)
    inputs = dict(zip(solver.name_in(), (x[0] for x in io.inputs), strict=True))
    outputs = dict(zip(solver.name_out(), (x[0] for x in io.outputs), strict=True))
    for key, value in bounds.items():
        inputs[key][:] = value

    def solve(q: Array, v: Array, t: float, poses: Array) -> Array:
        parameters = np.concatenate([q, v, columns(poses).reshape(-1)])
        begin = time.thread_time()
        inputs["p"][:] = parameters
        io()
        finite = np.isfinite(outputs["x"]).all()
        for key, source in {"x0": "x", "lam_x0": "lam_x", "lam_g0": "lam_g"}.items():
            inputs[key][:] = outputs[source] if finite else 0.0
        solve.seconds = time.thread_time() - begin  # type: ignore[attr-defined]
        converged = plugin != "ipopt" or io._buffer.stats()["success"]
        solve.failed = not (finite and converged)  # type: ignore[attr-defined]
        brake = np.clip(-v / PERIOD, -ACCELERATION, ACCELERATION)
        return outputs["x"][:n].copy() if finite else brake

    return solve


def horizon_problem(arm: Arm) -> tuple[dict[str, ca.SX], dict[str, Array], Any]:
    """Unknowns, parameters ``(q, v, references)``, cost, dynamics; bounds; Hessian's maker."""
    kinematics, limits, n = arm.kinematics, arm.limits, len(arm.joints)
    residual = pose_residual(kinematics, arm.joints)
    p, everything = ca.SX.sym("p", 2 * n + 7 * N), ca.SX(arm.full(arm.home))
    q, v = p[:n], p[n : 2 * n]
    unknowns, residuals, gaps = [], [], []
    for k in range(N):
        a, x = ca.SX.sym(f"a{k}", n), ca.SX.sym(f"x{k}", 2 * n)
        gaps += [x[:n] - q - DT * v - DT**2 / 2 * a, x[n:] - v - DT * a]
        unknowns += [a, x]
        q, v = x[:n], x[n:]
        everything[arm.joints.tolist()] = q
        residuals += [
            ca.DM(WEIGHTS) * residual(everything, p[2 * n + 7 * k : 2 * n + 7 * k + 7])[0],
            CONFIG.acceleration_weight * a,
            CONFIG.velocity_weight * v,
            CONFIG.preference_weight * (q - arm.home),
        ]
    x, r, g = ca.vertcat(*unknowns), ca.vertcat(*residuals), ca.vertcat(*gaps)
    top = np.concatenate([limits.acceleration, limits.upper, limits.velocity])
    low = np.concatenate([-limits.acceleration, limits.lower, -limits.velocity])
    bounds = {"lbx": np.tile(low, N), "ubx": np.tile(top, N), "lbg": 0.0, "ubg": 0.0}

    def hessian(part: Callable[[ca.SX], ca.SX]) -> ca.Function:
        J, of_f, of_g = ca.jacobian(r, x), ca.SX.sym("f"), ca.SX.sym("g", g.shape[0])
        names = ["x", "p", "lam_f", "lam_g"], ["hess_gamma_x_x"]
        return ca.Function("nlp_hess_l", [x, p, of_f, of_g], [part(of_f * J.T @ J)], *names)

    return {"x": x, "p": p, "f": ca.sumsqr(r) / 2, "g": g}, bounds, hessian


def columns(poses: Array) -> Array:
    """``(N, 7)`` of the poses at the stages."""
    return np.array([pin.SE3ToXYZQUAT(pin.SE3(T)) for T in poses[1:]])


class Loop:
    """Closed loop of one solver: its plant, times, errors and violations."""

    def __init__(self, arm: Arm, solver: Solver, scenario: str) -> None:
        self.arm, self.solver, self.scenario = arm, solver, scenario
        self.q, self.v, self.T = arm.start.copy(), np.zeros(len(arm.start)), arm.tool(arm.home)
        self.ms: list[float] = []
        self.mm: list[float] = []
        self.worst, self.broken, self.inside, self.failures = np.zeros(3), 0, False, 0

    def target(self, t: float) -> Array:
        return SCENARIOS[self.scenario](self.T, t)

    def tick(self, t: float) -> None:
        limits = self.arm.limits
        poses = np.array([self.target(t + DT * k) for k in range(N + 1)])
        a = self.solver(self.q, self.v, t, poses)
        self.ms.append(1e3 * self.solver.seconds)  # type: ignore[attr-defined]
        self.failures += self.solver.failed  # type: ignore[attr-defined]
        self.q = self.q + PERIOD * self.v + 0.5 * PERIOD**2 * a
        self.v = self.v + PERIOD * a
        excess = np.array(
            [
                np.maximum(limits.lower - self.q, self.q - limits.upper).max(),
                (np.abs(self.v) - limits.velocity).max(),
                (np.abs(a) - limits.acceleration).max(),
            ]
        )
        excess[excess < 1e-9] = 0.0  # it is rounding
        self.inside |= not excess[0]
        if self.inside:
            self.worst = np.maximum(self.worst, excess)
            self.broken += bool(excess.any())
        goal = self.target(t + PERIOD * (self.scenario == "track"))
        self.mm.append(1e3 * float(np.linalg.norm((self.arm.tool(self.q) - goal)[:3, 3])))


@dataclass(frozen=True)
class Row:
    """One closed loop; lengths in mm, times in ms; the first quarter is left out of the errors."""

    arm: str
    scenario: str
    solver: str
    rms_mm: float
    last_mm: float
    median_ms: float
    p99_ms: float
    max_ms: float
    q_excess: float
    v_excess: float
    a_excess: float
    broken: int
    failures: int
    slower: float

    @classmethod
    def of(cls, arm: str, name: str, loop: Loop, reference: Loop) -> Row:
        ms, mm = np.array(loop.ms)[10:], np.array(loop.mm)  # the first ticks fill caches
        return cls(
            arm,
            loop.scenario,
            name,
            float(np.sqrt(np.mean(mm[len(mm) // 4 :] ** 2))),
            float(mm[-1]),
            float(np.median(ms)),
            float(np.percentile(ms, 99)),
            float(ms.max()),
            *(float(w) for w in loop.worst),
            loop.broken,
            loop.failures,
            float(np.median(ms) / np.median(reference.ms[10:])),
        )


def compare(name: str, scenario: str, ticks: int, peers: list[str], jit: bool = False) -> list[Row]:
    """All solvers in turns."""
    urdf, start = ARMS[name]
    arm = load(urdf, np.array(start), scenario)
    loops = {"ours": Loop(arm, ours(arm), scenario)}
    loops["ArmMpc"] = Loop(arm, controller(arm), scenario)
    loops |= {p: Loop(arm, peer(arm, p, jit), scenario) for p in peers}
    for begin in range(0, ticks, TURN):
        for loop in loops.values():
            for k in range(begin, min(begin + TURN, ticks)):
                loop.tick(k * PERIOD)
    return [Row.of(name, solver, loop, loops["ours"]) for solver, loop in loops.items()]


def verdicts(rows: list[Row]) -> dict[str, bool]:
    """What the figure and our violations say about the bars."""
    mine = [r for r in rows if r.solver in ("ours", "ArmMpc")]
    result = {"no limit broken, whatever was asked for": not any(r.broken for r in mine)}
    for r in rows:
        if r.scenario == "track" and r.solver in BARS:
            bar = BARS[r.solver]
            result[f"{r.arm}: {r.slower:.1f} times faster than {r.solver} (bar {bar:g})"] = (
                r.slower >= bar
            )
        elif r.scenario == "track" and r in mine:
            result[f"{r.arm}: {r.solver} {r.rms_mm:.2f} mm rms (bar {RMS_BAR})"] = (
                r.rms_mm <= RMS_BAR
            )
    return result


def main() -> int:
    """Print the table and the verdicts; with ``--json`` also write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=400)
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    parser.add_argument("--scenarios", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--jit", action="store_true", help="compile the peers' functions, too")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    rows: list[Row] = []
    print(
        f"{'arm':6} {'scenario':8} {'solver':20} {'rms':>8} {'last mm':>8} {'median':>8} {'p99':>7}"
        f" {'max ms':>7} {'q':>8} {'v':>8} {'a excess':>8} broken failed slower"
    )
    target = arguments.json.resolve() if arguments.json else None
    os.chdir(tempfile.mkdtemp())  # CasADi compiles in the working directory
    for name in arguments.arms:
        if not ARMS[name][0].is_file():
            print(f"{name}: not installed (extra `robots`)")
            continue
        for scenario in arguments.scenarios:
            made = compare(name, scenario, arguments.ticks, list(PEERS), arguments.jit)
            for r in made:
                print(
                    f"{r.arm:6} {r.scenario:8} {r.solver:20} {r.rms_mm:8.2f} {r.last_mm:8.3f}"
                    f" {r.median_ms:8.3f} {r.p99_ms:7.3f} {r.max_ms:7.3f} {r.q_excess:8.1e}"
                    f" {r.v_excess:8.1e} {r.a_excess:8.1e} {r.broken:6} {r.failures:6}"
                    f" {r.slower:6.1f}",
                    flush=True,
                )
            rows += made
            if target:
                target.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    for bar, met in verdicts(rows).items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")
    return 0 if all(verdicts(rows).values()) else 1


if __name__ == "__main__":
    sys.exit(main())
