"""Does lint find faults of stated sizes, and is it quiet where there are none?

Faults of every kind are injected into demonstrations recorded in simulation, and into datasets
that LeRobot wrote. Thresholds were chosen on ``--sets development``; ``--sets held-out`` has other
seeds and other robots. A recorded demonstration is clean if the task's judge saw it succeed: a
robot that drops, misses or folds up shows what lint is there to find. Sets with fewer than
ten such in thirty seeds are left out.

    python benchmarks/lint_faults.py --home FOLDER [--sets held-out] [--injections 50]

``FOLDER`` keeps the recorded demonstrations; what is missing there is recorded first.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybullet_data
from faults import EPISODES, FAULTS, Set, rebuilt

from icl_vla.paths import bank_path
from icl_vla.sim.recording import record_demonstrations
from icl_vla_embodiments import Embodiment, SpaceState, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import CameraTrack, DemoBank, Demonstration, LeRobotReader
from icl_vla_retrieval.lint import KINDS, lint

SHARED = Path(os.environ.get("ICL_VLA_SHARED", Path(__file__).parents[2] / "shared"))
TASKS = ("pick-place", "push")
SETS = {  # robot -> first seed
    "development": {"panda": 0, "fr3": 100, "piper": 6000, "vx300s": 6000},
    "held-out": {
        "panda": 7000,
        "fr3": 7000,
        "piper": 7000,
        "wxai_follower": 7000,
        "xarm7_gripper": 7000,
    },
}
LEROBOT = {
    "development": ("v30_noimg", "v21_video", "v30_image", "v30_multichunk"),
    "held-out": ("v21_noimg", "v30_video"),
}
ATTEMPTS = 30  # seeds that a robot has to succeed in EPISODES


def recorded_sets(home: Path, robots: dict[str, int]) -> list[Set]:
    """Each robot's demonstrations of each task, with the commands as poses and as joints."""
    store = EmbodimentStore(home)
    sets = []
    for name, seed in robots.items():
        if not store.folder(name).exists():
            store.add(embodiment_from_urdf(urdf_of(name)).with_(name=name))
        robot = store.get(name)
        model = RobotModel(robot)
        poses, joints = [], []
        for task in TASKS:
            chosen = successes(home, name, task, seed)
            if len(chosen) < EPISODES:
                print(f"left out: {name} {task} succeeds in {len(chosen)} of {ATTEMPTS} seeds")
                continue
            poses.append(Set(f"{name} {task}", robot, model, chosen))
            demos = tuple(in_joints(d, robot, model) for d in chosen)
            joints.append(Set(f"{name} {task}, joint actions", robot, model, demos))
        for pair in (poses, joints):
            others = reversed(pair) if len(pair) == len(TASKS) else [None] * len(pair)
            sets += [replace(a, other=b) for a, b in zip(pair, others, strict=True)]
    return sets


def successes(home: Path, robot: str, task: str, first: int) -> tuple[Demonstration, ...]:
    """The first ``EPISODES`` successful ones of at most ``ATTEMPTS`` seeds."""
    chosen: list[Demonstration] = []
    for start in range(first, first + ATTEMPTS, EPISODES):
        seeds = range(start, start + EPISODES)
        done = record_demonstrations(home, robot, task, seeds)
        bank = DemoBank.open(bank_path(home, robot))
        chosen += [bank[d.episode] for d in done if d.success]
        if len(chosen) >= EPISODES:
            break
    return tuple(chosen[:EPISODES])


def urdf_of(name: str) -> Path:
    if name == "panda":
        return Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
    return SHARED / "robots" / name / "robot.urdf"


def in_joints(d: Demonstration, robot: Embodiment, model: RobotModel) -> Demonstration:
    """The same motion commanded in joint positions."""
    space = robot.action_space("joint_position")
    (arm,) = d.commands
    actions = []
    for t in range(len(d)):
        target = TaskTarget(
            poses={arm: d.commands[arm][t]}, grippers={arm: float(d.gripper_commands[arm][t])}
        )
        actions.append(space.encode([target], SpaceState(q=d.q[t]), model)[0])
    return rebuilt(replace(d, actions=np.stack(actions), action_space=space), model)


def lerobot_sets(names: Sequence[str]) -> list[Set]:
    """Datasets that LeRobot wrote, their numbers taken as radians of an arm that fits them."""
    if not (SHARED / "datasets" / "lerobot").is_dir():
        return []
    robot = embodiment_from_urdf(SHARED / "robots" / "so101_new" / "robot.urdf")
    model = RobotModel(robot)
    lower, upper = robot.array("lower"), robot.array("upper")
    centre, half = 0.5 * (lower + upper), 0.4 * (upper - lower)
    sets = []
    for name in names:
        reader = LeRobotReader(SHARED / "datasets" / "lerobot" / name)
        joints = [d.joint for d in robot.action_space("joint_position").dimensions if d.joint]
        base = robot.action_space("joint_position")
        dims = tuple(d for d in base.dimensions if d.joint)
        space = replace(base, dimensions=dims, rate=reader.fps)
        demos = []
        for episode in reader:
            q = centre + half * episode.state  # they are normalised to -1..1
            pick = [robot.joints.index(j) for j in joints]
            actions = (centre + half * episode.action)[:, pick]
            cameras = {
                key.rpartition(".")[2]: CameraTrack(frames)
                for key, frames in episode.frames.items()
            }
            demos.append(
                Demonstration.from_arrays(
                    q=q,
                    actions=actions,
                    action_space=space,
                    embodiment=robot.name,
                    instruction=episode.task,
                    cameras=cameras,
                    model=model,
                )
            )
        sets.append(Set(f"lerobot {name}", robot, model, tuple(demos), real=True))
    return sets


def recall_of(
    name: str, rng: np.random.Generator, sets: Sequence[Set], count: int, tell: bool
) -> list[bool]:
    """Whether lint found each of ``count`` injections of a fault."""
    kind, inject = FAULTS[name]
    found: list[bool] = []
    for _ in range(100 * count):
        if len(found) == count:
            break
        s = sets[int(rng.integers(len(sets)))]
        k = int(rng.integers(len(s.demos)))
        faulty = inject(rng, s, k)
        if faulty is None:
            continue
        findings = lint(faulty, s.robot, cameras=kind == "calibration")
        found.append(
            any(f.kind == kind and (kind != "outlier" or f.episode == k) for f in findings)
        )
        if tell and not found[-1]:
            print("  missed:", s.name, k, [(f.kind, f.value) for f in findings])
    return found


def false_alarms(sets: Sequence[Set]) -> Counter[str]:
    """Kind -> clean episodes in which lint finds it."""
    alarms: Counter[str] = Counter()
    for s in sets:
        findings = lint(s.demos, s.robot, cameras="joint" not in s.name)
        # these have three episodes
        findings = tuple(f for f in findings if not (s.real and f.kind == "too-few"))
        alarms.update(kind for kind, _ in {(f.kind, f.episode) for f in findings})
        for f in findings:
            print("  in a clean set:", s.name, f.kind, f.place, f.value)
    return alarms


def main() -> None:
    """Record what is missing, inject, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True, help="folder for recordings")
    parser.add_argument("--sets", choices=list(SETS), default="held-out")
    parser.add_argument("--injections", type=int, default=50, help="of each fault")
    parser.add_argument("--only", default="", help="faults whose name holds this; tells misses")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sets = recorded_sets(options.home, SETS[options.sets]) + lerobot_sets(LEROBOT[options.sets])
    rng = np.random.default_rng(0 if options.sets == "development" else 1)
    episodes = sum(len(s.demos) for s in sets)
    print(f"{options.sets}: {len(sets)} sets, {episodes} clean demonstrations", flush=True)
    alarms = false_alarms(sets)
    print(f"{'false alarms':24}{'episodes':>10}{'share':>9}")
    for kind in KINDS:
        print(f"{kind:24}{alarms[kind]:>6}/{episodes:<3}{alarms[kind] / episodes:>8.1%}")
    print(f"{'fault':24}{'found':>10}{'recall':>9}")
    recall = {}
    for name in FAULTS:
        if options.only in name:
            found = recall_of(name, rng, sets, options.injections, bool(options.only))
            recall[name] = float(np.mean(found))
            print(f"{name:24}{sum(found):>6}/{len(found):<3}{recall[name]:>8.0%}", flush=True)
    if options.json:
        result = {"recall": recall, "alarms": dict(alarms), "episodes": episodes}
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
