"""Recordings in every format, read back to what was written into them.

The HDF5 files are laid out as the programs that write them do: robomimic's
``robomimic/scripts/dataset_states_to_obs.py`` (``write_traj_to_file``), with robosuite's
``robosuite/robots/single_arm.py`` and ``robosuite/controllers/config/osc_pose.json`` for what is in
it; DROID's ``droid/trajectory_utils/trajectory_writer.py`` (``write_dict_to_hdf5``) with
``droid/trajectory_utils/misc.py`` and ``droid/franka/robot.py``.
"""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from icl_vla_embodiments import se3
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_retrieval import DatasetError
from icl_vla_retrieval.columns import read_recording
from icl_vla_retrieval.formats import Given, RawEpisode, read_episodes
from icl_vla_retrieval.lerobot.video import encode_rgb

Array = NDArray[np.float64]
Motion = Any  # of conftest.py
SAMPLES = ("v21_noimg", "v21_video", "v30_image", "v30_multichunk", "v30_noimg", "v30_video")


def pictures(frames: int, seed: int = 0) -> NDArray[np.uint8]:
    """Each frame's number as eight bars, which compression leaves readable."""
    bits = np.arange(frames)[:, None] >> np.arange(8) & 1
    bars = np.repeat(20 + 215 * bits, 6, axis=1).astype(np.uint8)  # (T, 48)
    out = np.zeros((frames, 32, 48, 3), np.uint8)
    out[..., seed % 3] = bars[:, None]
    return out


def numbers(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Inverse of :func:`pictures`: the number of each frame."""
    bars = rgb.max(axis=3)[:, 16, 3::6] > 127
    return (bars << np.arange(8)).sum(axis=1)


def only(path: Path) -> RawEpisode:
    (episode,) = read_episodes(path)
    return episode


# LeRobot


@pytest.mark.parametrize("name", SAMPLES)
def test_lerobot_numbers_are_bit_exact(samples: Path, name: str) -> None:
    tables = [pq.read_table(f) for f in sorted((samples / name / "data").rglob("*.parquet"))]
    rows = sorted((r for t in tables for r in t.to_pylist()), key=lambda r: r["index"])
    episodes = list(read_episodes(samples / name))
    assert {e.format for e in episodes} == {f"lerobot {'v2.1' if 'v21' in name else 'v3.0'}"}
    for key in ("observation.state", "action"):
        stored = np.array([r[key] for r in rows], dtype=np.float32)
        read = np.concatenate([e.columns[key] for e in episodes])
        assert np.array_equal(read, stored.astype(float))
    stamps = np.array([r["timestamp"] for r in rows], dtype=np.float32)
    assert np.array_equal(np.concatenate([e.times for e in episodes]).astype(np.float32), stamps)


@pytest.mark.parametrize(
    "names", [["a", "b"], {"motors": ["a", "b"]}, {"axes": {"x": 0}}, None, ["a"]]
)
def test_lerobot_names_in_all_their_shapes(tmp_path: Path, names: object) -> None:
    from icl_vla_retrieval import LeRobotWriter

    features = {
        k: {"dtype": "float32", "shape": [2], "names": None}
        for k in ("observation.state", "action")
    }
    writer = LeRobotWriter.create(tmp_path / "d", robot_type="r", fps=10, features=features)
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    writer.append({"observation.state": values, "action": values}, {}, "push")
    file = tmp_path / "d/meta/info.json"
    info = json.loads(file.read_text())
    info["features"]["action"]["names"] = names
    file.write_text(json.dumps(info))
    found = only(tmp_path / "d")
    listed = names["motors"] if isinstance(names, dict) and "motors" in names else names
    good = isinstance(listed, list) and len(listed) == 2
    assert found.names["action"] == (tuple(listed) if good else ())
    assert found.instruction == "push"
    assert np.array_equal(found.columns["action"], values)


# robomimic


def robomimic_file(path: Path, model: RobotModel, motions: list[Motion]) -> None:
    """Demonstrations of an operational-space controller, as robomimic writes them."""
    # robosuite: the base stands on a pedestal, the tool is the site between the fingers
    X = se3.pose(None, [-0.56, 0.0, 0.912])
    Y = se3.pose(se3.exp3([0.0, 0.0, np.pi / 2]), [0.0, 0.0, 0.0])
    kwargs = {
        "robots": ["Panda"],
        "control_freq": 20,
        "controller_configs": {
            "type": "OSC_POSE",
            "control_delta": True,
            "input_max": 1,
            "input_min": -1,
            "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
            "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
        },
    }
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(len(m.q) for m in motions)
        args = {"env_name": "Lift", "type": 1, "env_version": "1.4.1", "env_kwargs": kwargs}
        data.attrs["env_args"] = json.dumps(args, indent=4)
        for i, m in reversed(list(enumerate(motions))):
            T = X @ np.stack([m.pose(model, q) for q in m.q]) @ Y
            G = X @ np.stack([m.pose(model, q) for q in m.commands]) @ Y
            turn = se3.log3(G[:, :3, :3] @ T[:, :3, :3].swapaxes(-1, -2))
            move = G[:, :3, 3] - T[:, :3, 3]
            # of the two-finger hand, -1 opens and 1 closes
            a = np.column_stack([move / 0.05, turn / 0.5, 1 - 2 * m.closing])
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"] = len(a)
            demo.attrs["model_file"] = "<mujoco/>"
            demo["actions"] = a
            demo["states"] = np.zeros((len(a), 32))
            demo["rewards"] = np.zeros(len(a))
            demo["dones"] = np.zeros(len(a), int)
            finger = 0.04 * m.opening
            obs = {
                "robot0_joint_pos": m.q,
                "robot0_joint_pos_cos": np.cos(m.q),
                "robot0_joint_pos_sin": np.sin(m.q),
                "robot0_joint_vel": np.gradient(m.q, axis=0) * 20,
                "robot0_eef_pos": T[:, :3, 3],
                "robot0_eef_quat": se3.quat_xyzw(T[:, :3, :3]),
                "robot0_gripper_qpos": np.column_stack([finger, -finger]),
                "robot0_gripper_qvel": np.zeros((len(a), 2)),
                "object": np.zeros((len(a), 10)),
                "agentview_image": pictures(len(a), i),
            }
            for key, values in obs.items():
                demo.create_dataset(f"obs/{key}", data=values, compression="gzip")
                demo.create_dataset(f"next_obs/{key}", data=np.roll(values, -1, axis=0))
        file["mask/train"] = np.array([b"demo_0"])


def test_robomimic(tmp_path, panda: Embodiment, panda_model: RobotModel, motions) -> None:
    robomimic_file(tmp_path / "low_dim.hdf5", panda_model, motions)
    given = Given()
    recording = read_recording(tmp_path / "low_dim.hdf5", panda, panda_model, given)
    assert not recording.match.flags
    assert recording.match.rate == 20
    assert [e.source.rpartition(" ")[2] for e in recording.episodes] == [
        f"demo_{i}" for i in range(5)
    ]
    demonstrations = recording.demonstrations(panda_model, given, "lift the cube")
    for i, (d, m) in enumerate(zip(demonstrations, motions, strict=True)):
        assert d.instruction == "lift the cube"
        assert np.array_equal(d.q[:, :7], m.q)
        wanted = np.stack([m.pose(panda_model, c) for c in m.commands])
        assert np.abs(d.commands["arm"] - wanted).max() < 1e-6
        assert np.abs(d.grippers["arm"] - m.opening).max() < 1e-6
        assert np.array_equal(d.gripper_commands["arm"], m.closing)
        assert np.array_equal(d.cameras["agentview"].rgb, pictures(len(m.q), i))


def test_robomimic_without_observations(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "demo.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((5, 7))
        file["data/demo_0/states"] = np.zeros((5, 32))
    with pytest.raises(DatasetError, match="no observations") as caught:
        only(tmp_path / "demo.hdf5")
    assert "dataset_states_to_obs" in caught.value.remedy


# DROID


def write_steps(group: h5py.Group, steps: Mapping[str, Any]) -> None:
    """Nested columns as groups; the first axis grows with the steps."""
    for key, values in steps.items():
        if isinstance(values, Mapping):
            write_steps(group.create_group(key), values)
        else:
            x = np.asarray(values)
            group.create_dataset(key, data=x, maxshape=(None, *x.shape[1:]), chunks=True)


def droid_folder(
    root: Path, model: RobotModel, m: Motion, skipped: NDArray[np.bool_], mark: str, media: str
) -> Path:
    """One trajectory, with steps in between in which the operator had let go."""
    row = np.cumsum(~skipped) - 1  # the robot's step at each recorded one; it waits while skipped
    row = np.maximum(row, 0)
    T = np.stack([m.pose(model, q) for q in m.q[row]])
    pose = np.concatenate([T[:, :3, 3], se3.euler_xyz(T[:, :3, :3])], axis=1)
    n = len(row)
    state = {
        "cartesian_position": pose,
        "gripper_position": 1 - m.opening[row],
        "joint_positions": m.q[row],
        "joint_velocities": np.zeros((n, 7)),
        "motor_torques_measured": np.ones((n, 7)),
        "prev_command_successful": np.ones(n, bool),
    }
    commands = m.commands[row].copy()
    commands[skipped] = 9.0  # what was never sent
    clock = 1_700_000_000_000 + np.round(np.arange(n) * 1000 / 15).astype(np.int64)
    observation = {
        "robot_state": state,
        "controller_info": {"success": np.zeros(n, bool), "failure": np.zeros(n, bool)},
        "camera_type": {"123": np.zeros(n, np.int64)},
        "timestamp": {"control": {"step_start": clock, "step_end": clock + 60}},
    }
    if mark == "skip_action":
        observation["timestamp"][mark] = skipped
    else:
        observation["controller_info"][mark] = ~skipped
    action = {
        "cartesian_position": pose,
        "cartesian_velocity": np.zeros((n, 6)),
        "gripper_position": 1 - m.closing[row],
        "gripper_velocity": np.zeros(n),
        "joint_position": commands,
        "joint_velocity": np.zeros((n, 7)),
        "robot_state": {k: np.roll(np.asarray(v), 1, axis=0) for k, v in state.items()},
    }
    home = root / "2024-05-01_put_the_cup_away" / "Wed_May__1_10:00:00_2024"
    home.mkdir(parents=True)
    with h5py.File(home / "trajectory.h5", "w") as file:
        write_steps(file, {"observation": observation, "action": action})
        file.attrs["success"] = True
        file.attrs["controller_type"] = "VRPolicy"
    seen = pictures(n)
    if media == "mp4":
        (home / "recordings/MP4").mkdir(parents=True)
        (home / "recordings/MP4/123.mp4").write_bytes(encode_rgb(seen, 15))
        (home / "recordings/MP4/123-stereo.mp4").write_bytes(b"both eyes, of no use here")
    else:
        folder = home / "recordings/frames/hand_camera"
        folder.mkdir(parents=True)
        for k, frame in enumerate(seen[~skipped]):
            Image.fromarray(frame).save(folder / f"{k}.png")
    return root


@pytest.mark.parametrize(
    ("mark", "media"), [("skip_action", "mp4"), ("movement_enabled", "frames")]
)
def test_droid(tmp_path, panda, panda_model, motions, mark: str, media: str) -> None:
    m = motions[0]
    skipped = np.zeros(len(m.q) + 13, bool)
    skipped[[*range(5), *range(40, 48)]] = True
    root = droid_folder(tmp_path, panda_model, m, skipped, mark, media)
    recording = read_recording(root, panda, panda_model, Given())
    assert not recording.match.flags
    (d,) = recording.demonstrations(panda_model, Given())
    assert d.instruction == "put the cup away"
    assert (d.provenance["skipped_frames"], d.provenance["success"]) == (13, True)
    assert np.array_equal(d.q[:, :7], m.q)
    assert np.abs(d.grippers["arm"] - m.opening).max() < 1e-12
    wanted = np.stack([m.pose(panda_model, c) for c in m.commands])
    assert np.abs(d.commands["arm"] - wanted).max() < 1e-9
    assert np.abs(d.gripper_commands["arm"] - m.closing).max() < 1e-12
    assert recording.match.rate == 15
    assert np.abs(np.diff(d.times) - 1 / 15).max() < 1.1e-3  # stamps in whole milliseconds
    rgb = d.cameras["123" if media == "mp4" else "hand_camera"].rgb
    assert np.array_equal(numbers(rgb), np.flatnonzero(~skipped))


# plain folders


def arrays(m: Motion) -> dict[str, Array]:
    return {
        "qpos": np.column_stack([m.q, m.opening]),
        "action": np.column_stack([m.commands, m.closing]),
        "timestamp": np.arange(len(m.q)) / 20,
    }


def test_npz(tmp_path: Path, motions: list[Motion]) -> None:
    for i in (10, 2, 1):  # in the order of their numbers, not of their letters
        m = motions[i % 5]
        np.savez(
            tmp_path / f"episode_{i}.npz", top=pictures(len(m.q), i), prompt="stack", **arrays(m)
        )
        for k, frame in enumerate(pictures(len(m.q), 1)):
            file = tmp_path / "images" / f"episode_{i}" / "side" / f"frame_{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame).save(file)
    episodes = list(read_episodes(tmp_path))
    assert [Path(e.source).stem for e in episodes] == ["episode_1", "episode_2", "episode_10"]
    for e, m in zip(episodes, (motions[1], motions[2], motions[0]), strict=True):
        assert np.array_equal(e.columns["qpos"], arrays(m)["qpos"])
        assert (e.instruction, e.format) == ("stack", "folder of npz")
        assert set(e.cameras) == {"top", "side"}
        assert np.array_equal(e.cameras["side"].rgb, pictures(len(m.q), 1))  # frame_2 before _10
    assert np.array_equal(episodes[0].cameras["top"].rgb, pictures(len(motions[1].q), 1))


def test_csv(tmp_path: Path, motions: list[Motion], panda: Embodiment) -> None:
    m = motions[0]
    head = ["timestamp", *(f"state.{j}" for j in panda.joints[:7]), "state.gripper"]
    head += [f"action_{k}" for k in range(8)]
    own = arrays(m)
    rows = np.column_stack([1000 * own["timestamp"], own["qpos"], own["action"]])
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows.tolist()])
    (tmp_path / "instruction.txt").write_text("wipe the table\n")
    (tmp_path / "a.mp4").write_bytes(encode_rgb(pictures(len(m.q)), 20))
    found = only(tmp_path)
    assert np.array_equal(found.columns["state"], own["qpos"])
    assert np.array_equal(found.columns["action"], own["action"])
    assert found.names["state"] == (*panda.joints[:7], "gripper")
    assert found.times is not None
    assert np.allclose(found.times, own["timestamp"], atol=1e-9)  # written in milliseconds
    assert found.instruction == "wipe the table"
    assert np.array_equal(numbers(found.cameras["camera"].rgb), np.arange(len(m.q)))


class Bomb:
    """Unpickled, it would leave a trace."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def test_no_pickle_is_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    folder = tmp_path / "data"
    folder.mkdir()
    payload = np.array([Bomb(trace)], dtype=object)
    np.savez(folder / "episode.npz", state=payload, action=np.zeros((3, 2)))
    with np.load(folder / "episode.npz", allow_pickle=True) as stored:
        stored["state"]
    assert trace.exists()  # it works
    trace.unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        only(folder)
    (folder / "episode.npz").write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(DatasetError, match="cannot be read"):
        only(folder)
    assert not trace.exists()


def test_nothing_is_read_through_links_of_a_file(tmp_path: Path) -> None:
    """A file that points into others must not bring them in."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones((5, 7))
    with h5py.File(tmp_path / "demo.hdf5", "w") as file:
        file["data/demo_0/obs/q"] = np.zeros((5, 7))
        file["data/demo_0/actions"] = h5py.ExternalLink("secret.h5", "/x")
    with pytest.raises(DatasetError, match="no actions"):
        only(tmp_path / "demo.hdf5")


def test_what_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        list(read_episodes(tmp_path / "nowhere"))
    with pytest.raises(DatasetError, match="no demonstrations are found") as caught:
        list(read_episodes(tmp_path))
    assert len(caught.value.valid) == 4
    np.savez(tmp_path / "a.npz", state=np.zeros((4, 3)), action=np.zeros((5, 3)))
    with pytest.raises(DatasetError, match="different lengths"):
        only(tmp_path)
