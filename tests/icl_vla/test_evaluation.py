"""Statistics, the log of results, determinism, and that the judges judge."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from icl_vla.evaluation.attempt import run_trial
from icl_vla.evaluation.methods import METHODS, find_method
from icl_vla.evaluation.running import context_of, evaluate
from icl_vla.evaluation.statistics import wilson
from icl_vla.evaluation.trials import Result, ResultLog, Trial, summarise
from icl_vla.processes import in_processes
from icl_vla_embodiments import ReportedError, UnknownName

from .conftest import ROBOT, TASKS


def test_wilson_is_scipys():
    for trials in (1, 2, 10, 37, 400):
        for successes in {0, 1, trials // 3, trials // 2, trials - 1, trials}:
            ours = wilson(successes, trials)
            theirs = stats.binomtest(successes, trials).proportion_ci(method="wilson")
            # scipy has the normal quantile to all digits
            assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_covers():
    """Over all outcomes of 40 trials the interval holds the truth in about 95% of experiments."""
    shares = np.linspace(0.05, 0.95, 19)
    covered = []
    for share in shares:
        chance = stats.binom.pmf(np.arange(41), 40, share)
        bounds = np.array([wilson(k, 40) for k in range(41)])
        covered.append(chance[(bounds[:, 0] <= share) & (share <= bounds[:, 1])].sum())
    # of one share it varies, since outcomes are whole numbers (Brown, Cai and DasGupta 2001)
    assert abs(np.mean(covered) - 0.95) < 0.01
    assert min(covered) > 0.90


def result(seed: int, success: bool = True, method: str = "vote", task: str = "one") -> Result:
    return Result(
        "robot",
        task,
        method,
        seed,
        "context",
        success=success,
        ended="done",
        seconds=4.0 + seed,
        cpu_seconds=1.0,
        violations={"position": 0.0, "velocity": 0.0, "acceleration": 1e-3 * (seed == 2)},
        levels={"nominal": 10},
    )


def filled_log(path: Path, count: int = 4) -> ResultLog:
    log = ResultLog(path)
    for seed in range(count):
        log.add(result(seed))
    return log


def test_a_log_reads_back_what_was_added(tmp_path):
    path = tmp_path / "deep" / "results.jsonl"
    log = filled_log(path)
    assert ResultLog(path).results == log.results
    log.add(replace(result(1), success=False))  # made again: the later one counts
    again = ResultLog(path)
    assert len(again.results) == 4 and not again.results[result(1).key].success
    again.forget([result(0).key, ("no", "such", 0, "trial")])
    assert set(ResultLog(path).results) == {result(s).key for s in (1, 2, 3)}


def test_a_torn_last_line_is_made_again_at_every_byte(tmp_path):
    path = tmp_path / "results.jsonl"
    filled_log(path)
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for cut in range(start, len(whole) - 1):
        path.write_bytes(whole[:cut])
        log = ResultLog(path)
        complete = whole[start:cut].rstrip().endswith(b"}}")
        assert len(log.results) == 3 + complete
        log.add(result(3))
        assert ResultLog(path).results == {result(s).key: result(s) for s in range(4)}


@pytest.mark.parametrize("damage", ["", "{", "null", '{"seed": 1}', "\x00\x00"])
def test_a_damaged_middle_line_is_an_error_and_nothing_is_lost(tmp_path, damage):
    path = tmp_path / "results.jsonl"
    filled_log(path)
    lines = path.read_text().splitlines()
    lines[1] = damage
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    with pytest.raises(ReportedError) as caught:
        ResultLog(path)
    assert f"{path}, line 2" in caught.value.where and caught.value.remedy
    assert path.read_bytes() == before


def test_a_summary_counts_each_cell():
    rows = summarise(
        [result(s, success=s != 0) for s in range(4)]
        + [result(s, success=False, method="nearest") for s in range(2)]
        + [result(0, task="two")]
    )
    cells = {(r["task"], r["method"]): r for r in rows}
    vote = cells["one", "vote"]
    assert (vote["successes"], vote["episodes"], vote["rate"]) == (3, 4, 0.75)
    assert vote["interval"] == pytest.approx(wilson(3, 4), abs=1e-4)
    assert vote["seconds"] == pytest.approx(5.5) and vote["limit_violations"] == 1
    assert cells["one", "nearest"]["successes"] == 0 and cells["two", "vote"]["episodes"] == 1


def same(a: Result, b: Result) -> bool:
    """All but the machine's time."""
    return replace(a, cpu_seconds=0.0) == replace(b, cpu_seconds=0.0)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_trial_gives_the_same_result(home, bank, instructions, task):
    """Twice in this process with another trial between, and in fresh ones."""
    context = context_of(bank, instructions[task])
    trials = [Trial(ROBOT, task, "vote", seed, context) for seed in (40, 41)]
    here = [run_trial(t, home, bank.path) for t in (*trials, *trials)]
    there = list(in_processes(run_trial, [(t, home, bank.path) for t in trials], workers=2))
    for i, trial in enumerate(trials):
        assert here[i].key == trial.key
        assert same(here[i], here[i + 2])
        assert same(here[i], there[i])
    assert not same(here[0], here[1])


@pytest.mark.parametrize("task", TASKS)
def test_judges_tell_doing_it_from_doing_nothing(home, bank, instructions, task):
    context = context_of(bank, instructions[task])
    verdicts = {
        method: [
            run_trial(Trial(ROBOT, task, method, seed, context), home, bank.path)
            for seed in range(60, 66)
        ]
        for method in ("nothing", "expert")
    }
    assert [r.success for r in verdicts["nothing"]] == [False] * 6
    assert [r.success for r in verdicts["expert"]] == [True] * 6
    assert all(max(r.violations.values()) <= 1e-6 for r in verdicts["expert"])


def put(cell, name: str, at: np.ndarray, velocity: tuple[float, float, float] = (0, 0, 0)) -> None:
    """Move a thing by an invisible hand, and perhaps give it a push."""
    world = cell.driver.world
    world.client.resetBasePositionAndOrientation(world.bodies[name], at, [0, 0, 0, 1])
    world.client.resetBaseVelocity(world.bodies[name], velocity, [0, 0, 0])


@pytest.mark.parametrize(
    ("task", "thing", "place", "aside"),
    [("pick-place", "cube", "bowl", 0.15), ("push", "block", "mark", 0.05)],
)
def test_the_judge_wants_the_thing_in_its_place_and_still(cell, task, thing, place, aside):
    cell = cell(task)
    verdicts = []
    for offset, velocity in ((0.0, 0.0), (aside, 0.0), (0.0, 1.0)):
        cell.reset(0)
        world = cell.driver.world
        goal = world.pose(place)[:3, 3]
        size = next(o for o in world.scene.objects if o.name == thing).size
        height = size[2] / 2 + (0.1 if task == "pick-place" and velocity else 0.003)
        put(cell, thing, np.array([goal[0], goal[1] - offset, height]), (0.0, -velocity, 0.0))
        verdicts.append(cell.judge())
    # there; beside it; and on its way through it
    assert verdicts == [True, False, False]


def test_unknown_methods_list_the_known_ones():
    with pytest.raises(UnknownName) as caught:
        find_method("vot")
    assert set(caught.value.valid) == set(METHODS) and "'vote'" in caught.value.remedy


def test_known_results_are_not_made_again(home, bank):
    """A second call returns the log's results; other demonstrations or a restart do not."""
    made = []
    call = {"tasks": [TASKS[0]], "methods": ["nothing"], "seeds": range(70, 73)}
    log = home / "runs" / ROBOT / "results.jsonl"
    log.unlink(missing_ok=True)
    first = evaluate(home, ROBOT, **call, progress=made.append)
    assert first["folder"] == str(log.parent)
    before = log.read_text()
    again = evaluate(home, ROBOT, **call)
    assert again == first and log.read_text() == before
    lines = [json.loads(line) for line in before.splitlines()]
    other = [{**line, "context": "of another bank"} for line in lines]
    log.write_text("".join(json.dumps(line) + "\n" for line in other))
    evaluate(home, ROBOT, **call, progress=made.append)
    assert len(log.read_text().splitlines()) == 2 * len(lines)
    assert len(made) == 6
    evaluate(home, ROBOT, **call, restart=True, progress=made.append)
    assert len(log.read_text().splitlines()) == 2 * len(lines)
    assert len(made) == 9


def table(home: Path) -> list[dict[str, object]]:
    """Every result in the log, without the machine's time, in a fixed order."""
    log = ResultLog(home / "runs" / ROBOT / "results.jsonl")
    rows = [asdict(replace(r, cpu_seconds=0.0, timings={})) for r in log.results.values()]
    return sorted(rows, key=lambda r: (r["task"], r["method"], r["seed"]))


def processes_of(group: int) -> list[int]:
    """Processes of a group that are alive (Linux)."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # ended meanwhile
        if int(pgrp) == group and state != "Z":
            alive.append(int(stat.parent.name))
    return alive


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_evaluation_goes_on_to_the_same_table(home, icl_vla, start_icl_vla, tmp_path, how):
    import shutil

    shutil.copytree(home, tmp_path / "whole", ignore=shutil.ignore_patterns("runs"))
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    words = ["eval", ROBOT, "--method", "vote", "--method", "expert", "--seed", "80"]
    words += ["--episodes", "5", "--workers", "2"]
    assert icl_vla(tmp_path / "whole", *words).returncode == 0
    whole = table(tmp_path / "whole")
    assert len(whole) == 20

    log = tmp_path / "cut" / "runs" / ROBOT / "results.jsonl"
    interruptions = 0
    for stop_at in (2, 9):
        process = start_icl_vla(tmp_path / "cut", *words)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and log.read_bytes().count(b"\n") >= stop_at:
                interruptions += 1
                os.kill(process.pid, how)  # the command alone, as a shell's kill does
                break
            time.sleep(0.02)
        code = process.wait(120)
        assert code == (130 if how == signal.SIGINT else -signal.SIGKILL)
        for _ in range(100):  # its workers end as well
            if not processes_of(process.pid):
                break
            time.sleep(0.2)
        assert not processes_of(process.pid)
        kept = table(tmp_path / "cut")
        assert stop_at <= len(kept) < 20 and all(row in whole for row in kept)
    assert interruptions == 2
    done = icl_vla(tmp_path / "cut", *words, "--json")
    assert done.returncode == 0, done.stderr
    assert table(tmp_path / "cut") == whole
