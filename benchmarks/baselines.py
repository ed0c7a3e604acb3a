"""Make what the learned baselines start from, on the training side of the splits.

    python benchmarks/baselines.py record ROBOT [--tasks 16] [--shown 5]
    python benchmarks/baselines.py base ROBOT [--steps 3000]
    python benchmarks/baselines.py ricl ROBOT
    python benchmarks/baselines.py instant ROBOT

Demonstrations of training families by training operators are recorded under ``ICL_VLA_HOME`` and
kept, so that a run which was interrupted goes on. ``base`` is the multi-task network that
fine-tuning starts from; ``ricl`` takes over its eyes and goes on from its weights. All of them are
trained on the same recordings with the same number of steps.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from icl_vla.evaluation.demonstrations import Shown, record_into
from icl_vla.evaluation.methods.learning.base import make_network, sentence, trained, weights_path
from icl_vla.evaluation.methods.learning.imitation import SEED, shown_moments
from icl_vla.evaluation.methods.learning.moments import Moments
from icl_vla.evaluation.splits import SHOWN_SCENES, TEST_NUMBERS
from icl_vla.evaluation.workplace import workcell
from icl_vla.sim.families import TRAINED
from icl_vla.sim.operators import TRAINED as OPERATORS
from icl_vla_embodiments.home import home
from icl_vla_retrieval import DemoBank

_PER_TASK = 20  # scenes of a task's own
_STRIDE = 2  # frames between two that are learned from


def training_sets(robot: str, tasks: int, shown: int) -> Iterator[Shown]:
    """Demonstrations to train on: every family's first task, then every one's second ..."""
    assert tasks < TEST_NUMBERS and tasks * _PER_TASK < SHOWN_SCENES and shown <= _PER_TASK
    for number in range(tasks):
        operator = list(OPERATORS)[number % len(OPERATORS)]
        seeds = tuple(range(_PER_TASK * number, _PER_TASK * number + shown))
        for family in TRAINED:
            yield Shown(robot, f"{family}:{number}", operator, "pair", seeds)


def banks_of(base: Path, robot: str) -> Path:
    """Where a robot's sets are kept."""
    return base / "baselines" / "banks" / robot


def record(base: Path, robot: str, tasks: int, shown: int) -> None:
    """Record what is missing."""
    for each in training_sets(robot, tasks, shown):
        begin = time.process_time()
        path = banks_of(base, robot) / each.task.replace(":", "-")
        made = record_into(path, base, each)
        print(json.dumps(made | {"cpu": round(time.process_time() - begin, 1)}), flush=True)


def recorded(base: Path, robot: str, looks: str) -> list[list[Moments]]:
    """Moments of every demonstration of every recorded task, with the words."""
    station = workcell(base, robot)
    tasks = []
    for path in sorted(banks_of(base, robot).iterdir()):
        bank = DemoBank.open(path)
        if not len(bank):
            continue
        (instruction,) = bank.instructions
        words = sentence(instruction)
        each = shown_moments(station, bank, instruction, looks, _STRIDE)
        tasks.append([m | {"words": words.expand(len(m["state"]), -1)} for m in each])
    return tasks


def train(base: Path, robot: str, name: str, steps: int) -> None:
    """Train one network and keep it."""
    from icl_vla.evaluation.methods.learning.fitting import Schedule, fit, save, seeded
    from icl_vla.evaluation.methods.learning.priming import drawing, flat

    begin = time.process_time()
    network = seeded(lambda: make_network(name), SEED)
    tasks = recorded(base, robot, network.design.sees)
    network.measure(flat(tasks))
    if name == "ricl":
        network.load_state_dict(trained("base").state_dict(), strict=False)
    schedule = Schedule(steps, 1e-3)
    draw = drawing(network, tasks, schedule.batch)
    read = time.process_time() - begin
    losses: list[float] = []

    def tell(step: int, loss: float) -> None:
        losses.append(loss)
        if step % 50 == 49:
            row = {"step": step + 1, "loss": round(sum(losses[-50:]) / 50, 4)}
            print(json.dumps(row | {"cpu": round(time.process_time() - begin, 1)}), flush=True)

    fit(network, network.loss, draw, schedule, SEED, tell)
    save(network, weights_path(name))
    row = {
        "name": name,
        "tasks": len(tasks),
        "demonstrations": sum(map(len, tasks)),
        "moments": len(flat(tasks)["state"]),
        "read": round(read, 1),
        "cpu": round(time.process_time() - begin, 1),
    }
    print(json.dumps(row), flush=True)


def main() -> None:
    """Command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["record", "base", "ricl", "instant"])
    parser.add_argument("robot")
    parser.add_argument("--tasks", type=int, default=16, help="of each family, to record")
    parser.add_argument("--shown", type=int, default=5, help="demonstrations of each task")
    parser.add_argument("--steps", type=int, default=3000, help="of training")
    args = parser.parse_args()
    if args.what == "record":
        record(home(), args.robot, args.tasks, args.shown)
    else:
        train(home(), args.robot, args.what, args.steps)


if __name__ == "__main__":
    main()
