"""The torque-level MPC of an arm beside crocoddyl and mim_solvers, on the same problem.

Run ``python benchmarks/wbc/torque.py --folder DIR [--ticks 300] [--json PATH]``. The peers need
another Pinocchio than ours, so the script makes a virtual environment in DIR (about 1 GB) and runs
itself there, one process for each peer. In such a process ours and the peer take turns, 30 ticks
each, so that both meet the same machine; times are the thread's CPU time.

The problem: the arms of arm.py, 20 steps of 50 ms, residuals of the tool's pose (30/m, 10/rad),
velocities (0.03), the distance to a posture (0.01) and either accelerations (0.003) or, for a peer
only, torques (0.01, its native regulariser), within position, velocity and effort limits. FDDP
knows no limits. One iteration a tick of 10 ms. The plant is exact: forward dynamics of the clipped
torque. Excess over a limit is that of the plant's positions and velocities, and of the torque that
a solver hands out; ours hands out the controller's, which is clipped. No governor stands in front
of ours, and its accelerations are free; its machine code is compiled before the start. A peer's
time includes handing it 21 references from Python.

``track`` is the figure of arm.py and gives the ratios; ``step`` are its jumps, where the
limits bind.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pinocchio as pin
from venvs import environment, variables

PINNED = ("pin==4.0.0", "crocoddyl==3.2.1", "mim-solvers==0.3.0")
BARS = {"CSQP": (5.5, 1.0), "FDDP": (1.6, 1.02)}  # how much faster, at which share of the error
STAGES, DT, PERIOD, KNOTS = 20, 0.05, 0.01, 6
TURN = 30  # ticks in a row
POSITION, ROTATION, VELOCITY, ACCELERATION, POSTURE, TORQUE = 30.0, 10.0, 0.03, 0.003, 0.01, 0.01
JUMPS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((0.15, 0.35, -0.15), (0.8, 0.5, 0.0)),
    ((-0.1, -0.35, 0.2), (-0.9, 0.3, 0.5)),
    ((0.1, 0.0, 0.3), (0.0, 0.0, 1.2)),
)


@dataclass(frozen=True)
class References:
    """Poses at the 20 stages, as each solver wants them: ``(20, 7)`` for ours."""

    SE3: list[pin.SE3]
    xyz_quat: np.ndarray


# torque (7,) for the state (q, v) and the references
Solver = Callable[[np.ndarray, np.ndarray, References], np.ndarray]


def target(scenario: str, T: pin.SE3, t: float) -> pin.SE3:
    """Where the tool should be, given its first pose."""
    a = 2 * np.pi * 0.4 * t
    offset = (0.05 * np.sin(2 * a), 0.15 * np.sin(a), 0.1 * (1 - np.cos(a)))
    turn = (0.3 * np.sin(a), 0.2 * np.sin(a), 0.0)
    if scenario == "step":
        offset, turn = JUMPS[int(t // 1.25) % len(JUMPS)]
    return pin.SE3(T.rotation @ pin.exp3(np.array(turn)), T.translation + np.array(offset))


@dataclass(frozen=True)
class Arm:
    """The arm alone, its fingers locked, and its limits."""

    model: pin.Model
    frame: int
    start: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray


def load(urdf: Path, start: list[float]) -> tuple[Any, Arm]:
    """The embodiment's model with accelerations free, and the same arm for a peer."""
    from icl_vla_embodiments.robot_model import RobotModel

    embodiment = RobotModel.from_urdf(urdf).embodiment
    limits = {name: replace(x, acceleration=1e4) for name, x in embodiment.limits.items()}
    model = RobotModel(embodiment.with_(limits=limits))
    group = embodiment.arms[0]
    full = model.model
    locked = [i for i in range(1, full.njoints) if full.names[i] not in group.joints]
    reduced = pin.buildReducedModel(full, locked, model.full(model.neutral))
    rows = [embodiment.joints.index(name) for name in group.joints]
    frame = reduced.getFrameId(full.frames[model.tcp_id(group.name)].name)
    arm = Arm(
        reduced,
        frame,
        np.array(start),
        model.lower[rows],
        model.upper[rows],
        embodiment.array("velocity")[rows],
        embodiment.array("effort")[rows],
    )
    return model, arm


def ours(model: Any, arm: Arm) -> Solver:
    """One real-time iteration of the torque-level program, as the controller makes it."""
    from iteration import Iteration

    from icl_vla_wbc import MpcConfig
    from icl_vla_wbc.dynamics import InPlace, inverse_dynamics

    group = model.embodiment.arms[0]
    joints = np.array([model.embodiment.joints.index(name) for name in group.joints])
    config = MpcConfig(
        stages=STAGES,
        dt=DT,
        knots=KNOTS,
        position_weight=POSITION,
        rotation_weight=ROTATION,
        velocity_weight=VELOCITY,
        acceleration_weight=ACCELERATION,
        preference_weight=POSTURE,
    )
    home = model.neutral.copy()
    home[joints] = arm.start
    effort = model.embodiment.array("effort")
    iteration = Iteration(model, joints, home, config, PERIOD, effort=effort)
    torque = InPlace(inverse_dynamics(model))

    def solve(q: np.ndarray, v: np.ndarray, references: References) -> np.ndarray:
        iteration.solve(q, v, references.xyz_quat)
        _, speed = iteration.limits.advance(q, v, v + PERIOD * iteration.U[0])
        for array, value in zip(torque.inputs, (q, v, (speed - v) / PERIOD), strict=True):
            array[0, joints] = value
        return np.clip(torque()[0][0, joints], -arm.effort, arm.effort)

    torque.inputs[0][:] = model.neutral
    return solve


def peer(name: str, regulariser: str, arm: Arm) -> Solver:
    """Crocoddyl's FDDP or mim_solvers' CSQP, one iteration from the last solution."""
    import crocoddyl  # type: ignore[import-not-found]
    import mim_solvers  # type: ignore[import-not-found]

    n, start = arm.model.nv, arm.start
    state = crocoddyl.StateMultibody(arm.model)
    actuation = crocoddyl.ActuationModelFull(state)
    hold = pin.computeGeneralizedGravity(arm.model, arm.model.createData(), start)
    weighted = crocoddyl.ActivationModelWeightedQuad
    tools = []

    def node(last: bool) -> Any:
        # crocoddyl multiplies a running node's cost by the step's length
        scale = 1.0 if last else 1 / DT
        costs = crocoddyl.CostModelSum(state)
        tool = crocoddyl.ResidualModelFramePlacement(state, arm.frame, pin.SE3.Identity())
        tools.append(tool)
        pose = weighted(np.repeat([POSITION**2, ROTATION**2], 3))
        costs.addCost("pose", crocoddyl.CostModelResidual(state, pose, tool), scale)
        rest = crocoddyl.ResidualModelState(state, np.concatenate([start, np.zeros(n)]))
        calm = weighted(np.repeat([POSTURE**2, VELOCITY**2], n))
        costs.addCost("state", crocoddyl.CostModelResidual(state, calm, rest), scale)
        constraints = crocoddyl.ConstraintModelManager(state, n)
        if not last:
            if regulariser == "torque":
                residual, weight = crocoddyl.ResidualModelControl(state, hold), TORQUE
            else:
                residual, weight = crocoddyl.ResidualModelJointAcceleration(state, n), ACCELERATION
            smooth = crocoddyl.CostModelResidual(state, residual)
            costs.addCost("smooth", smooth, weight**2 * scale)
            if name == "CSQP":
                control = crocoddyl.ResidualModelControl(state, np.zeros(n))
                position = crocoddyl.ResidualModelState(state, np.zeros(2 * n), n)
                low = np.concatenate([arm.lower, -arm.velocity])
                high = np.concatenate([arm.upper, arm.velocity])
                bound = crocoddyl.ConstraintModelResidual
                constraints.addConstraint("u", bound(state, control, -arm.effort, arm.effort))
                constraints.addConstraint("x", bound(state, position, low, high))
        model = crocoddyl.DifferentialActionModelFreeFwdDynamics
        if name == "CSQP" and not last:
            dynamics = model(state, actuation, costs, constraints)
        else:
            dynamics = model(state, actuation, costs)
        return crocoddyl.IntegratedActionModelEuler(dynamics, 0.0 if last else DT)

    running = [node(False) for _ in range(STAGES)]
    problem = crocoddyl.ShootingProblem(np.concatenate([start, np.zeros(n)]), running, node(True))
    problem.nthreads = 1
    if name == "FDDP":
        solver = crocoddyl.SolverFDDP(problem)
        solver.th_stop = 1e-4
    else:
        solver = mim_solvers.SolverCSQP(problem)
        solver.with_callbacks = False
        solver.use_filter_line_search = True
        solver.termination_tolerance = 1e-3
        solver.max_qp_iters, solver.eps_abs, solver.eps_rel = 50, 1e-3, 0.0
    xs, us = [problem.x0.copy() for _ in range(STAGES + 1)], [hold] * STAGES

    def solve(q: np.ndarray, v: np.ndarray, references: References) -> np.ndarray:
        nonlocal xs, us
        x = np.concatenate([q, v])
        problem.x0 = x
        for k, tool in enumerate(tools):
            tool.reference = references.SE3[max(k - 1, 0)]
        xs[0] = x
        solver.solve(xs, us, 1, False)
        xs, us = list(solver.xs), list(solver.us)
        return us[0]

    return solve


class Loop:
    """Closed loop of one solver: its plant, times and errors."""

    def __init__(self, arm: Arm, solver: Solver, scenario: str) -> None:
        self.arm, self.solver, self.scenario = arm, solver, scenario
        self.data = arm.model.createData()
        self.q, self.v = arm.start.copy(), np.zeros(arm.model.nv)
        self.T = self._tool()
        self.ms: list[float] = []
        self.mm: list[float] = []
        self.excess = {"q": 0.0, "v": 0.0, "tau": 0.0}

    def _tool(self) -> pin.SE3:
        pin.forwardKinematics(self.arm.model, self.data, self.q)
        return pin.updateFramePlacement(self.arm.model, self.data, self.arm.frame).copy()

    def tick(self, t: float) -> None:
        arm = self.arm
        poses = [target(self.scenario, self.T, t + DT * k) for k in range(1, STAGES + 1)]
        references = References(poses, np.array([pin.SE3ToXYZQUAT(T) for T in poses]))
        begin = time.thread_time()
        tau = self.solver(self.q, self.v, references)
        self.ms.append(1e3 * (time.thread_time() - begin))
        applied = np.clip(tau, -arm.effort, arm.effort)
        a = pin.aba(arm.model, self.data, self.q, self.v, applied)
        self.q = self.q + PERIOD * self.v + 0.5 * PERIOD**2 * a
        self.v = self.v + PERIOD * a
        worst = {
            "q": max((arm.lower - self.q).max(), (self.q - arm.upper).max()),
            "v": (np.abs(self.v) - arm.velocity).max(),
            "tau": (np.abs(tau) - arm.effort).max(),
        }
        self.excess = {k: max(x, float(worst[k])) for k, x in self.excess.items()}
        goal = target(self.scenario, self.T, t + PERIOD * (self.scenario == "track"))
        self.mm.append(1e3 * float(np.linalg.norm(self._tool().translation - goal.translation)))


@dataclass(frozen=True)
class Row:
    """One closed loop; ratios are the peer's over ours, None in our own rows."""

    arm: str
    scenario: str
    solver: str
    median_ms: float
    p99_ms: float
    rms_mm: float
    q_excess: float
    v_excess: float
    tau_excess: float
    faster: float | None = None
    error_share: float | None = None


def compare(
    robot: str, urdf: Path, start: list[float], name: str, regulariser: str, ticks: int
) -> list[Row]:
    """Ours and one peer in turns, in this process."""
    model, arm = load(urdf, start)
    rows = []
    for scenario in ("track", "step"):
        label = f"{name} ({regulariser})"
        loops = {
            "ours": Loop(arm, ours(model, arm), scenario),
            label: Loop(arm, peer(name, regulariser, arm), scenario),
        }
        for begin in range(0, ticks, TURN):
            for loop in loops.values():
                for k in range(begin, min(begin + TURN, ticks)):
                    loop.tick(k * PERIOD)
        made = []
        for solver, loop in loops.items():
            ms, mm = np.array(loop.ms)[10:], np.array(loop.mm)[ticks // 4 :]
            # below 1e-9 it is rounding
            excess = (0.0 if x < 1e-9 else x for x in loop.excess.values())
            rms = float(np.sqrt(np.mean(mm**2)))
            made.append(
                Row(
                    robot,
                    scenario,
                    solver,
                    float(np.median(ms)),
                    float(np.percentile(ms, 99)),
                    rms,
                    *excess,
                )
            )
        mine, theirs = made
        faster, share = theirs.median_ms / mine.median_ms, mine.rms_mm / theirs.rms_mm
        rows += [mine, replace(theirs, faster=faster, error_share=share)]
    return rows


def main() -> int:
    """Print the table and the verdicts; with ``--json`` also write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="the peers' environment")
    parser.add_argument("--ticks", type=int, default=300)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--peer", help=argparse.SUPPRESS)  # in the peers' environment
    arguments = parser.parse_args()
    if arguments.peer:
        robot, urdf, *rest = json.loads(arguments.peer)
        print(json.dumps([asdict(row) for row in compare(robot, Path(urdf), *rest)]))
        return 0

    from arm import ARMS  # not in the peers' environment, which has no PyBullet

    python = environment(arguments.folder, PINNED)
    everything, good = [], True
    print(
        f"{'arm':6} {'':6} {'':20} {'median':>7} {'p99 ms':>7} {'rms mm':>7} {'q':>8} {'v':>8}"
        f" {'tau':>8}"
    )
    for robot, (urdf, start) in ARMS.items():
        for name, regulariser in itertools.product(BARS, ("acceleration", "torque")):
            if not urdf.is_file():
                continue
            job = [robot, str(urdf), list(start), name, regulariser, arguments.ticks]
            command = [str(python), __file__, "--folder", str(arguments.folder)]
            done = subprocess.run(
                [*command, "--peer", json.dumps(job)],
                env=variables(),
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            rows = [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]
            everything += rows
            for r in rows:
                print(
                    f"{r.arm:6} {r.scenario:6} {r.solver:20} {r.median_ms:7.3f} {r.p99_ms:7.3f}"
                    f" {r.rms_mm:7.2f} {r.q_excess:8.1e} {r.v_excess:8.1e} {r.tau_excess:8.1e}",
                    flush=True,
                )
            theirs = rows[1]
            assert theirs.faster is not None and theirs.error_share is not None
            factor, share = BARS[name]
            within = all(
                not (r.q_excess or r.v_excess or r.tau_excess) for r in rows if r.solver == "ours"
            )
            met = theirs.faster >= factor and theirs.error_share <= share and within
            good &= met
            print(
                f"  {theirs.faster:.2f}x faster than {theirs.solver} (bar {factor}) at"
                f" {theirs.error_share:.3f}x its error (bar {share}),"
                f" {'no' if within else 'SOME'} violations: {'met' if met else 'MISSED'}",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(r) for r in everything], indent=2) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
