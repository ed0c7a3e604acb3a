"""The main job at full size: a URDF, ten demonstrations a task, a hundred new scenes a task."""

from __future__ import annotations

import pytest

from icl_vla.evaluation.running import evaluate
from icl_vla.sim.recording import index_bank, record_demonstrations
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf

from .conftest import ROBOT, TASKS, URDF

FIRST = 800_000
"""Scenes that nothing was ever tuned on; demonstrations are of seeds 0 to 9."""
LEAST = {"pick-place": 0.55, "push": 0.45}


@pytest.mark.slow
def test_new_scenes_with_frozen_weights(tmp_path):
    EmbodimentStore(tmp_path).add(embodiment_from_urdf(URDF))
    for task in TASKS:
        recorded = record_demonstrations(tmp_path, ROBOT, task, range(10), workers=2)
        index_bank(tmp_path, ROBOT, [r.episode for r in recorded], workers=2)

    def rows(methods: list[str], scenes: int) -> dict[tuple[str, str], dict]:
        report = evaluate(
            tmp_path,
            ROBOT,
            tasks=TASKS,
            methods=methods,
            seeds=range(FIRST, FIRST + scenes),
            workers=2,
        )
        print(*report["results"], sep="\n")
        return {(r["task"], r["method"]): r for r in report["results"]}

    nothing = rows(["nothing"], 20)
    results = rows(["vote", "nearest", "expert"], 100)
    for task in TASKS:
        vote, nearest, expert = (results[task, m]["rate"] for m in ("vote", "nearest", "expert"))
        assert all(results[task, m]["episodes"] == 100 for m in ("vote", "nearest", "expert"))
        assert vote >= LEAST[task]
        assert vote >= nearest + 0.30
        assert expert >= 0.95
        assert nothing[task, "nothing"]["successes"] == 0
    assert all(r["limit_violations"] == 0 for r in (*results.values(), *nothing.values()))
