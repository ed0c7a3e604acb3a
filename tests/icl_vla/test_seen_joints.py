"""An arm that nobody describes, told from joint positions and drawn depth pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icl_vla.perception.seen_joints import SeenJoints, told_by_seeing, with_poses
from icl_vla.perception.seen_motion import seen_motion
from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.action_space import ActionSpace, Dimension, Kind
from icl_vla_retrieval import CameraTrack, Demonstration

JOINTS = ("shoulder", "elbow", "lift", "wrist")
TWISTS = np.array(  # (v, w) at the base: two upright axes, a slide along z and a turn of the hand
    [[0, 0, 0, 0, 0, 1], [0, -0.35, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0], [0, -0.65, 0, 0, 0, 1]]
).astype(float)
HAND = np.array([0.65, 0.0, 0.3])
SPACE = ActionSpace(
    "joints",
    tuple(
        Dimension(
            n, Kind.JOINT_POSITION, effector="arm", joint=n, unit="m" if n == "lift" else "rad"
        )
        for n in JOINTS
    ),
    rate=10.0,
)
CAMERAS = {
    "front": (np.array([1.3, 0.0, 0.9]), np.array([0.45, 0.0, 0.1])),
    "side": (np.array([0.5, 1.0, 0.8]), np.array([0.45, 0.0, 0.1])),
}
K = np.array([[90.0, 0, 47.5], [0, 90.0, 47.5], [0, 0, 1]])


def _truth(q: np.ndarray) -> np.ndarray:
    """``(m + 1, 4, 4)`` of what each joint carries."""
    T = [np.eye(4)]
    for twist, x in zip(TWISTS, q, strict=True):
        T.append(T[-1] @ se3.exp6(twist * x))
    return np.stack(T)


def _boxes(q: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Poses and half sizes of upper arm, forearm, column and a hand that is not symmetric."""
    T = _truth(q)
    parts = [
        (T[1], [0.17, 0.0, 0.34], [0.17, 0.03, 0.03]),
        (T[2], [0.5, 0.0, 0.40], [0.15, 0.025, 0.025]),
        (T[3], [0.65, 0.0, 0.36], [0.02, 0.02, 0.08]),
        (T[4], [0.65, 0.0, 0.31], [0.02, 0.07, 0.02]),
        (T[4], [0.67, 0.05, 0.28], [0.03, 0.015, 0.03]),
    ]
    return [(A @ se3.pose(p=p), np.array(s)) for A, p, s in parts]


def _depth(eye: np.ndarray, T_base_camera: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``(96, 96)`` of a table and the arm's boxes, by ray casting."""
    v, u = np.mgrid[:96, :96]
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(u.shape)], -1)
    ways = rays.reshape(-1, 3) @ T_base_camera[:3, :3].T
    depth = np.where(ways[:, 2] < 0, -eye[2] / np.minimum(ways[:, 2], -1e-9), 0.0)
    for T, half in _boxes(q):
        o = se3.act(se3.inverse(T), eye[None])[0]
        w = ways @ T[:3, :3]
        with np.errstate(divide="ignore"):
            a, b = (-half - o) / w, (half - o) / w
        enter, leave = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
        hit = (enter > 0) & (enter < leave)
        depth = np.where(hit & ((depth == 0) | (enter < depth)), enter, depth)
    return depth.reshape(96, 96).astype(np.float32)


def _looking(eye: np.ndarray, at: np.ndarray) -> np.ndarray:
    z = (at - eye) / np.linalg.norm(at - eye)
    x = np.cross(z, [0, 0, 1])
    x /= np.linalg.norm(x)
    return se3.pose(np.stack([x, np.cross(z, x), z], axis=1), eye)


def _demonstration(seed: int) -> Demonstration:
    """From a high posture down to a place and on to another one."""
    rng = np.random.default_rng(seed)
    about = np.array([-0.3, 0.6, -0.2, 0.0])
    spread = np.array([0.5, 0.5, 0.02, 0.8])
    ways = about + spread * rng.uniform(-1, 1, (4, 4))
    ways[0] = [1.6, -0.9, 0.1, 0.0]
    ways[1] = np.append(ways[2][:2] + 0.1, [0.05, ways[2][3] - 0.3])
    share = np.linspace(0, 1, 12)[:, None]
    q = np.concatenate([ways[i] + share * (ways[i + 1] - ways[i]) for i in range(3)])
    cameras = {}
    for name, (eye, at) in CAMERAS.items():
        T = _looking(eye, at)
        depth = np.stack([_depth(eye, T, x) for x in q])
        rgb = np.zeros((*depth.shape, 3), np.uint8)
        cameras[name] = CameraTrack.from_arrays(rgb, depth, intrinsics=K, T_mount_camera=T)
    shut = np.where(np.arange(len(q)) < 24, 1.0, 0.0)
    times = np.arange(len(q)) / SPACE.rate
    actions = np.concatenate([q[1:], q[-1:]])
    return Demonstration(
        times,
        q,
        actions,
        SPACE,
        "go there",
        "unknown",
        gripper_commands={"arm": shut},
        cameras=cameras,
    )


@pytest.fixture(scope="module")
def shown() -> list[Demonstration]:
    return [_demonstration(i) for i in range(6)]


@pytest.fixture(scope="module")
def seen(shown: list[Demonstration]) -> SeenJoints:
    return told_by_seeing(shown, JOINTS)


def test_the_hand_moves_as_it_truly_does(seen, shown):
    q = np.concatenate([d.q for d in shown])
    T = seen.poses(q)["arm"]
    true = np.stack([_truth(x)[-1] for x in q])
    between = se3.inverse(T) @ true  # a place and turn in the hand that never change
    usual = se3.pose(
        se3.project_rotation(between[:, :3, :3].mean(0)), np.median(between[:, :3, 3], 0)
    )
    off = T @ usual @ se3.inverse(true)
    at = se3.act(true, HAND[None])
    assert np.median(np.linalg.norm(se3.act(off, at) - at, axis=-1)) < 0.004


def test_joints_are_found_for_poses_between_demonstrated_ones(seen, shown):
    q = 0.5 * (shown[0].q[20] + shown[0].q[24])
    target = seen.poses(q)["arm"]
    back = seen.inverse_kinematics({"arm": target}, shown[0].q[14])
    np.testing.assert_allclose(seen.poses(back)["arm"], target, atol=2e-4)


def test_what_moves_is_the_robots_and_the_table_is_not(seen, shown):
    d = shown[1]
    motion = seen_motion(d, range(4), "arm")
    assert motion is not None
    hulls, posture = seen.hulls(), seen.link_poses(motion.q[20])
    assert hulls.mask(motion.clouds[20], posture, 0.02).mean() > 0.9
    table = np.stack([*np.mgrid[0.2:0.8:20j, -0.4:0.4:20j].reshape(2, -1), np.zeros(400)], axis=1)
    assert hulls.mask(table, posture, 0.02).mean() < 0.02


def test_demonstrations_get_the_poses_that_were_seen(seen, shown):
    d = with_poses(shown[2], seen)
    np.testing.assert_allclose(d.commands["arm"][:-1], d.poses["arm"][1:], atol=1e-9)


def test_it_is_read_back_as_it_was_written(seen, tmp_path):
    seen.save(tmp_path / "seen.npz")
    again = SeenJoints.open(tmp_path / "seen.npz")
    q = seen.neutral
    np.testing.assert_array_equal(again.poses(q)["arm"], seen.poses(q)["arm"])
    assert again.links.tolist() == seen.links.tolist()


def test_without_a_fixed_depth_camera_it_says_what_is_missing(shown):
    blind = [replace(d, cameras={}) for d in shown]
    with pytest.raises(ReportedError, match="depth cameras that stand still"):
        told_by_seeing(blind, JOINTS)


def test_actions_have_to_move_the_robots_own_joints(shown):
    with pytest.raises(ReportedError, match="joints of one arm"):
        told_by_seeing(shown, ("shoulder", "elbow", "lift", "hand"))
    with pytest.raises(ReportedError, match="no names"):
        told_by_seeing(shown, JOINTS[:3])
