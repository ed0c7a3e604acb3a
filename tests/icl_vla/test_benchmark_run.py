"""The benchmark in physics: determinism, resuming, and every cheat caught by its condition."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_vla.evaluation import benchmark
from icl_vla.evaluation.attempt import _disturbed, run_trial
from icl_vla.evaluation.benchmark import plan, run_suite
from icl_vla.evaluation.benchmark_report import report_suite
from icl_vla.evaluation.demonstrations import (
    Shown,
    benchmark_path,
    open_handed,
    record_shown,
    seen_in,
)
from icl_vla.evaluation.suite import Cell, Suite
from icl_vla.evaluation.trials import Result, ResultLog
from icl_vla.evaluation.workplace import at_task
from icl_vla.sim.task import NoRoom
from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import DatasetBusy

from .cheats import nearest_thing
from .conftest import ROBOT, URDF

CHEATS = f"{__package__}.cheats" if __package__ else "cheats"
SHOWN = 2


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a robot, and what the tests record."""
    home = tmp_path_factory.mktemp("benchmark")
    EmbodimentStore(home).add(embodiment_from_urdf(URDF))
    return home


def suite(name: str, *methods: str, tasks: int = 1, episodes: int = 1, **cells: str) -> Suite:
    """A small suite of the quickest family; ``cells`` are contexts."""
    contexts = list(cells.values()) or ["right"]
    made = tuple(
        Cell("reach", operator="straight", context=c, other="reach", demonstrations=SHOWN)
        for c in contexts
    )
    sizes = {"tasks": tasks, "episodes": episodes, "rig": "single", "encoder": "components"}
    return Suite(name, made, methods, body=ROBOT, **sizes)


def rates(summary: dict, method: str) -> dict[str, float]:
    """Context -> success."""
    contexts = {c["name"]: c["context"] for c in summary["cells"]}
    return {contexts[r["cell"]]: r["rate"] for r in summary["rows"] if r["method"] == method}


def test_the_judge_catches_who_does_not_move(base):
    freezes, copies = f"{CHEATS}:Freezes", f"{CHEATS}:CopiesState"
    found = run_suite(suite("still", freezes, copies, "expert", episodes=2), base, films=0)
    assert rates(found, freezes) == rates(found, copies) == {"right": 0.0}
    assert rates(found, "expert") == {"right": 1.0}
    assert found["demonstrations"][0]["shown"] == SHOWN


def test_distractors_catch_who_follows_the_nearest_thing(base):
    method = f"{CHEATS}:FollowsNearest"
    chosen = suite("nearest", method, episodes=5)
    found = run_suite(chosen, base, films=0)
    log = ResultLog(benchmark_path(base) / "nearest" / "results.jsonl")
    lucky = []
    for trial in plan(chosen, base):
        cell = at_task(base, ROBOT, trial.setting.task(), chosen.rig)
        observation = cell.reset(trial.seed)
        hand = cell.model.poses(observation.q)[cell.workspace.effector]
        lucky.append(nearest_thing(cell, hand) == "thing")
        result = log.results[trial.key]
        assert result.success <= lucky[-1]  # right by luck only
        assert result.success or lucky[-1] or result.cause == "choice"
    assert not all(lucky) and rates(found, method)["right"] < 1.0


def test_a_second_task_in_the_scene_catches_who_ignores_demonstrations(base):
    method = f"{CHEATS}:IgnoresDemonstrations"
    contexts = {c: c for c in ("own of two", "other of two", "another task", "right")}
    chosen = suite("two", method, "vote", "expert", **contexts)
    found = run_suite(chosen, base, films=0)
    done = dict.fromkeys(contexts, 1.0)
    assert rates(found, method) == done | {"other of two": 0.0}
    assert rates(found, "expert") == done
    assert rates(found, "vote") == done | {"another task": 0.0}  # it does what was shown
    (knows,) = found["knows"]
    assert (knows["method"], knows["task"]) == ("vote", 1.0)
    other = {r["cell"]: r.get("did the other") for r in found["rows"] if r["method"] == method}
    # it did the one that was not shown
    assert sorted(other.values(), key=str) == [0.0, 1.0, None, None]


def test_a_mixed_bank_catches_who_ignores_language(base):
    method = f"{CHEATS}:IgnoresLanguage"
    chosen = suite("mixed", method, "vote", mixed="mixed", right="right")
    press = replace(chosen.cells[0], family="press")  # comes first in the bank
    chosen = chosen.with_(cells=(*chosen.cells, press), mixed_tasks=2)
    found = run_suite(chosen, base, films=0)
    won = {(r["cell"], r["method"]): r["rate"] for r in found["rows"]}
    reach, right = (cell.name for cell in chosen.cells[:2])
    assert won[reach, "vote"] == won[right, "vote"] == won[right, method] == 1.0
    assert won[reach, method] == 0.0
    (mixed,) = {t.setting.handed for t in plan(chosen, base) if t.setting.cell == chosen.cells[0]}
    bank = open_handed(base, mixed)
    assert len(bank) == 2 * SHOWN and len(bank.instructions) == 2


def test_a_robot_shows_only_what_it_has_room_for(tmp_path):
    """In a mixed bank, that is; the robot that acts must have it."""
    shown = Shown("drawn_gantry_310000", "program:310000", "planned", "single", (510_000,))
    assert record_shown(tmp_path, shown, whole=False)["shown"] == 0
    with pytest.raises(NoRoom):
        record_shown(tmp_path, shown)


def test_without_kinematics_joints_are_told_by_demonstrations(base, monkeypatch):
    """In the scene that was shown, whoever plays the numbers is right; others see what they do."""
    monkeypatch.setattr(Suite, "trial_scene", Suite.shown_scene)
    cell = replace(suite("x", "vote").cells[0], convention="no kinematics")
    chosen = suite("bare", "native_knn", "vote", "expert", episodes=2).with_(cells=(cell,))
    found = run_suite(chosen, base, films=0)
    won = {r["method"]: r["rate"] for r in found["rows"]}
    assert won["native_knn"] == won["expert"] == 1.0
    assert all("refused" not in row["causes"] for row in found["rows"])
    (handed,) = {t.setting.handed for t in plan(chosen, base)}
    bank = open_handed(base, handed)
    seen = seen_in(bank)
    assert seen is not None
    for effector, T in seen.poses(bank[0].q).items():
        np.testing.assert_allclose(bank[0].poses[effector], T, atol=1e-6)


def test_what_neither_is_told_nor_shown_is_refused(base):
    cell = replace(suite("x", "vote").cells[0], convention="no kinematics", context="none")
    found = run_suite(suite("bare", "vote").with_(cells=(cell,)), base, films=0)
    (row,) = found["rows"]
    assert row["rate"] == 0.0 and list(row["causes"]) == ["refused"]


def test_without_colours_nothing_shown_or_seen_has_any(base):
    chosen = suite("grey", "expert", grey="without colours")
    cell = replace(chosen.cells[0], disturbance="latency")  # what else goes wrong still does
    chosen = chosen.with_(cells=(*chosen.cells, cell))
    found = run_suite(chosen, base, films=0)
    assert rates(found, "expert") == {"without colours": 1.0}
    for trial in plan(chosen, base):
        shown = open_handed(base, trial.setting.handed)[0]
        station = at_task(base, ROBOT, trial.setting.task(), chosen.rig)
        station.reset(trial.seed)
        seen = _disturbed(station, trial.setting, trial.seed).observe()
        pictures = [t.rgb for t in shown.cameras.values()] + [c.rgb for c in seen.cameras.values()]
        for rgb in pictures:
            assert np.ptp(rgb.astype(int), axis=-1).max() <= 4  # video rounds
            assert rgb.std() > 10
        assert np.ptp(station.driver.observe().cameras["front"].rgb, axis=-1).max() > 50


def test_without_depth_nobody_measures_any(base):
    chosen = suite("flat", "expert", flat="without depth")
    found = run_suite(chosen, base, films=0)
    assert rates(found, "expert") == {"without depth": 1.0}
    trial = plan(chosen, base)[0]
    bank = open_handed(base, trial.setting.handed)
    assert not any(camera.depth for camera in bank.spec.cameras.values())
    assert all(track.depth is None for track in bank[0].cameras.values())
    # what was read of them before anybody asked is kept apart from what measured depth shows
    names = [p.name for p in (bank.path / "icl_vla" / "tokens").iterdir()]
    assert len(names) == 1 and "colour" in names[0]
    station = at_task(base, ROBOT, trial.setting.task(), chosen.rig)
    station.reset(trial.seed)
    seen = _disturbed(station, trial.setting, trial.seed).observe()
    assert seen.cameras and all(c.depth is None for c in seen.cameras.values())
    assert all(c.depth is not None for c in station.driver.observe().cameras.values())


def test_other_code_than_planned_is_refused(base):
    trial = plan(suite("again", "nothing"), base)[0]
    with pytest.raises(ReportedError, match="planned"):
        run_trial(replace(trial, setting=replace(trial.setting, code="another")), base)


def test_what_cannot_be_read_is_a_failure_and_no_crash(base):
    chosen = suite("none", "vote", "mean_trajectory", none="none")
    found = run_suite(chosen, base, films=0)
    for row in found["rows"]:
        assert row["rate"] == 0.0 and row["causes"] == {"refused": 1}


def results(home: Path, name: str) -> list[Result]:
    """Everything in a log but the machine's time, in a fixed order."""
    log = ResultLog(benchmark_path(home) / name / "results.jsonl")
    bare = [replace(r, cpu_seconds=0.0, timings={}) for r in log.results.values()]
    return sorted(bare, key=lambda r: (r.cell, r.method, r.group))


def test_two_runs_and_a_torn_one_give_the_same_table(base):
    chosen = suite("again", "vote", "random", "nothing", episodes=2)
    seen = []
    first = run_suite(chosen, base, films=0, tell=lambda p: seen.append((p.stage, p.note)))
    whole = results(base, "again")
    assert len(whole) == chosen.size == first["run"]["episodes"]
    assert ("episodes", "") in seen
    log = benchmark_path(base) / "again" / "results.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:2]) + lines[2][:40])
    torn = run_suite(chosen, base, films=0)
    assert torn["run"]["episodes"] == chosen.size - 2
    assert results(base, "again") == whole and torn["table_sha256"] == first["table_sha256"]
    log.unlink()
    assert run_suite(chosen, base, films=0)["table_sha256"] == first["table_sha256"]
    other = run_suite(chosen.with_(seed=1), base, films=0)
    assert other["table_sha256"] != first["table_sha256"]


def test_a_second_runner_is_refused(base):
    with benchmark._alone(base), pytest.raises(DatasetBusy):
        run_suite(suite("again", "nothing"), base)


def test_a_report_holds_everything(base):
    chosen = suite("shown", "vote", "nothing", "expert", episodes=1)
    with pytest.raises(ReportedError):
        report_suite(chosen, base, distances=False)
    run_suite(chosen, base, films=1)
    page = report_suite(chosen, base, distances=False)
    text = page.read_text()
    facts = json.loads(page.with_suffix(".json").read_text())
    assert text.count("data:video/mp4;base64,") == 3
    assert facts["splits_sha256"] in text and facts["table_sha256"] in text
    assert "http" not in text.replace("http-equiv", "")  # self-contained
    assert {r["method"] for r in facts["rows"]} == {"vote", "nothing", "expert"}
    assert facts["machine"]["numpy"] == np.__version__


@pytest.mark.slow
def test_workers_and_a_kill_change_nothing(base, start_icl_vla, icl_vla, tmp_path):
    chosen = suite("killed", "vote", "random", "nothing", episodes=4)
    file = tmp_path / "killed.yaml"
    file.write_text(chosen.to_yaml())
    alone = run_suite(chosen, base, films=0)
    whole = results(base, "killed")
    log = benchmark_path(base) / "killed" / "results.jsonl"
    log.unlink()
    words = ["benchmark", "run", str(file), "--workers", "2", "--films", "0"]
    for stop_at in (2, 7):
        process = start_icl_vla(base, *words)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if log.exists() and log.read_bytes().count(b"\n") >= stop_at:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.02)
        assert process.wait(60) == -signal.SIGKILL
        kept = results(base, "killed")
        assert stop_at <= len(kept) < len(whole) and all(r in whole for r in kept)
    done = icl_vla(base, *words, "--json")
    assert done.returncode == 0, done.stderr
    assert results(base, "killed") == whole
    assert json.loads(done.stdout)["table_sha256"] == alone["table_sha256"]


@pytest.mark.slow
def test_ray_gives_the_same_results(base):
    pytest.importorskip("ray", reason="Ray is not installed")
    chosen = suite("rays", "random", "nothing", episodes=2)
    here = run_suite(chosen, base, films=0)
    (benchmark_path(base) / "rays" / "results.jsonl").unlink()
    there = run_suite(chosen, base, films=0, workers=2, ray="local")
    assert there["table_sha256"] == here["table_sha256"]


def test_without_ray_it_says_how_to_get_it(base):
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(ReportedError) as caught:
            run_suite(suite("again", "nothing"), base, ray="auto")
        assert "pip install" in str(caught.value.remedy)
    else:
        pytest.skip("Ray is installed")


def test_a_wrist_camera_sees_from_where_the_hand_is(base):
    """Points of both cameras lie on the table, through the pose of the link that carries one."""
    from icl_vla.perception.components import points_in_base
    from icl_vla.sim.families import draw

    cell = at_task(base, ROBOT, draw("reach", 3), "wrist")
    for seed in (0, 1):
        observation = cell.reset(seed)
        links = cell.model.link_poses(observation.q)
        wrist = observation.cameras["wrist"]
        assert wrist.mount == cell.embodiment.tcp[cell.workspace.effector].link
        for image in observation.cameras.values():
            points = points_in_base(image, links)[image.depth > 0]
            low = points[np.abs(points[:, 2]) < 0.02]
            assert len(low) > 0.2 * image.depth.size
            assert abs(np.median(low[:, 2])) < 0.003  # depth's noise is 2 mm
        tool = cell.model.poses(observation.q)[cell.workspace.effector][:3, 3]
        seen = points_in_base(wrist, links)[wrist.depth > 0]
        assert np.linalg.norm(np.median(seen, axis=0)[:2] - tool[:2]) < 0.15
