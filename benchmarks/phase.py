"""Is the moment found: tracked phase against stateless search, and what distances tell.

Each recorded demonstration is replayed against the others, as the policy sees them: at 0.4x, 1x
and 2x its pace, and set back once to an earlier moment. A pointer is right within 5% of its
demonstration's length of the truth (``episodes.aligned``: the operator's own stage and way to go,
which no key holds). ``vote`` weighs pointers as the policy does; ``best`` is the cheapest alone.

Second table: how often a moment's probability of being like the demonstrations lies below a level,
for demonstrations that the bank has not (should be the level itself), for those of another task,
and for those whose hand is 5 or 10 cm off. Banks of ten are drawn at random; errors are standard
errors over the probes, since moments of one demonstration err alike.

    python benchmarks/phase.py --home recorded [--set development] [--every 1 4] [--blur 0.02]
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / p) for p in (".", "embodiments", "retrieval", "wbc")]

from episodes import DEVELOPMENT, HELD_OUT, TASKS, Recorded, aligned, at, recorded  # noqa: E402

from icl_vla.policy.alignment import Alignment  # noqa: E402
from icl_vla.policy.context import DemoContext  # noqa: E402
from icl_vla.policy.doing import Doing  # noqa: E402
from icl_vla.policy.likeness import (  # noqa: E402  # noqa: E402
    Compared,
    DistanceToDemonstrations,
    matched_tokens,
    moment_costs,
    shared_tokens,
)
from icl_vla.policy.retrieval import RetrievalConfig  # noqa: E402
from icl_vla_retrieval.familiarity import NEVER_SEEN  # noqa: E402
from icl_vla_retrieval.phase import PhaseTracker  # noqa: E402

CONFIG = RetrievalConfig()
DEMONSTRATIONS = 12  # replayed against each other
REPEATS = 3
TOLERANCE = 0.05
PROBES, BANK, BANKS = 30, 10, 3  # demonstrations, those of a bank, banks for each probe
OFF = (0.05, 0.1)  # [m] that a hand is displaced by
LEVELS = (NEVER_SEEN, 0.1, 0.2, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="where recordings are kept")
    parser.add_argument("--set", choices=("development", "held-out"), default="held-out")
    parser.add_argument("--every", type=int, nargs="+", default=[1], help="frames between looks")
    parser.add_argument("--blur", type=float, default=0.0, help="constant error of each thing [m]")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    first = DEVELOPMENT if args.set == "development" else HELD_OUT
    sets = {t: recorded(args.home, t, range(first, first + PROBES)) for t in TASKS}
    few = {t: s[:DEMONSTRATIONS] for t, s in sets.items()}
    report = {
        "phase": {every: phase_table(few, every, args.blur) for every in args.every},
        "familiarity": familiarity_table({t: [r.context for r in s] for t, s in sets.items()}),
    }
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def phase_table(sets: dict[str, list[Recorded]], every: int, blur: float) -> list[dict]:
    print(f"within 5% of the truth, looking every {every} frames, things {100 * blur:.0f} cm off")
    print(f"{'':28}{'tracked':^16}{'stateless':^16}")
    print(f"{'task':12}{'pace':>6}{'set back':>10}{'vote':>8}{'best':>8}{'vote':>8}{'best':>8}")
    rows = []
    for (task, demos), back, pace in itertools.product(sets.items(), (False, True), (0.4, 1, 2)):
        hits = [
            replayed(demos, k, pace, back, every, blur, seed)
            for k in range(len(demos))
            for seed in range(REPEATS)
        ]
        shares = np.mean(np.concatenate(hits), axis=0)
        print(
            f"{task:12}{pace:6}{'yes' if back else 'no':>10}" + "".join(f"{s:8.1%}" for s in shares)
        )
        names = ("tracked vote", "tracked best", "stateless vote", "stateless best")
        rows.append(
            {"task": task, "pace": pace, "set back": back, **dict(zip(names, shares, strict=True))}
        )
    mean = np.mean([[r[n] for n in names] for r in rows], axis=0)
    print(f"{'mean':28}" + "".join(f"{s:8.1%}" for s in mean))
    return rows


def replayed(
    demos: list[Recorded], k: int, pace: float, back: bool, every: int, blur: float, seed: int
) -> np.ndarray:
    """``(steps, 4)`` shares of weight that are right: tracked vote, best; stateless vote, best."""
    rng = np.random.default_rng([k, seed, int(10 * pace), back])
    others = [d for i, d in enumerate(demos) if i != k]
    frames = course(len(demos[k].context), pace, back, rng)[::every]
    contexts = [o.context for o in others]
    index = matched_tokens(demos[k].context.features, contexts)
    index = index[:, shared_tokens(index)]
    alignment = Alignment.of(contexts, index, CONFIG.radius)
    costs, _ = costs_of(demos[k].context, contexts, frames, pace, blur, rng, alignment.relevance)
    truth = [_truth(demos[k], o) for o in others]
    first, last = (
        np.stack([t[i][[np.floor(frames), np.ceil(frames)][i].astype(int)] for t in truth], axis=1)
        for i in (0, 1)
    )
    lengths = np.array([len(o.context) - 1 for o in others])
    tracker = PhaseTracker(lengths + 1)
    tracker.lay_beside(alignment.beside, alignment.unlike)
    out = []
    for n in range(len(frames)):
        now = [c[n] for c in costs]
        row = []
        for pointers in (tracker.update(now, every if n else 0), [int(c.argmin()) for c in now]):
            off = np.maximum(0, np.maximum(first[n] - pointers, pointers - last[n])) / lengths
            cost = np.array([c[t] for c, t in zip(now, pointers, strict=True)])
            weights = np.exp(-(cost - cost.min()) / CONFIG.temperature)
            row += [weights @ (off <= TOLERANCE) / weights.sum(), off[cost.argmin()] <= TOLERANCE]
        out.append(row)
    return np.array(out)


_truths: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}


def _truth(a: Recorded, b: Recorded) -> tuple[np.ndarray, np.ndarray]:
    key = (id(a), id(b))
    if key not in _truths:
        _truths[key] = aligned(a, b)
    return _truths[key]


def course(length: int, pace: float, back: bool, rng: np.random.Generator) -> np.ndarray:
    """Frames that a replay passes, set back once by at least a fifth if ``back``."""
    frames = np.arange(0, length - 1 + 1e-9, pace)
    if not back:
        return frames
    away = rng.uniform(0.4, 0.9) * (length - 1)
    to = away - rng.uniform(0.2 * (length - 1), away)
    return np.concatenate([frames[frames < away], np.arange(to, length - 1 + 1e-9, pace)])


def costs_of(
    context: DemoContext,
    others: list[DemoContext],
    frames: np.ndarray,
    pace: float = 1.0,
    blur: float = 0.0,
    rng: np.random.Generator | None = None,
    relevance: Sequence[np.ndarray | None] | None = None,
) -> tuple[list[np.ndarray], int]:
    """The policy's costs ``(steps, T_k)`` of a replay against each other one; things in common."""
    index = matched_tokens(context.features, others)
    shared = shared_tokens(index)
    places = at(context.tokens[:, shared], frames)
    if blur and rng is not None:
        places = places + blur / np.sqrt(2) * rng.normal(size=(1, len(shared), 3)) * [1, 1, 0]
    tcp = at(context.tcp, frames)
    way, told, moved, holds = (at(x, frames) for x in astuple(context.doing))
    past = at(context.past[:, shared], frames)
    now = Compared.now(places, tcp, Doing(pace * way, told, pace * moved, holds), past)
    weights = relevance or [None] * len(others)
    costs = [
        moment_costs(now, Compared.shown([other], row[None, shared]), CONFIG.radius, weight)
        for row, other, weight in zip(index, others, weights, strict=True)
    ]
    return costs, len(shared)


def familiarity_table(sets: dict[str, list[DemoContext]]) -> list[dict]:
    """How often a moment's probability lies below a level, for what is and is not demonstrated."""
    rng = np.random.default_rng(7)
    heads = "".join(f"{f'p < {level:g}':>16}" for level in LEVELS)
    print(f"\nshare of moments with probability p\n{'task':12}{'moments':20}{heads}")
    rows = []
    for task, demos in sets.items():
        kinds = {
            "a new demonstration": demos,
            "another task": next(d for t, d in sets.items() if t != task),
            **{f"hand {100 * off:.0f} cm off": [_displaced(d, off) for d in demos] for off in OFF},
        }
        below = {kind: np.zeros((len(demos), len(LEVELS))) for kind in kinds}
        for k, _ in itertools.product(range(len(demos)), range(BANKS)):
            others = rng.permutation([i for i in range(len(demos)) if i != k])[:BANK]
            bank = [demos[i] for i in others]
            distance = DistanceToDemonstrations.between(bank, CONFIG.radius)
            for kind, asked in kinds.items():
                p = probabilities(asked[k], bank, distance)
                below[kind][k] += [np.mean(p < level) / BANKS for level in LEVELS]
        for kind, shares in below.items():
            mean, error = shares.mean(axis=0), shares.std(axis=0) / np.sqrt(len(shares))
            cells = (f"{m:.1%} +- {e:.1%}" for m, e in zip(mean, error, strict=True))
            print(f"{task:12}{kind:20}" + "".join(f"{c:>16}" for c in cells), flush=True)
            rows.append({"task": task, "moments": kind, "below": mean.tolist()})
    return rows


def probabilities(
    context: DemoContext, bank: list[DemoContext], distance: DistanceToDemonstrations
) -> np.ndarray:
    """``(T,)`` of each moment being like the bank's."""
    costs, shared = costs_of(context, bank, np.arange(len(context), dtype=float))
    nearest = np.min([c.min(axis=1) for c in costs], axis=0)
    return np.array([distance.confidence(c, shared) for c in nearest])


def _displaced(context: DemoContext, off: float) -> DemoContext:
    """The hand is elsewhere, sideways, all the time."""
    tcp = context.tcp.copy()
    tcp[:, :2, 3] += off / np.sqrt(2)
    return replace(context, tcp=tcp)


if __name__ == "__main__":
    main()
