"""Does a bank of a thousand tasks find the right task and moment as often as a bank of one.

Synthetic tasks from recorded ones (recipe: ``benchmarks/episodes.py``), ten episodes each. Each
task's instruction is its family's sentence with words of its own for the two things and where they
stand, drawn without repetition. Probes are new episodes of the tasks, from demonstrations recorded
with other seeds, asked for in another wording of the sentence. What is counted: the instruction
chosen is the task's, the nearest key (k = 1) belongs to the task, and lies within 5% of the
moment's true phase. In the bank of one task, the same with its ten
episodes and its instruction alone.

    python benchmarks/many_tasks.py --home recorded [--tasks 1000] [--probes 200]
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / p) for p in (".", "embodiments", "retrieval", "wbc")]

from episodes import (  # noqa: E402
    DEVELOPMENT,
    HELD_OUT,
    TASKS,
    Recorded,
    aligned,
    many_episodes,
    recorded,
)

from icl_vla.perception.keys import MotionKeys  # noqa: E402
from icl_vla_retrieval import (  # noqa: E402
    EpisodeLabels,
    InstructionError,
    Retriever,
    TextEncoder,
    choose_instruction,
)

EPISODES = 10
COLOURS = [
    "red",
    "blue",
    "green",
    "yellow",
    "orange",
    "purple",
    "white",
    "black",
    "brown",
    "pink",
    "grey",
    "silver",
]
THINGS = [
    "cube",
    "block",
    "ball",
    "bottle",
    "spoon",
    "sponge",
    "brush",
    "marker",
    "battery",
    "candle",
    "key",
    "coin",
]
PLACES = [
    "bowl",
    "tray",
    "basket",
    "box",
    "plate",
    "drawer",
    "bucket",
    "pan",
    "crate",
    "shelf",
    "cup",
    "bag",
]
SENTENCES = {
    TASKS[0]: (
        "put the {} {} in the {} {}",
        ["place the {} {} into the {} {}", "the {} {} goes in the {} {}"],
    ),
    TASKS[1]: (
        "push the {} {} to the {} {}",
        ["slide the {} {} over to the {} {}", "shove the {} {} towards the {} {}"],
    ),
}
TOLERANCE = 0.05


def instructions(tasks: int) -> list[tuple[str, list[str]]]:
    """Each task's instruction and other wordings of it; no two tasks share words and order."""
    rng = np.random.default_rng(5)
    words = list(itertools.product(COLOURS, THINGS, COLOURS, PLACES))
    chosen = [words[i] for i in rng.permutation(len(words))[:tasks]]
    out = []
    for task, w in enumerate(chosen):
        said, others = SENTENCES[TASKS[task % len(TASKS)]]
        out.append((said.format(*w), [o.format(*w) for o in others]))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="where recordings are kept")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--probes", type=int, default=200, help="new episodes, one a task")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sets = {
        first: {t: recorded(args.home, t, range(first, first + 12)) for t in TASKS}
        for first in (DEVELOPMENT, HELD_OUT)
    }
    said = instructions(args.tasks)
    known = [text for text, _ in said]
    encoder = TextEncoder()
    started = time.perf_counter()
    vectors = dict(zip(known, encoder(known), strict=True))
    print(f"{args.tasks} instructions encoded in {time.perf_counter() - started:.1f} s")

    def embed(texts):
        return np.stack([vectors[t] if t in vectors else encoder([t])[0] for t in texts])

    maker = MotionKeys(sets[DEVELOPMENT][TASKS[0]][0].context.features.shape[1])
    bank, sources = fill(sets[DEVELOPMENT], args.tasks, said, maker)
    print(f"{len(bank):,} keys; {bank.kind}: {bank.reason}")

    counts = {"many": [], "one": []}
    chosen = np.random.default_rng(6).permutation(args.tasks)[: args.probes]
    probes = many_episodes(_contexts(sets[HELD_OUT]), args.tasks, 1, seed=2)
    times = []
    for task, family, episode, frames, source in probes:
        if task not in chosen:
            continue
        text, others = said[task]
        wording = others[task % len(others)]
        asked = next(r for r in sets[HELD_OUT][family] if r.context is source)
        keys = maker(episode.features, episode.tokens, episode.tcp, episode.opening)
        for size, candidates in (("many", known), ("one", [text])):
            try:
                meant = choose_instruction(wording, candidates, embed)
            except InstructionError:
                meant = None
            began = time.perf_counter()
            found = bank.select(instruction=meant if size == "many" else text)
            times.append(time.perf_counter() - began)
            for f, key in zip(frames[::4], keys[::4], strict=True):
                row = [meant == text]
                row += hit(bank.query(key, 1) if size == "many" else found.query(key, 1), task)
                row += [meant == text and right_moment(found.query(key, 1), sources, asked, f)]
                counts[size].append(row)
    report = {}
    print(f"{'bank of':10}{'instruction':>13}{'task by key':>13}{'task and moment':>17}")
    for size, n in (("many", args.tasks), ("one", 1)):
        shares = np.mean(counts[size], axis=0)
        report[size] = dict(
            zip(("instruction", "task by key", "task and moment"), shares, strict=True)
        )
        print(f"{n:<10}{shares[0]:13.1%}{shares[1]:13.1%}{shares[2]:17.1%}")
    print(f"select: {1e3 * np.median(times):.1f} ms; bar: within 3 points")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def _contexts(sets: dict[str, list[Recorded]]):
    return {task: [r.context for r in demos] for task, demos in sets.items()}


def fill(sets: dict[str, list[Recorded]], tasks: int, said, maker: MotionKeys):
    """The bank's retriever, and each episode's recorded source and source frames."""
    bank, sources = Retriever("benchmark"), []
    by_context = {id(r.context): r for demos in sets.values() for r in demos}
    made = many_episodes(_contexts(sets), tasks, EPISODES, seed=1)
    for number, (task, _, episode, frames, source) in enumerate(made):
        keys = maker(episode.features, episode.tokens, episode.tcp, episode.opening)
        bank.add(number, keys, labels=EpisodeLabels(instruction=said[task][0]))
        sources.append((by_context[id(source)], frames))
    bank.build()
    return bank, sources


def hit(neighbours, task: int) -> list[bool]:
    """Whether the nearest key is the task's: episodes are numbered task by task."""
    return [bool(neighbours) and neighbours[0].episode // EPISODES == task]


_truths: dict = {}


def right_moment(neighbours, sources, asked: Recorded, frame: float) -> bool:
    """Whether the nearest frame is the same moment, to 5%, by the operators' own stages."""
    if not neighbours:
        return False
    source, frames = sources[neighbours[0].episode]
    key = (id(asked), id(source))
    if key not in _truths:
        _truths[key] = aligned(asked, source)
    first, last = _truths[key]
    there = frames[neighbours[0].step]
    low, high = first[int(np.floor(frame))], last[int(np.ceil(frame))]
    off = max(0.0, low - there, there - high) / (len(source.context) - 1)
    return off <= TOLERANCE


if __name__ == "__main__":
    main()
