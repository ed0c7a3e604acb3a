"""Somebody else's environment: stepped at its own rate, demonstrated, measured, judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icl_vla.evaluation.benchmark import run_suite
from icl_vla.evaluation.suite import Cell, Suite
from icl_vla.runtime.drivers import find_driver
from icl_vla.sim.foreign import foreign_task
from icl_vla_embodiments import Command, Driver, ReportedError
from icl_vla_embodiments.store import EmbodimentStore

EXAMPLES = Path(__file__).parents[2] / "examples"
MODULE = "somebody_elses_simulator"
TASK = f"{MODULE}:PutOnMark"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the robot of the example."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    __import__(MODULE).add_robot(tmp_path)
    return tmp_path


def test_an_environment_is_a_driver(home):
    robot = EmbodimentStore(home).get("crane")
    driver = find_driver("gymnasium")(robot, task=TASK)
    assert isinstance(driver, Driver)
    first = driver.reset(3)
    assert first.cameras["front"].depth.shape == (128, 128) and first.time == 0.0
    steps = []
    taken = driver.environment.step
    driver.environment.step = lambda action: steps.append(action) or taken(action)
    goal = first.q.copy()
    goal[0] += 0.08
    for _ in range(90):
        driver.command(Command(q=goal), 1 / 60)
    assert len(steps) == 15  # 1.5 s at 10 Hz
    assert driver.clock() == pytest.approx(1.5)
    assert steps[0] == pytest.approx([1.0, 0.0, 0.0, 1.0], abs=1e-3)  # 8 cm: no more than 4 a step
    np.testing.assert_allclose(driver.observe(cameras=False).q[:3], goal[:3], atol=2e-3)
    np.testing.assert_array_equal(driver.reset(3).q, first.q)


def test_the_benchmark_measures_it(home):
    cells = (Cell(TASK, demonstrations=3),)
    suite = Suite("crane", cells, ("vote", "nothing", "expert"), tasks=1, episodes=2, body="crane")
    found = run_suite(suite, home)
    won = {r["method"]: r["rate"] for r in found["rows"]}
    assert won == {"vote": 1.0, "nothing": 0.0, "expert": 1.0}
    assert found["demonstrations"][0]["succeeded"] >= 2  # as they come, good or bad
    assert found["held_out"] == [cells[0].name]
    again = run_suite(suite, home)
    assert again["run"]["episodes"] == 0 and again["table_sha256"] == found["table_sha256"]


@pytest.mark.parametrize("name", ["no.such:Thing", "json:JSONDecoder", "json:nothing"])
def test_what_is_no_task_is_told(name):
    with pytest.raises(ReportedError):
        foreign_task(name)
