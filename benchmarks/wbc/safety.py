"""Random runs among moving obstacles: does an arm touch them, or come nearer than its margin?

Run ``OMP_NUM_THREADS=1 python benchmarks/wbc/safety.py [--runs 1000] [--json PATH] [--faults]``;
ur5 needs the extra ``robots``.

What a run is: an arm of pybullet_data jumps between random poses, or follows a figure, for
``SECONDS``, while one to three obstacles (balls of 4 to 10 cm radius, boxes of 8 to 20 cm) cross
the space that it works in, on straight lines at up to 0.4 m/s through points of random postures of
the arm. The controller is told where they are and how fast they move, every tick. Every obstacle
counts that hits the arm, also if the arm stands still, is cornered or is caught between two.

A world is drawn again, before anything is controlled, only if
    - an obstacle starts nearer than ``START`` to the arm,
    - an obstacle's path leads nearer than ``CLEAR`` to a link that cannot get out of its way: one
      whose middle stays within ``STILL`` of one place in all postures (pedestal and shoulder), held
      in its bounding ball,
    - two obstacles pass through each other.

The judge shares nothing with the controller but the URDF: coal's distance of the convex hulls of
the full meshes, of every moving link to every obstacle and of every pair of links in
``Embodiment.collision_pairs``, after each tick. The arm integrates its commands exactly. Every
command must be finite and within the limits of position, velocity and acceleration.

With ``--faults``, one tick in ten goes wrong: the solver finds nothing, or returns NaN, the
measured joints are partly NaN, or the controller is not called for 100 ms while the arm holds its
last command and the obstacles move on.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import coal
import daqp
import numpy as np
import pybullet_data
from scipy.spatial import ConvexHull

from icl_vla_embodiments import Embodiment, Observation, TaskTarget, se3
from icl_vla_embodiments.geometry import LinkHulls, shape_points
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf.normalise import tree_of_text
from icl_vla_wbc import ArmMpc, Box, Sphere, qp
from icl_vla_wbc.obstacles import Obstacle, Obstacles
from icl_vla_wbc.solution import Level

PERIOD = 1 / 60  # [s]
SECONDS = 4.0
STALL = 6  # ticks: 100 ms
FASTEST = 0.4  # [m/s]
START, CLEAR, STILL = 0.1, 0.06, 0.1  # [m]
ARMS: dict[str, tuple[str | Path, tuple[float, ...]]] = {
    "panda": ("franka_panda/panda.urdf", (0.0, -0.4, 0.0, -2.0, 0.0, 1.7, 0.7)),
    "xarm6": ("xarm/xarm6_robot.urdf", (0.0, -0.6, -0.8, 0.0, 1.4, 0.0)),
    "ur5": (
        Path(sysconfig.get_path("purelib"))
        / "cmeel.prefix/share/example-robot-data/robots/ur_description/urdf/ur5_robot.urdf",
        (0.0, -1.2, 1.6, -0.4, 1.2, 0.0),
    ),
    "iiwa": ("kuka_iiwa/model.urdf", (0.0, 0.5, 0.0, -1.3, 0.0, 1.2, 0.0)),
}


class Judge:
    """Distances of the convex hulls of the meshes."""

    def __init__(self, embodiment: Embodiment) -> None:
        tree = tree_of_text(embodiment.urdf, embodiment.urdf_path)
        self._bodies: dict[str, list[object]] = {}
        self.points: dict[str, Array] = {}
        for link, shapes in tree.shapes.items():
            clouds = [shape_points(s) for s in shapes if s.role == "collision"]
            clouds = [cloud for cloud in clouds if len(cloud)]
            if clouds:
                self._bodies[link] = [_convex(cloud) for cloud in clouds]
                self.points[link] = np.concatenate(clouds)
        self._pairs = [
            (a, b) for a, b in embodiment.collision_pairs if a in self._bodies and b in self._bodies
        ]
        self._request, self._result = coal.DistanceRequest(), coal.DistanceResult()

    def to_obstacles(
        self, poses: dict[str, Array], obstacles: list[Obstacle], still: set[str]
    ) -> float:
        """Least distance of a link that is not in ``still`` to an obstacle [m]."""
        best = np.inf
        for obstacle in obstacles:
            shape, placement = _shape(obstacle)
            for link in self._bodies.keys() - still:
                best = min(best, self._least(link, poses[link], [shape], placement))
        return best

    def between_links(self, poses: dict[str, Array]) -> float:
        """Least distance of the pairs of links [m]."""
        return min(
            (
                self._least(a, poses[a], self._bodies[b], _placement(poses[b]))
                for a, b in self._pairs
            ),
            default=np.inf,
        )

    def _least(self, link: str, T: Array, others: list[object], placement: object) -> float:
        best, own = np.inf, _placement(T)
        for one in self._bodies[link]:
            for other in others:
                self._result.clear()
                d = coal.distance(one, own, other, placement, self._request, self._result)
                best = min(best, d)
        return best


def _placement(T: Array) -> object:
    return coal.Transform3s(T[:3, :3], T[:3, 3])


def _shape(obstacle: Obstacle) -> tuple[object, object]:
    if isinstance(obstacle, Sphere):
        return coal.Sphere(obstacle.radius), coal.Transform3s(np.eye(3), obstacle.center)
    return coal.Box(obstacle.size), coal.Transform3s(obstacle.rotation, obstacle.center)


def _convex(cloud: Array) -> object:
    hull = ConvexHull(cloud)
    points, faces = coal.StdVec_Vec3s(), coal.StdVec_Triangle()
    index = {int(v): k for k, v in enumerate(hull.vertices)}
    middle = cloud[hull.vertices].mean(axis=0)
    for v in hull.vertices:
        points.append(cloud[v])
    for i, j, k in hull.simplices:
        outward = np.cross(cloud[j] - cloud[i], cloud[k] - cloud[i]) @ (cloud[i] - middle) > 0
        corners = (i, j, k) if outward else (i, k, j)
        faces.append(coal.Triangle(*(index[int(c)] for c in corners)))
    return coal.Convex(points, faces)


@dataclass(frozen=True)
class Arm:
    """A robot, its judge and what cannot get out of an obstacle's way."""

    name: str
    model: RobotModel
    judge: Judge
    controller: ArmMpc
    start: Array
    still: dict[str, tuple[Array, float]]  # link -> its ball in the base frame

    @classmethod
    def load(cls, name: str) -> Arm:
        file, posture = ARMS[name]
        model = RobotModel.from_urdf(Path(pybullet_data.getDataPath()) / file)
        e = model.embodiment
        start = model.neutral.copy()
        start[[e.joints.index(j) for j in e.arms[0].joints]] = posture
        judge = Judge(e)
        rng = np.random.default_rng(0)
        low, high = np.maximum(model.lower, -np.pi), np.minimum(model.upper, np.pi)
        poses = [model.link_poses(rng.uniform(low, high)) for _ in range(300)]
        still = {}
        for link, points in judge.points.items():
            middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
            where = np.array([se3.act(T[link], middle[None])[0] for T in poses])
            if np.linalg.norm(where - where.mean(axis=0), axis=1).max() < STILL:
                radius = float(np.linalg.norm(points - middle, axis=1).max())
                still[link] = (where.mean(axis=0), radius)
        hulls = LinkHulls(e).hulls
        return cls(name, model, judge, ArmMpc(model, hulls=hulls, period=PERIOD), start, still)


@dataclass(frozen=True)
class Row:
    """One run; lengths in mm, times in ms."""

    arm: str
    seed: int
    obstacles: int
    obstacle_mm: float
    self_mm: float
    margin_mm: float
    median_ms: float
    p99_ms: float
    worst_level: str
    braking: int
    limit: float  # by how much a limit was exceeded, as a share of it
    faults: int


def moved(obstacle: Obstacle, t: float) -> Obstacle:
    """Where it is ``t`` seconds later."""
    return replace(obstacle, center=obstacle.center + t * obstacle.velocity)


def world(arm: Arm, rng: np.random.Generator) -> list[Obstacle]:
    """Obstacles of a run, drawn until they fit the rules above."""
    model = arm.model
    lower, upper = np.maximum(model.lower, -np.pi), np.minimum(model.upper, np.pi)
    here = model.link_poses(arm.start)
    times = np.arange(0, SECONDS, 0.05)
    obstacles: list[Obstacle] = []
    wanted = int(rng.integers(1, 4))
    while len(obstacles) < wanted:
        q = arm.start + rng.uniform(-0.6, 0.6, model.n)
        poses = model.link_poses(np.clip(q, lower, upper))
        link = str(rng.choice([k for k in arm.judge.points if k not in arm.still]))
        through = se3.act(poses[link], arm.judge.points[link].mean(axis=0)[None])[0]
        direction = rng.normal(size=3)
        direction[2] *= 0.5
        velocity = rng.uniform(0.05, FASTEST) * direction / np.linalg.norm(direction)
        center = through - velocity * rng.uniform(0.5, 0.9) * SECONDS
        drawn: Obstacle
        if rng.random() < 0.5:
            drawn = Sphere(center, rng.uniform(0.04, 0.1), velocity)
        else:
            R = se3.exp3(rng.normal(size=3))
            drawn = Box(center, rng.uniform(0.08, 0.2, 3), R, velocity)
        if arm.judge.to_obstacles(here, [drawn], set()) < START:
            continue
        path = center + times[:, None] * velocity
        one = Obstacles([drawn])
        first = np.zeros(1, dtype=np.intp)
        if any(
            (one.distance(first, (c - path)[None]) - r).min() < CLEAR for c, r in arm.still.values()
        ):
            continue
        if any(_meet(drawn, other, times) for other in obstacles):
            continue
        obstacles.append(drawn)
    return obstacles


def _meet(one: Obstacle, other: Obstacle, times: Array) -> bool:
    request, result = coal.DistanceRequest(), coal.DistanceResult()
    for t in times:
        result.clear()
        a, b = _shape(moved(one, t)), _shape(moved(other, t))
        if coal.distance(*a, *b, request, result) <= 0:
            return True
    return False


class Faults:
    """Things that go wrong, one at a time.

    Args:
        rng: Decides when and which.
        share: Of the ticks.
    """

    KINDS = ("no solution", "NaN solution", "NaN state", "stall")

    def __init__(self, rng: np.random.Generator, share: float) -> None:
        self._rng, self._share, self._solve = rng, share, daqp.solve
        self.now, self.count = "", 0

    def draw(self) -> str:
        """What goes wrong in this tick; empty for nothing."""
        self.now = str(self._rng.choice(self.KINDS)) if self._rng.random() < self._share else ""
        self.count += self.now != ""
        return self.now

    def solve(self, *arguments: object, **options: object) -> object:
        """DAQP, or what is left of it."""
        x, value, flag, info = self._solve(*arguments, **options)
        if self.now == "no solution":
            flag = -1
        if self.now == "NaN solution":
            x = np.full_like(x, np.nan)
        return x, value, flag, info

    def measured(self, q: Array) -> Array:
        """The joints as they are reported."""
        if self.now != "NaN state":
            return q
        return np.where(self._rng.random(len(q)) < 0.3, np.nan, q)


def excess(arm: Arm, q: Array, v: Array, before: Array) -> float:
    """By how much a command exceeds a limit, as a share of it; NaN where it is not finite."""
    e = arm.model.embodiment
    speed, acceleration = e.array("velocity"), e.array("acceleration")
    low, high = e.array("lower"), e.array("upper")
    shares = [np.abs(v) / speed - 1, np.abs(v - before) / (PERIOD * acceleration) - 1, low - q]
    return float(np.max([*shares, q - high]))


def run(arm: Arm, seed: int, share: float = 0.0) -> Row:
    """One run, with faults in a share of its ticks."""
    rng = np.random.default_rng([seed, *arm.name.encode()])
    faults = Faults(np.random.default_rng([seed, 1]), share)
    qp.daqp.solve = faults.solve
    try:
        return _run(arm, seed, rng, faults)
    finally:
        qp.daqp.solve = faults._solve


def _run(arm: Arm, seed: int, rng: np.random.Generator, faults: Faults) -> Row:
    obstacles = world(arm, rng)
    model, controller = arm.model, arm.controller
    effector = controller.effectors[0]
    q = arm.start.copy()
    T0 = model.poses(q)[effector]
    controller.reset(Observation(0.0, q=q))
    jumps = bool(rng.random() < 0.5)
    target, nearest, apart = T0, np.inf, np.inf
    seconds, levels = [], []
    v, limit, resume = np.zeros(model.n), -np.inf, 0
    for k in range(round(SECONDS / PERIOD)):
        t = k * PERIOD
        if jumps and k % 75 == 0:
            span = np.clip(arm.start + rng.uniform(-0.6, 0.6, model.n), model.lower, model.upper)
            target = model.poses(span)[effector]
        if not jumps:
            a = 2 * np.pi * 0.25 * t
            offset = np.array([0.05 * np.sin(2 * a), 0.15 * np.sin(a), 0.1 * (1 - np.cos(a))])
            target = se3.pose(T0[:3, :3], T0[:3, 3] + offset)
        now = [moved(obstacle, t) for obstacle in obstacles]
        if k >= resume and faults.draw() == "stall":
            resume = k + STALL
        if k >= resume:
            seen = Observation(t, q=faults.measured(q))
            begin = time.thread_time()
            command = controller.track([TaskTarget(poses={effector: target})], seen, obstacles=now)
            seconds.append(time.thread_time() - begin)
            assert command.q is not None and command.v is not None
            limit = float(np.maximum(limit, excess(arm, command.q, command.v, v)))  # keeps NaN
            q, v = command.q, command.v
            levels.append(command.level)
        poses = model.link_poses(q)
        then = [moved(obstacle, t + PERIOD) for obstacle in obstacles]
        nearest = min(nearest, arm.judge.to_obstacles(poses, then, set(arm.still)))
        apart = min(apart, arm.judge.between_links(poses))
    order = list(get_args(Level))
    ms = 1e3 * np.array(seconds)
    return Row(
        arm.name,
        seed,
        len(obstacles),
        1e3 * nearest,
        1e3 * apart,
        1e3 * controller.config.safety.margin,
        float(np.median(ms)),
        float(np.percentile(ms, 99)),
        max(levels, key=order.index),
        levels.count("braking"),
        limit,
        faults.count,
    )


def summary(name: str, rows: list[Row]) -> str:
    """A line about an arm's runs."""
    near = np.array([row.obstacle_mm for row in rows])
    margin = rows[0].margin_mm
    return (
        f"{name:6} {len(rows)} runs: {int((near <= 0).sum())} collisions with obstacles, "
        f"{sum(row.self_mm <= 0 for row in rows)} between links; margin of {margin:g} mm reached "
        f"in {int((near < margin + 1).sum())} runs, broken by 5 mm in "
        f"{int((near < margin - 5).sum())}, nearest {near.min():.1f} mm; links "
        f"{min(row.self_mm for row in rows):.1f} mm; tick "
        f"{np.median([row.median_ms for row in rows]):.2f} ms median, "
        f"{np.median([row.p99_ms for row in rows]):.2f} median p99; "
        f"{sum(row.braking > 0 for row in rows)} runs with braking; "
        f"{sum(not np.isfinite(row.limit) for row in rows)} with commands that are not finite, "
        f"{sum(row.limit > 1e-9 for row in rows)} with a limit broken; "
        f"{sum(row.faults for row in rows)} faults"
    )


def main() -> None:
    """Print the runs that broke the margin and a line for each arm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="over all arms")
    parser.add_argument("--faults", action="store_true", help="one tick in ten goes wrong")
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument(
        "--json", type=Path, help="write the rows to this file as they come; go on with what it has"
    )
    arguments = parser.parse_args()
    file = arguments.json
    rows: list[Row] = []
    if file is not None and file.is_file():
        rows = [Row(**row) for row in json.loads(file.read_text())]
    done = {(row.arm, row.seed) for row in rows}
    arms = {name: Arm.load(name) for name in ARMS}
    for k in range(arguments.runs):
        name, seed = list(ARMS)[k % len(ARMS)], arguments.first + k // len(ARMS)
        if (name, seed) in done:
            continue
        row = run(arms[name], seed, 0.1 if arguments.faults else 0.0)
        rows.append(row)
        if row.obstacle_mm < row.margin_mm - 5 or row.self_mm <= 0:
            print("  ", row, flush=True)
        if file is not None:
            write_atomically(file, json.dumps([asdict(row) for row in rows], indent=1).encode())
    for name in ARMS:
        own = [row for row in rows if row.arm == name]
        if own:
            print(summary(name, own))


if __name__ == "__main__":
    main()
