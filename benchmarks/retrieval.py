"""Finding the nearest keys: our indices against numpy, faiss flat and hnswlib, in one process.

Keys are those of :class:`MotionKeys` for synthetic episodes (recipe: ``benchmarks/episodes.py``);
queries come from episodes recorded with other seeds. One thread. Medians over queries asked one at
a time, in turns.

    python benchmarks/retrieval.py --sizes 1e3 1e4 1e5 1e6 --plot retrieval.png --json result.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / p) for p in (".", "embodiments", "retrieval", "wbc")]

K = 10
EPISODES = 10  # of each task
BARS = """bars: 20 demonstrations <= 0.3 ms; at 1e6 hnsw recall >= 0.95 at >= 50x numpy and
>= 0.9x hnswlib, memory <= 1.5x raw; ivfpq memory <= 0.2x at recall >= 0.8; opening <= 1 s"""
Search = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e3, 1e4, 1e5])
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--home", type=Path, help="where recorded demonstrations are kept")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = args.home or Path(scratch) / "home"
        sizes = [int(s) for s in args.sizes]
        keys, queries = make_keys(home, max(sizes), args.queries)
        report = {"demonstrations": one_bank(keys, queries), "sizes": []}
        for size in sizes:
            rows = measure(keys[:size], queries, Path(scratch))
            report["sizes"].append({"size": size, "rows": rows})
            show(size, rows)
    print(f"\n20 demonstrations: {report['demonstrations']:.3f} ms median, Retriever.query\n{BARS}")
    if args.plot:
        plot(report["sizes"], args.plot)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def make_keys(home: Path, count: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """``(count, 384)`` of synthetic tasks and ``(queries, 384)`` of unseen episodes of them."""
    from episodes import DEVELOPMENT, HELD_OUT, TASKS, many_episodes, recorded

    from icl_vla.perception.keys import MotionKeys

    sets = {
        first: {t: [r.context for r in recorded(home, t, range(first, first + 12))] for t in TASKS}
        for first in (DEVELOPMENT, HELD_OUT)
    }
    maker = MotionKeys(len(sets[DEVELOPMENT][TASKS[0]][0].features[0]))

    def episodes(first: int, tasks: int, each: int, seed: int):
        for _, _, episode, _, _ in many_episodes(sets[first], tasks, each, seed):
            yield maker(episode.features, episode.tokens, episode.tcp, episode.opening)

    keys = np.empty((count, maker.size), np.float32)
    filled = 0
    for block in episodes(DEVELOPMENT, count, EPISODES, seed=1):
        block = block[: count - filled]
        keys[filled : filled + len(block)] = block
        filled += len(block)
        if filled == count:
            break
    # the tasks of the smallest index are in all larger ones
    few = list(itertools.islice(episodes(HELD_OUT, 4, 20, seed=2), 80))
    asked = np.concatenate(few)
    return keys, asked[np.random.default_rng(3).permutation(len(asked))[:queries]]


def measure(keys: np.ndarray, queries: np.ndarray, scratch: Path) -> list[dict]:
    """One row for each method and effort."""
    import faiss

    from icl_vla_retrieval.index import KeyIndex

    faiss.omp_set_num_threads(1)
    truth = faiss.knn(queries, keys, K)[1]
    norms = (keys**2).sum(axis=1)

    def brute(q: np.ndarray) -> np.ndarray:
        squared = norms - 2 * (keys @ q)
        near = np.argpartition(squared, K)[:K]
        return near[np.argsort(squared[near])]

    rows = [timed("numpy", brute, queries[:60], truth, build=0.0, memory=1.0)]
    rows.append(
        timed("faiss flat", lambda q: faiss.knn(q[None], keys, K)[1][0], queries[:60], truth)
    )
    for kind, efforts in (("hnsw", (16, 32, 64, 128, 256, 512)), ("ivfpq", (64, 128, 256, 512))):
        if kind == "ivfpq" and len(keys) < 10_000:
            continue
        started = time.perf_counter()
        index = KeyIndex.build(keys, kind)
        build = time.perf_counter() - started
        folder = scratch / f"{kind}-{len(keys)}"
        folder.mkdir()
        index.save(folder)
        del index
        started = time.perf_counter()
        mapped = KeyIndex.open(folder, kind)
        mapped.nearest(queries[0], K)
        opening = time.perf_counter() - started
        # the graph re-ranks with the raw keys at hand; the codes leave them on disk
        own = (folder / "search.faiss").stat().st_size / keys.nbytes
        for effort in efforts:
            rows.append(
                timed(
                    f"{kind} {effort}",
                    lambda q, e=effort, i=mapped: i.nearest(q, K, effort=e)[1],
                    queries,
                    truth,
                    build=build,
                    memory=own + (kind == "hnsw"),
                    opening=opening,
                )
            )
        del mapped
        for file in folder.iterdir():
            file.unlink()
    rows += hnswlib_rows(keys, queries, truth)
    for row in rows:
        row["numpy / it"] = rows[0]["ms"] / row["ms"]
    return rows


def hnswlib_rows(keys: np.ndarray, queries: np.ndarray, truth: np.ndarray) -> list[dict]:
    try:
        import hnswlib
    except ImportError:
        print("hnswlib is missing: pip install 'icl-vla[bench-retrieval]'")
        return []
    peer = hnswlib.Index("l2", keys.shape[1])
    peer.init_index(len(keys), M=16, ef_construction=100)
    started = time.perf_counter()
    peer.add_items(keys, num_threads=1)
    build = time.perf_counter() - started
    memory = peer.index_file_size() / keys.nbytes
    rows = []
    for effort in (16, 32, 64, 128, 256, 512):
        peer.set_ef(effort)
        rows.append(
            timed(
                f"hnswlib {effort}",
                lambda q: peer.knn_query(q[None], K, num_threads=1)[0][0].astype(int),
                queries,
                truth,
                build=build,
                memory=memory,
            )
        )
    return rows


def timed(
    name: str, search: Search, queries: np.ndarray, truth: np.ndarray, **facts: float
) -> dict:
    """Median time of one query and recall of the true ``K`` nearest."""
    for q in queries[:5]:
        search(q)
    times, hits = [], []
    for q, true in zip(queries, truth, strict=False):
        started = time.perf_counter()
        found = search(q)
        times.append(time.perf_counter() - started)
        hits.append(len(np.intersect1d(found, true)) / K)
    return {
        "name": name,
        "ms": 1e3 * float(np.median(times)),
        "recall": float(np.mean(hits)),
        **facts,
    }


def one_bank(keys: np.ndarray, queries: np.ndarray, episodes: int = 20, frames: int = 70) -> float:
    """Median time [ms] of a whole ``Retriever.query`` with 20 demonstrations."""
    from icl_vla_retrieval import Retriever

    retriever = Retriever("benchmark")
    for e in range(min(episodes, len(keys) // frames)):
        retriever.add(e, keys[e * frames : (e + 1) * frames])
    times = []
    for q in queries:
        started = time.perf_counter()
        retriever.query(q, 8)
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times))


def show(size: int, rows: Sequence[dict]) -> None:
    print(f"\n{size:,} keys of 384 numbers; memory in raw keys")
    heads = (("ms", 9), ("recall@10", 11), ("numpy / it", 12), ("memory", 8), ("build s", 9))
    print(" " * 14 + "".join(f"{h:>{w}}" for h, w in (*heads, ("open s", 8))))
    for r in rows:
        print(
            f"{r['name']:14}{r['ms']:9.3f}{r['recall']:11.3f}{r['numpy / it']:12.1f}"
            + "".join(
                f"{r[f]:{w}}" if f in r else " " * int(w.split(".")[0])
                for f, w in (("memory", "8.2f"), ("build", "9.1f"), ("opening", "8.3f"))
            ),
            flush=True,
        )


def plot(sizes: Sequence[dict], path: Path) -> None:
    """Time of one query against the number of keys, each method at recall of at least 0.95."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, bar in (
        ("numpy", 0.95),
        ("faiss flat", 0.95),
        ("hnswlib", 0.95),
        ("hnsw", 0.95),
        ("ivfpq", 0.8),
    ):
        points = []
        for entry in sizes:
            good = [
                r["ms"]
                for r in entry["rows"]
                if (r["name"] == name or r["name"].split()[0] == name) and r["recall"] >= bar
            ]
            if good:
                points.append((entry["size"], min(good)))
        if points:
            axes.loglog(*zip(*points, strict=True), "o-", label=f"{name}, recall >= {bar}")
    axes.set(
        xlabel="keys", ylabel="one query [ms]", title="Finding the 10 nearest of N keys (d = 384)"
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
