"""Columns of recordings whose truth is known, matched to a robot."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_retrieval import DatasetError
from icl_vla_retrieval.columns import Match, match
from icl_vla_retrieval.formats import Given, RawEpisode

Array = NDArray[np.float64]
Motion = Any  # of conftest.py


@dataclass
class Scene:
    """Motions of a robot, and a way to write them down."""

    robot: Embodiment
    model: RobotModel
    motions: list[Motion]

    @property
    def joints(self) -> list[str]:
        return list(self.robot.joints[:7])

    def episodes(self, write, names=(), *, rate: float | None = 20.0, times=None):
        return [
            RawEpisode("test", f"episode {i}", write(m), names, times=times and times(m), rate=rate)
            for i, m in enumerate(self.motions)
        ]

    def match(self, write, names=(), given: Given | None = None, **more) -> Match:
        episodes = self.episodes(write, dict(names), **more)
        return match(episodes, self.robot, self.model, given or Given())

    def check(self, m: Match, write, *, state: bool = True, commands: bool = True) -> None:
        """Measured joints, openings and commanded tool poses are the true ones."""
        for episode, true in zip(self.episodes(write), self.motions, strict=True):
            d = m.demonstration(episode, self.model)
            if state:
                assert np.abs(d.q[:, :7] - true.q).max() < 1e-6
                assert np.abs(d.grippers["arm"] - true.opening).max() < 1e-6
            if commands:
                wanted = np.stack([true.pose(self.model, c) for c in true.commands])
                assert np.abs(d.commands["arm"] - wanted).max() < 2e-3
                assert np.abs(d.gripper_commands["arm"] - true.closing).max() < 1e-6


@pytest.fixture(scope="module")
def scene(panda: Embodiment, panda_model: RobotModel, motions: list[Motion]) -> Scene:
    return Scene(panda, panda_model, motions)


def vectors(m: Motion, order=None, scale: float = 1.0) -> dict[str, Array]:
    """State and action of seven joints and a gripper's opening."""
    order = list(range(7)) if order is None else list(order)
    state = np.column_stack([scale * m.q[:, order], m.opening])
    action = np.column_stack([scale * m.commands[:, order], m.closing])
    return {"state": state, "action": action}


def flagged(m: Match) -> set[str]:
    return {d.aspect for d in m.flags}


def decided(m: Match, aspect: str, column: str) -> str:
    return next(d.value for d in m.decisions if (d.aspect, d.column) == (aspect, column))


def test_order_by_name_whatever_the_spelling(scene: Scene) -> None:
    order = [6, 0, 3, 1, 5, 2, 4]
    joints = [scene.joints[i] for i in order]
    for spell in (str, str.upper, lambda j: f"main_{j}.pos", lambda j: j.replace("_", " ")):
        labels = (*map(spell, joints), "gripper")

        def write(m: Motion) -> dict[str, Array]:
            return vectors(m, order)

        found = scene.match(write, {"state": labels, "action": labels})
        assert decided(found, "joints", "state") == ",".join([*joints, "panda_hand"]).replace(
            "panda_hand", "gripper"
        )
        assert not flagged(found) & {"joints", "actions", "unit"}
        scene.check(found, write)


@pytest.mark.parametrize("first", [0, 1])
def test_numbered_joints_count_from_base_to_tip(scene: Scene, first: int) -> None:
    """The robot's own are panda_joint1 ... 7: a set with a joint 0 counts from there."""
    order = [3, 0, 6, 1, 5, 2, 4]
    labels = (*(f"panda_joint_{k + first}" for k in order), "gripper")

    def write(m: Motion) -> dict[str, Array]:
        return vectors(m, order)

    found = scene.match(write, {"state": labels, "action": labels})
    assert not flagged(found) & {"joints", "actions", "unit"}
    scene.check(found, write)


def test_order_by_forward_kinematics(scene: Scene) -> None:
    """Without names, a recorded pose of another tool in another frame tells the order."""
    order = [2, 0, 1, 4, 3, 6, 5]
    X = se3.pose(se3.exp3([0.1, -0.2, 0.9]), [0.4, -0.3, 0.8])
    Y = se3.pose(se3.exp3([0.3, 0.2, -0.7]), [0.02, 0.0, 0.11])

    def write(m: Motion) -> dict[str, Array]:
        T = X @ np.stack([m.pose(scene.model, q) for q in m.q]) @ Y
        pose = np.concatenate([T[:, :3, 3], se3.quat_xyzw(T[:, :3, :3])], axis=1)
        return {**vectors(m, order, 180 / math.pi), "ee_pose": pose}

    found = scene.match(write)
    assert decided(found, "unit", "state") == "deg"
    assert not flagged(found) & {"joints", "unit"}
    scene.check(found, write)


def test_an_order_that_cannot_be_known_is_asked(scene: Scene) -> None:
    found = scene.match(vectors)
    assert "joints" in flagged(found)
    doubt = next(d for d in found.flags if d.aspect == "joints")
    listed = ",".join([*scene.joints[::-1], "gripper"])
    given = doubt.answered(listed)
    settled = scene.match(vectors, given=given)
    assert decided(settled, "joints", "state") == listed
    assert list(settled.measured.joints) == scene.joints[::-1]


@pytest.mark.parametrize("unit", ["deg", "-100..100", "-1..1"])
def test_units(scene: Scene, unit: str) -> None:
    limits = [scene.robot.limits[j] for j in scene.joints]
    lower, upper = (np.array([getattr(x, end) for x in limits]) for end in ("lower", "upper"))

    def native(q: Array) -> Array:
        if unit == "deg":
            return np.degrees(q)
        ends = 100.0 if unit == "-100..100" else 1.0
        return ends * (2 * (q - lower) / (upper - lower) - 1)

    def write(m: Motion) -> dict[str, Array]:
        return {
            "state": np.column_stack([native(m.q), m.opening]),
            "action": np.column_stack([native(m.commands), m.closing]),
        }

    labels = (*scene.joints, "gripper")
    named = {"state": labels, "action": labels}
    free = scene.match(write, named)
    # another unit may fit within the limits as well; then it is asked, never taken for sure
    assert decided(free, "unit", "state") == unit or "unit" in flagged(free)
    given = scene.match(write, named, Given(unit={"state": unit}))
    assert not flagged(given) & {"unit", "actions"}
    scene.check(given, write)


@pytest.mark.parametrize("reference", ["delta", "velocity"])
def test_changes_are_told_from_positions(scene: Scene, reference: str) -> None:
    """Joint deltas from what is measured, and velocities towards the next measured frame."""

    def write(m: Motion) -> dict[str, Array]:
        change = m.commands - m.q
        if reference == "velocity":
            change = np.diff(m.commands, axis=0, append=m.commands[-1:]) * 20.0
        action = np.column_stack([change, m.closing])
        return {"state": np.column_stack([m.q, m.opening]), "action": action}

    labels = (*scene.joints, "gripper")
    found = scene.match(write, {"state": labels, "action": labels})
    assert not flagged(found) & {"actions", "action unit"}
    kinds = {str(d.kind) for d in found.space.dimensions if d.joint}
    assert kinds == {"joint velocity" if reference == "velocity" else "joint position"}
    scene.check(found, write, commands=reference == "delta")


def test_a_tool_pose_as_action(scene: Scene) -> None:
    def write(m: Motion) -> dict[str, Array]:
        T = np.stack([m.pose(scene.model, c) for c in m.commands])
        action = np.column_stack([T[:, :3, 3], se3.euler_xyz(T[:, :3, :3]), m.closing])
        return {"state": np.column_stack([m.q, m.opening]), "action": action}

    labels = (*scene.joints, "gripper")
    found = scene.match(write, {"state": labels})
    assert not flagged(found) & {"actions", "pose"}
    assert found.space.dimensions[3].rotation == "euler_xyz"
    scene.check(found, write)


def test_an_inverted_gripper_shows_by_contact(scene: Scene) -> None:
    """Command and measurement are both 1 for closed; what is grasped stops closing fingers only."""

    def write(m: Motion) -> dict[str, Array]:
        return {
            "state": np.column_stack([m.q, 1 - m.opening]),
            "action": np.column_stack([m.commands, 1 - m.closing]),
        }

    labels = (*scene.joints, "gripper")
    found = scene.match(write, {"state": labels, "action": labels})
    assert "gripper" not in flagged(found)
    assert decided(found, "gripper", "state.gripper") == "1..0"
    scene.check(found, write)


def test_a_gripper_that_never_meets_anything_is_asked(scene: Scene) -> None:
    free = [replace(m, opening=m.free) for m in scene.motions]
    empty = Scene(scene.robot, scene.model, free)
    labels = (*scene.joints, "gripper")
    names = {"state": labels, "action": labels}
    found = empty.match(vectors, names)
    doubts = [d for d in found.flags if d.aspect == "gripper"]
    assert {d.column for d in doubts} == {"state.gripper", "action.gripper"}
    settled = empty.match(vectors, names, doubts[0].answered(doubts[0].others[0]))
    assert "gripper" not in flagged(settled)  # the other goes with the one that was settled
    d = settled.demonstration(empty.episodes(vectors)[0], scene.model)
    assert np.abs(d.grippers["arm"] - (1 - free[0].opening)).max() < 1e-6


def test_the_rate(scene: Scene) -> None:
    labels = {"state": (*scene.joints, "gripper"), "action": (*scene.joints, "gripper")}

    def stamps(m: Motion) -> Array:
        return 1e9 + np.arange(len(m.q)) / 20

    assert scene.match(vectors, labels, rate=None, times=stamps).rate == 20
    contradicted = scene.match(vectors, labels, rate=50.0, times=stamps)
    assert contradicted.rate == 20
    assert "rate" in flagged(contradicted)
    assert "rate" in flagged(scene.match(vectors, labels, rate=None))
    given = scene.match(vectors, labels, Given(rate=12.5), rate=None)
    assert (given.rate, flagged(given) & {"rate"}) == (12.5, set())
    with pytest.raises(DatasetError, match="not a rate"):
        scene.match(vectors, labels, Given(rate=0.0))


def test_refusals_name_what_is_valid(scene: Scene) -> None:
    with pytest.raises(DatasetError, match="no such column") as caught:
        scene.match(vectors, given=Given(map={"stat": "state"}))
    assert caught.value.valid == ("state (8)", "action (8)")
    with pytest.raises(DatasetError, match="no such joint") as caught:
        scene.match(vectors, given=Given(map={"state.0": "elbow"}))
    assert "panda_joint1" in caught.value.valid
    with pytest.raises(DatasetError, match="no joint positions"):
        scene.match(lambda m: {"weight": m.q[:, :3], "action": m.commands})

    def broken(m: Motion) -> dict[str, Array]:
        out = vectors(m)
        out["state"][2, 1] = np.nan
        return out

    with pytest.raises(DatasetError, match="not finite"):
        scene.match(broken)
