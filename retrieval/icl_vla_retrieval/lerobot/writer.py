"""Writes a LeRobotDataset v3.0, one episode at a time, whole or not at all.

Each episode has its own data and video files; the row in ``meta/episodes`` that refers to them is
renamed into place after them and is the commit. ``stats.json`` and ``info.json`` follow; where a
process died before those, :meth:`LeRobotWriter.repair` computes them anew.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import transaction
from ..errors import DatasetBusy, DatasetError, DiskFull
from . import layout, stats, video
from .layout import Place
from .reader import LeRobotReader
from .stats import Stats


class LeRobotWriter:
    """Appends to a v3.0 folder made by :meth:`create`.

    Args:
        path: The folder.
        side: Paths, with ``{index}`` for the episode, of further files that come with an episode.

    Attributes:
        reader: The dataset as it stands.
    """

    def __init__(self, path: Path | str, *, side: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self.reader = LeRobotReader(self.path)
        self._side = tuple(side)
        self._history: list[Mapping[str, NDArray]] = []  # numbers of every episode, for quantiles
        self._folder = self.path.stat().st_ino
        if self.reader.version[0] != 3:
            raise DatasetError(
                "only version 3 of the LeRobot format is written",
                where=self.path,
                value=self.reader.info["codebase_version"],
                remedy="convert the dataset with LeRobot's own converter",
            )

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        robot_type: str,
        fps: float,
        features: Mapping[str, Any],
        side: Sequence[str] = (),
        files: Mapping[str, bytes] | None = None,
    ) -> LeRobotWriter:
        """Make an empty dataset.

        Args:
            path: Folder that holds no dataset yet.
            robot_type: Name of the robot.
            fps: Frames per second.
            features: Vector and video features (``layout.vector_feature``, ``video_feature``).
            side: As for the class.
            files: Further files to begin with: relative path -> content.
        """
        path = Path(path)
        if (path / layout.INFO).exists():
            raise DatasetError("a dataset is there already", where=path)
        path.mkdir(parents=True, exist_ok=True)
        with transaction.writing(path):
            info = layout.make_info(robot_type, fps, features)
            transaction.commit(path, {**(files or {}), layout.INFO: _json(info)})
        return cls(path, side=side)

    def append(
        self,
        columns: Mapping[str, NDArray],
        videos: Mapping[str, NDArray[np.uint8]],
        task: str,
        *,
        side: Mapping[str, bytes] | None = None,
        encoded: Mapping[str, bytes] | None = None,
    ) -> int:
        """Add an episode.

        Args:
            columns: Vector feature -> ``(T, n)``.
            videos: Video feature -> ``(T, H, W, 3)`` uint8.
            task: What is done in it.
            side: Content of the further files, under the paths given to the class.
            encoded: Video feature -> mp4 file of those frames, where there is one already:
                encoding again would lose a little each time.

        Returns:
            The episode's index.

        Raises:
            DatasetBusy: Another process keeps writing.
            DiskFull: There is no room; the dataset is as before.
        """
        ready = encoded or {}
        encoded = {
            key: ready[key] if key in ready else video.encode_rgb(rgb, self.reader.fps)
            for key, rgb in videos.items()
        }
        pictures = {key: stats.image_stats(rgb) for key, rgb in videos.items()}
        with transaction.writing(self.path):
            self._repair()
            index, place = len(self.reader), Place.of(len(self.reader))
            numbers = self._numbers(columns, task)
            files = {place.path(layout.DATA): _parquet(self._data_table(numbers))}
            for key, mp4 in encoded.items():
                files[place.path(layout.VIDEO, video_key=key)] = mp4
            for template, content in (side or {}).items():
                files[template.format(index=index)] = content
            files |= self._metadata(numbers, pictures, task)
            transaction.commit(self.path, files)
            self.reader = LeRobotReader(self.path)
        return index

    def _metadata(
        self, numbers: Mapping[str, NDArray], pictures: Mapping[str, Stats], task: str
    ) -> dict[str, bytes]:
        """Metadata files with the new episode, the commit before what can be computed anew."""
        files = {}
        T, task_index = len(numbers["index"]), int(numbers["task_index"][0])
        if task_index not in self.reader.tasks:
            files[layout.TASKS] = _parquet(
                layout.tasks_table({**self.reader.tasks, task_index: task})
            )
        each = {**{name: stats.vector_stats(x) for name, x in numbers.items()}, **pictures}
        home = Place.of(len(self.reader) // layout.CHUNK)
        rows = [*self._episode_tables(home), self._episode_row(T, task, each)]
        files[home.path(layout.EPISODES)] = _parquet(pa.concat_tables(rows))  # the commit
        files[layout.STATS] = _json(self._dataset_stats([*self._past(), numbers], pictures))
        files[layout.INFO] = _json(self._totals(T, task_index))
        return files

    def repair(self) -> tuple[str, ...]:
        """Undo what an interrupted append left, unless somebody is writing; what was done.

        A folder that may only be read, or that has no room, is left as it is.
        """
        try:
            with transaction.writing(self.path, patience=0.0):
                return self._repair()
        except (DatasetBusy, DiskFull):  # readers do not need the repair
            return ()
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            return ()

    def _repair(self) -> tuple[str, ...]:
        done = []
        if transaction.discard_staged(self.path):
            done.append("removed the staged files of an append that did not finish")
        self.reader = LeRobotReader(self.path)
        if self._folder != self.path.stat().st_ino:  # a revised dataset took this one's place
            self._folder = self.path.stat().st_ino
            self._history.clear()
        for name in self._files_of(len(self.reader)):
            if (self.path / name).exists():
                (self.path / name).unlink()
                done.append(f"removed {name}: its append did not finish")
        totals = self._totals()
        if totals != self.reader.info:
            files = {layout.INFO: _json(totals)}
            if len(self.reader):
                files = {layout.STATS: _json(self._dataset_stats(self._past(), {})), **files}
            transaction.commit(self.path, files)
            self.reader = LeRobotReader(self.path)
            done.append(f"counted {totals['total_episodes']} episodes anew")
        return tuple(done)

    def _files_of(self, index: int) -> list[str]:
        """Files that only this episode has."""
        place = Place.of(index)
        videos = [place.path(layout.VIDEO, video_key=key) for key in self.reader.cameras]
        side = [template.format(index=index) for template in self._side]
        return [place.path(layout.DATA), *videos, *side]

    def _numbers(self, columns: Mapping[str, NDArray], task: str) -> dict[str, NDArray]:
        """Every stored column of the new episode, ``(T, n)`` or ``(T,)``, in its stored type."""
        T = len(next(iter(columns.values())))
        known = {text: i for i, text in self.reader.tasks.items()}
        standard = {
            "timestamp": np.arange(T) / self.reader.fps,
            "frame_index": np.arange(T),
            "episode_index": np.full(T, len(self.reader)),
            "index": self._frames() + np.arange(T),
            "task_index": np.full(T, known.get(task, max(known.values(), default=-1) + 1)),
        }
        given = {**columns, **standard}
        return {
            name: np.asarray(given[name], dtype=feature["dtype"])
            for name, feature in self.reader.features.items()
            if name not in self.reader.cameras
        }

    def _data_table(self, numbers: Mapping[str, NDArray]) -> pa.Table:
        columns = {}
        for name, values in numbers.items():
            kind = layout.arrow_type(self.reader.features[name])
            flat = pa.array(values.reshape(-1))
            fixed = pa.types.is_fixed_size_list(kind)
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, type=kind) if fixed else flat
        return pa.table(columns)

    def _frames(self) -> int:
        return sum(record.length for record in self.reader.records)

    def _episode_row(self, T: int, task: str, each: Mapping[str, Stats]) -> pa.Table:
        """The episode's row in ``meta/episodes``."""
        index = len(self.reader)
        place, home = Place.of(index), Place.of(index // layout.CHUNK)
        start = self._frames()
        cells: dict[str, pa.Array] = {
            "episode_index": pa.array([index]),
            "tasks": pa.array([[task]]),
            "length": pa.array([T]),
            "data/chunk_index": pa.array([place.chunk_index]),
            "data/file_index": pa.array([place.file_index]),
            "dataset_from_index": pa.array([start]),
            "dataset_to_index": pa.array([start + T]),
        }
        for key in self.reader.cameras:
            cells[f"videos/{key}/chunk_index"] = pa.array([place.chunk_index])
            cells[f"videos/{key}/file_index"] = pa.array([place.file_index])
            cells[f"videos/{key}/from_timestamp"] = pa.array([0.0])
            cells[f"videos/{key}/to_timestamp"] = pa.array([T / self.reader.fps])
        for name in self.reader.features:
            for quantity, value in each[name].items():
                cells[f"stats/{name}/{quantity}"] = stats.arrow_array(value)
        cells["meta/episodes/chunk_index"] = pa.array([home.chunk_index])
        cells["meta/episodes/file_index"] = pa.array([home.file_index])
        return pa.table(cells)

    def _episode_tables(self, home: Place | None = None) -> list[pa.Table]:
        """All tables of ``meta/episodes``, or the one at a place if it exists."""
        files = sorted((self.path / "meta" / "episodes").glob("*/*.parquet"))
        if home is not None:
            files = [f for f in files if f == self.path / home.path(layout.EPISODES)]
        return [pq.ParquetFile(file).read() for file in files]

    def _past(self) -> list[Mapping[str, NDArray]]:
        """Columns of every episode on disk; an episode never changes once it is there."""
        while len(self._history) < len(self.reader):
            self._history.append(self.reader[len(self._history)].columns)
        return self._history

    def _dataset_stats(
        self, episodes: Sequence[Mapping[str, NDArray]], pictures: Mapping[str, Stats]
    ) -> dict[str, Any]:
        """``meta/stats.json`` of these episodes; ``pictures`` are the newest one's."""
        tables = self._episode_tables()
        out = {}
        for name in self.reader.features:
            if name in self.reader.cameras:
                each = [s for table in tables for s in _read_stats(table, name)]
                out[name] = stats.pool([*each, *([pictures[name]] if pictures else [])])
            else:
                out[name] = stats.vector_stats(np.concatenate([e[name] for e in episodes]))
        return {name: {k: v.tolist() for k, v in s.items()} for name, s in out.items()}

    def _totals(self, more: int = 0, task_index: int = -1) -> dict[str, Any]:
        """``meta/info.json`` of what is there and a new episode of ``more`` frames."""
        n = len(self.reader) + (more > 0)
        return self.reader.info | {
            "total_episodes": n,
            "total_frames": self._frames() + more,
            "total_tasks": len({*self.reader.tasks} | {task_index} - {-1}),
            "splits": {"train": f"0:{n}"},
        }


def _read_stats(table: pa.Table, name: str) -> list[Stats]:
    """Statistics of one feature, episode by episode."""
    quantities = ("min", "max", "mean", "std", "count", *stats.QUANTILES)
    columns = {q: table[f"stats/{name}/{q}"].to_pylist() for q in quantities}
    return [{q: np.array(columns[q][i]) for q in quantities} for i in range(len(table))]


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="snappy")
    return sink.getvalue().to_pybytes()


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=4, ensure_ascii=False).encode()
