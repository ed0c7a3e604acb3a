"""How often words alone are enough: trained families' tasks, nothing shown.

Run ``OMP_NUM_THREADS=1 python benchmarks/words.py EMBODIMENT [--tasks 4] [--scenes 1]`` for a robot
that was added. Tasks and scenes are for development; ``icl-vla benchmark run`` has the test's. With
``--shuffled`` each task is asked for with the words of another one, which should never do it; with
``--held-out`` families are asked for that nothing was learned of: most should be refused.
"""

from __future__ import annotations

import argparse
from collections import Counter

from icl_vla.evaluation.workplace import at_task, table_task
from icl_vla.perception.encoders import with_words
from icl_vla.policy.by_words import ByWords
from icl_vla.policy.vote import VotePolicy
from icl_vla.runtime.loop import run_episode
from icl_vla.sim.families import HELD_OUT, TRAINED
from icl_vla_embodiments.home import home
from icl_vla_retrieval import InstructionError

FIRST_TASK, FIRST_SEED = 800_001, 545_000
OTHER = 1  # task of the next family whose words are said instead


def attempt(embodiment: str, name: str, said: str, seed: int) -> str:
    """One attempt: ``done``, ``failed`` or ``refused``."""
    cell = at_task(home(), embodiment, table_task(name), "front")
    cell.reset(seed)
    try:
        policy = ByWords(VotePolicy(cell.model, with_words(cell.components)))
        episode = policy.start(said, cell.embodiment.action_space())
    except InstructionError:
        return "refused"
    seconds = cell.seconds
    run_episode(cell.driver, cell.controller, episode, seconds=seconds, audit=cell.audit)
    return "done" if cell.judge() else "failed"


def main() -> None:
    """Print a line for each family."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embodiment")
    parser.add_argument("--tasks", type=int, default=4, help="of each family")
    parser.add_argument("--scenes", type=int, default=1, help="of each task")
    parser.add_argument("--first-task", type=int, default=FIRST_TASK)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--shuffled", action="store_true", help="say another task's words")
    parser.add_argument("--held-out", action="store_true", help="families never learned")
    arguments = parser.parse_args()
    families = [f for f in HELD_OUT if f != "handover"] if arguments.held_out else list(TRAINED)
    every: Counter[str] = Counter()
    for i, family in enumerate(families):
        other = families[(i + OTHER) % len(families)] if arguments.shuffled else family
        counts: Counter[str] = Counter()
        for number in range(arguments.first_task, arguments.first_task + arguments.tasks):
            words = table_task(f"{other}:{number}").instruction
            for scene in range(arguments.scenes):
                seed = arguments.first_seed + scene
                counts[attempt(arguments.embodiment, f"{family}:{number}", words, seed)] += 1
        every += counts
        print(f"{family:10} {dict(counts)}", flush=True)
    print(f"{'all':10} {dict(every)}")


if __name__ == "__main__":
    main()
