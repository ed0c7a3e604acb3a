"""Encode is decode's inverse, the text is the space, and conventions mean what they say."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from icl_vla_embodiments import (
    ActionSpace,
    ActionSpaceError,
    Dimension,
    Frame,
    Kind,
    Reference,
    Rotation,
    SpaceState,
    TaskTarget,
    se3,
)
from icl_vla_embodiments.action_space import UNITS, gripper_dimension, make_example, pose_dimensions

RNG = np.random.default_rng(0)


def pose() -> np.ndarray:
    return se3.pose(se3.exp3(RNG.normal(size=3)), RNG.normal(size=3))


def state(**fields) -> SpaceState:
    commanded = TaskTarget(poses={"hand": pose()}, grippers={"hand": 0.8})
    fields = {"poses": {"hand": pose()}, "grippers": {"hand": 0.3}, "commanded": commanded} | fields
    return SpaceState(T_world_base=pose(), **fields)


# an absolute pose in the body's own frame means nothing
CONVENTIONS = {*itertools.product(Frame, Reference)} - {(Frame.BODY, Reference.ABSOLUTE)}


@pytest.mark.parametrize("rotation", Rotation)
@pytest.mark.parametrize(("frame", "reference"), sorted(CONVENTIONS))
def test_poses_round_trip(rotation, frame, reference):
    dims = pose_dimensions("hand", frame=frame, reference=reference, rotation=rotation)
    grip = replace(gripper_dimension("hand"), reference=reference)
    space = ActionSpace("s", (*dims, grip), rate=10.0)
    here = state()
    targets = [
        TaskTarget(poses={"hand": pose()}, grippers={"hand": g}) for g in RNG.uniform(size=4)
    ]
    decoded = space.decode(space.encode(targets, here), here)
    for a, b in zip(targets, decoded, strict=True):
        assert np.allclose(a.poses["hand"], b.poses["hand"], atol=1e-9)
        assert a.grippers["hand"] == pytest.approx(b.grippers["hand"])


def test_twists_round_trip():
    """A twist held for one period brings the hand to the target."""
    linear = [
        Dimension(f"v{i}", Kind.EE_LINEAR_VELOCITY, effector="hand", component=i, unit="m/s")
        for i in range(3)
    ]
    angular = [
        Dimension(f"w{i}", Kind.EE_ANGULAR_VELOCITY, effector="hand", component=i, unit="rad/s")
        for i in range(3)
    ]
    for frame in Frame:
        space = ActionSpace("t", tuple(replace(d, frame=frame) for d in (*linear, *angular)), 20.0)
        here = state()
        targets = [TaskTarget(poses={"hand": pose()}) for _ in range(3)]
        decoded = space.decode(space.encode(targets, here), here)
        for a, b in zip(targets, decoded, strict=True):
            assert np.allclose(a.poses["hand"], b.poses["hand"], atol=1e-9)


def test_what_a_delta_counts_from():
    """One centimetre of x, three steps: along the references' own axes and origins."""
    here = SpaceState(
        poses={"hand": se3.pose(se3.yaw(np.pi / 2))},
        commanded=TaskTarget(poses={"hand": se3.pose(se3.yaw(np.pi / 2), (0, 0, 1))}),
    )
    dims = pose_dimensions("hand")[:3]
    native = np.tile([0.01, 0, 0], (3, 1))

    def ends(frame: Frame, reference: Reference) -> np.ndarray:
        space = ActionSpace(
            "d", tuple(replace(d, frame=frame, reference=reference) for d in dims), 10.0
        )
        return np.array([t.poses["hand"][:3, 3] for t in space.decode(native, here)])

    steps = 0.01 * np.arange(1, 4)[:, None]
    assert np.allclose(ends(Frame.BASE, Reference.MEASURED), steps * [1, 0, 0])
    assert np.allclose(ends(Frame.BODY, Reference.MEASURED), steps * [0, 1, 0])
    assert np.allclose(ends(Frame.BASE, Reference.CHUNK_START), [[0.01, 0, 0]] * 3)
    assert np.allclose(ends(Frame.BASE, Reference.COMMANDED), steps * [1, 0, 0] + [0, 0, 1])


def test_joints_round_trip(panda, panda_model):
    space = panda.action_space("joint_position")
    q = RNG.uniform(panda_model.lower, panda_model.upper, (4, panda_model.n))
    here = SpaceState(q=panda.neutral_q)
    targets = [TaskTarget(posture=x, grippers={"arm": 0.4}) for x in q]
    native = space.encode(targets, here)
    decoded = space.decode(native, here, panda_model)
    for x, target in zip(q, decoded, strict=True):
        arm = slice(0, 7)
        assert np.allclose(target.posture[arm], x[arm])
        expected = panda_model.poses(target.posture)["arm"]
        assert np.allclose(target.poses["arm"], expected)


def test_joint_actions_meet_a_pose_by_inverse_kinematics(panda, panda_model):
    space = panda.action_space("joint_position")
    here = SpaceState(q=panda.neutral_q, poses=panda_model.poses(panda.neutral_q))
    goal = here.poses["arm"].copy()
    goal[:3, 3] += (0.02, 0.05, -0.03)
    native = space.encode([TaskTarget(poses={"arm": goal})], here, panda_model)
    reached = space.decode(native, here, panda_model)[0].poses["arm"]
    assert np.allclose(reached, goal, atol=1e-4)


def test_conventions_of_a_dimension():
    """Percent, inverted, shifted: value = sign * (scale * u + offset) * unit."""
    d = Dimension("g", Kind.GRIPPER, unit="%", scale=2.0, offset=10.0, sign=-1)
    assert d.to_si(20.0) == pytest.approx(-0.5)
    u = RNG.normal(size=100)
    assert np.allclose(d.to_native(d.to_si(u)), u)


def random_space() -> ActionSpace:
    dims = []
    for i, kind in enumerate(Kind):
        if kind in (Kind.EE_ROTATION, Kind.BASE_ROTATION):
            continue
        vector = kind not in (
            Kind.JOINT_POSITION,
            Kind.JOINT_VELOCITY,
            Kind.JOINT_TORQUE,
            Kind.GRIPPER,
            Kind.IGNORED,
        )
        dims.append(
            Dimension(
                name=f"d_{i}",
                kind=kind,
                role=str(RNG.choice(["arm", "gripper", "base"])),
                effector=str(RNG.choice(["", "left hand", "arm"])),
                component=int(RNG.integers(3)) if vector else 0,
                joint=f"joint {i}" if "joint" in kind else "",
                unit=str(RNG.choice([u for u in UNITS if " " not in u])),
                scale=float(RNG.normal()),
                offset=float(RNG.choice([0.0, RNG.normal()])),
                sign=int(RNG.choice([1, -1])),
                lower=float(RNG.choice([-np.inf, RNG.normal()])),
                upper=float(RNG.choice([np.inf, RNG.normal()])),
                frame=Frame(RNG.choice(list(Frame))) if vector else Frame.BASE,
                reference=Reference(RNG.choice(list(Reference))),
            )
        )
    rotation = Rotation(RNG.choice(list(Rotation)))
    dims += pose_dimensions("arm", prefix="r_", rotation=rotation)[3:]
    axes = {"arm": tuple(bool(b) for b in RNG.integers(2, size=6))}
    return ActionSpace("a b", tuple(dims), float(RNG.uniform(1, 50)), axes, "one\ntwo")


@pytest.mark.parametrize("trial", range(30))
def test_text_round_trip(trial):
    space = random_space()
    assert ActionSpace.parse(space.describe()) == space


def test_texts_of_real_robots(panda):
    for space in (*panda.action_spaces, make_example()):
        assert ActionSpace.parse(space.describe()) == space


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("action space", "an action", 1),
        ("end-effector position", "end-effector colour", 2),
        ("body frame", "moon frame", 2),
        ("unit mm", "unit furlong", 2),
        ("limits -50.0", "limits fifty", 2),
        ("7 dimensions", "8 dimensions", 1),
        ("7. gripper", "gripper", 8),
    ],
)
def test_wrong_text_is_told_with_its_line(old, new, line):
    text = make_example().describe()
    assert old in text
    with pytest.raises(ActionSpaceError) as caught:
        ActionSpace.parse(text.replace(old, new, 1))
    assert caught.value.where == f"line {line}"


def test_contradictions_are_refused():
    dims = pose_dimensions("hand")
    with pytest.raises(ActionSpaceError, match="disagree"):
        ActionSpace("s", (replace(dims[0], frame=Frame.WORLD), *dims[1:]), 10.0)
    with pytest.raises(ActionSpaceError, match="repeats"):
        ActionSpace("s", (dims[0], dims[0]), 10.0)
    with pytest.raises(ActionSpaceError, match="components"):
        ActionSpace("s", dims[:5], 10.0)
    with pytest.raises(ActionSpaceError, match="rate"):
        ActionSpace("s", dims, 0.0)
    with pytest.raises(ActionSpaceError, match="unknown unit"):
        replace(dims[0], unit="furlong")
    with pytest.raises(ActionSpaceError, match="inverted"):
        replace(dims[0], scale=0.0)
    with pytest.raises(ActionSpaceError, match="6 dimensions"):
        ActionSpace("s", dims, 10.0).decode(np.zeros((2, 5)), state())
    with pytest.raises(ActionSpaceError, match="pose of 'hand'"):
        ActionSpace("s", dims, 10.0).decode(np.zeros((2, 6)), SpaceState())
