"""Names, paths and Arrow types of a LeRobotDataset v3.0 (written) and v2.x (read).

Reference: huggingface/lerobot, ``lerobot.datasets``, ``CODEBASE_VERSION = "v3.0"``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
CHUNK = 1000  # files in a chunk folder
STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
VISUAL = ("video", "image")
STANDARD: Mapping[str, str] = {
    "timestamp": "float32",  # frame_index / fps
    "frame_index": "int64",  # from 0 in each episode
    "episode_index": "int64",
    "index": "int64",  # from 0 in the dataset
    "task_index": "int64",
}


@dataclass(frozen=True)
class Place:
    """Chunk folder and file of the ``n``-th file of a kind."""

    chunk_index: int
    file_index: int

    @classmethod
    def of(cls, n: int) -> Place:
        return cls(*divmod(n, CHUNK))

    def path(self, template: str, **fields: object) -> str:
        return template.format(chunk_index=self.chunk_index, file_index=self.file_index, **fields)


def vector_feature(names: Sequence[str]) -> dict[str, Any]:
    """A float32 vector with a name for each number."""
    return {"dtype": "float32", "shape": [len(names)], "names": list(names)}


def video_feature(height: int, width: int, fps: float) -> dict[str, Any]:
    """A colour camera kept as H.264."""
    return {
        "dtype": "video",
        "shape": [height, width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": whole(fps),
            "video.channels": 3,
            "has_audio": False,
        },
    }


def make_info(robot_type: str, fps: float, features: Mapping[str, Any]) -> dict[str, Any]:
    """``meta/info.json`` of an empty dataset; the standard features are added."""
    standard = {k: {"dtype": t, "shape": [1], "names": None} for k, t in STANDARD.items()}
    has_video = any(f["dtype"] == "video" for f in features.values())
    return {
        "codebase_version": "v3.0",
        "robot_type": robot_type,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": whole(fps),
        "splits": {"train": "0:0"},
        "data_path": DATA,
        "video_path": VIDEO if has_video else None,
        "features": {**features, **standard},
    }


def whole(fps: float) -> int | float:
    """LeRobot writes an integer; a rate that is none stays as it is."""
    return int(fps) if float(fps).is_integer() else float(fps)


def arrow_type(feature: Mapping[str, Any]) -> pa.DataType:
    """Column type of a scalar or vector feature; a vector of one number is a scalar column."""
    value = pa.type_for_alias(feature["dtype"])
    (n,) = feature["shape"]
    return value if n == 1 else pa.list_(value, n)


_NO_NAME = {"name": None, "field_name": None, "metadata": {"encoding": "UTF-8"}}


def tasks_table(tasks: Mapping[int, str]) -> pa.Table:
    """``meta/tasks.parquet``: LeRobot reads it with pandas and expects the text as the index.

    Old and new LeRobot name that index differently (``__index_level_0__`` up to 0.4, ``task`` from
    0.5.1) and look for neither name: what counts is the pandas metadata.
    """
    table = pa.table({"task_index": pa.array(tasks, pa.int64()), "task": list(tasks.values())})
    column = {"field_name": "task_index", "name": "task_index", "pandas_type": "int64"}
    index = {"field_name": "task", "name": "task", "pandas_type": "unicode"}
    metadata = {
        "index_columns": ["task"],
        "column_indexes": [{**_NO_NAME, "pandas_type": "unicode", "numpy_type": "object"}],
        "columns": [
            {**column, "numpy_type": "int64", "metadata": None},
            {**index, "numpy_type": "object", "metadata": None},
        ],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
    }
    return table.replace_schema_metadata({"pandas": json.dumps(metadata)})
