"""The conformance suite: sound robots pass, and each defect is found by the check meant for it."""

from dataclasses import replace

import numpy as np
import pytest

from icl_vla_embodiments import ActionSpace, Command, Observation, PluginError, hookimpl
from icl_vla_embodiments.conformance import (
    CHECKS,
    Case,
    ConformanceError,
    Unfinished,
    cases,
    conformance,
)
from icl_vla_embodiments.conformance.checks import (
    LICENCE_IS_MISSING,
    check_driver,
    make_embodiment,
)
from icl_vla_embodiments.embodiment import Flag
from icl_vla_embodiments.packaged import load_packaged, save_packaged


@pytest.fixture(scope="module")
def robot(panda, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packaged")
    save_packaged(panda, folder)
    return load_packaged(folder)


def failing(robot):
    """Titles of the checks that a robot fails."""
    found = []
    for check in CHECKS:
        try:
            check(robot)
        except ConformanceError:
            found.append(check.__name__.removeprefix("check_"))
    return found


def limit(robot, **values):
    joint = robot.joints[3]
    return robot.with_(limits={**robot.limits, joint: replace(robot.limits[joint], **values)})


class Forgetful(ActionSpace):
    """An action space whose encoding is not the inverse of its decoding."""

    def encode(self, targets, state, model=None):
        return super().encode(targets, state, model) * 0.999


def forgetful(robot):
    space = robot.action_spaces[0]
    broken = Forgetful(space.name, space.dimensions, space.rate, space.task_axes, space.notes)
    return robot.with_(action_spaces=(broken,))


def mute(robot):
    space = robot.action_spaces[0]
    dims = (replace(space.dimensions[0], name="x: y"), *space.dimensions[1:])
    return robot.with_(action_spaces=(replace(space, dimensions=dims),))


DEFECTS = {
    "another file": (lambda r: r.with_(urdf_sha256="0" * 64), ["urdf"]),
    "no mesh": (lambda r: r.with_(urdf=r.urdf.replace("link3.obj", "nothing.obj")), ["urdf"]),
    "unknown joint": (
        lambda r: r.with_(groups=(replace(r.groups[0], joints=("nothing",)),)),
        ["groups"],
    ),
    "unknown tip": (
        lambda r: r.with_(groups=(replace(r.groups[0], tip_link="nothing"),), tcp={}),
        ["groups", "kinematics", "action_spaces"],
    ),
    "gripper too wide": (
        lambda r: r.with_(groups=(r.groups[0], replace(r.groups[1], open=(9.0,)))),
        ["groups"],
    ),
    "no effort": (lambda r: limit(r, effort=0.0), ["limits"]),
    "endless speed": (lambda r: limit(r, velocity=np.inf), ["limits"]),
    "neutral outside": (lambda r: r.with_(neutral={**r.neutral, r.joints[3]: 1.0}), ["neutral"]),
    "neutral incomplete": (lambda r: r.with_(neutral={}), ["neutral"]),
    "no action space": (lambda r: r.with_(action_spaces=()), ["action_spaces"]),
    "no inverse": (forgetful, ["action_spaces"]),
    "no description": (mute, ["action_spaces"]),
}


def test_a_sound_robot_passes(robot):
    assert failing(robot) == []


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found(defect, robot):
    damage, expected = DEFECTS[defect]
    found = []
    for check in CHECKS:
        title = check.__name__.removeprefix("check_")
        try:
            check(damage(robot))
        except Exception:  # a check may also stumble over what it is given; it does not pass
            found.append(title)
    assert found == expected


def test_the_licence_has_to_be_stated(robot):
    file = robot.urdf_path.parent / "LICENSE"
    file.write_text(f"{LICENCE_IS_MISSING}\nplease")
    try:
        assert failing(robot) == ["licence"]
        with pytest.raises(Unfinished):
            next(c for c in CHECKS if c.__name__ == "check_licence")(robot)
        file.write_text("BSD-3-Clause\n")
        assert failing(robot) == []
    finally:
        file.unlink()


def test_doubts_have_to_be_answered(robot):
    doubtful = robot.with_(flags=(Flag("ee", "Is link 7 the last?", "link7"),))
    with pytest.raises(Unfinished, match="Is link 7 the last"):
        next(c for c in CHECKS if c.__name__ == "check_doubts")(doubtful)
    assert failing(doubtful) == ["doubts"]


def test_what_a_factory_returns(robot):
    with pytest.raises(ConformanceError, match="neither"):
        make_embodiment("acme", lambda: 3)
    with pytest.raises(ConformanceError, match="another name"):
        make_embodiment("acme", lambda: robot)
    assert make_embodiment(robot.name, lambda: robot) is robot


class Still:
    """A driver of a robot that does not move."""

    def __init__(self, embodiment):
        self.embodiment = embodiment

    def reset(self, seed=None):
        return self.observe()

    def observe(self, *, cameras=True):
        return Observation(time=0.0, q=self.embodiment.neutral_q)

    def command(self, command: Command, duration: float):
        assert duration > 0

    def stop(self): ...

    def clock(self):
        return 0.0


class Deaf(Still):
    command = None


class Blind(Still):
    def observe(self):
        return super().observe()


class Stub(Still):
    STUB = True


def test_drivers(robot):
    assert check_driver(Still, robot) == "Still"
    for driver, message in ((Deaf, "no method 'command'"), (Blind, "observe cannot be called")):
        with pytest.raises(ConformanceError, match=message):
            check_driver(driver, robot)
    with pytest.raises(Unfinished, match="stub"):
        check_driver(Stub, robot)


class Vendor:
    def __init__(self, robot):
        self.robot = robot

    @hookimpl
    def register_embodiments(self, register):
        register("sound", lambda: self.robot.with_(name="sound"))
        register("unsound", lambda: 1 / 0)

    @hookimpl
    def register_drivers(self, register):
        register("sound", Stub)
        register("anybody's", Deaf)


def test_a_plugin_is_checked_whole(robot, monkeypatch):
    from icl_vla_embodiments.plugins import Plugins

    load = Plugins.load_entry_points
    monkeypatch.setattr(
        Plugins, "load_entry_points", lambda self: (load(self), self.register(Vendor(robot), "v"))
    )
    by_outcome = {"passed": set(), "failed": set(), "unfinished": set()}
    for result in conformance("v"):
        by_outcome[result.outcome].add((result.subject, result.check))
    titles = {c.__name__.removeprefix("check_").replace("_", " ") for c in CHECKS}
    assert by_outcome["failed"] == {("unsound", t) for t in titles} | {("anybody's", "driver")}
    assert by_outcome["unfinished"] == {("sound", "driver")}
    assert {("sound", t) for t in titles} < by_outcome["passed"]
    assert str(Case("sound", "urdf", str)) == "sound: urdf"
    with pytest.raises(PluginError, match="no plugin is called"):
        cases("w")
