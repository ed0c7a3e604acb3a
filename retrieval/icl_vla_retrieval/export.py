"""A bank as a plain LeRobotDataset, v3.0 or v2.1.

The layout of v2.1 (one parquet and one mp4 an episode, metadata as JSON lines) is that of
huggingface/lerobot 0.3, ``lerobot/datasets/utils.py``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq

from .bank import DemoBank
from .errors import BankError
from .lerobot import layout, stats

CHUNK = 1000  # episodes in a chunk folder
DATA_V2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_V2 = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def export_dataset(bank: DemoBank, folder: Path, version: Literal["v3.0", "v2.1"] = "v3.0") -> None:
    """Write a new folder, whole or not at all.

    Raises:
        BankError: The folder exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise BankError(
            "an export needs a folder of its own",
            where=folder,
            value="it exists",
            remedy="give the path of a new folder",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        if version == "v3.0":
            for part in ("meta", "data", "videos"):
                if (bank.path / part).exists():
                    shutil.copytree(bank.path / part, made / part)
        else:
            _write_v2(bank, made)
        made.chmod(0o755)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _write_v2(bank: DemoBank, folder: Path) -> None:
    reader = bank.reader
    meta = folder / "meta"
    meta.mkdir()
    episodes, each = [], []
    for record in reader.records:
        where = {"episode_chunk": record.index // CHUNK, "episode_index": record.index}
        data = folder / DATA_V2.format(**where)
        data.parent.mkdir(parents=True, exist_ok=True)
        only = [("episode_index", "==", record.index)]
        pq.write_table(pq.read_table(record.data, filters=only), data)
        for key, span in record.videos.items():
            video = folder / VIDEO_V2.format(video_key=key, **where)
            video.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(span.path, video)
        tasks = list(record.tasks)
        episodes.append({"episode_index": record.index, "tasks": tasks, "length": record.length})
        columns = reader[record.index].columns
        numbers: dict[str, stats.Stats] = {k: stats.vector_stats(x) for k, x in columns.items()}
        for name, track in bank[record.index].cameras.items():
            numbers[layout.IMAGES + name] = stats.image_stats(track.rgb)
        basic = ("min", "max", "mean", "std", "count")  # v2.1 has no quantiles
        plain = {k: {q: s[q].tolist() for q in basic} for k, s in numbers.items()}
        each.append({"episode_index": record.index, "stats": plain})
    task_rows = [{"task_index": i, "task": text} for i, text in reader.tasks.items()]
    _write_lines(meta / "tasks.jsonl", task_rows)
    _write_lines(meta / "episodes.jsonl", episodes)
    _write_lines(meta / "episodes_stats.jsonl", each)
    dropped = ("data_files_size_in_mb", "video_files_size_in_mb")
    info = {k: v for k, v in reader.info.items() if k not in dropped}
    info |= {
        "codebase_version": "v2.1",
        "total_videos": len(reader) * len(reader.cameras),
        "total_chunks": -(-len(reader) // CHUNK),
        "chunks_size": CHUNK,
        "data_path": DATA_V2,
        "video_path": VIDEO_V2 if reader.cameras else None,
    }
    (meta / "info.json").write_text(json.dumps(info, indent=4, ensure_ascii=False))


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
