"""``icl-vla explain``: the account is the run, and what it says is what the chunks hold."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from icl_vla.cli import main
from icl_vla.evaluation.attempt import run_trial
from icl_vla.evaluation.explain import Look, by_thing, relive
from icl_vla.evaluation.explain_picture import draw, placed, projected
from icl_vla.evaluation.explain_words import story, words
from icl_vla.evaluation.trials import Trial
from icl_vla.policy.interface import Trace
from icl_vla_embodiments import ActionChunk, EffectorState, Observation, ReportedError, se3

from .conftest import ROBOT

SEED = 5003


@pytest.fixture(scope="module")
def accounts(home, instructions):
    """One run of each kind of policy, and of one that tells nothing."""
    words = instructions["pick-place"]
    return {
        method: relive(home, ROBOT, words, scene=None, method=method, seed=SEED)
        for method in ("vote", "learned", "mean_trajectory")
    }


def test_the_account_is_the_run(home, bank, accounts):
    """A witness changes nothing, and hears and sees what happened."""
    account = accounts["vote"]
    result = account.result
    plain = run_trial(Trial(ROBOT, result.task, "vote", SEED, result.context), home, bank.path)
    for field in ("success", "ended", "seconds", "levels", "violations"):
        assert getattr(plain, field) == getattr(result, field), field
    times = np.array([look.observation.time for look in account.looks])
    begun = np.stack([look.chunk.start["arm"][:3, 3] for look in account.looks])
    assert np.abs(account.executed("arm", times) - begun).max() < 1e-9
    assert np.ptp(account.executed("arm", account.times), axis=0).max() > 0.1


@pytest.mark.parametrize("method", ["vote", "learned"])
def test_every_policy_tells_the_same_way(method, accounts, bank):
    account = accounts[method]
    for look in account.looks:
        trace = look.chunk.trace
        assert set(trace) <= set(Trace.__annotations__)
        assert sum(trace["frames"].values()) == pytest.approx(1, abs=1e-5)
        assert sum(look.shares.values()) == pytest.approx(1, abs=1e-5)
        things = {f"thing {m}" for m in trace["shared_tokens"]} | {"base", "end effector"}
        assert {what for what, share in look.shares.items() if share > 0} <= things
        if "agreement" in trace:
            assert trace["agreement"].keys() == trace["frames"].keys()
            assert sum(trace["agreement"].values()) == pytest.approx(1, abs=1e-5)
        then = trace["tokens_then"]
        assert then.shape == (len(look.chunk.neighbours), len(trace["tokens"]), 3)
        for m in trace["shared_tokens"]:
            assert np.isfinite(then[:, m]).all(axis=1).mean() >= 0.6
    assert "agreement" in trace or method == "vote"


def test_the_cube_leads_first_and_the_bowl_at_last(accounts):
    """What leads is told apart by where it lies: near the hand as the gripper closes, or opens."""
    account = accounts["vote"]
    assert account.result.success
    asked = np.array([look.opening for look in account.looks])
    closes = int(np.flatnonzero(asked < 0.5)[0])
    opens = closes + int(np.flatnonzero(asked[closes:] > 0.5)[0])
    stretches = story(account)
    assert [s.first for s in stretches[1:]] == [s.last + 1 for s in stretches[:-1]]
    leaders = []
    for step in (closes, opens):
        look = account.looks[step]
        assert look.leader == next(s.leader for s in stretches if s.first <= step <= s.last)
        thing = look.chunk.trace["tokens"][int(look.leader.split()[1])]
        assert np.linalg.norm((thing - look.path()[0])[:2]) < 0.05, step
        leaders.append(look.leader)
    assert leaders[0] != leaders[1]


def test_sentences_say_what_was_asked_and_done(accounts):
    """A look made up so that every figure is known."""
    account = accounts["vote"]
    begin = account.looks[2]
    T = begin.chunk.start["arm"]
    far = np.stack([se3.pose(T[:3, :3], T[:3, 3] + [0, 0, 0.1 * h]) for h in range(1, 5)])
    chunk = ActionChunk.from_poses(
        begin.chunk.time,
        0.1,
        {"arm": T},
        {"arm": far},
        grippers={"arm": np.zeros(4)},
        confidence=np.full(4, 0.25),
        neighbours=begin.chunk.neighbours[:1],
        trace={
            "frames": {"token 2 now": 0.7, "token 2 first turned": 0.1, "base": 0.2},
            "agreement": {"token 2 now": 0.2, "token 2 first turned": 0.1, "base": 0.7},
            "correction": 0.012,
            "missed": 0.19,
        },
    )
    seen = Observation(chunk.time, effectors={"arm": EffectorState(gripper=0.9)})
    looks = (*account.looks[:2], Look(seen, chunk), *account.looks[3:])
    text = " ".join(words(replace(account, looks=looks), 2))
    assert "thing 2 (80%) and the base (20%)" in text
    assert "moved 50% of the weight" in text and "up to 12 mm" in text
    assert "asked to go 400 mm" in text
    ends = account.executed("arm", np.array([chunk.time + 0.4]))[0]
    assert f"ended {1000 * np.linalg.norm(ends - far[-1][:3, 3]):.0f} mm from there" in text
    assert "closes to 0% (measured 90%)" in text and "Confidence 0.25" in text
    assert f"demonstration {chunk.neighbours[0].episode} at frame" in text
    assert "a thing is 190 mm farther from its place than it was shown: it begins again" in text
    over = (*looks[:2], Look(seen, replace(chunk, done=True)), *looks[3:])
    assert "over all the same" in " ".join(words(replace(account, looks=over), 2))
    assert by_thing({"left: token 1 now": 0.5, "left: base": 0.3, "token 1 first": 0.2}) == {
        "thing 1": 0.7,
        "base": 0.3,
    }


@pytest.mark.parametrize("method", ["vote", "learned", "mean_trajectory"])
def test_pictures_show_every_look(method, accounts):
    account = accounts[method]
    drawn = [np.asarray(Image.open(io.BytesIO(draw(account, i)))) for i in (0, 3)]
    for picture in drawn:
        assert picture.shape[:2] == (1150, 1400)
    assert (drawn[0] != drawn[1]).any(axis=-1).mean() > 0.003
    assert words(account, 3)
    unsure = account.looks[account.look(None)].confidence
    known = [x.confidence for x in account.looks if x.confidence is not None]
    assert unsure == min(known, default=None)


def test_things_are_ringed_where_the_camera_shows_them(accounts):
    """Behind the pixel of a thing's middle lies its surface: nearer by half its depth at most."""
    look = accounts["vote"].looks[0]
    trace, camera = look.chunk.trace, look.observation.cameras["front"]
    places = trace["tokens"][trace["shared_tokens"]]
    T = placed(camera, {})
    depths = se3.act(se3.inverse(T), places)[:, 2]
    for (x, y), depth in zip(projected(camera, T, places), depths, strict=True):
        assert abs(camera.depth[round(y), round(x)] - depth) < 0.04
    behind = T[:3, 3] - T[:3, 2]
    assert np.isnan(projected(camera, T, behind[None])).all()


def explained(capsys, *args: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["icl-vla", "explain", *args])
        with pytest.raises(SystemExit) as ended:
            main()
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


def test_the_command(home, instructions, accounts, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ICL_VLA_HOME", str(home))
    asked = (ROBOT, instructions["pick-place"], "--seed", str(SEED))
    file = tmp_path / "deep" / "look.png"
    code, out, _ = explained(capsys, *asked, "--step", "2", "--json", "--picture", str(file))
    assert code == 0
    told = json.loads(out)
    account = accounts["vote"]
    assert told["looks"] == len(account.looks) and told["look"] == 2
    assert told["words"] == words(account, 2)
    assert told["run"][-1]["last"] == len(account.looks) - 1
    assert Image.open(file).size == (1400, 1150)

    for args, hint in (
        ((*asked, "--step", "999"), f"0 to {len(account.looks) - 1}"),
        ((*asked, "--method", "votes"), "vote"),
        ((*asked, "--scene", "push"), "another instruction"),
        ((ROBOT, "juggle three chainsaws"), instructions["push"]),
        (("nobody", "push"), ROBOT),
    ):
        code, out, err = explained(capsys, *args)
        assert code == 2 and "Traceback" not in out + err
        assert hint in " ".join(err.replace("│", " ").split()), err
    with pytest.raises(ReportedError, match="no such look"):
        account.look(-1)
