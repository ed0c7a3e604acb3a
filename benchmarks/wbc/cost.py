"""What a tick of the arm's MPC costs, against degrees of freedom and the horizon.

Run ``OMP_NUM_THREADS=1 python benchmarks/wbc/cost.py [--small] [--plot PNG] [--json PATH]``.

One real-time iteration is timed, in closed loop on an exact plant: making the program and solving
it; all joints are in the problem, one tool follows a figure of a twentieth of its reach at
0.4 Hz. Robots: chains of 6 to 40 revolute joints, 1.2 m and 20 kg, made here; and those installed
whose tool hangs on 6 or more joints. Kinematic level: limits of position, velocity and
acceleration. Torque level: effort limits, too. Times are the thread's CPU time, with machine code
where the compiler is done within ``--wait`` seconds; until then CasADi's virtual machine or, for
the torques, Pinocchio computes, which is what ``machine code: no`` means.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import sysconfig
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pinocchio as pin
from iteration import Iteration

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import MpcConfig

PERIOD = 0.01  # [s]
REACH, MASS = 1.2, 20.0  # [m], [kg] of a chain
SIZE = 0.05  # of the reach: the figure's radius
JOINTS = (6, 7, 9, 12, 16, 20, 25, 30, 40)
STAGES = (5, 10, 20, 30, 40, 50, 60)
KNOTS = (3, 4, 5, 6, 8, 10, 12)
HORIZON_JOINTS = 7  # of the chain whose horizon is varied
EXAMPLE = "cmeel.prefix/share/example-robot-data/robots"
ROBOTS = {
    "panda": "pybullet_data/franka_panda/panda.urdf",
    "ur5": f"{EXAMPLE}/ur_description/urdf/ur5_robot.urdf",
    "baxter": f"{EXAMPLE}/baxter_description/urdf/baxter.urdf",
    "talos": f"{EXAMPLE}/talos_data/robots/talos_reduced.urdf",
    "g1": f"{EXAMPLE}/g1_description/urdf/g1_29dof_rev_1_0.urdf",
    "icub": f"{EXAMPLE}/icub_description/robots/icub_reduced.urdf",
}


@dataclass(frozen=True)
class Row:
    """One setting; times in ms."""

    robot: str
    joints: int
    level: str
    stages: int
    knots: int
    median_ms: float
    p99_ms: float
    rms_mm: float
    machine_code: bool


def chain(joints: int) -> str:
    """URDF of an arm: links of equal length, axes in turn across, across the other way, along."""
    length, mass = REACH / joints, MASS / joints
    i = mass * (length**2 / 12 + 0.04**2 / 4)
    parts = ['<robot name="chain"><link name="base"/>']
    for k in range(joints):
        axis = ("0 1 0", "1 0 0", "0 0 1")[k % 3]
        parent = "base" if k == 0 else f"link_{k}"
        parts.append(
            f'<joint name="joint_{k + 1}" type="revolute"><parent link="{parent}"/>'
            f'<child link="link_{k + 1}"/><origin xyz="0 0 {length if k else 0.2}"/>'
            f'<axis xyz="{axis}"/><limit lower="-2.5" upper="2.5" velocity="2.5" effort="200"/>'
            f'</joint><link name="link_{k + 1}"><inertial><origin xyz="0 0 {length / 2}"/>'
            f'<mass value="{mass}"/><inertia ixx="{i}" iyy="{i}" izz="{i}" ixy="0" ixz="0"'
            ' iyz="0"/></inertial></link>'
        )
    return "".join([*parts, "</robot>"])


def make_chain(joints: int) -> RobotModel:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chain.urdf"
        file.write_text(chain(joints))
        embodiment = RobotModel.from_urdf(file).embodiment
    # an arc, so that the tool has room all around
    across = 2.4 / len(embodiment.joints[::3])
    bent = {name: 0.1 if k % 3 else across for k, name in enumerate(embodiment.joints)}
    return RobotModel(embodiment.with_(neutral=bent))


def figure(T: Array, radius: float, t: float) -> Array:
    a = 2 * np.pi * 0.4 * t
    return se3.pose(
        T[:3, :3], T[:3, 3] + radius * np.array([np.sin(a), 1 - np.cos(a), np.sin(2 * a)])
    )


def measure(
    name: str, model: RobotModel, level: str, config: MpcConfig, ticks: int, wait: float
) -> Row:
    """Closed loop of the program alone."""
    e, joints = model.embodiment, np.arange(model.n)
    effort = e.array("effort") if level == "torque" else None
    iteration = Iteration(model, joints, model.neutral, config, PERIOD, effort=effort, wait=wait)
    horizon, limits = iteration.horizon, iteration.limits
    q, v = model.neutral.copy(), np.zeros(model.n)
    T = model.poses(q)[e.arms[0].name]
    radius = SIZE * float(np.linalg.norm(T[:3, 3]))
    ms, mm = [], []
    for k in range(ticks):
        poses = [figure(T, radius, k * PERIOD + t) for t in horizon.times]
        references = np.array([pin.SE3ToXYZQUAT(pin.SE3(pose)) for pose in poses])
        begin = time.thread_time()
        solved = iteration.solve(q, v, references)
        ms.append(1e3 * (time.thread_time() - begin))
        if not solved:
            raise ReportedError("the solver found no plan", where=name)
        q, v = limits.advance(q, v, v + PERIOD * iteration.U[0])
        due = figure(T, radius, (k + 1) * PERIOD)
        mm.append(1e3 * np.linalg.norm((model.poses(q)[e.arms[0].name] - due)[:3, 3]))
    compiled = iteration.compiled
    late = np.array(ms)[ticks // 4 :]
    rms = float(np.sqrt(np.mean(np.square(mm[ticks // 4 :]))))
    times = float(np.median(late)), float(np.percentile(late, 99))
    return Row(name, model.n, level, config.stages, config.knots, *times, rms, compiled)


def free(model: RobotModel) -> RobotModel:
    """The same with accelerations that URDFs leave open, and its base held."""
    e = model.embodiment
    limits = {name: replace(x, acceleration=15.0) for name, x in e.limits.items()}
    return RobotModel(e.with_(limits=limits, base="fixed"))


def robots(small: bool) -> dict[str, RobotModel]:
    """Chains, then installed robots."""
    made = {f"chain {n}": make_chain(n) for n in (JOINTS[::3] if small else JOINTS)}
    site = Path(sysconfig.get_paths()["purelib"])
    for name, file in ROBOTS.items():
        if not small and (site / file).is_file():
            made[name] = RobotModel.from_urdf(site / file)
    return {name: free(model) for name, model in made.items()}


def plot(rows: list[Row], path: Path) -> None:
    """Three panels: degrees of freedom, stages, knots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    from icl_vla.tracking.plot import DUE, FAINT, INK, PAPER, REACHED

    colours = {"kinematic": DUE, "torque": REACHED}
    base = MpcConfig()
    sheet = Figure(figsize=(13, 4.6), dpi=110, facecolor=PAPER)
    axes = sheet.subplots(1, 3)
    sheet.subplots_adjust(left=0.055, right=0.985, top=0.79, bottom=0.08, wspace=0.22)
    sheet.text(0.055, 0.93, "Cost of a tick", fontsize=17, weight="bold", color=INK)
    about = (
        "CPU time of making and solving the program: median, and shaded up to the 99th percentile"
    )
    sheet.text(0.055, 0.875, about, fontsize=10.5, color=FAINT)
    panels = (
        ("joints", "degrees of freedom, all in the problem", lambda r: _usual(r, base)),
        ("stages", f"stages of the horizon ({HORIZON_JOINTS} joints, 6 knots)", _chained),
        ("knots", f"knots of the horizon ({HORIZON_JOINTS} joints, 20 stages)", _chained),
    )
    for ax, (field, label, chosen) in zip(axes, panels, strict=True):
        ax.set_facecolor(PAPER)
        for level, colour in colours.items():
            mine = [r for r in rows if r.level == level and chosen(r)]
            if field == "stages":
                mine = [r for r in mine if r.knots == min(base.knots, r.stages)]
            if field == "knots":
                mine = [r for r in mine if r.stages == base.stages]
            curve = sorted((r for r in mine if "chain" in r.robot), key=lambda r: getattr(r, field))
            x = [getattr(r, field) for r in curve]
            low, high = [r.median_ms for r in curve], [r.p99_ms for r in curve]
            ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
            ax.plot(x, low, "-", color=colour, lw=2, label=f"{level} level")
            for code in (True, False):
                points = [
                    (a, r.median_ms)
                    for a, r in zip(x, curve, strict=True)
                    if r.machine_code is code
                ]
                if points:
                    ax.plot(
                        *zip(*points, strict=True),
                        "o",
                        ms=5,
                        color=colour,
                        mfc=colour if code else PAPER,
                    )
            others = [r for r in mine if "chain" not in r.robot]
            for r in others:
                fill = colour if r.machine_code else PAPER
                ax.plot(r.joints, r.median_ms, "D", ms=5, color=colour, mfc=fill)
            for n in {r.joints for r in others} if level == "torque" else ():
                alike = [r for r in others if r.joints == n]
                place = n, max(r.median_ms for r in alike)
                ax.annotate(
                    ", ".join(r.robot for r in alike),
                    place,
                    (0, 8),
                    textcoords="offset points",
                    fontsize=8.5,
                    color=INK,
                    ha="center",
                )
        ax.set_title(label, fontsize=10.5, color=INK, loc="left")
        if field == "joints":
            ax.set(xscale="log", yscale="log")
            ax.xaxis.set_major_locator(FixedLocator([6, 10, 15, 20, 30, 40]))
            ax.yaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5]))
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter("{x:g}")
                axis.set_minor_locator(NullLocator())
        else:
            ax.set_ylim(bottom=0)
        ax.set_ylabel("ms", fontsize=10, color=INK)
        ax.grid(color=FAINT, alpha=0.2, lw=0.6)
        ax.tick_params(labelsize=9, colors=INK)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            ax.spines[side].set_color(FAINT)
    axes[0].plot([], [], "D", ms=5, color=FAINT, label="a robot")
    axes[0].plot([], [], "o", ms=5, color=FAINT, mfc=PAPER, label="no machine code yet")
    axes[0].legend(fontsize=9, frameon=False, loc="upper left", labelcolor=INK)
    FigureCanvasAgg(sheet).print_png(str(path))


def _usual(row: Row, base: MpcConfig) -> bool:
    return (row.stages, row.knots) == (base.stages, base.knots)


def _chained(row: Row) -> bool:
    return row.robot == f"chain {HORIZON_JOINTS}"


def main() -> int:
    """Print a line for each setting; write them and the plot where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few chains only")
    parser.add_argument("--ticks", type=int, default=200)
    parser.add_argument("--wait", type=float, default=20.0, help="for a compiler, each [s]")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from-json", type=Path, help="plot these rows, measure nothing")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    rows: list[Row] = []
    if arguments.from_json:
        rows = [Row(**row) for row in json.loads(arguments.from_json.read_text())]
    else:
        print(
            f"{'robot':10} joints {'level':10} stages knots {'median':>8} {'p99 ms':>8}"
            f" {'rms mm':>7} machine code"
        )
        base = MpcConfig()
        jobs = [(name, model, base) for name, model in robots(arguments.small).items()]
        model, name = free(make_chain(HORIZON_JOINTS)), f"chain {HORIZON_JOINTS}"
        lengths, counts = (STAGES, KNOTS) if not arguments.small else (STAGES[::3], KNOTS[::3])
        jobs += [
            (name, model, replace(base, stages=n, knots=min(base.knots, n)))
            for n in lengths
            if n != base.stages
        ]
        jobs += [(name, model, replace(base, knots=k)) for k in counts if k != base.knots]
        for name, model, config in jobs:
            for level in ("kinematic", "torque"):
                r = measure(name, model, level, config, arguments.ticks, arguments.wait)
                rows.append(r)
                print(
                    f"{r.robot:10} {r.joints:6} {r.level:10} {r.stages:6} {r.knots:5}"
                    f" {r.median_ms:8.3f} {r.p99_ms:8.3f} {r.rms_mm:7.2f}"
                    f" {'yes' if r.machine_code else 'no'}",
                    flush=True,
                )
                if arguments.json:
                    arguments.json.write_text(
                        json.dumps([asdict(x) for x in rows], indent=2) + "\n"
                    )
    if arguments.plot:
        plot(rows, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
