"""Equal task weights beside those from the demonstrations: the same scenes, robot and policy.

    python benchmarks/weights.py --home DIR --seeds 1000 1059 --condition free slow narrow

``DIR`` is an ICL_VLA_HOME with demonstrations of the built-in tasks. Conditions make the robot
worse than the one that was demonstrated with, so that not every direction can be held:

    free     as it is
    slow     joint velocities and accelerations limited to a share of what they were
    narrow   the last joint of the arm turns only so far from its neutral position

Rows are kept in ``DIR/weights.jsonl``; a second call goes on where the first was stopped. Printed
are, over the episodes: successes with Wilson's interval, scenes that only one of both does and the
sign test's p over them, the robot's time, and the medians of the ratio, scene by scene, of the way
of the joints and of the integral of their squared accelerations; the share of ticks at which a
limit of a joint is active, and limits exceeded.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / p) for p in (".", "embodiments", "retrieval", "wbc")]

from icl_vla.evaluation.methods import find_method  # noqa: E402
from icl_vla.evaluation.statistics import wilson  # noqa: E402
from icl_vla.paths import bank_path  # noqa: E402
from icl_vla.runtime.loop import PERIOD  # noqa: E402
from icl_vla.runtime.weights import WEIGHTS  # noqa: E402
from icl_vla.sim.workcell import Workcell, find_task  # noqa: E402
from icl_vla_embodiments import Command, Embodiment  # noqa: E402
from icl_vla_embodiments.store import EmbodimentStore  # noqa: E402
from icl_vla_retrieval import DemoBank  # noqa: E402

SLOW = 0.25  # share of the limits
NARROW = 0.3  # [rad] either way


def worsened(robot: Embodiment, condition: str) -> Embodiment:
    """The robot under a condition."""
    arm = robot.arms[0].joints
    limits = dict(robot.limits)
    if condition == "slow":
        for joint in arm:
            own = limits[joint]
            limits[joint] = replace(
                own, velocity=SLOW * own.velocity, acceleration=SLOW * own.acceleration
            )
    elif condition == "narrow":
        last = arm[-1]
        middle = robot.neutral[last]
        limits[last] = replace(limits[last], lower=middle - NARROW, upper=middle + NARROW)
    return replace(robot, limits=limits)


class Log:
    """Stands before a driver and notes what is commanded."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.q: list[np.ndarray] = []
        self.v: list[np.ndarray] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def command(self, command: Command, duration: float) -> None:
        if command.q is not None and command.v is not None:
            self.q.append(command.q.copy())
            self.v.append(command.v.copy())
        self._driver.command(command, duration)


def episode(cell: Workcell, bank: DemoBank, method: str, seed: int, weights: Any) -> dict[str, Any]:
    """One attempt and how the joints moved in it."""
    assert cell.task is not None
    cell.reset(seed)
    plain, cell.driver = cell.driver, Log(cell.driver)  # type: ignore[assignment]
    try:
        outcome = find_method(method).run(cell, bank, cell.task.instruction, seed, None, weights)
        log = cell.driver
    finally:
        cell.driver = plain
    arm = [cell.embodiment.joints.index(j) for j in cell.embodiment.arms[0].joints]
    q, v = np.array(log.q)[:, arm], np.array(log.v)[:, arm]
    a = np.diff(v, axis=0) / PERIOD
    lower, upper, fast, sudden = (
        cell.embodiment.array(x)[arm] for x in ("lower", "upper", "velocity", "acceleration")
    )
    near = 0.01 * (upper - lower)
    active = (q[1:] < lower + near) | (q[1:] > upper - near)
    active |= (np.abs(v[1:]) > 0.99 * fast) | (np.abs(a) > 0.99 * sudden)
    return {
        "seed": seed,
        "weights": weights,
        "success": cell.judge(),
        "ended": outcome.reason,
        "seconds": outcome.seconds,
        "path": float(np.abs(np.diff(q, axis=0)).sum()),
        "effort": float((a**2).sum() * PERIOD),
        "active": float(active.any(axis=1).mean()),
        "violations": cell.audit.violations,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--robot", default="panda")
    parser.add_argument("--tasks", nargs="+", default=["push", "pick-place"])
    parser.add_argument("--conditions", nargs="+", default=["free", "slow", "narrow"])
    parser.add_argument("--seeds", nargs=2, type=int, default=(1000, 1039), help="first and last")
    parser.add_argument("--method", default="vote")
    parser.add_argument("--log", default="weights.jsonl")
    options = parser.parse_args()

    path = options.home / options.log
    rows = [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []
    done = {(r["task"], r["condition"], r["seed"], r["weights"]) for r in rows}
    seeds = range(options.seeds[0], options.seeds[1] + 1)
    bank = DemoBank.open(bank_path(options.home, options.robot))
    robot = EmbodimentStore(options.home).get(options.robot)
    for condition in options.conditions:
        store = EmbodimentStore(options.home / "worsened" / condition)
        store.add(worsened(robot, condition))
        for task in options.tasks:
            cell = Workcell.build(store, options.robot, find_task(task).name)
            for seed in seeds:
                for weights in WEIGHTS:
                    key = (task, condition, seed, weights)
                    if key not in done:
                        row = episode(cell, bank, options.method, seed, weights)
                        rows.append({"task": task, "condition": condition, **row})
                        with path.open("a") as file:
                            file.write(json.dumps(rows[-1]) + "\n")
            chosen = [r for r in rows if (r["task"], r["condition"]) == (task, condition)]
            show(task, condition, [r for r in chosen if r["seed"] in seeds])


def show(task: str, condition: str, rows: list[dict[str, Any]]) -> None:
    """Print one cell of the comparison."""
    by = {w: {r["seed"]: r for r in rows if r["weights"] == w} for w in WEIGHTS}
    seeds = sorted(set(by["equal"]) & set(by["demonstrations"]))
    print(f"{task}, {condition}, {len(seeds)} scenes")
    for weights in WEIGHTS:
        cells = [by[weights][s] for s in seeds]
        wins = sum(r["success"] for r in cells)
        low, high = wilson(wins, len(cells))
        means = {k: np.mean([r[k] for r in cells]) for k in ("seconds", "path", "effort", "active")}
        print(
            f"  {weights:15} {wins}/{len(cells)} [{low:.2f}, {high:.2f}]  {means['seconds']:.2f} s"
            f"  way {means['path']:.2f} rad  effort {means['effort']:.2f}"
            f"  limits active {means['active']:.1%}"
            f"  exceeded {sum(r['violations'] > 0 for r in cells)}"
        )
    wins = [[by[w][s]["success"] for s in seeds] for w in WEIGHTS]
    lost = sum(e and not d for e, d in zip(*wins, strict=True))
    gained = sum(d and not e for e, d in zip(*wins, strict=True))
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    ratios = [
        np.median([by["demonstrations"][s][k] / by["equal"][s][k] for s in seeds])
        for k in ("path", "effort")
    ]
    print(
        f"  only equal {lost}, only demonstrations {gained} (p {p:.2f});"
        f"  way x{ratios[0]:.3f}, effort x{ratios[1]:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
