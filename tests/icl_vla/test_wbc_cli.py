"""Patterns, what runs of them note, their pictures, and ``icl-vla wbc``."""

from __future__ import annotations

import importlib.util
import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pinocchio as pin
import pybullet_data
import pytest
from PIL import Image

from icl_vla.evaluation.film import read_video
from icl_vla.sim.driver import PyBulletDriver
from icl_vla.sim.scene import Scene
from icl_vla.sim.world import STEP
from icl_vla.tracking import Actuation, Pattern
from icl_vla.tracking.arm import ArmRig
from icl_vla.tracking.film import RATE, Film
from icl_vla.tracking.legs import LegRig
from icl_vla.tracking.patterns import REST, base_motion, hand_motion
from icl_vla.tracking.plot import plot
from icl_vla.tracking.run import BASE, Track, follow
from icl_vla.tracking.wheels import WheelRig, fitting
from icl_vla_embodiments import Command, Embodiment, FrameSpec, ReportedError, se2, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf, simulation_urdf
from icl_vla_wbc.mobile import Drive, MobileConfig

DATA = Path(pybullet_data.getDataPath())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An arm, a quadruped, a robot on wheels and a hand alone."""
    base = tmp_path_factory.mktemp("home")
    store = EmbodimentStore(base)
    for name, file in (
        ("arm", "franka_panda/panda.urdf"),
        ("dog", "a1/a1.urdf"),
        ("rover", "husky/husky.urdf"),
        ("grip", "pr2_gripper.urdf"),
    ):
        urdf = DATA / file
        store.add(embodiment_from_urdf(urdf, name=name, allow_missing_meshes=True))
    return base


@pytest.fixture(scope="module")
def carts(tmp_path_factory: pytest.TempPathFactory):
    """Carts with arms by kind, from the benchmarks."""
    file = Path(__file__).parents[2] / "benchmarks" / "wbc" / "carts.py"
    spec = importlib.util.spec_from_file_location("benchmark_carts", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("carts")
    return lambda kind: module.cart(kind, folder)


@pytest.fixture(scope="module")
def robot(home: Path):
    return EmbodimentStore(home).get


def speeds(places: np.ndarray, dt: float) -> np.ndarray:
    return np.linalg.norm(np.diff(places, axis=0), axis=1) / dt


@pytest.mark.parametrize("pattern", list(Pattern))
def test_bases_are_sent_on_smooth_ways_in_the_direction_they_face(pattern):
    motion, dt = base_motion(pattern), 0.01
    way = np.array([motion.at(t) for t in np.arange(0, motion.duration, dt)])
    np.testing.assert_allclose(way[: round(REST / dt)], 0, atol=1e-12)
    v = speeds(way[:, :2], dt)
    assert 0.2 < v.max() < 0.6  # a walking pace
    assert np.abs(np.diff(v)).max() / dt < 1.5  # [m/s^2]
    assert np.abs(np.diff(way[:, 2])).max() / dt < 2.0  # [rad/s]: no jump of a turn
    if pattern in (Pattern.CIRCLE, Pattern.EIGHT):
        fast = v > 0.1
        course = np.arctan2(*np.diff(way[:, :2], axis=0)[fast].T[::-1])
        gap = np.angle(np.exp(1j * (course - way[1:, 2][fast])))
        assert np.abs(gap).max() < 0.03
    if pattern in (Pattern.CIRCLE, Pattern.EIGHT, Pattern.SQUARE):
        np.testing.assert_allclose(way[-1, :2], 0, atol=1e-6)
        assert np.ptp(way[:, :2], axis=0).min() > 0.8


@pytest.mark.parametrize("pattern", [Pattern.CIRCLE, Pattern.SQUARE, Pattern.EIGHT, Pattern.BEHIND])
def test_hands_are_sent_out_and_back_on_smooth_ways(pattern):
    home = se3.pose(se3.from_euler_xyz([3.0, 0.2, 0.1]), [0.5, 0.1, 0.4])
    motion, dt = hand_motion(pattern, home, 0.1), 0.01
    poses = np.array([motion.at(t) for t in np.arange(0, motion.duration + dt, dt)])
    np.testing.assert_allclose(poses[[0, -1]], [home, home], atol=1e-9)
    assert np.abs(np.diff(speeds(poses[:, :3, 3], dt))).max() / dt < 2.0  # [m/s^2]
    if pattern is Pattern.BEHIND:  # half a turn round the base, the tool along with it
        far = poses[len(poses) // 2]
        np.testing.assert_allclose(far, np.diag([-1, -1, 1, 1]) @ home, atol=1e-6)
    else:
        np.testing.assert_allclose(np.ptp(poses[:, :3, 3], axis=0)[0], 0, atol=1e-12)
        assert 0.1 < np.ptp(poses[:, 1, 3]) <= 0.2 + 1e-9


def a_track(robot: Embodiment, **changes: object) -> Track:
    """Ten ticks at rest on the spot, changed."""
    model = RobotModel(robot)
    still = np.tile(np.eye(4), (10, 1, 1))
    rest = np.zeros((10, model.n))
    fields = {
        "robot": robot,
        "pattern": Pattern.CIRCLE,
        "controller": "none",
        "actuation": Actuation.POSITION,
        "remarks": (),
        "times": 0.1 * np.arange(1, 11),
        "parts": {"hand": (still, still)},
        "q": np.tile(model.neutral, (10, 1)),
        "v": rest,
        "tau": None,
        "a": rest,
        "seconds": np.full(10, 1e-3),
        "levels": {"nominal": 10},
        "fell": False,
    }
    return Track(**(fields | changes))  # type: ignore[arg-type]


def test_a_run_notes_what_was_missed_and_which_limits_were_broken(robot):
    arm = robot("arm")
    clean = a_track(arm).figures()
    assert clean["violations"] == {} and clean["errors"]["hand"]["max"] == 0
    due = np.tile(np.eye(4), (10, 1, 1))
    off = due.copy()
    off[5] = se3.pose(se3.from_euler_xyz([0, 0, 3.1]), [0.03, 0.0, 0.04])
    due[5] = se3.pose(se3.from_euler_xyz([0, 0, -3.1]), np.zeros(3))
    hand = a_track(arm, parts={"hand": (due, off)})
    base = a_track(arm, parts={BASE: (due, off)})
    assert hand.error("hand").max() == pytest.approx(0.05)
    assert base.error(BASE).max() == pytest.approx(0.03)  # a base's height is not judged
    for track, part in ((hand, "hand"), (base, BASE)):
        assert track.turn_error(part).max() == pytest.approx(2 * np.pi - 6.2)  # the short way
    assert hand.figures()["errors"]["hand"]["rms"] == pytest.approx(0.05 / np.sqrt(10))

    q = a_track(arm).q.copy()
    q[3, 1] = arm.array("upper")[1] + 2e-5
    v = np.zeros_like(q)
    v[4, 0] = -arm.array("velocity")[0] - 0.1
    tau = np.zeros_like(q)
    tau[2, 2] = 1.5 * arm.array("effort")[2]
    broken = a_track(arm, q=q, v=v, tau=tau).excess()
    assert broken["position"] == pytest.approx(2e-5, rel=1e-3)
    assert broken["velocity"] == pytest.approx(0.1)
    assert broken["torque"] == pytest.approx(0.5 * arm.array("effort")[2])
    assert broken["acceleration"] == 0
    assert a_track(arm, tau=tau).shares()["torque"].max() == pytest.approx(1.5)


def test_torques_move_a_simulated_arm_as_its_dynamics_say(robot, tmp_path):
    """Without torque it falls freely: no motor holds it."""
    arm = robot("arm")
    tilted = FrameSpec.at("world", se3.pose(se3.from_euler_xyz([0.5, 0.3, 0.0]), [0, 0, 1.0]))
    arm = arm.with_(mount=tilted)
    model = RobotModel(arm)
    driver = PyBulletDriver(model, simulation_urdf(arm, tmp_path), lambda _: Scene((), {}))
    driver.reset(0)
    driver.place(model.neutral)
    still = np.zeros(model.n)
    driver.command(Command(mode="torque", tau=still), STEP)
    v = driver.observe(cameras=False).v
    dynamics = pin.Model(model.model)
    dynamics.gravity.linear = arm.mount.matrix[:3, :3].T @ dynamics.gravity.linear
    data = dynamics.createData()
    a = pin.aba(dynamics, data, model.full(model.neutral), model.G @ still, np.zeros(dynamics.nv))
    # a motor that held would leave 0; fingers meet their stops in one of the two only
    np.testing.assert_allclose(v[:7], STEP * a[:7], atol=0.03 * STEP * np.abs(a[:7]).max())

    driver.close()


@pytest.mark.parametrize("actuation", list(Actuation))
def test_an_arm_draws_within_millimetres_and_within_its_limits(robot, tmp_path, actuation):
    rig = ArmRig(robot("arm"), Pattern.SQUARE, tmp_path, actuation=actuation)
    track = follow(rig, Pattern.SQUARE)
    rig.close()
    run = track.figures()
    # one step of physics at 0.2 m/s is 0.9 mm
    assert run["errors"]["arm"]["rms"] < 2e-3 and run["errors"]["arm"]["last"] < 1e-4
    assert run["violations"] == {} and run["levels"] == {"nominal": len(track.times)}
    assert np.ptp(track.parts["arm"][1][:, 2, 3]) > 0.15
    assert (track.tau is None) == (actuation is Actuation.POSITION)
    assert run["controller"] == ("ArmMpc" if track.tau is None else "ArmTorqueMpc")


def test_pushes_move_a_torque_driven_hand_and_it_comes_back(robot, tmp_path):
    rig = ArmRig(robot("arm"), Pattern.PUSH, tmp_path, actuation=Actuation.TORQUE)
    track = follow(rig, Pattern.PUSH)
    rig.close()
    error = track.error("arm")
    assert 2e-3 < error.max() < 0.05 and error[-1] < 1e-4
    assert error[track.times < 1.5].max() < 1e-4


def test_a_pattern_out_of_reach_is_made_smaller_or_refused(robot, tmp_path):
    """An arm that is nearly stretched has little room; one whose joints cannot move has none."""
    arm = robot("arm")
    stretched = dict(arm.neutral) | {"panda_joint2": 0.9, "panda_joint4": -0.9}
    wide = ArmRig(arm, Pattern.CIRCLE, tmp_path)
    small = ArmRig(arm.with_(neutral=stretched), Pattern.CIRCLE, tmp_path)
    size = [np.ptp(rig.course[:, 1]) for rig in (wide, small)]
    assert 0.02 < size[1] < 0.8 * size[0]
    q = arm.neutral_q
    held = {
        j: replace(at, lower=x - 1e-4, upper=x + 1e-4)
        for (j, at), x in zip(arm.limits.items(), q, strict=True)
    }
    with pytest.raises(ReportedError, match="cannot follow"):
        ArmRig(arm.with_(limits=held), Pattern.CIRCLE, tmp_path)


def test_a_dog_is_pushed_and_walks_on_and_is_filmed(robot, tmp_path):
    rig = LegRig(robot("dog"), Pattern.PUSH, tmp_path)
    rig.duration = 2.4  # [s]: the first push of three
    film = Film("a dog")
    track = follow(rig, Pattern.PUSH, film)
    rig.close()
    error = track.error(BASE)
    assert not track.fell and track.levels["nominal"] == len(track.times)
    assert error[track.times < 1.5].max() < 0.04
    assert error.max() > 0.1 and error[-1] < 0.9 * error.max()

    film.write(tmp_path / "film.mp4")
    frames = read_video(tmp_path / "film.mp4")
    assert len(frames) == round(rig.duration * RATE) + 1 + RATE
    before, after = (frames[k].astype(float) for k in (5, round(rig.duration * RATE)))
    orange = [(f[..., 0] - f[..., 2] > 90).mean() for f in (before, after)]
    assert min(orange) > 0.02  # the camera went along: the robot is in both
    assert np.abs(before - after).mean() > 5  # but the ground moved

    image = Image.open(io.BytesIO(plot(track)))
    assert image.size == (1400, 820)
    assert len(np.unique(np.asarray(image).reshape(-1, 4), axis=0)) > 50


@pytest.mark.parametrize("radius", [0.0, 0.5])
def test_a_square_that_is_driven_never_goes_sideways(radius):
    motion, dt = base_motion(Pattern.SQUARE, corner=radius), 0.01
    way = np.array([motion.at(t) for t in np.arange(0, motion.duration, dt)])
    steps, middle = np.diff(way, axis=0), 0.5 * (way[1:, 2] + way[:-1, 2])
    sideways = np.cos(middle) * steps[:, 1] - np.sin(middle) * steps[:, 0]
    # on an arc the chord lies along the middle heading, but for the change of speed
    assert np.abs(sideways).max() / dt < 1e-4
    np.testing.assert_allclose(way[-1], [0, 0, 2 * np.pi], atol=1e-9)
    assert np.abs(steps[:, 2]).max() / dt < 0.8  # [rad/s]
    tight = np.abs(steps[:, 2]) > 1e-3
    turned = np.linalg.norm(steps[tight, :2], axis=1) / np.abs(steps[tight, 2])
    np.testing.assert_allclose(turned, radius, atol=1e-3)


@pytest.mark.parametrize("pattern", list(Pattern))
def test_wheels_are_given_what_they_can_do(carts, pattern):
    """Whatever the base: no pattern asks for more speed or tighter curves than it has."""
    for kind in ("differential", "holonomic", "ackermann"):
        drive = Drive.of(carts(kind), MobileConfig())
        if pattern is Pattern.BEHIND:
            continue  # asked for at once
        motion = fitting(pattern, drive)
        way = np.array([motion.at(t) for t in np.arange(0, motion.duration, 0.01)])
        twists = np.array([se2.between(a, b) for a, b in pairwise(way)]) / 0.01
        free = [0, 1, 2] if kind == "holonomic" else [0, 2]
        assert (np.abs(twists).max(axis=0)[free] <= 0.7 * drive.twist_limit[free] + 1e-9).all()
        if kind != "holonomic":
            assert np.abs(twists[:, 1]).max() < 0.01
        moves = np.abs(twists[:, 0]) > 0.02
        tightest = np.abs(twists[moves, 2] / twists[moves, 0]).max(initial=0.0)
        assert drive.radius * tightest < 1


def test_a_hand_on_wheels_travels_and_is_filmed(carts, tmp_path):
    rig = WheelRig(carts("differential").embodiment, Pattern.CIRCLE, tmp_path)
    rig.duration = 5.0  # [s]: a third of the way
    film = Film("a cart")
    track = follow(rig, Pattern.CIRCLE, film)
    rig.close()
    run = track.figures()
    assert run["errors"]["arm"]["rms"] < 8e-3
    assert run["violations"] == {} and run["levels"] == {"nominal": len(track.times)}
    way = track.parts["arm"][1][:, :3, 3]
    assert np.ptp(way, axis=0)[:2].max() > 0.8 and np.ptp(way[:, 2]) < 0.02
    film.write(tmp_path / "film.mp4")
    frame = read_video(tmp_path / "film.mp4")[-1].astype(float)
    # the way behind the hand is drawn in the world
    assert 0.001 < (frame[..., 0] - frame[..., 2] > 120).mean() < 0.1
    assert Image.open(io.BytesIO(plot(track))).size == (1400, 820)


@pytest.mark.parametrize("kind", ["differential", "ackermann"])
def test_a_place_behind_is_reached_backwards_or_by_turning(carts, tmp_path, kind):
    rig = WheelRig(carts(kind).embodiment, Pattern.BEHIND, tmp_path)
    track = follow(rig, Pattern.BEHIND)
    rig.close()
    error = track.error("arm")
    assert error[0] > 1 and error[-1] < 5e-3 and track.turn_error("arm")[-1] < 0.02


def test_a_pushed_base_goes_on(carts, tmp_path):
    rig = WheelRig(carts("differential").embodiment, Pattern.PUSH, tmp_path)
    track = follow(rig, Pattern.PUSH)
    rig.close()
    error = track.error("arm")
    assert error[track.times < 1.5].max() < 2e-3
    assert error.max() > 5e-3 and error[-1] < 2e-3 and not track.fell


def test_the_command_measures_draws_and_reports(icl_vla, home, tmp_path):
    words = ("wbc", "track", "arm", "circle", "--no-film", "--out", tmp_path)
    done = icl_vla(home, *words, "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert run["controller"] == "ArmMpc" and run["actuation"] == "position"
    assert run["errors"]["arm"]["rms"] < 3e-3
    assert Image.open(run["plot"]).size == (1400, 820) and "film" not in run
    assert sorted(p.name for p in tmp_path.iterdir()) == ["track.png"]


def test_what_cannot_be_tracked_is_said_in_one_block(icl_vla, home):
    for words, text in (
        (("track", "nobody", "circle"), "no embodiment is called 'nobody'"),
        (("track", "grip", "circle"), "no controller for this kind of body"),
        (("track", "rover", "circle", "--actuation", "torque"), "driven at speeds"),
        (("track", "dog", "circle", "--actuation", "position"), "controlled with torques"),
        (("track", "arm", "circle", "--effector", "tail"), "no such arm"),
        (("track", "arm", "spiral"), "spiral"),
    ):
        done = icl_vla(home, "wbc", *words)
        assert done.returncode == 2 and text in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and done.stdout == ""


def test_the_benchmark_names_what_it_leaves_out(icl_vla, home):
    robots = ("arm", "grip", "rover")
    done = icl_vla(home, "wbc", "bench", *robots, "--pattern", "push", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(r["robot"], r["pattern"]) for r in found["runs"]] == [
        ("arm", "push"),
        ("rover", "push"),
    ]
    assert [s["robot"] for s in found["skipped"]] == ["grip"]
    assert icl_vla(home, "wbc", "bench", "grip", "--pattern", "push").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("pattern", list(Pattern))
def test_a_dog_walks_every_pattern_on_film(icl_vla, home, tmp_path, pattern):
    done = icl_vla(home, "wbc", "track", "dog", pattern, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert not run["fell"] and set(run["levels"]) == {"nominal"}
    assert run["errors"]["base"]["rms"] < (0.2 if pattern is Pattern.PUSH else 0.03)
    assert run["errors"]["base"]["last"] < 0.03
    assert len(read_video(Path(run["film"]))) > 7 * RATE
