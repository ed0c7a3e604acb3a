"""Robots that drive about: drawn bodies, the floor's frame, families, judges, the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pybullet_data
import pytest

from icl_vla.evaluation.benchmark import run_suite
from icl_vla.evaluation.demonstrations import Shown, record_into
from icl_vla.evaluation.robots import find_robot
from icl_vla.evaluation.suite import Cell, Suite, find_suite
from icl_vla.runtime.loop import execute
from icl_vla.runtime.mobile import BASE, drivable, floor_space
from icl_vla.sim.carts import KINDS, draw_cart
from icl_vla.sim.driving import MANNERS
from icl_vla.sim.families import ON_BASES, draw
from icl_vla.sim.families.driven import base_place, on_floor
from icl_vla.sim.families.family import TableTask
from icl_vla.sim.families.go_to import GoTo
from icl_vla.sim.floor import FloorCell
from icl_vla.sim.operators import OPERATORS
from icl_vla.sim.scene import Scene
from icl_vla.sim.workcell import Workcell
from icl_vla_embodiments import Command, ReportedError, SpaceState, TaskTarget, se2, se3
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import DemoBank
from icl_vla_wbc.mobile.follow import drive_along

ANALYSED = {
    "differential": "planar_diff",
    "holonomic": "planar_holo",
    "ackermann": "planar_ackermann",
}
LEGGED = "a1"
BODIES = {
    "go_to": "drawn_differential_1",
    "base_push": "drawn_differential_1",
    "fetch": "drawn_holonomic_arm_1",
    "press_foot": LEGGED,
    "base_follow": "drawn_differential_2",
}
URDF = Path(pybullet_data.getDataPath()) / "a1/a1.urdf"
Laid = Callable[[str, int, int], FloorCell]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("floor")
    EmbodimentStore(home).add(embodiment_from_urdf(URDF, name=LEGGED))
    return home


@pytest.fixture(scope="module")
def laid(base: Path) -> Laid:
    """A robot of its kind, moved on to a scene of a family's task."""
    cells: dict[str, FloorCell] = {}

    def lay(family: str, number: int, seed: int) -> FloorCell:
        task = draw(family, number)
        name = BODIES[family]
        if family not in cells:
            store, _ = find_robot(base, name)
            cells[family] = FloorCell.on_floor(store, name, task.mover)
        place = cells[family]
        place.lay_out(task, lambda s: task.sample(place.workspace, np.random.default_rng(s)))
        place.reset(seed)
        return place

    return lay


def won_by(style: str, place: FloorCell, seed: int) -> bool:
    assert isinstance(place.task, TableTask)
    operator = place.task.operator(style, place.workspace, np.random.default_rng(seed))
    while place.driver.clock() < 30.0:
        target = operator.act(place.driver, place.driver.observe(cameras=False))
        if target is None:
            break
        until = place.driver.clock() + 0.1
        execute(place.driver, place.controller, [target], [until], until, place.audit)
    return place.judge()


def put(place: FloorCell, to: Array) -> None:
    """Stand the base at x, y and heading, at rest."""
    T, _ = place.driver.base()
    driver = place.driver
    p, o = driver.world.client.multiplyTransforms(
        [to[0], to[1], T[2, 3]], se3.quat_xyzw(se3.yaw(to[2])), *driver._inertial()
    )
    driver.world.client.resetBasePositionAndOrientation(driver.body, p, o)
    driver.stop()
    driver.world.step(10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_a_cart_whose_base_is_recognised(kind: str, base: Path) -> None:
    assert draw_cart(3, kind) == draw_cart(3, kind) != draw_cart(4, kind)
    robot = find_robot(base, f"drawn_{kind}_3")[1]
    assert robot.base == ANALYSED[kind.removesuffix("_arm")]
    hands = [a.name for a in robot.arms if robot.gripper_of(a.name)]
    assert len(hands) == kind.endswith("_arm")


def test_poses_on_the_floor_are_those_of_the_physics(laid: Laid) -> None:
    place = laid("fetch", 1, 4)
    driver, q = place.driver, place.driver.observe(cameras=False).q
    assert q is not None and len(q) == len(place.coordinates)
    links = place.model.link_poses(q)
    client = driver.world.client
    for index in range(client.getNumJoints(driver.body)):
        name = client.getJointInfo(driver.body, index)[12].decode()
        if name in links:
            there = client.getLinkState(driver.body, index, computeForwardKinematics=1)
            assert np.allclose(there[4], links[name][:3, 3], atol=1e-6), name
    T, joints = place.model.parted(q)
    assert T is not None
    assert np.allclose(place.model.configuration(T, joints), q)
    tool = place.model.poses(q)[place.effector]
    assert np.allclose(se3.inverse(T) @ tool, place.model.poses(joints)[place.effector])


def test_velocities_of_a_named_base_say_where_it_comes(laid: Laid) -> None:
    robot = laid("go_to", 0, 0).embodiment
    space = floor_space(robot, BASE)
    assert space.effectors == (BASE,)
    state = SpaceState(poses={BASE: se3.pose(se3.yaw(0.4), [0.3, -0.2, 0.0])})
    native = np.array([[0.4, 0.7], [-0.2, -1.1]])
    targets = space.decode(native, state)
    bare = [TaskTarget(poses=t.poses) for t in targets]
    assert np.allclose(space.encode(bare, state), native, atol=1e-12)
    # a quarter circle of radius v / w
    around = space.decode([[0.5, np.pi / 2]] * 10, SpaceState(poses={BASE: np.eye(4)}))[-1]
    radius = 0.5 / (np.pi / 2)
    assert np.allclose(around.poses[BASE][:2, 3], [radius, radius])


@pytest.mark.parametrize("sideways", [False, True])
def test_a_base_beside_its_way_comes_back_to_it(sideways: bool) -> None:
    way = np.column_stack([np.linspace(0.04, 1.6, 40), np.zeros(40), np.zeros(40)])
    reached, twists = drive_along(np.array([0.0, 0.06, 0.1]), way, 0.1, sideways=sideways)
    assert abs(reached[-1, 1]) < 5e-3 and abs(reached[-1, 2]) < 0.03
    assert sideways or not twists[:, 1].any()
    back = way * [-1.0, 1.0, 1.0]
    reached, _ = drive_along(np.array([0.0, 0.06, -0.1]), back, 0.1, sideways=sideways)
    assert abs(reached[-1, 1]) < 5e-3 and abs(reached[-1, 2]) < 0.03
    poses, six = drivable(np.eye(4), np.tile(np.eye(4), (3, 1, 1)), 0.1, sideways=sideways)
    assert np.allclose(poses, np.eye(4)) and not six.any()


@pytest.mark.parametrize("family", ON_BASES)
def test_scenes_and_words_follow_from_seeds(family: str, laid: Laid) -> None:
    place = laid(family, 2, 5)
    task = place.task
    assert isinstance(task, TableTask)

    def scene(number: int, seed: int) -> str:
        return draw(family, number).sample(place.workspace, np.random.default_rng(seed)).to_yaml()

    assert scene(2, 5) == scene(2, 5) == place.driver.world.scene.to_yaml()
    assert len({scene(n, s) for n in (2, 3) for s in (5, 6)}) == 4
    named = {task.roles[name].color for name in task.named}
    for sentence in (task.instruction, *task.paraphrases):
        assert all(color in sentence for color in named), sentence


@pytest.mark.parametrize("family", ON_BASES)
def test_doing_nothing_fails(family: str, laid: Laid) -> None:
    for seed in range(1 if family == "press_foot" else 3):
        place = laid(family, 1, seed)
        assert not place.judge()
        assert place.driver.base()[0][2, 2] > 0.95  # what walks goes on balancing meanwhile


@pytest.mark.parametrize(
    ("off", "done"),
    [((0.0, 0.0, 0.0), True), ((0.04, 0, 0.12), True), ((0.07, 0, 0), False), ((0, 0, 0.2), False)],
)
def test_the_base_must_stand_where_and_as_it_was_asked_to(
    off: tuple[float, float, float], done: bool, laid: Laid
) -> None:
    place = laid("go_to", 3, 2)
    assert isinstance(place.task, GoTo)
    (goal,) = place.task.route(on_floor(place.driver), place.workspace)
    put(place, goal + off)
    assert place.judge() is done


def test_pushed_things_must_be_left_and_close(laid: Laid) -> None:
    place = laid("base_push", 1, 1)
    world, task = place.driver.world, place.task
    assert task is not None
    T = world.pose("thing")
    mark = world.pose("mark")[:3, 3]
    for off, done in ((0.008, True), (0.013, False)):
        at = [mark[0] + off, mark[1], T[2, 3]]
        world.client.resetBasePositionAndOrientation(world.bodies["thing"], at, [0, 0, 0, 1])
        assert place.judge() is done


def test_who_is_followed_waits_for_the_robot(laid: Laid) -> None:
    place = laid("base_follow", 1, 1)
    driver, walk = place.driver, place.driver.world.scene.walk
    assert walk is not None and Scene.from_yaml(_file(place)) == driver.world.scene
    here = on_floor(driver)(walk.name)
    for away, moves in ((walk.near + 0.1, False), (walk.near - 0.1, True)):
        put(place, np.array([here[0] - away, here[1], 0.0]))
        driver.command(Command(base_twist=np.zeros(6)), 1.0)
        gone = float(np.linalg.norm(on_floor(driver)(walk.name) - here))
        assert gone == pytest.approx(walk.speed if moves else 0.0, abs=2e-3)


def _file(place: FloorCell) -> Path:
    file = place.driver._urdf.with_name("scene.yaml")
    file.write_text(place.driver.world.scene.to_yaml())
    return file


@pytest.mark.parametrize("family", ["go_to", "base_push", "base_follow"])
def test_experts_win(family: str, laid: Laid) -> None:
    place = laid(family, 1, 0)
    start = base_place(place.driver)
    assert won_by("straight", place, 0)
    assert np.linalg.norm(se2.between(start, base_place(place.driver))) > 0.3
    assert place.audit.violations == 0


def test_a_style_that_arms_have_drives_too(laid: Laid) -> None:
    assert set(MANNERS) == set(OPERATORS)


def test_recorded_velocities_are_those_that_were_driven(base: Path, tmp_path: Path) -> None:
    shown = Shown(BODIES["go_to"], "go_to:2", "keyboard", "base", (7,))
    assert record_into(tmp_path / "bank", base, shown)["succeeded"] == 1
    bank = DemoBank.open(tmp_path / "bank")
    demonstration = bank[0]
    assert set(demonstration.cameras) == {"front", "base"}
    assert demonstration.cameras["base"].rgb.shape[1:] == (96, 96, 3)
    assert bank.spec.joints[:2] == ("base_x", "base_y")
    T = demonstration.poses[BASE]
    assert np.allclose(T[:, :2, 3], demonstration.q[:, :2], atol=1e-9)
    # each step's velocities lead from one measured pose to the next
    gaps = np.linalg.norm(demonstration.commands[BASE][:-1, :2, 3] - T[1:, :2, 3], axis=1)
    assert np.median(gaps) < 0.01 and gaps.max() < 0.05
    assert demonstration.commands[BASE].shape == T.shape


def test_a_task_for_bases_refuses_a_table(cell: Callable[[str], Workcell]) -> None:
    for family in ON_BASES:
        with pytest.raises(ReportedError, match="on a floor"):
            draw(family).sample(cell("reach").workspace, np.random.default_rng(0))


def test_suites_have_all_families() -> None:
    cells = [cell for name in ("bases", "legs") for cell in find_suite(name).cells]
    assert {cell.family for cell in cells} == set(ON_BASES)


def test_a_walking_robot_goes_the_way_that_it_is_told_to(laid: Laid) -> None:
    place = laid("press_foot", 1, 0)
    begin = base_place(place.driver)
    twist = np.array([0.2, 0.1, 0.0, 0.0, 0.0, 0.4])
    target = TaskTarget(base_twist=twist, poses={BASE: np.eye(4)})
    execute(place.driver, place.controller, [target], [2.0], 2.0)
    way = se2.between(begin, base_place(place.driver))
    assert abs(way[2] - 0.8) < 0.25
    ahead = se2.exp(2.0 * twist[None, [0, 1, 5]])[0]
    assert np.linalg.norm(way[:2] - ahead[:2]) < 0.12  # it speeds up within a step
    assert place.driver.base()[0][2, 2] > 0.95


@pytest.mark.slow
def test_experts_win_nearly_always(laid: Laid) -> None:
    won = {
        (family, number, seed): won_by("straight", laid(family, number, seed), seed)
        for family in ON_BASES
        for number in range(3)
        for seed in range(2)
    }
    assert sum(won.values()) >= 0.95 * len(won), [key for key, ok in won.items() if not ok]


@pytest.mark.slow
def test_the_benchmark_runs_on_wheels_twice_alike(tmp_path: Path) -> None:
    suite = Suite(
        "small",
        (Cell("go_to", demonstrations=2), Cell("go_to", convention="units", demonstrations=2)),
        ("expert", "nothing", "nearest", "vote", "mean_trajectory"),
        tasks=1,
        episodes=1,
        rig="base",
        body="drawn_differential",
    )
    tables = [run_suite(suite, tmp_path / str(i), films=0) for i in range(2)]
    assert tables[0]["table_sha256"] == tables[1]["table_sha256"]
    rates = {(r["cell"], r["method"]): r["rate"] for r in tables[0]["rows"]}
    assert rates[suite.cells[0].name, "expert"] == 1.0
    assert rates[suite.cells[0].name, "nothing"] == 0.0
