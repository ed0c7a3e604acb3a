"""Reads LeRobotDataset folders, v3.0 and v2.x, with pyarrow and PyAV alone.

``meta/info.json`` names features, rate and path templates. A v3.0 episode lies, among others, in
the data file that its row of ``meta/episodes`` names, and is found there by its ``episode_index``
(``dataset_from_index`` counts frames of the dataset, not rows of the file). Frame ``i`` of an
episode is at ``from_timestamp + i / fps`` in its video. Statistics are never read: those of LeRobot
up to 0.6 are wrong where several episodes are pooled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import DatasetError
from ..pictures import decode_picture, stack
from . import layout
from .video import decode_rgb

LONGEST, FASTEST = 10_000_000, 10_000  # frames of an episode, and a second
# what damaged descriptions lead to where a number, a text or a list of them is expected
_DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


@dataclass(frozen=True)
class VideoSpan:
    """Where an episode lies in a video file, in seconds from its start."""

    path: Path
    start: float


@dataclass(frozen=True)
class EpisodeRecord:
    """What the metadata tell of an episode."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    videos: Mapping[str, VideoSpan] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode; pictures are decoded when asked for.

    Attributes:
        record: Its metadata.
        columns: Feature -> ``(T, ...)``; scalars ``(T,)``; text as objects.
        frames: Camera feature -> function that returns ``(T, H, W, 3)`` uint8.
        task: Text of the first frame's task.
    """

    record: EpisodeRecord
    columns: Mapping[str, NDArray]
    frames: Mapping[str, Callable[[], NDArray[np.uint8]]]
    task: str

    def __len__(self) -> int:
        return self.record.length

    @property
    def times(self) -> NDArray:
        """``(T,)`` [s] from the episode's start."""
        return self.columns["timestamp"].astype(float)

    @property
    def state(self) -> NDArray:
        """``(T, n)`` of ``observation.state``."""
        return self._vector(layout.STATE)

    @property
    def action(self) -> NDArray:
        """``(T, D)``."""
        return self._vector(layout.ACTION)

    def _vector(self, key: str) -> NDArray:
        if key not in self.columns:
            raise DatasetError(
                f"the dataset has no {key!r}", where=self.record.data, valid=self.columns
            )
        return self.columns[key].reshape(len(self), -1)


class LeRobotReader:
    """A LeRobotDataset folder: ``len``, ``reader[i]``, iteration.

    Attributes:
        path: The folder.
        info: ``meta/info.json``.
        version: ``(3, 0)`` or ``(2, 1)`` ...
        fps: Frames per second.
        features: Name -> dtype, shape, names.
        tasks: Task index -> text.
        records: Metadata of the episodes, in order.

    Raises:
        DatasetError: It is none, of a version that is not known, or damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.info = read_info(self.path)
        self.version = _version(self.path, self.info)
        self.fps: float = self.info["fps"]
        self.features: Mapping[str, Any] = self.info["features"]
        self.robot_type: str = self.info.get("robot_type") or ""
        with _sound(self.path / "meta"):
            if self.version[0] == 3:
                self.tasks, self.records = self._tasks_v3(), self._records_v3()
            else:
                self.tasks, self.records = self._tasks_v2(), self._records_v2()

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Episode]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Episode:
        record = self.records[i]
        with _sound(record.data):
            names = [k for k in self._stored_columns(record.data) if k not in self.cameras]
            table = self._table(record, names)
            columns = {k: _array(table[k], self.features.get(k, {}), record.data) for k in names}
            task_index = int(columns["task_index"][0])
        frames: dict[str, Callable[[], NDArray[np.uint8]]] = {}
        for key, kind in self.cameras.items():
            if kind == "video":
                span = record.videos[key]
                frames[key] = partial(
                    decode_rgb, span.path, start=span.start, count=record.length, fps=self.fps
                )
            else:
                frames[key] = partial(self._images, record, key)
        task = self.tasks.get(task_index, record.tasks[0] if record.tasks else "")
        return Episode(record, columns, frames, task)

    @cached_property
    def cameras(self) -> Mapping[str, str]:
        """Camera feature -> ``"video"`` or ``"image"``."""
        return {k: f["dtype"] for k, f in self.features.items() if f["dtype"] in layout.VISUAL}

    def names(self, key: str) -> tuple[str, ...]:
        """Names of a vector feature's numbers; empty where the dataset has none."""
        names = self.features.get(key, {}).get("names")
        if isinstance(names, dict):
            if all(isinstance(place, int) for place in names.values()):  # {"x": 0, "y": 1}
                names = sorted(names, key=lambda n: names[n])
            else:  # {"motors": [...]} of older recordings
                groups = [g if isinstance(g, list) else [g] for g in names.values()]
                names = [n for group in groups for n in group]
        return tuple(map(str, names)) if isinstance(names, list) else ()

    def _stored_columns(self, data: Path) -> list[str]:
        return _parquet(pq.read_schema, data).names

    def _table(self, record: EpisodeRecord, columns: list[str]) -> pa.Table:
        only = [("episode_index", "==", record.index)]
        table = _parquet(pq.read_table, record.data, columns=columns, filters=only)
        if table.num_rows != record.length:
            raise DatasetError(
                f"episode {record.index} has another length than its metadata say",
                where=record.data,
                value=f"{table.num_rows} frames, {record.length} expected",
                remedy="fetch or record this dataset again",
            )
        return table

    def _images(self, record: EpisodeRecord, key: str) -> NDArray[np.uint8]:
        """Pictures kept in the table as encoded bytes, or as files beside it."""
        with _sound(record.data):
            cells = self._table(record, [key])[key].to_pylist()
            sources = [c["bytes"] or self._inside(c["path"]) for c in cells]
        return stack([decode_picture(s, f"{record.data}, {key!r}") for s in sources], record.data)

    def _tasks_v3(self) -> dict[int, str]:
        path = self.path / layout.TASKS
        if not path.exists() and not self.info.get("total_episodes"):
            return {}
        table = _parquet(pq.read_table, path)
        texts = [name for name in table.column_names if name != "task_index"]
        if len(texts) == len(table.column_names) or not texts:
            raise DatasetError(
                "the list of tasks lacks columns", where=path, value=table.column_names
            )
        indices, tasks = table["task_index"].to_pylist(), table[texts[0]].to_pylist()
        return {int(i): str(t) for i, t in zip(indices, tasks, strict=True)}

    def _records_v3(self) -> tuple[EpisodeRecord, ...]:
        folder = self.path / "meta" / "episodes"
        files = sorted(folder.glob("*/*.parquet"))
        if not files and self.info.get("total_episodes"):
            raise DatasetError("the list of episodes is missing", where=folder)
        records = []
        for file in files:
            videos = [k for k, kind in self.cameras.items() if kind == "video"]
            columns = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index"]
            for key in videos:
                parts = ("chunk_index", "file_index", "from_timestamp")
                columns += [f"videos/{key}/{part}" for part in parts]
            table = _parquet(pq.read_table, file, columns=columns)
            if missing := [c for c in columns if c not in table.column_names]:
                raise DatasetError("the list of episodes lacks columns", where=file, value=missing)
            records += [self._record_v3(row, videos) for row in table.to_pylist()]
        return tuple(sorted(records, key=lambda r: r.index))

    def _record_v3(self, row: Mapping[str, Any], videos: list[str]) -> EpisodeRecord:
        spans = {}
        for key in videos:
            place = layout.Place(row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"])
            file = self._inside(place.path(self.info["video_path"], video_key=key))
            spans[key] = VideoSpan(file, float(row[f"videos/{key}/from_timestamp"]))
        place = layout.Place(row["data/chunk_index"], row["data/file_index"])
        data = self._inside(place.path(self.info["data_path"]))
        return _record(row["episode_index"], row["length"], row["tasks"], data, spans)

    def _inside(self, name: str) -> Path:
        """A file of the dataset; what its description names elsewhere is not read."""
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DatasetError(
                "the dataset names a file outside its folder", where=self.path, value=name
            )
        return self.path / name

    def _tasks_v2(self) -> dict[int, str]:
        rows = _json_lines(self.path / "meta" / "tasks.jsonl")
        return {int(row["task_index"]): str(row["task"]) for row in rows}

    def _records_v2(self) -> tuple[EpisodeRecord, ...]:
        records = []
        for row in _json_lines(self.path / "meta" / "episodes.jsonl"):
            index = row["episode_index"]
            where = {"episode_chunk": index // self.info["chunks_size"], "episode_index": index}
            spans = {
                key: VideoSpan(
                    self._inside(self.info["video_path"].format(video_key=key, **where)), 0.0
                )
                for key, kind in self.cameras.items()
                if kind == "video"
            }
            data = self._inside(self.info["data_path"].format(**where))
            records.append(_record(index, row["length"], row["tasks"], data, spans))
        return tuple(sorted(records, key=lambda r: r.index))


@contextmanager
def _sound(where: Path) -> Iterator[None]:
    """What is read from a file is what LeRobot writes there, or the file is damaged."""
    try:
        yield
    except _DAMAGE as error:
        raise DatasetError(
            "a dataset does not hold what it should",
            where=where,
            value=f"{type(error).__name__}: {error}",
            remedy="fetch or record this dataset again",
        ) from error


def _record(
    index: int, length: int, tasks: list[str], data: Path, videos: Mapping[str, VideoSpan]
) -> EpisodeRecord:
    if not isinstance(index, int) or not isinstance(length, int) or not 0 < length < LONGEST:
        raise ValueError(f"episode {index} of {length} frames")
    if not all(np.isfinite(v.start) for v in videos.values()):
        raise ValueError(f"episode {index} begins at no time of its video")
    return EpisodeRecord(index, length, tuple(map(str, tasks or ())), data, videos)


def read_info(path: Path) -> dict[str, Any]:
    """``meta/info.json`` of a dataset folder, checked for what a reader needs."""
    file = path / layout.INFO
    if not file.is_file():
        raise DatasetError(
            "this is not a LeRobot dataset",
            where=path,
            value=f"{layout.INFO} is missing" if path.is_dir() else "no such folder",
            remedy="give the folder that holds meta/, data/ and videos/",
        )
    info = read_json(file)
    needed = ("codebase_version", "fps", "features", "data_path")
    if missing := [key for key in needed if key not in info]:
        raise DatasetError("the dataset's description lacks fields", where=file, value=missing)
    fps, features = info["fps"], info["features"]
    good_fps = isinstance(fps, int | float) and 0 < fps < FASTEST  # NaN is not
    if not good_fps or not isinstance(info["data_path"], str):
        raise DatasetError(
            "the dataset's description is damaged",
            where=file,
            value=f"fps {fps!r}, data_path {info['data_path']!r}",
        )
    if not isinstance(features, dict) or not all(_is_feature(f) for f in features.values()):
        raise DatasetError("the dataset's features are damaged", where=file)
    return info


def _is_feature(feature: object) -> bool:
    """Whether it has a type and a shape (legacy recordings: a list of whole numbers)."""
    if not isinstance(feature, dict) or not isinstance(feature.get("dtype"), str):
        return False
    shape = feature.get("shape") or []
    return isinstance(shape, list) and all(isinstance(n, int) and n >= 0 for n in shape)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        DatasetError: It is missing, cut off or no object.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            "a file cannot be read as JSON",
            where=file,
            value=str(error),
            remedy="fetch this folder again, or restore the file from a copy",
        ) from error
    if not isinstance(value, dict):
        raise DatasetError("a JSON object was expected", where=file, value=type(value).__name__)
    return value


def _version(path: Path, info: Mapping[str, Any]) -> tuple[int, ...]:
    text = str(info["codebase_version"])
    try:
        version = tuple(int(part) for part in text.removeprefix("v").split("."))
    except ValueError:
        version = ()
    if not version or version[0] not in (2, 3):
        raise DatasetError(
            "this version of the LeRobot format is not known",
            where=path / layout.INFO,
            value=text,
            valid=["v2.0", "v2.1", "v3.0"],
            remedy="convert the dataset with LeRobot's own converter",
        )
    return version


def _parquet(read: Callable[..., Any], file: Path, **options: Any) -> Any:
    try:
        return read(file, **options)
    except (OSError, pa.ArrowException, MemoryError, *_DAMAGE) as error:
        raise DatasetError(
            "a data file cannot be read" if file.exists() else "a data file is missing",
            where=file,
            value=str(error) if file.exists() else None,
            remedy="fetch or record this dataset again",
        ) from error


def _json_lines(file: Path) -> list[dict[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError("a list cannot be read", where=file, value=str(error)) from error


def _array(column: pa.ChunkedArray, feature: Mapping[str, Any], file: Path) -> NDArray:
    """``(T,)`` or ``(T, *shape)`` of a column of scalars or nested lists."""
    values = column.combine_chunks()
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    nested = False
    while pa.types.is_nested(values.type):
        values, nested = values.flatten(), True
    array = values.to_numpy(zero_copy_only=False)
    if not nested:
        return array
    shape = feature.get("shape") or (len(array) // max(len(column), 1),)
    try:
        return array.reshape(len(column), *shape)
    except ValueError as error:
        raise DatasetError(
            "a column has another shape than the description says",
            where=file,
            value=f"{len(array)} numbers in {len(column)} frames",
            valid=[tuple(shape)],
        ) from error
