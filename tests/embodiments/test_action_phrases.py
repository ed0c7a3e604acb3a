"""A description in words makes the action space that it says; what it cannot say is told."""

import math
from pathlib import Path

import numpy as np
import pytest

from icl_vla_embodiments import (
    ActionSpace,
    ActionSpaceError,
    Frame,
    Kind,
    Reference,
    SpaceState,
    TaskTarget,
    se3,
)
from icl_vla_embodiments.action_phrases import VOCABULARY, amend
from icl_vla_embodiments.action_space import make_example

ROOT = Path(__file__).parents[2]
EXAMPLE = (
    "delta end-effector pose in base frame, metres, 10 Hz; gripper 0 closed, 1 open;"
    " joint 3 inverted"
)


def test_the_example(panda):
    spaces = amend(panda, EXAMPLE)
    space = spaces[0]
    assert space.names == ("x", "y", "z", "rx", "ry", "rz", "gripper") and space.rate == 10.0
    for d in space.dimensions[:6]:
        assert (d.reference, d.frame) == (Reference.MEASURED, Frame.BASE)
    assert space.notes == EXAMPLE
    assert ActionSpace.parse(space.describe()) == space
    inverted = next(s for s in spaces if s.name == "joint_position").dimensions[2]
    assert inverted.joint == "panda_joint3" and inverted.to_si(0.4) == -0.4
    assert {s.name for s in spaces} == {s.name for s in panda.action_spaces}


def test_what_is_said_is_executed(panda):
    """One native centimetre in the tool's axes, a gripper in percent that is open at 0."""
    text = "delta from commanded, tool frame, centimetres, degrees; gripper 100 closed, 0 open"
    space = amend(panda, text)[0]
    here = se3.pose(se3.yaw(np.pi / 2), (0.3, 0, 0.4))
    state = SpaceState(poses={"arm": here}, commanded=TaskTarget(poses={"arm": here}))
    target = space.decode([[1.0, 0, 0, 0, 0, 90, 25]], state)[0]
    assert np.allclose(target.poses["arm"][:3, 3], (0.3, 0.01, 0.4))
    assert np.allclose(target.poses["arm"][:3, :3], se3.yaw(np.pi))
    assert target.grippers["arm"] == pytest.approx(0.75)
    assert np.allclose(space.encode([target], state), [[1, 0, 0, 0, 0, 90, 25]])


def test_normalised_joints(panda):
    space = amend(panda, "joint positions, range -100 to 100, 30 Hz; joint 2 inverted")[0]
    low, high = panda.array("lower"), panda.array("upper")
    arm = [d for d in space.dimensions if d.kind is Kind.JOINT_POSITION]
    ends = np.array([sorted((d.to_si(-100.0), d.to_si(100.0))) for d in arm])
    assert np.allclose(ends[:, 0], low[:7]) and np.allclose(ends[:, 1], high[:7])
    assert arm[1].to_si(100.0) == pytest.approx(low[1])


@pytest.mark.parametrize(
    ("text", "kind", "unit"),
    [
        ("joint velocities in degrees per second", Kind.JOINT_VELOCITY, "deg/s"),
        ("tcp twist, mm/s", Kind.EE_LINEAR_VELOCITY, "mm/s"),
        ("absolute ee pose as quaternion in the world frame, mm", Kind.EE_POSITION, "mm"),
        ("delta joint angles", Kind.JOINT_POSITION, "rad"),
    ],
)
def test_kinds(panda, text, kind, unit):
    space = amend(panda, text)[0]
    first = space.dimensions[0]
    assert (first.kind, first.unit) == (kind, unit)
    assert math.isfinite(first.lower) and first.lower < first.upper


def test_a_gripper_can_be_left_out_or_turned_round(panda):
    assert "gripper" not in amend(panda, "no gripper")[0].names
    turned = amend(panda, "gripper inverted")[0].dimensions[-1]
    assert (turned.to_si(0.0), turned.to_si(1.0)) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "phrase", "near"),
    [
        ("delta end-efector pose", "end-efector pose", "end-effector pose"),
        ("milimetres", "milimetres", "millimetres"),
        ("metres, moon frame", "moon frame", "world frame"),
        ("gripper 0 shut, 1 open", "0 shut", "N open"),
        ("joint 3 invertd", "invertd", "inverted"),
    ],
)
def test_unknown_phrases_are_named_with_the_nearest(panda, text, phrase, near):
    with pytest.raises(ActionSpaceError) as caught:
        amend(panda, text)
    assert repr(phrase) in caught.value.problem
    assert near in caught.value.valid


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metres, millimetres", "contradicts"),
        ("delta, absolute", "contradicts"),
        ("joint 12 inverted", "no joint '12'"),
        ("gripper 1 closed", "both its values"),
        ("gripper 1 closed, 1 open", "the same"),
        ("absolute end-effector pose in tool frame", "tool's own frame"),
        ("joint positions, metres", "fits none"),
    ],
)
def test_contradictions(panda, text, message):
    with pytest.raises(ActionSpaceError) as caught:
        amend(panda, text)
    assert message in caught.value.problem


def test_the_vocabulary_is_documented():
    text = (ROOT / "docs" / "describe.md").read_text()
    for words in VOCABULARY.values():
        assert all(f"`{word}`" in text for word in words)


def test_an_action_space_by_hand(tmp_path):
    """YAML without any URDF, whole and exact, and good for task-frame control."""
    for space in (make_example(), ActionSpace.parse(make_example().describe())):
        assert ActionSpace.from_yaml(space.to_yaml()) == space
    file = tmp_path / "space.yaml"
    file.write_text(
        "name: hand_made\nrate: 5\ntask_axes: {hand: [x, y, z]}\nnotes: slow\ndimensions:\n"
        + "".join(
            f"- {{name: {a}, kind: end-effector position, effector: hand, component: {i},"
            " unit: mm, reference: delta from measured, lower: -10, upper: 10}\n"
            for i, a in enumerate("xyz")
        )
    )
    space = ActionSpace.from_yaml(file)
    target = space.decode([[0, 5, 0]], SpaceState(poses={"hand": np.eye(4)}))[0]
    assert np.allclose(target.poses["hand"][:3, 3], (0, 5e-3, 0))
    assert space.task_axes == {"hand": (True, True, True, False, False, False)}


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("[", "", "cannot be read"),
        ("rate: 10", "", "dimensions"),
        ("dimensions: []\nrate: fast", "", "rate"),
        ("dimensions: []\nrate: 10\ncolour: red", "", "unknown key"),
        ("rate: 10\ndimensions: [{name: x}]", "dimension 1", "name and a kind"),
        ("rate: 10\ndimensions: [{name: x, kind: smell}]", "dimension 1", "unknown kind"),
        ("rate: 10\ndimensions: [{name: x, kind: ignored, scale: .nan}]", "dimension 1", "number"),
        ("rate: 10\ndimensions: [{name: x, kind: ignored, color: 1}]", "dimension 1", "key"),
        ("rate: 10\ndimensions: [{name: x, kind: ignored, unit: mile}]", None, "unknown unit"),
    ],
)
def test_wrong_yaml_is_told(text, where, message):
    with pytest.raises(ActionSpaceError) as caught:
        ActionSpace.from_yaml(text)
    assert message in caught.value.problem
    assert where is None or where in caught.value.where
