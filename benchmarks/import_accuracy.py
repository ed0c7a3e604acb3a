"""How often `demos add` understands columns: order, units, actions, grippers, rate.

Run ``OMP_NUM_THREADS=1 python benchmarks/import_accuracy.py [ROBOTS] [--set dev] [--count 400]``.
``ROBOTS`` is a folder with one robot a folder (``NAME/robot.urdf``); without it only the robots of
PyBullet's data are used, with demonstrations recorded in physics.

Motions are random and smooth (robots of a folder: the arm follows its command late; a closing
gripper is stopped by an object three times out of five), or recorded by the simulated operator.
They are written with their columns renamed, permuted, in other units, as changes or velocities,
with an inverted or rescaled gripper and at other rates, then read back and compared with what is
true. Robots and seeds for development and for the reported figures are kept apart.

A row of the table is one aspect of one variant. *Identified* means that the data leave one
possibility of those that the variants are made of: names or a tool pose for the order (or limits
that allow no other), limits or a tool pose for the unit, the URDF's own numbers or contact for
the gripper. *Silent* errors are wrong and not asked about.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import DatasetError, Demonstration, LeRobotWriter
from icl_vla_retrieval.columns import Recording, read_recording
from icl_vla_retrieval.columns.kinematics import Chain
from icl_vla_retrieval.formats import Given

Array = NDArray[np.float64]
ROBOTS = {
    "dev": (
        *("so101_new", "fr3", "wxai_follower", "vx300s", "ur10e_robotiq85", "xarm6_vacuum"),
        *("rby1a", "aloha_agilex"),  # two arms and more
    ),
    "held": ("piper", "xarm7_gripper", "gen3_2f85", "omx_f", "irb2400", "yumi"),
}
SIMULATED = {
    "dev": ("panda", "pick-place", range(5)),
    "held": ("z1", "pick-place", range(300, 305)),
}
FIRST_SEED = {"dev": 0, "held": 1_000_000}
ASPECTS = ("order", "unit", "action", "gripper", "rate")
UNITS = ("rad", "deg", "-100..100", "-1..1")
NAMES = ("own", "prefixed", "numbered", "none", "none", "spoken")
REFERENCES = ("absolute", "absolute", "delta", "steps", "velocity", "pose", "pose delta")
GRIPPERS = ("joint", "0..1", "1..0", "0..100", "100..0", "1..-1")
POSES = ("", "", "quat_xyzw", "quat_wxyz", "euler_xyz", "rotvec")


@dataclass(frozen=True)
class Episode:
    """What truly happened: measured and commanded, ``T`` frames."""

    q: Array  # (T, n)
    commands: Array  # (T, n)
    opening: Array  # (T,)
    closing: Array  # (T,) commanded opening


@dataclass(frozen=True)
class Truth:
    """Episodes of one robot."""

    robot: Embodiment
    model: RobotModel
    episodes: tuple[Episode, ...]
    rate: float
    contact: bool  # whether closing fingers are ever stopped by an object


@dataclass(frozen=True)
class Variant:
    """How they are written down."""

    names: str
    permuted: bool
    unit: str
    reference: str
    grip_state: str
    grip_action: str
    pose: str
    moved: bool  # the recorded pose is of another tool in another frame
    stamps: str
    file: str


def variant(rng: np.random.Generator) -> Variant:
    def pick(options: Sequence[Any]) -> Any:
        return options[int(rng.integers(len(options)))]

    return Variant(
        names=pick(NAMES),
        permuted=bool(rng.random() < 0.5),
        unit=pick(UNITS),
        reference=pick(REFERENCES),
        grip_state=pick(("joint", *GRIPPERS)),
        grip_action=pick(GRIPPERS),
        pose=pick(POSES),
        moved=bool(rng.random() < 0.5),
        stamps=pick(("s", "ms", "stated")),
        file=pick(("lerobot", "csv")),
    )


# motions


def random_truth(path: Path, seed: int, episodes: int = 6) -> Truth:
    """Smooth motions between random points within the limits."""
    rng = np.random.default_rng(seed)
    robot = embodiment_from_urdf(path, allow_missing_meshes=True)
    model = RobotModel(robot)
    rate = float(rng.choice([5, 10, 15, 20, 30, 50]))
    arm = [robot.joints.index(j) for a in robot.arms for j in a.joints]
    lower = np.clip(robot.array("lower"), -math.pi, math.pi)
    upper = np.clip(robot.array("upper"), -math.pi, math.pi)
    middle = np.clip(robot.neutral_q, lower, upper)
    reach = rng.uniform(0.25, 0.8)  # share of the range that this task needs
    contact = bool(robot.of_kind("gripper")) and rng.random() < 0.5
    out = []
    for _ in range(episodes):
        points = middle + reach * (rng.uniform(lower, upper, (5, len(middle))) - middle)
        points[0] = middle + 0.1 * (points[0] - middle)
        seconds = 1.5 + np.abs(np.diff(points[:, arm], axis=0)).max(axis=1)
        times = np.concatenate([[0], np.cumsum(seconds)])
        t = np.arange(0, times[-1], 1 / rate)
        i = np.clip(np.searchsorted(times, t, side="right") - 1, 0, 3)
        s = ((t - times[i]) / seconds[i])[:, None]
        blend = s**3 * (10 - 15 * s + 6 * s**2)
        commands = points[i] + blend * (points[i + 1] - points[i])
        q = late(commands, 0.12 * rate)
        closing = np.where((i == 1) | (i == 2), 0.0, 1.0)
        floor = rng.uniform(0.15, 0.6) if contact and rng.random() < 0.6 else 0.0
        opening = limited(np.maximum(closing, floor), 3.0 / rate)
        q, commands = fingers(robot, q, opening), fingers(robot, commands, closing)
        out.append(Episode(q, commands, opening, closing))
    return Truth(robot, model, tuple(out), rate, contact)


def late(x: Array, frames: float) -> Array:
    """First-order lag of ``frames``."""
    out, share = x.copy(), 1 / (1 + frames)
    for t in range(1, len(x)):
        out[t] = out[t - 1] + share * (x[t - 1] - out[t - 1])
    return out


def limited(x: Array, step: float) -> Array:
    out = x.copy()
    for t in range(1, len(x)):
        out[t] = out[t - 1] + np.clip(x[t - 1] - out[t - 1], -step, step)
    return out


def fingers(robot: Embodiment, q: Array, opening: Array) -> Array:
    q = q.copy()
    for group in robot.of_kind("gripper"):
        for joint, a, b in zip(group.joints, group.closed, group.open, strict=True):
            q[:, robot.joints.index(joint)] = a + opening * (b - a)
    return q


def simulated_truth(name: str, task: str, seeds: Sequence[int], home: Path) -> Truth:
    """Demonstrations of the simulated operator, recorded in physics."""
    from icl_vla.sim.recording import record_one
    from icl_vla_embodiments.store import EmbodimentStore

    robot = EmbodimentStore(home).get(name)
    model = RobotModel(robot)
    each: list[Demonstration] = [record_one(home, name, task, s) for s in seeds]
    arm = robot.arms[0].name
    episodes = []
    for d in each:
        q = d.q
        follow = np.concatenate([q[1:], q[-1:]])  # joint commands are not recorded
        episodes.append(Episode(q, follow, d.grippers[arm], d.gripper_commands[arm]))
    held = sum(float(((e.closing < 0.05) & (e.opening > 0.1)).sum() > 5) for e in episodes)
    return Truth(
        robot, model, tuple(episodes), 1 / float(np.median(np.diff(each[0].times))), held > 1
    )


# writing


def native(unit: str, x: Array, lower: float, upper: float) -> Array:
    """SI to a unit; a joint without limits turns by half a turn either way."""
    if unit == "rad":
        return x
    if unit == "deg":
        return np.degrees(x)
    ends = 100.0 if unit == "-100..100" else 1.0
    lower = lower if np.isfinite(lower) else -math.pi
    upper = upper if np.isfinite(upper) else math.pi
    return ends * (2 * (x - lower) / (upper - lower) - 1)


def grip_native(kind: str, opening: Array, closed: float, opened: float) -> Array:
    if kind == "joint":
        return closed + opening * (opened - closed)
    a, b = (float(v) for v in kind.split(".."))
    return a + opening * (b - a)


def rotation_native(kind: str, R: Array) -> Array:
    if kind == "quat_xyzw":
        return se3.quat_xyzw(R)
    if kind == "quat_wxyz":
        return np.roll(se3.quat_xyzw(R), 1, axis=-1)
    return se3.euler_xyz(R) if kind == "euler_xyz" else se3.log3(R)


@dataclass(frozen=True)
class Written:
    """Columns of one episode, and what is true of them."""

    columns: dict[str, Array]
    names: dict[str, list[str]]


def labels(v: Variant, robot: Embodiment, targets: Sequence[str]) -> list[str]:
    """Names of numbers; ``gripper:ARM`` is the gripper of an arm."""
    out = []
    for t in targets:
        side = f"{t.split(':')[1]}_" if t.startswith("gripper:") and len(robot.arms) > 1 else ""
        if t.startswith("gripper:"):
            word = f"{side}gripper"
        elif v.names == "numbered":
            arm = next(a for a in robot.arms if t in a.joints)
            word = (
                f"{arm.name}_joint_{arm.joints.index(t)}"
                if len(robot.arms) > 1
                else f"joint_{arm.joints.index(t)}"
            )
        else:
            word = t
        if v.names == "prefixed":
            word = f"main_{word}.pos"
        if v.names == "spoken":
            word = word.upper().replace("_", " ")
        out.append(word)
    return out


def written(v: Variant, truth: Truth, e: Episode, rng: np.random.Generator) -> Written:
    robot, rate = truth.robot, truth.rate
    joints = [j for a in robot.arms for j in a.joints]
    grips = [g for g in robot.of_kind("gripper") if g.effector]
    targets = [*joints, *(f"gripper:{g.effector}" for g in grips)]
    if v.permuted:
        targets = [targets[i] for i in rng.permutation(len(targets))]
    at = {j: robot.joints.index(j) for j in joints}
    lower, upper = robot.array("lower"), robot.array("upper")
    ends = {
        g.effector: next((a, b) for a, b in zip(g.closed, g.open, strict=True) if a != b)
        for g in grips
    }

    def vector(q: Array, opening: Array, grip: str, change: str = "") -> Array:
        out = []
        for t in targets:
            if t.startswith("gripper:"):
                out.append(grip_native(grip, opening, *ends[t.split(":")[1]]))
                continue
            k = at[t]
            own = native(v.unit, q[:, k], lower[k], upper[k])
            if change == "delta":
                own = own - native(v.unit, e.q[:, k], lower[k], upper[k])
            elif change == "steps":
                own = np.diff(own, prepend=native(v.unit, e.q[:1, k], lower[k], upper[k]))
            elif change == "velocity":
                own = np.diff(own, append=own[-1:]) * rate
            out.append(own)
        return np.column_stack(out)

    columns = {"observation.state": vector(e.q, e.opening, v.grip_state)}
    named = v.names != "none"
    names = {"observation.state": labels(v, robot, targets) if named else []}
    arm = robot.arms[0].name
    chain, own = Chain(truth.model, arm), [at[j] for j in robot.arms[0].joints]
    rotation = v.pose or "rotvec"
    if v.reference in ("pose", "pose delta") and len(robot.arms) == 1:
        T = chain(e.commands[:, own])
        if v.moved and v.pose:
            T = elsewhere(T)
        if v.reference == "pose":
            a = np.concatenate([T[:, :3, 3], rotation_native(rotation, T[:, :3, :3])], axis=1)
        else:
            M = chain(e.q[:, own])
            M = elsewhere(M) if v.moved and v.pose else M
            turn = T[:, :3, :3] @ M[:, :3, :3].swapaxes(-1, -2)
            a = np.concatenate([T[:, :3, 3] - M[:, :3, 3], se3.log3(turn)], axis=1)
        for g in grips:
            a = np.column_stack([a, grip_native(v.grip_action, e.closing, *ends[g.effector])])
        columns["action"], names["action"] = a, []
    else:
        change = v.reference if v.reference in ("delta", "steps", "velocity") else ""
        columns["action"] = vector(e.commands, e.closing, v.grip_action, change)
        names["action"] = list(names["observation.state"])
    if v.pose and len(robot.arms) == 1:
        T = chain(e.q[:, own])
        if v.moved:
            T = elsewhere(T)
        p = np.concatenate([T[:, :3, 3], rotation_native(v.pose, T[:, :3, :3])], axis=1)
        columns["observation.ee_pose"], names["observation.ee_pose"] = p, []
    return Written(columns, names)


def elsewhere(T: Array) -> Array:
    """Poses of another tool in another frame."""
    X = se3.pose(se3.exp3([0.1, -0.2, 0.9]), [0.4, -0.3, 0.8])
    return np.asarray(X @ T @ se3.pose(se3.exp3([0.3, 0.2, -0.7]), [0.02, 0.0, 0.11]))


def write(v: Variant, truth: Truth, folder: Path, seed: int) -> None:
    """All episodes as files, float32 as recorders do."""
    each = [written(v, truth, e, np.random.default_rng(seed)) for e in truth.episodes]
    first = each[0]
    if v.file == "lerobot" or v.stamps == "stated":
        features = {}
        for c, x in first.columns.items():
            n = x.shape[1]
            features[c] = {"dtype": "float32", "shape": [n], "names": first.names[c] or None}
        writer = LeRobotWriter.create(folder, robot_type="r", fps=truth.rate, features=features)
        for w in each:
            writer.append({c: x.astype(np.float32) for c, x in w.columns.items()}, {}, "move")
        return
    scale = 1000.0 if v.stamps == "ms" else 1.0
    for i, w in enumerate(each):
        head, data = ["timestamp"], [np.arange(len(truth.episodes[i].q)) / truth.rate * scale]
        for c, x in w.columns.items():
            own = w.names[c] or [str(k) for k in range(x.shape[1])]
            head += [f"{c.replace('.', '_')}.{n}" for n in own]
            data += list(x.astype(np.float32).T)
        with (folder / f"episode_{i}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(head)
            table.writerows(np.column_stack(data).tolist())


# judging


def identified(v: Variant, truth: Truth) -> dict[str, bool]:
    """Which aspects the data leave one possibility for, by what is true of them."""
    robot = truth.robot
    single = len(robot.arms) == 1
    joints = [j for a in robot.arms for j in a.joints]
    grips = [g for g in robot.of_kind("gripper") if g.effector]
    has_pose = bool(v.pose) and single
    q = np.concatenate([e.q for e in truth.episodes])[:, [robot.joints.index(j) for j in joints]]
    lower = np.array([robot.limits[j].lower for j in joints])
    upper = np.array([robot.limits[j].upper for j in joints])
    x = np.column_stack([native(v.unit, q[:, k], lower[k], upper[k]) for k in range(len(joints))])

    def held(unit: str, column: int, joint: int) -> bool:
        y = back(unit, x[:, column], lower[joint], upper[joint])
        slack = 0.02 * (upper[joint] - lower[joint])
        return bool(((y >= lower[joint] - slack) & (y <= upper[joint] + slack)).mean() > 0.995)

    units = [u for u in UNITS if all(held(u, k, k) for k in range(len(joints)))]
    units = [
        u
        for u in units
        if max(float(np.ptp(back(u, x[:, k], lower[k], upper[k]))) for k in range(len(joints)))
        > 0.2
    ]
    unique = False
    if not grips and len(joints) <= 7:
        fits = [[held(v.unit, c, j) for j in range(len(joints))] for c in range(len(joints))]
        perms = itertools.permutations(range(len(joints)))
        unique = sum(all(fits[c][j] for c, j in enumerate(p)) for p in perms) == 1
    named = v.names != "none"
    literal = v.grip_state == "joint" or v.grip_action == "joint"
    return {
        "order": named or has_pose or unique,
        "unit": has_pose or units == [v.unit],
        "action": True,
        "gripper": not grips or literal or truth.contact,
        "rate": True,
    }


def back(unit: str, x: Array, lower: float, upper: float) -> Array:
    """Inverse of :func:`native`."""
    zero, one = (native(unit, np.array([v]), lower, upper)[0] for v in (0.0, 1.0))
    return (x - zero) / (one - zero)


FIELDS = {  # aspect -> fields of flags that ask about it
    "order": {"joints", "columns"},
    "unit": {"unit"},
    "action": {"actions", "pose", "action unit"},
    "gripper": {"gripper"},
    "rate": {"rate"},
}
FOLLOWS = {  # aspect -> aspects that it is wrong with
    "unit": {"order"},
    "action": {"order", "unit"},
    "gripper": {"order", "action"},
}


def judge(
    v: Variant, truth: Truth, folder: Path, seed: int
) -> dict[str, tuple[bool, bool, bool, str]]:
    """Aspect -> right, asked about, silently wrong, remark."""
    write(v, truth, folder, seed)
    try:
        recording = read_recording(folder, truth.robot, truth.model, Given())
    except DatasetError as error:
        return {a: (False, True, False, f"refused: {error.problem}") for a in ASPECTS}
    asked = {d.aspect for d in recording.match.flags}
    right, remark = compared(v, truth, recording)
    why = [d.question for d in recording.match.flags]
    own = {a: bool(asked & FIELDS[a]) for a in ASPECTS}
    silent = {
        a: not right[a] and not any(own[b] for b in {a, *FOLLOWS.get(a, ())}) for a in ASPECTS
    }
    return {a: (right[a], own[a], silent[a], f"{remark[a]} asked: {why}") for a in ASPECTS}


def compared(
    v: Variant, truth: Truth, recording: Recording
) -> tuple[dict[str, bool], dict[str, str]]:
    robot, model, m = truth.robot, truth.model, recording.match
    right, remark = {}, {a: "" for a in ASPECTS}
    demos = list(recording.demonstrations(model, Given()))
    place = [robot.joints.index(j) for a in robot.arms for j in a.joints]
    q = np.concatenate([d.q[:, place] for d in demos])
    true = np.concatenate([e.q[:, place] for e in truth.episodes])
    moves = true.std(axis=0) > 1e-4
    close = np.abs(q - true).max(axis=0) < 2e-3
    alike = [
        abs(np.corrcoef(q[:, k], true[:, k])[0, 1]) > 0.9999
        if moves[k] and q[:, k].std() > 0
        else close[k]
        for k in range(len(place))
    ]
    right["order"] = bool(np.all(alike))
    right["unit"] = bool(close.all()) or not right["order"]  # a wrong order is counted as such
    remark["unit"] = str([d.value for d in m.decisions if d.aspect == "unit"])
    remark["order"] = next((d.value for d in m.decisions if d.aspect == "joints"), "")
    grips = {g.effector for g in robot.of_kind("gripper")}
    errors = [0.0]
    for d, e in zip(demos, truth.episodes, strict=True):
        for arm in grips:
            for mine, theirs in ((d.grippers, e.opening), (d.gripper_commands, e.closing)):
                errors.append(np.abs(mine[arm] - theirs).max() if arm in mine else 1.0)
    right["gripper"] = max(errors) < 0.03
    remark["gripper"] = f"{max(errors):.2f} " + str(
        [(d.value, d.why[:30]) for d in m.decisions if d.aspect == "gripper"]
    )
    right["rate"] = abs(m.rate / truth.rate - 1) < 0.01
    remark["rate"] = f"{m.rate:g} for {truth.rate:g}"
    worst = 0.0
    for d, e in zip(demos, truth.episodes, strict=True):
        for arm, T in d.commands.items():
            joints = [robot.joints.index(j) for j in robot.group(arm).joints]
            wanted = Chain(model, arm)(e.commands[:, joints])
            if v.reference == "velocity":
                step = np.diff(e.commands, axis=0, append=e.commands[-1:])
                wanted = Chain(model, arm)((e.q + step)[:, joints])
            worst = max(worst, float(np.abs(T - wanted).max()))
        if not d.commands:
            worst = math.inf
    right["action"] = worst < 0.01
    remark["action"] = f"{worst:.3f} " + str(
        [(d.value, d.why[:60]) for d in m.decisions if d.aspect in ("actions", "pose")]
    )
    if not (right["order"] and close.all()):  # what follows from a wrong state is counted there
        right["action"] = right["action"] or True
    return right, remark


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("robots", type=Path, nargs="?")
    parser.add_argument("--set", choices=("dev", "held"), default="dev")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--first", type=int, help="first seed; one run a seed for held robots")
    parser.add_argument("--simulated", type=int, default=80, help="of these, recorded in physics")
    parser.add_argument("--show", default="", help="print silent errors of an aspect, or 'all'")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table: dict[str, Counter[str]] = defaultdict(Counter)
    first = FIRST_SEED[options.set] if options.first is None else options.first
    truths: list[Truth] = []
    with tempfile.TemporaryDirectory() as home:
        if options.simulated:
            name, task, seeds = SIMULATED[options.set]
            truths.append(simulated_truth(name, task, seeds, Path(home)))
    robots = (
        [options.robots / n / "robot.urdf" for n in ROBOTS[options.set]] if options.robots else []
    )
    lines = []
    for number in range(options.count):
        seed = first + number
        rng = np.random.default_rng(seed)
        if number < options.simulated or not robots:
            truth = truths[0]
        else:
            truth = random_truth(robots[number % len(robots)], seed)
        v = variant(rng)
        with tempfile.TemporaryDirectory() as folder:
            outcome = judge(v, truth, Path(folder), seed)
        known = identified(v, truth)
        for aspect, (right, asked, silent, remark) in outcome.items():
            t = table[aspect]
            t["all"] += 1
            t["silent"] += silent
            t["asked"] += asked
            if known[aspect]:
                t["identified"] += 1
                t["resolved"] += right and not asked
            show = options.show in ("all", aspect)
            if show and silent:
                print(f"SILENT {aspect} {truth.robot.name} seed {seed} {v}\n   {remark}")
            if options.show in ("asked", "asked" + aspect) and asked and known[aspect]:
                print(
                    f"ASKED {aspect} right={right} {truth.robot.name} seed {seed} {v}\n   {remark}"
                )
        lines.append(
            {
                "seed": seed,
                "robot": truth.robot.name,
                **vars(v),
                **{a: [bool(x) for x in (known[a], *outcome[a][:3])] for a in ASPECTS},
            }
        )
    print(
        f"{options.set}: {options.count} variants, {options.simulated if truths else 0} in physics"
    )
    print(
        f"{'aspect':10} {'all':>5} {'asked':>6} {'silent':>13} {'identified':>11} {'resolved':>15}"
    )
    for aspect in ASPECTS:
        t = table[aspect]
        print(
            f"{aspect:10} {t['all']:5} {t['asked']:6} {t['silent']:5} {t['silent'] / t['all']:7.1%}"
            f" {t['identified']:11} {t['resolved']:6}"
            f" {t['resolved'] / max(t['identified'], 1):8.1%}"
        )
    if options.json:
        options.json.write_text(json.dumps(lines))


if __name__ == "__main__":
    main()
