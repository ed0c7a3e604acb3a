"""What an episode of the benchmark costs: time and memory against cameras, resolution and episodes.

Each point is a process of its own, which acts with the vote on ten demonstrations of one training
task. Time is the processor's; other work that shares its caches makes it up to twice as long, so
the machine has to be idle.

    python benchmarks/costs.py --home HOME --body panda --out costs.json [--plot costs.png]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / p) for p in (".", "embodiments", "retrieval", "wbc")]

from icl_vla.evaluation.demonstrations import Shown, record_shown, shown_path  # noqa: E402
from icl_vla.evaluation.methods import find_method  # noqa: E402
from icl_vla.evaluation.rigs import RIGS  # noqa: E402
from icl_vla.evaluation.timings import Timings  # noqa: E402
from icl_vla.evaluation.workplace import at_task, table_task  # noqa: E402
from icl_vla.runtime.loop import run_episode  # noqa: E402
from icl_vla.sim.foreign import ForeignTask  # noqa: E402
from icl_vla.sim.scene import Scene  # noqa: E402
from icl_vla.sim.workcell import Workcell  # noqa: E402
from icl_vla_retrieval import DemoBank  # noqa: E402

TASK = "place_in:42"
CAMERAS = {1: "single", 2: "pair", 3: "three"}
PIXELS = (48, 96, 192)
EPISODES = 3
LONG = 40  # episodes of the process that is watched for growth
SECONDS = 30.0
BAR = 25.0  # episodes a minute on two cores


def memory() -> float:
    """Resident size now [MB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(home: Path, body: str, cameras: int, pixels: int, episodes: int) -> dict[str, Any]:
    """Mean costs of an episode in this process, and its memory after each."""
    shown = Shown(body, TASK, "straight", "pair", tuple(range(400, 410)))
    record_shown(home, shown)
    bank = DemoBank.open(shown_path(home, shown))
    task = table_task(TASK)
    cell = at_task(home, body, task, CAMERAS[cameras])
    assert isinstance(cell, Workcell) and not isinstance(task, ForeignTask)
    views = {
        n: replace(c, width=pixels, height=pixels) for n, c in RIGS[CAMERAS[cameras]](cell).items()
    }

    def scenes(seed: int) -> Scene:
        scene = task.sample(cell.workspace, np.random.default_rng(seed))
        return scene.with_(cameras=views)

    cell.lay_out(task, scenes)
    method, timings = find_method("vote"), Timings()
    grown, seconds, wins = [], [], 0
    for episode in range(-1, episodes):  # the first one loads what is loaded once
        timings = Timings() if episode == 0 else timings
        begin = time.process_time()
        with timings.of(cell):
            cell.reset(500 + episode)
            acting = timings.episode(method.start(cell, bank, task.instruction, 0))
            run_episode(cell.driver, cell.controller, acting, seconds=SECONDS)
            wins += cell.judge() and episode >= 0
        if episode >= 0:
            seconds.append(time.process_time() - begin)
            grown.append(round(memory(), 1))
    parts = {name: round(s / episodes, 3) for name, s in timings.seconds.items()}
    return {
        "cameras": cameras,
        "pixels": pixels,
        "episodes": episodes,
        "cpu_seconds": round(float(np.mean(seconds)), 3),
        "parts": parts,
        "memory": grown,
        "wins": int(wins),
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Three panels: time by cameras and resolution, its parts, memory over episodes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.3))
    short = [r for r in rows if r["episodes"] == EPISODES]
    colors = {1: "#9ab8d6", 2: "#3b6ea5", 3: "#16324f"}
    for cameras, color in colors.items():
        own = sorted((r for r in short if r["cameras"] == cameras), key=lambda r: r["pixels"])
        rates = [120 / r["cpu_seconds"] for r in own]
        left.plot([r["pixels"] for r in own], rates, "o-", color=color, label=f"{cameras}")
    left.axhline(BAR, color="#be3c32", lw=1, ls="--")
    left.text(PIXELS[-1], BAR, "bar ", color="#be3c32", ha="right", va="bottom")
    left.set(xlabel="edge of a picture [px]", ylabel="episodes a minute, 2 cores", ylim=0)
    left.set_xticks(PIXELS)
    left.legend(title="cameras", frameon=False, loc="lower left", ncol=3)  # below the bar
    names = ("physics", "control", "drawing", "policy")
    shades = ("#c9c5bb", "#8a8f98", "#d9a441", "#3b6ea5")
    pair = sorted((r for r in short if r["cameras"] == 2), key=lambda r: r["pixels"])
    base = np.zeros(len(pair))
    for name, shade in zip(names, shades, strict=True):
        part = np.array([r["parts"].get(name, 0.0) for r in pair])
        middle.bar([str(r["pixels"]) for r in pair], part, bottom=base, color=shade, label=name)
        base = base + part
    rest = np.array([r["cpu_seconds"] for r in pair]) - base
    middle.bar([str(r["pixels"]) for r in pair], rest, bottom=base, color="#eceae4", label="other")
    middle.set(xlabel="edge of a picture [px], 2 cameras", ylabel="seconds of a core, an episode")
    middle.legend(frameon=False, fontsize=8)
    (long,) = [r for r in rows if r["episodes"] == LONG]
    right.plot(np.arange(1, LONG + 1), long["memory"], color=colors[2])
    right.set(xlabel="episodes in one process", ylabel="memory [MB]", ylim=0)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure what is missing, one process a point, and plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--body", default="panda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", type=int, nargs=3, help="one point: cameras, pixels, episodes")
    args = parser.parse_args()
    if args.one:
        print("\n" + json.dumps(measure(args.home, args.body, *args.one)))
        return
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    known = {(r["cameras"], r["pixels"], r["episodes"]) for r in rows}
    points = [(c, p, EPISODES) for c in CAMERAS for p in PIXELS] + [(2, 96, LONG)]
    for point in points:
        if point in known:
            continue
        words = [sys.executable, __file__, "--home", str(args.home), "--body", args.body]
        words += ["--out", str(args.out), "--one", *map(str, point)]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        rows.append(json.loads(told.splitlines()[-1]))
        args.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(point, rows[-1]["cpu_seconds"], rows[-1]["memory"][-1], flush=True)
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
