"""What a suite's figures and page make of results, whatever its conditions."""

from __future__ import annotations

import pytest

from icl_vla.evaluation.benchmark_report import render
from icl_vla.evaluation.suite import Cell, Suite
from icl_vla.evaluation.summary import summarise_suite
from icl_vla.evaluation.trials import Result

METHODS = ("vote", "mean_trajectory", "expert")
CELLS = (
    Cell("stack"),
    Cell("drawer"),
    Cell("reach"),
    Cell("pick"),
    Cell("stack", demonstrations=3),
    Cell("stack", context="own of two", other="reach"),
    Cell("stack", context="own of two", other="reach", demonstrations=3),
)
SUITE = Suite("made", CELLS, METHODS, body="arm", tasks=2, sets=1, episodes=2)


def result(cell: Cell, method: str, task: int, episode: int) -> Result:
    """The expert wins, the vote every other episode, a blind replay the drawers."""
    won = method == "expert" or (episode == 0 if method == "vote" else cell.name == "drawer")
    return Result(
        "arm",
        f"{cell.family}:{task}",
        method,
        episode,
        "",
        success=won,
        ended="done",
        seconds=1.0,
        cpu_seconds=1.0,
        violations={},
        levels={},
        cell=cell.name,
        group=(task, 0, episode),
        other=False if cell.other else None,
    )


@pytest.fixture(scope="module")
def summary():
    made = [result(c, m, t, e) for c in CELLS for m in METHODS for t in (0, 1) for e in (0, 1)]
    return summarise_suite(SUITE, made, []) | {
        "machine": {},
        "run": {"workers": 1, "ray": None, "episodes": 0, "seconds": 1, "seconds_in_all": 1},
        "summary": "",
        "episodes": {"planned": len(made), "known": len(made)},
    }


def test_families_count_together_without_doubtful_ones(summary):
    assert [doubt.split(":")[0] for doubt in summary["doubts"]] == ["drawer"]
    rows = {(r["cell"], r["method"]): r for r in summary["together"]["rows"]}
    out, trained = (f"families {w}" for w in ("that nothing is trained on", "to train on"))
    assert rows[out, "vote"]["episodes"] == 4  # stacks alone
    assert rows[trained, "vote"]["episodes"] == 8
    assert rows[trained, "vote"]["rate"] == 0.5
    differences = {(d["cell"], d["methods"][1]): d for d in summary["together"]["differences"]}
    assert differences[trained, "expert"]["difference"] == -0.5
    assert differences[out, "mean_trajectory"]["difference"] == 0.5


def test_the_page_takes_every_condition_over_its_demonstrations(summary):
    page = render(SUITE, summary, [])
    assert page.count("<figcaption>") == 2  # plain stacks, and those beside another task
    assert "together, without doubtful ones" in page


def test_of_many_films_those_are_shown_in_which_methods_differ(summary, tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    films = []
    for i in range(30):
        alike = [(m, False, "reach", film) for m in METHODS]
        told = [("vote", True, "", film), *alike[1:]]
        films.append((f"scene {i}", told if i >= 20 else alike))
    page = render(SUITE, summary, films)
    assert page.count("data:video/mp4") == 16 * len(METHODS)
    assert all(f"scene {i}<" in page for i in range(20, 30))
