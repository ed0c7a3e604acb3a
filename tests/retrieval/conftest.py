"""What several tests of this package share."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pybullet_data
import pytest
from numpy.typing import NDArray

from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf

SHARED = Path(os.environ.get("ICL_VLA_SHARED", Path(__file__).parents[3] / "shared"))
LEROBOT_SAMPLES = SHARED / "datasets" / "lerobot"
PANDA = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
Array = NDArray[np.float64]


@pytest.fixture
def samples() -> Path:
    """Small datasets that LeRobot 0.4.4 wrote."""
    if not LEROBOT_SAMPLES.is_dir():
        pytest.skip("the LeRobot sample datasets are not on this machine")
    return LEROBOT_SAMPLES


def check_lerobot_rules(path: Path, *, settled: bool = True) -> int:
    """Assert what LeRobot's loader relies on, with pyarrow and PyAV alone; the episodes there are.

    ``settled`` also asks for exact totals, which an interrupted append may leave behind.
    """
    info = json.loads((path / "meta/info.json").read_text())
    files = sorted((path / "meta/episodes").glob("*/*.parquet"))
    if not files:
        assert info["total_episodes"] == 0
        return 0
    episodes = pa.concat_tables([pq.read_table(f) for f in files]).to_pylist()
    data = pa.concat_tables([pq.read_table(f) for f in sorted((path / "data").glob("*/*.parquet"))])
    tasks = pq.read_table(path / "meta/tasks.parquet")
    index_column = json.loads(tasks.schema.metadata[b"pandas"])["index_columns"][0]
    text = dict(zip(tasks["task_index"].to_pylist(), tasks[index_column].to_pylist(), strict=True))
    assert info["codebase_version"] == "v3.0"
    vectors = [k for k, f in info["features"].items() if f["dtype"] != "video"]
    assert data.column_names == vectors
    assert info["total_episodes"] <= len(episodes)
    assert info["total_frames"] <= len(data)
    if settled:
        assert info["total_episodes"] == len(episodes)
        assert info["total_frames"] == len(data)
        assert info["total_tasks"] == len(text)
        assert info["splits"] == {"train": f"0:{len(episodes)}"}
    for i, row in enumerate(episodes):
        assert row["episode_index"] == i
        start, stop = row["dataset_from_index"], row["dataset_to_index"]
        rows = data.slice(start, stop - start)
        frame = np.arange(row["length"])
        assert np.array_equal(rows["episode_index"], np.full(row["length"], i))
        assert np.array_equal(rows["frame_index"], frame)
        assert np.array_equal(rows["index"], start + frame)
        stamps = np.asarray(rows["timestamp"])
        assert np.array_equal(stamps, (frame / info["fps"]).astype(np.float32))
        assert {text[t] for t in rows["task_index"].to_pylist()} == set(row["tasks"])
        own = info["data_path"].format(
            chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
        )
        assert i in pq.read_table(path / own)["episode_index"].to_pylist()
        for key in (k for k, f in info["features"].items() if f["dtype"] == "video"):
            place = {part: row[f"videos/{key}/{part}"] for part in ("chunk_index", "file_index")}
            file = path / info["video_path"].format(video_key=key, **place)
            first = row[f"videos/{key}/from_timestamp"]
            with av.open(str(file)) as container:
                times = np.array([f.time for f in container.decode(video=0)])
            wanted = first + frame / info["fps"]
            nearest = np.abs(times[:, None] - wanted).min(axis=0)
            assert nearest.max() < 1e-4  # LeRobot's own tolerance [s]
    return len(episodes)


@pytest.fixture(name="check_lerobot_rules")
def check_lerobot_rules_fixture():
    return check_lerobot_rules


@pytest.fixture(scope="session")
def panda() -> Embodiment:
    return embodiment_from_urdf(PANDA)


@pytest.fixture(scope="session")
def panda_model(panda: Embodiment) -> RobotModel:
    return RobotModel(panda)


@dataclass(frozen=True)
class Motion:
    """What an arm of seven joints and its gripper truly did, ``T`` frames at 20 Hz.

    Attributes:
        q: ``(T, 7)`` measured; a few frames behind the commands.
        commands: ``(T, 7)``.
        opening: ``(T,)`` measured; what is grasped stops it halfway.
        closing: ``(T,)`` commanded opening.
    """

    q: Array
    commands: Array
    opening: Array
    closing: Array

    @property
    def free(self) -> Array:
        """``(T,)`` the opening, had nothing been grasped."""
        return follow(self.closing)

    @staticmethod
    def pose(model: RobotModel, q: Array) -> Array:
        """``T_base_ee`` at arm joints ``(7,)``, fingers at rest."""
        whole = model.neutral.copy()
        whole[:7] = q
        return model.T_base_frame(whole, "arm")


def follow(closing: Array, stop: float = 0.0) -> Array:
    """Fingers that need seven frames, and stop at what they hold."""
    out = closing.copy()
    for t in range(1, len(out)):
        wanted = max(closing[t - 1], stop)
        out[t] = out[t - 1] + np.clip(wanted - out[t - 1], -0.15, 0.15)
    return out


@pytest.fixture(scope="session")
def motions(panda: Embodiment) -> list[Motion]:
    """Smooth motions between random postures, with a grasp in the middle."""
    rng = np.random.default_rng(3)
    lower, upper = (panda.array(end)[:7] for end in ("lower", "upper"))
    out = []
    for _ in range(5):
        share = rng.uniform(0.15, 0.85, (4, 7))
        points = lower + share * (upper - lower)
        s = np.linspace(0, 1, 30)[:, None]
        blend = s**3 * (10 - 15 * s + 6 * s**2)
        legs = pairwise(points)
        commands = np.concatenate([a + blend * (b - a) for a, b in legs])
        q = commands.copy()
        for t in range(1, len(q)):
            q[t] = q[t - 1] + 0.4 * (commands[t - 1] - q[t - 1])
        closing = np.ones(len(q))
        closing[30:70] = 0.0
        out.append(Motion(q, commands, follow(closing, rng.uniform(0.3, 0.6)), closing))
    return out
