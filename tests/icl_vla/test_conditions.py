"""What trials vary: drawn bodies and conventions, spoilt pictures, things that go wrong."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from icl_vla.evaluation.artifacts import ARTIFACTS
from icl_vla.evaluation.disturbances import DISTURBANCES, DisturbedDriver, disturbance
from icl_vla.runtime.loop import execute
from icl_vla.sim.bodies import KINDS, draw_body
from icl_vla.sim.conventions import FACTORS, draw_convention, held_out
from icl_vla.sim.families import draw
from icl_vla.sim.task import Expert
from icl_vla.sim.workspace import Workspace
from icl_vla_embodiments import Command, ReportedError, SpaceState, TaskTarget, UnknownName
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_body_can_work_on_a_table(kind: str, tmp_path: Path) -> None:
    body = draw_body(3, kind)
    assert body == draw_body(3, kind) and body != draw_body(4, kind)
    file = tmp_path / f"{body.name}.urdf"
    file.write_text(body.urdf)
    robot = embodiment_from_urdf(file)
    (arm,) = robot.arms
    assert robot.gripper_of(arm.name) is not None
    assert Workspace.of(RobotModel(robot)).aperture == pytest.approx(0.08, abs=0.025)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_drawn_convention_says_where_to_go(cell, split: str) -> None:
    at_task = cell("push")
    robot, model, arm = at_task.embodiment, at_task.model, at_task.effector
    T = model.poses(model.neutral)[arm]
    goal = T.copy()
    goal[:3, 3] += [0.01, 0.02, -0.01]
    state = SpaceState(poses={arm: T}, q=model.neutral, grippers={arm: 0.5})
    for seed in range(20):
        drawn = draw_convention(robot, arm, seed, split)
        assert held_out(drawn.factors) == (split == "test") and drawn.told == drawn.true
        assert set(drawn.factors) == set(FACTORS)
        target = TaskTarget(poses={arm: goal}, grippers={arm: 0.3})
        native = drawn.true.encode([target], state, model)
        assert (native >= drawn.true.lower - 1e-9).all()
        assert (native <= drawn.true.upper + 1e-9).all()
        (back,) = drawn.true.decode(native, state, model)
        np.testing.assert_allclose(back.poses[arm], goal, atol=1e-5)
        assert back.grippers[arm] == pytest.approx(0.3)


def test_a_hidden_convention_differs_in_signs_alone(cell) -> None:
    at_task = cell("push")
    signs = 0
    for seed in range(10):
        drawn = draw_convention(at_task.embodiment, at_task.effector, seed, "test", hidden=True)
        for told, true in zip(drawn.told.dimensions, drawn.true.dimensions, strict=True):
            assert (told.name, told.unit, told.scale) == (true.name, true.unit, true.scale)
            signs += told.sign != true.sign
    assert signs >= 10


@pytest.mark.parametrize("name", ARTIFACTS)
def test_artifacts_grow_with_their_severity_and_stay_in_place(name: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    picture[20:60, 30:50] = [200, 40, 40]
    off = []
    for severity in (1, 3, 5):
        spoilt = ARTIFACTS[name](picture, severity, np.random.default_rng(5))
        assert spoilt.shape == picture.shape and spoilt.dtype == np.uint8
        again = ARTIFACTS[name](picture, severity, np.random.default_rng(5))
        np.testing.assert_array_equal(spoilt, again)
        off.append(np.abs(spoilt.astype(float) - picture).mean())
    assert 0 < off[0] < off[1] < off[2]


def test_what_goes_wrong_goes_wrong(cell) -> None:
    """Each disturbance in physics; the same seed strikes alike."""
    at_task = cell("push")
    hold = Command(mode="position", q=at_task.model.neutral, v=np.zeros(at_task.model.n))
    driver = at_task.driver

    def start(name: str, seed: int = 1) -> DisturbedDriver:
        at_task.reset(1000)
        return DisturbedDriver(driver, disturbance(name, 3), seed)

    def run(struck: DisturbedDriver, seconds: float = 3.5) -> None:
        while driver.clock() < seconds:
            struck.command(hold, 0.05)

    def places() -> np.ndarray:
        return np.array([driver.world.pose(name)[:2, 3] for name in sorted(driver.world.bodies)])

    moved = []
    for seed in (1, 1, 2):
        struck = start("moved", seed)
        before = places()
        run(struck)
        moved.append(places() - before)
    far = np.linalg.norm(moved[0], axis=1)
    assert far.max() == pytest.approx(0.045, abs=0.004) and (far > 0.01).sum() == 1
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-9)
    assert not np.allclose(moved[0], moved[2], atol=1e-3)

    struck, shaken = start("pushed"), 0.0
    while driver.clock() < 3.5:
        struck.command(hold, 1 / 60)
        q = struck.observe(cameras=False).q
        shaken = max(shaken, float(np.abs(q - at_task.model.neutral)[:7].max()))
    still = start("none")
    run(still)
    calm = float(np.abs(still.observe(cameras=False).q - at_task.model.neutral)[:7].max())
    assert shaken > calm + 1e-4

    struck = start("missed")
    (grip,) = driver.model.embodiment.of_kind("gripper")
    index = [driver.model.embodiment.joints.index(j) for j in grip.joints]
    q = at_task.model.neutral.copy()
    q[index] = grip.closed
    openings = []
    for _ in range(60):
        struck.command(Command(mode="position", q=q, v=np.zeros(len(q))), 0.05)
        openings.append(struck.observe(cameras=False).effectors[at_task.effector].gripper)
    assert openings[10] > 0.8 and openings[-1] < 0.5  # at first it does not obey

    struck = start("camera")
    seen, true = struck.observe().cameras["front"], driver.observe().cameras["front"]
    assert np.abs(seen.T_mount_camera - true.T_mount_camera).max() > 0.005

    struck = start("latency")
    joints = []
    for k in range(12):
        q = at_task.model.neutral.copy()
        q[0] += 0.02 * k
        struck.command(Command(mode="position", q=q, v=np.zeros(len(q))), 0.05)
        joints.append((struck.observe().q[0], driver.observe(cameras=False).q[0]))
    late = np.array(joints)
    assert (late[4:, 0] < late[4:, 1] - 0.01).all()


def test_an_expert_starts_over_where_a_grasp_was_missed(cell) -> None:
    place, task = cell("stack"), draw("place_in", 3)

    def won(expert: Expert) -> bool:
        struck = DisturbedDriver(place.driver, disturbance("missed"), 0)
        while struck.clock() < 30.0:
            target = expert.act(place.driver, struck.observe(cameras=False))
            if target is None:
                break
            until = struck.clock() + 0.1
            execute(struck, place.controller, [target], [until], until)
        return place.judge()

    place.lay_out(task, lambda s: task.sample(place.workspace, np.random.default_rng(s)))
    for act, wins in ((partial(task.operator, "straight"), False), (task.expert, True)):
        place.reset(4)
        assert won(act(place.workspace, np.random.default_rng(7))) is wins


def test_unknown_disturbances_are_named() -> None:
    assert {"moved", "dust", "none"} < set(DISTURBANCES)
    with pytest.raises(UnknownName, match="earthquake"):
        disturbance("earthquake")
    with pytest.raises(ReportedError, match="1 to 5"):
        disturbance("moved", 6)
