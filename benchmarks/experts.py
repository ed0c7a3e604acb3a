"""Whether the judges are fair: how often experts succeed, and how often doing nothing does.

    python benchmarks/experts.py ROBOT [--family stack ...] [--tasks 4] [--scenes 5] [--sheet DIR]

``ROBOT`` is a known embodiment. Each task of a family is tried in new scenes. A family whose expert
fails more than one time in twenty, or that is won by doing nothing, must be mended before any
policy is measured on it. A family that asks for another body (two arms, a base on a floor) is told
and left out. ``--sheet`` draws the first and the last look of each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icl_vla.evaluation.film import Filmer, contact_sheet
from icl_vla.evaluation.methods import find_method
from icl_vla.evaluation.statistics import wilson
from icl_vla.processes import in_processes
from icl_vla.sim.families import FAMILIES
from icl_vla.sim.recording import open_bank
from icl_vla.sim.workcell import Workcell
from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import home
from icl_vla_embodiments.store import EmbodimentStore


def attempt(
    robot: str, family: str, task: int, scenes: Sequence[int], method: str, sheet: str | None
) -> list[dict[str, object]]:
    """One task in several scenes; or one row that says why the robot cannot be asked to."""
    try:
        cell = Workcell.build(EmbodimentStore(home()), robot, f"{family}:{task}")
        cell.reset(scenes[0])
    except ReportedError as error:
        return [{"family": family, "refused": error.problem}]
    assert cell.task is not None
    bank = open_bank(home(), cell.embodiment)
    rows: list[dict[str, object]] = []
    for scene in scenes:
        begin = time.process_time()
        first = cell.reset(scene)
        filmer = None
        if sheet is not None:
            filmer = Filmer(Path(sheet) / f"{family}-{task}-{scene}-{method}", film=False)
            filmer.begin(cell, first)
        outcome = find_method(method).run(cell, bank, cell.task.instruction, scene, None)
        success = cell.judge()
        if filmer is not None:
            filmer.finish(success)
        rows.append(
            {
                "family": family,
                "task": task,
                "scene": scene,
                "method": method,
                "success": success,
                "ended": outcome.reason,
                "seconds": round(outcome.seconds, 2),
                "cpu": round(time.process_time() - begin, 2),
                "instruction": cell.task.instruction,
            }
        )
    cell.driver.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot")
    parser.add_argument("--family", action="append", choices=list(FAMILIES))
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=5)
    parser.add_argument("--method", action="append")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    families = arguments.family or list(FAMILIES)
    tasks = range(arguments.first, arguments.first + arguments.tasks)
    jobs = [
        (
            arguments.robot,
            family,
            task,
            list(range(1000 * task, 1000 * task + arguments.scenes)),
            method,
            None if arguments.sheet is None else str(arguments.sheet),
        )
        for family in families
        for task in tasks
        for method in arguments.method or ["expert", "nothing"]
    ]
    every = [row for rows in in_processes(attempt, jobs, arguments.workers) for row in rows]
    refused = {str(row["family"]): row["refused"] for row in every if "refused" in row}
    rows = [row for row in every if "refused" not in row]
    for family in families:
        if family in refused:
            print(f"{family:10} left out: {refused[family]}")
        if not any(row["family"] == family for row in rows):
            continue
        for method in dict.fromkeys(row["method"] for row in rows):
            cell = [r for r in rows if r["family"] == family and r["method"] == method]
            wins = sum(bool(r["success"]) for r in cell)
            low, high = wilson(wins, len(cell))
            cpu = np.mean([float(str(r["cpu"])) for r in cell])
            seconds = np.mean([float(str(r["seconds"])) for r in cell])
            print(
                f"{family:10} {method:8} {wins}/{len(cell)} [{low:.0%}, {high:.0%}]"
                f"  {seconds:.1f} s of the robot's time, {cpu:.1f} s of this machine's"
            )
        lost = [r for r in rows if r["family"] == family and r["method"] == "expert"]
        for row in lost:
            if not row["success"]:
                print(f"    lost: task {row['task']} scene {row['scene']}: {row['instruction']}")
        if arguments.sheet is not None:
            looks = [
                (
                    f"{r['task']}/{r['scene']} {str(r['instruction'])[:52]}",
                    bool(r["success"]),
                    arguments.sheet / f"{family}-{r['task']}-{r['scene']}-expert",
                )
                for r in lost
            ]
            contact_sheet(family, looks).save(arguments.sheet / f"{family}.png")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
