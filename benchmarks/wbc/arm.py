"""An arm's MPC beside one-step inverse kinematics, in one process, on the same motions.

Run ``OMP_NUM_THREADS=1 python benchmarks/wbc/arm.py [--ticks 600] [--json PATH]``. It needs
the ``bench`` extra (pin-pink, qpsolvers).

Each arm integrates its commands exactly, so every error is the controller's. Times are CPU time of
the one thread (``time.thread_time``), which a busy machine disturbs less than the clock on the
wall. A violation is the largest excess of a command over the joint limits: positions [rad],
velocities [rad/s], and accelerations [rad/s^2] between consecutive commands.

Scenarios:
    track: a figure of 10 x 15 x 20 cm and 0.36 rad at 0.4 Hz. The MPC sees it sampled every 50 ms
        for the coming second; inverse kinematics gets the pose that is due after the tick.
    step: jumps of up to 40 cm and 1.2 rad, every 1.25 s.
    far: a target about a metre out of reach.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pink
import pinocchio as pin
import pybullet_data
from pink.limits import AccelerationLimit, ConfigurationLimit, VelocityLimit
from pink.tasks import FrameTask, PostureTask

from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import ArmMpc, GovernorConfig, MpcConfig

PERIOD = 0.01  # [s]
ACCELERATION = 15.0  # [rad/s^2]; URDFs have no such limit
AHEAD = 0.05 * np.arange(21)  # [s]
ARMS = {
    "panda": ("franka_panda/panda.urdf", (0.0, -0.4, 0.0, -2.0, 0.0, 1.7, 0.7)),
    "xarm6": ("xarm/xarm6_robot.urdf", (0.0, -0.6, -0.8, 0.0, 1.4, 0.0)),
}
JUMPS = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((0.15, 0.35, -0.15), (0.8, 0.5, 0.0)),
    ((-0.1, -0.35, 0.2), (-0.9, 0.3, 0.5)),
    ((0.1, 0.0, 0.3), (0.0, 0.0, 1.2)),
)

# where the tool should be at a time, given its first pose
Scenario = Callable[[Array, float], Array]
# positions (n,) commanded for the end of the tick at a time, given those now
Policy = Callable[[Array, float], Array]


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


SCENARIOS: dict[str, Scenario] = {"track": track, "step": step, "far": far}


def mpc(model: RobotModel, start: Array, T0: Array, name: str) -> Policy:
    """The controller as shipped, but for a governor that lets the figure and the jumps through."""
    governor = GovernorConfig(2.0, 8.0, 50.0, 200.0, 0.5, 1.5)
    controller = ArmMpc(model, config=MpcConfig(governor=governor), period=PERIOD)
    controller.reset(Observation(0.0, q=start))
    scenario, effector = SCENARIOS[name], controller.effectors[0]

    def tick(q: Array, t: float) -> Array:
        times = AHEAD if name == "track" else None
        dues = t + AHEAD if name == "track" else [t]
        targets = [TaskTarget(poses={effector: scenario(T0, due)}) for due in dues]
        observation = Observation(t, q=q)
        begin = time.thread_time()
        command = controller.track(targets, observation, times=times)
        tick.seconds = time.thread_time() - begin  # type: ignore[attr-defined]
        assert command.q is not None
        return command.q

    return tick


def one_step(accelerations: bool) -> Callable[[RobotModel, Array, Array, str], Policy]:
    """Pink's differential inverse kinematics on DAQP, with its limits."""

    def make(model: RobotModel, start: Array, T0: Array, name: str) -> Policy:
        reduced, frame = arm_alone(model)
        arm = [model.embodiment.joints.index(j) for j in model.embodiment.arms[0].joints]
        configuration = pink.Configuration(reduced, reduced.createData(), start[arm])
        tool = FrameTask(frame, position_cost=30.0, orientation_cost=10.0)
        posture = PostureTask(cost=1e-2)
        posture.set_target(start[arm])
        limits = [ConfigurationLimit(reduced), VelocityLimit(reduced)]
        if accelerations:
            limit = AccelerationLimit(reduced, np.full(reduced.nv, ACCELERATION))
            limits.append(limit)
        scenario = SCENARIOS[name]

        def tick(q: Array, t: float) -> Array:
            target = pin.SE3(scenario(T0, t + PERIOD))
            begin = time.thread_time()
            tool.set_target(target)
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
                v = np.zeros(reduced.nv)
                tick.failures += 1  # type: ignore[attr-defined]
            configuration.integrate_inplace(v, PERIOD)
            if accelerations:
                limit.set_last_integration(v, PERIOD)
            tick.seconds = time.thread_time() - begin  # type: ignore[attr-defined]
            result = q.copy()
            result[arm] = configuration.q
            return result

        tick.failures = 0  # type: ignore[attr-defined]
        return tick

    return make


def arm_alone(model: RobotModel) -> tuple[pin.Model, str]:
    """Pinocchio model with every joint locked but the arm's, and the name of its tool frame."""
    full, arm = model.model, set(model.embodiment.arms[0].joints)
    locked = [i for i in range(1, full.njoints) if full.names[i] not in arm]
    reduced = pin.buildReducedModel(full, locked, model.full(model.neutral))
    return reduced, full.frames[model.tcp_id(model.embodiment.arms[0].name)].name


CONTROLLERS = {
    "ArmMpc": mpc,
    "pink (q, v)": one_step(accelerations=False),
    "pink (q, v, a)": one_step(accelerations=True),
}


@dataclass(frozen=True)
class Row:
    """One run; lengths in mm, times in ms."""

    arm: str
    scenario: str
    controller: str
    rms_mm: float
    max_mm: float
    last_mm: float
    median_ms: float
    p99_ms: float
    max_ms: float
    q_violation: float
    v_violation: float
    a_violation: float
    failures: int


def run(arm: str, model: RobotModel, scenario: str, controller: str, ticks: int) -> Row:
    """Closed loop over ``ticks``; the first quarter is left out of the errors."""
    effector = model.embodiment.arms[0].name
    joints = [model.embodiment.joints.index(j) for j in model.embodiment.arms[0].joints]
    start = model.neutral.copy()
    start[joints] = ARMS[arm][1]
    T0 = model.poses(start)[effector]
    policy = CONTROLLERS[controller](model, start, T0, scenario)
    velocity = model.embodiment.array("velocity")[joints]
    lower, upper = model.lower[joints], model.upper[joints]
    q, v = start, np.zeros(len(joints))
    errors, seconds, worst = [], [], np.zeros(3)
    for k in range(ticks):
        following = policy(q, k * PERIOD)
        seconds.append(policy.seconds)  # type: ignore[attr-defined]
        # the mean velocity of the tick, whatever the controller says that it commands
        speed = (following - q)[joints] / PERIOD
        q = following
        worst = np.maximum(
            worst,
            [
                max((lower - q[joints]).max(), (q[joints] - upper).max()),
                (np.abs(speed) - velocity).max(),
                (np.abs(speed - v) / PERIOD - ACCELERATION).max(),
            ],
        )
        v = speed
        goal = SCENARIOS[scenario](T0, (k + (scenario == "track")) * PERIOD)
        errors.append(np.linalg.norm(model.poses(q)[effector][:3, 3] - goal[:3, 3]))
    error = 1e3 * np.array(errors)[ticks // 4 :]
    ms = 1e3 * np.array(seconds)[10:]  # the first ticks fill caches
    # below 1e-9 it is rounding
    worst = np.where(worst < 1e-9, 0.0, worst)
    return Row(
        arm,
        scenario,
        controller,
        float(np.sqrt(np.mean(error**2))),
        float(error.max()),
        float(error[-1]),
        float(np.median(ms)),
        float(np.percentile(ms, 99)),
        float(ms.max()),
        *(float(w) for w in worst),
        getattr(policy, "failures", 0),
    )


def load(arm: str) -> RobotModel:
    """The arm with :data:`ACCELERATION` as its acceleration limit."""
    embodiment = RobotModel.from_urdf(Path(pybullet_data.getDataPath()) / ARMS[arm][0]).embodiment
    limits = {j: replace(x, acceleration=ACCELERATION) for j, x in embodiment.limits.items()}
    return RobotModel(embodiment.with_(limits=limits))


def main() -> None:
    """Print the table; with ``--json`` also write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=600)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    rows = []
    head = f"{'arm':6} {'scenario':8} {'controller':15} {'rms':>8} {'max':>8} {'last mm':>8} "
    head += f"{'median':>7} {'p99':>6} {'max ms':>7} {'q':>8} {'v':>8} {'a viol.':>8} fails"
    print(head)
    for arm in ARMS:
        model = load(arm)
        for scenario in SCENARIOS:
            for controller in CONTROLLERS:
                r = run(arm, model, scenario, controller, arguments.ticks)
                rows.append(r)
                print(
                    f"{r.arm:6} {r.scenario:8} {r.controller:15} "
                    f"{r.rms_mm:8.2f} {r.max_mm:8.2f} {r.last_mm:8.3f} "
                    f"{r.median_ms:7.3f} {r.p99_ms:6.3f} {r.max_ms:7.3f} "
                    f"{r.q_violation:8.1e} {r.v_violation:8.1e} {r.a_violation:8.1e} {r.failures}",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
