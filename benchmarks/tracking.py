"""How well things are followed while experts move them, against the simulator's truth.

Run ``OMP_NUM_THREADS=1 python benchmarks/tracking.py EMBODIMENT [--tasks 4] [--scenes 3]`` for a
robot that was added. Experts do tasks of the trained families; every 0.4 s there is a look. Told
is, by the shape of the things, how far they are thought to be from where they are (median, 90%,
98% [mm], and 90% when it is over) once they have been moved: by a memory that knows where the robot
is, by one that does not, and by the middles of what is seen of them at that moment. With
``--through`` a closed hand goes straight through two things and two others instead, whatever they
push in their turn.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from icl_vla.evaluation.workplace import at_task, table_task
from icl_vla.perception.memory import SceneMemory
from icl_vla.sim.families import TRAINED
from icl_vla.sim.workcell import Workcell
from icl_vla_embodiments import Observation, TaskTarget, se3
from icl_vla_embodiments.home import home
from icl_vla_embodiments.types import Array

FIRST_TASK, FIRST_SEED = 800_040, 650_000  # for development; an evaluation has others
PERIOD, EVERY, MOST = 0.1, 4, 300  # [s] of a target, targets from look to look, and in all
CLEAR = 0.03  # [m] from a thing within which its token is, at first
MOVED = 0.01  # [m]
LOOSE = ("box", "cylinder", "bar")  # shapes of what may be pushed about
STEP, REACH = 0.022, 0.78  # [m] of a hand in a period, and from the base that it gets
HEIGHTS = (0.2, 0.017, 0.017, 0.2)  # [m] before, at, past and above what it goes through

EYES = ("knowing the robot", "not knowing it", "as seen")


def looks(
    cell: Workcell, seed: int, through: bool
) -> Iterator[tuple[Observation, dict[str, Array]]]:
    """What is seen as a hand works, and where things truly are ``(4, 4)`` in the base frame."""
    assert cell.task is not None
    observation = cell.reset(seed)
    rng = np.random.default_rng(seed)
    operator = cell.task.expert(cell.workspace, rng)
    T_base_world, world = se3.inverse(cell.embodiment.mount.matrix), cell.driver.world

    def truth() -> dict[str, Array]:
        return {n: T_base_world @ world.pose(n) for n in world.bodies}

    ways = through_things(cell, truth(), observation, rng) if through else None
    for step in range(MOST):
        observation = cell.driver.observe(cameras=step % EVERY == 0)
        if step % EVERY == 0:
            yield observation, truth()
        target = operator.act(cell.driver, observation) if ways is None else next(ways, None)
        if target is None:
            return
        end = cell.driver.clock() + PERIOD
        while cell.driver.clock() < end - 1e-9:
            now = cell.driver.observe(cameras=False)
            cell.driver.command(cell.controller.track([target], now, times=[PERIOD]), 1 / 60)


def through_things(
    cell: Workcell, truth: dict[str, Array], observation: Observation, rng: np.random.Generator
) -> Iterator[TaskTarget]:
    """A closed hand that goes down before one thing and straight on past another, twice."""
    names = [o.name for o in cell.driver.world.scene.objects if o.shape in LOOSE]
    if len(names) < 2:
        return
    effector = cell.workspace.effector
    assert observation.q is not None
    place = cell.model.poses(observation.q)[effector][:3, 3]
    corners, R = [], cell.workspace.grasp
    for _ in range(2):
        a, b = (truth[n][:2, 3] for n in rng.choice(names, 2, replace=False))
        way = (b - a) / np.linalg.norm(b - a)
        begin, end = a - 0.09 * way, b + 0.03 * way
        if max(np.linalg.norm(begin), np.linalg.norm(end)) > REACH:
            end = a + 0.1 * way
        R = se3.yaw(np.arctan2(way[1], way[0]) + rng.choice([0, np.pi / 2])) @ cell.workspace.grasp
        corners += [np.append(p, z) for p, z in zip((begin, begin, end, end), HEIGHTS, strict=True)]
    for corner in corners:
        steps = max(int(np.linalg.norm(corner - place) / STEP), 1)
        for i in range(steps):
            at = place + (corner - place) * (i + 1) / steps
            yield TaskTarget(poses={effector: se3.pose(R, at)}, grippers={effector: 0.0})
        place = corner


def follow(
    cell: Workcell, seed: int, through: bool, spent: list[float]
) -> dict[str, list[list[float]]]:
    """Thing -> how far off it is thought to be, a row a look at which it has been moved."""
    memories = SceneMemory(), SceneMemory()
    mine: dict[str, int] = {}
    errors: dict[str, list[list[float]]] = defaultdict(list)
    begun: dict[str, Array] = {}
    for observation, truth in looks(cell, seed, through):
        tokens, body = cell.encoder.encode(observation), cell.encoder.body(observation)
        begin = time.thread_time()
        knowing = memories[0].update(tokens, body)
        spent.append(time.thread_time() - begin)
        tracked = knowing, memories[1].update(tokens)
        if not begun:
            begun = truth
            for name, T in truth.items():
                away = np.linalg.norm(tokens.positions[:, :2] - T[:2, 3], axis=1)
                if away.min(initial=np.inf) < CLEAR:
                    mine[name] = int(np.argmin(away))
        for name, i in mine.items():
            motion = truth[name] @ se3.inverse(begun[name])
            first = tracked[0].first.positions[i]
            there = se3.act(motion, first[None])[0]
            if np.linalg.norm((truth[name] - begun[name])[:3, 3]) < MOVED:
                continue
            off = [float(np.linalg.norm(t.now.positions[i] - there)) for t in tracked]
            seen = np.linalg.norm(tokens.positions - there, axis=1).min(initial=np.inf)
            errors[name].append([*off, float(seen)])
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embodiment")
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--rig", default="pair")
    parser.add_argument("--through", action="store_true")
    asked = parser.parse_args()
    every: dict[str, list[list[float]]] = defaultdict(list)
    ended: dict[str, list[list[float]]] = defaultdict(list)
    spent: list[float] = []
    for family in TRAINED:
        for number in range(FIRST_TASK, FIRST_TASK + asked.tasks):
            task = table_task(f"{family}:{number}")
            cell = at_task(home(), asked.embodiment, task, asked.rig, "learned")
            assert isinstance(cell, Workcell)
            for seed in range(FIRST_SEED, FIRST_SEED + asked.scenes):
                errors = follow(cell, seed, asked.through, spent)
                shapes = {o.name: o.shape for o in cell.driver.world.scene.objects}
                for name, some in errors.items():
                    every[shapes[name]] += some
                    ended[shapes[name]].append(some[-1])
    for shape in sorted(every):
        rows, last = 1e3 * np.array(every[shape]), 1e3 * np.array(ended[shape])
        print(f"{shape}: {len(rows)} looks at {len(last)} that moved")
        for k, eye in enumerate(EYES):
            middle, most, nearly = np.quantile(rows[:, k], [0.5, 0.9, 0.98])
            print(
                f"  {eye}: {middle:.1f}, {most:.1f}, {nearly:.1f}; "
                f"in the end {np.quantile(last[:, k], 0.9):.1f} mm"
            )
    took = 1e3 * np.quantile(spent, [0.5, 0.99])
    print(f"a look is taken in within {took[0]:.1f} ms (median; 99%: {took[1]:.1f})")


if __name__ == "__main__":
    main()
