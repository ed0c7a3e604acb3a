"""Which families, numbers, bodies, operators and seeds are for training, and which for the test.

Written from code and hashed; the hash stands in every result and report. Nothing may be trained or
tuned on what is listed under ``test``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..sim.conventions import HELD_OUT as HELD_OUT_CONVENTIONS
from ..sim.families import HELD_OUT, ON_BASES, TRAINED
from ..sim.operators import HELD_OUT as TEST_OPERATORS
from ..sim.operators import TRAINED as TRAINED_OPERATORS
from .conventions import CONVENTIONS

_BODIES = Path(__file__).with_name("train_bodies.yaml")
TEST_NUMBERS = 900_000  # tasks of a family from here on are the test's
SHOWN_SCENES = 1_000_000  # scenes from here on are those of the test's demonstrations
TEST_SCENES = 2_000_000  # and from here on those in which methods are tried
_PER_SET = 100  # demonstrations of a set, at most
SEEDS = 100  # of a suite
OTHER = 500  # number of the second task of two, after the first's


@dataclass(frozen=True)
class Numbers:
    """Where the numbers of tasks and scenes begin that a suite draws.

    Attributes:
        tasks: Of a family.
        shown: Scenes of demonstrations.
        tried: Scenes that methods are tried in.
        per_seed: Task numbers and scenes for each seed of a suite.
    """

    tasks: int
    shown: int
    tried: int
    per_seed: tuple[int, int]


NUMBERS = {
    "test": Numbers(TEST_NUMBERS, SHOWN_SCENES, TEST_SCENES, (1_000, 10_000)),
    # to be looked at and changed on: all of it lies in what is for training
    "development": Numbers(800_000, 600_000, 700_000, (1_000, 1_000)),
}


def splits() -> dict[str, Any]:
    """Everything that decides what a policy may have seen."""
    tasks, per_seed = NUMBERS["test"].per_seed
    scenes = f"{per_seed} seed + {_PER_SET} set + 0, 1, ..."
    return {
        "train": {
            "families": [*TRAINED, *ON_BASES],
            "task numbers": [0, TEST_NUMBERS - 1],
            "scenes": [0, SHOWN_SCENES - 1],
            "bodies": yaml.safe_load(_BODIES.read_text()),
            "drawn bodies": [0, TEST_NUMBERS - 1],
            "operators": list(TRAINED_OPERATORS),
            "conventions": f"drawn; all but every {HELD_OUT_CONVENTIONS}th combination of factors",
        },
        "test": {
            "families": {"trained": [*TRAINED, *ON_BASES], "held out": list(HELD_OUT)},
            "task numbers": f"{TEST_NUMBERS} + {tasks} seed + 0, 1, ...",
            "scenes of demonstrations": f"{SHOWN_SCENES} + {scenes}",
            "scenes": f"{TEST_SCENES} + {scenes}",
            "bodies": "every robot but those to train on; one of those beside them, to compare",
            "drawn bodies": "by the tasks' numbers",
            "operators": list(TEST_OPERATORS),
            "conventions": f"every {HELD_OUT_CONVENTIONS}th combination of factors, by its hash",
            "named conventions": list(CONVENTIONS),
        },
        "rules": {
            "demonstrations": "the first ones of a set, unfiltered",
            "tasks": "no task is skipped",
        },
    }


def splits_yaml() -> str:
    """The splits as text, always the same for the same splits."""
    return yaml.safe_dump(splits(), sort_keys=False, width=100)


def splits_sha256() -> str:
    """Hash of :func:`splits_yaml`."""
    return hashlib.sha256(splits_yaml().encode()).hexdigest()


def task_number(seed: int, index: int, part: str = "test") -> int:
    """Number of a task to be measured on within its family."""
    assert 0 <= index < OTHER and 0 <= seed < SEEDS
    numbers = NUMBERS[part]
    return numbers.tasks + numbers.per_seed[0] * seed + index


def shown_scene(seed: int, demonstration_set: int, index: int, part: str = "test") -> int:
    """Seed of a scene that is demonstrated in."""
    return NUMBERS[part].shown + _scene(seed, demonstration_set, index, part)


def trial_scene(seed: int, demonstration_set: int, episode: int, part: str = "test") -> int:
    """Seed of a scene that methods are tried in."""
    return NUMBERS[part].tried + _scene(seed, demonstration_set, episode, part)


def _scene(seed: int, demonstration_set: int, index: int, part: str) -> int:
    per_seed = NUMBERS[part].per_seed[1]
    assert 0 <= seed < SEEDS and 0 <= index < _PER_SET
    assert 0 <= demonstration_set < per_seed // _PER_SET
    return per_seed * seed + _PER_SET * demonstration_set + index
