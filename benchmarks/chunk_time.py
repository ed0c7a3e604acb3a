"""How long a policy takes to answer a look, and how much memory: perception, retrieval and model.

Against the number of demonstrations, of cameras and of things in sight, on a training task. Each
point is a process of its own; time is the processor's, so the machine has to be idle for it.

    python benchmarks/chunk_time.py --home HOME --body panda [--plot chunk_time.png] [--out x.json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / p) for p in (".", "embodiments", "retrieval", "wbc")]

from icl_vla.evaluation.demonstrations import Shown, record_shown, shown_path  # noqa: E402
from icl_vla.evaluation.methods import find_method  # noqa: E402
from icl_vla.evaluation.workplace import at_task, table_task  # noqa: E402
from icl_vla.runtime.loop import run_episode  # noqa: E402
from icl_vla_embodiments import ActionChunk, Observation  # noqa: E402
from icl_vla_retrieval import DemoBank  # noqa: E402

TASK = "place_in:42"
METHODS = ("vote", "learned")
DEMONSTRATIONS = (1, 2, 5, 10, 20)
CAMERAS = {1: "single", 2: "pair", 3: "three"}
USUAL = (10, 2)  # demonstrations and cameras
EPISODES = 6
SECONDS = 12.0
BAR, BAR_MEMORY = 60.0, 1.2  # [ms], [GB]


class Timed:
    """An episode whose answers are timed."""

    def __init__(self, inner: Any, rows: list[tuple[float, int]]) -> None:
        self.inner, self.rows = inner, rows

    def act(self, observation: Observation) -> ActionChunk:
        begin = time.process_time()
        chunk: ActionChunk = self.inner.act(observation)
        passed = 1000 * (time.process_time() - begin)
        self.rows.append((passed, len(chunk.trace["tokens"])))
        return chunk


def measure(home: Path, body: str, method: str, demonstrations: int, cameras: int) -> dict:
    """All looks of some episodes in this process: milliseconds, and things in sight."""
    shown = Shown(body, TASK, "straight", "pair", tuple(range(400, 400 + demonstrations)))
    record_shown(home, shown)
    bank = DemoBank.open(shown_path(home, shown))
    task = table_task(TASK)
    cell = at_task(home, body, task, CAMERAS[cameras])
    first: list[float] = []
    later: list[tuple[float, int]] = []
    for episode in range(-1, EPISODES):  # the first one loads what is loaded once
        cell.reset(500 + episode)
        rows: list[tuple[float, int]] = []
        acting = Timed(find_method(method).start(cell, bank, task.instruction, 0), rows)
        run_episode(cell.driver, cell.controller, acting, seconds=SECONDS)
        if episode >= 0:
            first.append(rows[0][0])
            later += rows[1:]
    spent = np.array([ms for ms, _ in later] + first)
    return {
        "method": method,
        "demonstrations": demonstrations,
        "cameras": cameras,
        "looks": len(spent),
        "median": round(float(np.median(spent)), 1),
        "p99": round(float(np.quantile(spent, 0.99)), 1),
        "first": round(float(np.median(first)), 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "things": [[tokens, round(ms, 1)] for ms, tokens in later],
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Three panels: by demonstrations, by cameras, by things in sight."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.3))
    colors = dict(zip(METHODS, ("#3b6ea5", "#d9a441"), strict=True))
    for method, color in colors.items():
        own = [r for r in rows if r["method"] == method]
        for axis, key, fixed in (
            (axes[0], "demonstrations", lambda r: r["cameras"] == USUAL[1]),
            (axes[1], "cameras", lambda r: r["demonstrations"] == USUAL[0]),
        ):
            chosen = sorted((r for r in own if fixed(r)), key=lambda r: r[key])
            x = [r[key] for r in chosen]
            axis.plot(x, [r["median"] for r in chosen], "o-", color=color, label=method)
            axis.plot(x, [r["p99"] for r in chosen], "o--", color=color, mfc="white")
            axis.set_xticks(x)
        (usual,) = (r for r in own if (r["demonstrations"], r["cameras"]) == USUAL)
        things = np.array(usual["things"])
        jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(things))
        axes[2].plot(things[:, 0] + jitter, things[:, 1], ".", color=color, alpha=0.5, ms=4)
    for axis, label in zip(axes, ("demonstrations", "cameras of 96 px", "things"), strict=True):
        axis.axhline(BAR, color="#be3c32", lw=1, ls="--")
        axis.set(xlabel=label, ylim=(0, None))
    counts = sorted({tokens for r in rows for tokens, _ in r["things"]})
    axes[2].set_xticks(counts)
    axes[0].set_ylabel("one look [ms of a core]")
    axes[0].plot([], [], "k-", label="median")
    axes[0].plot([], [], "k--", label="99th percentile")
    axes[0].legend(frameon=False, ncol=2)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="where the robot is")
    parser.add_argument("--body", default="panda")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        method, *numbers = args.point
        print(json.dumps(measure(args.home, args.body, method, *map(int, numbers))))
        return
    points = [(m, n, USUAL[1]) for m in METHODS for n in DEMONSTRATIONS]
    points += [(m, USUAL[0], c) for m in METHODS for c in CAMERAS if c != USUAL[1]]
    rows = []
    print(f"{'method':10}{'shown':>7}{'cameras':>9}{'median':>9}{'p99':>8}{'first':>8}{'GB':>7}")
    for point in points:
        command = [sys.executable, __file__, "--home", str(args.home), "--body", args.body]
        command += ["--point", *map(str, point)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        print(
            f"{row['method']:10}{row['demonstrations']:7}{row['cameras']:9}{row['median']:9.1f}"
            f"{row['p99']:8.1f}{row['first']:8.1f}{row['peak_gb']:7.2f}",
            flush=True,
        )
    print(f"bars: {BAR:.0f} ms (p99, ten demonstrations, two cameras), {BAR_MEMORY} GB")
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n")
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
