"""Datasets that LeRobot wrote, against their raw tables; damaged ones, against their messages."""

from __future__ import annotations

import json
import shutil
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from icl_vla_retrieval import DatasetError, LeRobotReader, make_example, make_example_bank

NAMES = ["v21_noimg", "v21_video", "v30_image", "v30_multichunk", "v30_noimg", "v30_video"]


def raw_episodes(path: Path) -> dict[int, list[dict]]:
    """Episode -> its rows, of all parquet files, without any knowledge of their layout."""
    rows: dict[int, list[dict]] = {}
    for file in sorted((path / "data").rglob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            rows.setdefault(row["episode_index"], []).append(row)
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_real_dataset(samples: Path, name: str) -> None:
    reader = LeRobotReader(samples / name)
    raw = raw_episodes(samples / name)
    info = json.loads((samples / name / "meta/info.json").read_text())
    assert len(reader) == len(raw) == info["total_episodes"]
    assert sum(len(e) for e in reader) == info["total_frames"]
    for episode in reader:
        rows = raw[episode.record.index]
        for key, values in episode.columns.items():
            expected = np.array([row[key] for row in rows], dtype=info["features"][key]["dtype"])
            assert values.dtype == expected.dtype
            assert np.array_equal(values, expected), key
        assert set(episode.columns) | set(reader.cameras) == set(info["features"])
        assert episode.state.shape == (len(episode), len(reader.names("observation.state")))
        assert episode.task == episode.record.tasks[0]
    assert {e.task for e in reader} <= set(reader.tasks.values())


@pytest.mark.parametrize("name", ["v21_video", "v30_multichunk", "v30_video"])
def test_videos_are_cut_at_the_right_frame(samples: Path, name: str) -> None:
    reader = LeRobotReader(samples / name)
    stored: dict[Path, int] = {}
    for episode in reader:
        for key, decode in episode.frames.items():
            frames = decode()
            assert frames.shape == (len(episode), *reader.features[key]["shape"])
            span = episode.record.videos[key]
            with av.open(str(span.path)) as container:  # the whole file, without seeking
                every = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
            first = round(span.start * reader.fps)
            assert np.array_equal(frames, every[first : first + len(episode)])
            stored[span.path] = len(every)
            reached = first + len(episode)
            assert reached <= len(every)
    frames_in_files = sum(stored.values())
    assert frames_in_files == sum(len(e) for e in reader) * len(reader.cameras)


def test_pictures_kept_in_the_table(samples: Path) -> None:
    episode = LeRobotReader(samples / "v30_image")[1]
    pictures = episode.frames["observation.images.front"]()
    assert pictures.dtype == np.uint8
    assert pictures.shape == (len(episode), 48, 64, 3)
    stored = raw_episodes(samples / "v30_image")[1]
    for frame, row in zip(pictures, stored, strict=True):
        with Image.open(BytesIO(row["observation.images.front"]["bytes"])) as picture:
            assert np.array_equal(frame, np.asarray(picture))
    # the same recording as video: each frame resembles its own picture, not the next or last one
    video = LeRobotReader(samples / "v30_video")[1].frames["observation.images.front"]()
    error = np.abs(video[:, None].astype(int) - pictures[None]).mean(axis=(2, 3, 4))
    assert error.diagonal().max() < 0.5 * min(error.diagonal(1).min(), error.diagonal(-1).min())


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_example_bank(tmp_path / "bank", episodes=2).path


@pytest.mark.parametrize("column", ["task", "__index_level_0__"])
def test_task_text_under_both_of_its_names(dataset: Path, column: str) -> None:
    file = dataset / "meta/tasks.parquet"
    table = pq.read_table(file)
    texts = next(n for n in table.column_names if n != "task_index")
    expected = table[texts].to_pylist()
    named = {"task_index": table["task_index"], column: table[texts].cast(pa.large_string())}
    pq.write_table(pa.table(named), file)
    assert list(LeRobotReader(dataset).tasks.values()) == expected


def test_types_that_occur_in_the_wild(tmp_path: Path) -> None:
    """float64 vectors as fixed-size lists, a vector of one number as a scalar, and truth values."""
    dataset = make_example_bank(tmp_path / "one", episodes=1).path
    (file,) = (dataset / "data").rglob("*.parquet")
    table = pq.read_table(file)
    state = np.array(table["observation.state"].to_pylist(), dtype=np.float64) / 3
    n, width = state.shape
    odd = {
        "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(state.ravel()), width),
        "next.done": pa.array(np.arange(n) % 2 == 0),
        "grip": pa.array(np.arange(n, dtype=np.int16)),
    }
    for name, values in odd.items():
        table = table.drop_columns([name]) if name in table.column_names else table
        table = table.append_column(name, values)
    pq.write_table(table, file)
    features = json.loads((dataset / "meta/info.json").read_text())["features"]
    features["observation.state"]["dtype"] = "float64"
    features["next.done"] = {"dtype": "bool", "shape": [1], "names": None}
    features["grip"] = {"dtype": "int16", "shape": [1], "names": None}
    change_info(dataset, features=features)
    (episode,) = LeRobotReader(dataset)
    assert np.array_equal(episode.columns["observation.state"], state)
    assert episode.columns["observation.state"].dtype == np.float64
    assert np.array_equal(episode.columns["next.done"], np.arange(n) % 2 == 0)
    assert np.array_equal(episode.columns["grip"], np.arange(n))


def change_info(path: Path, **fields: object) -> None:
    file = path / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_refuses_what_is_no_dataset(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"info\.json is missing"):
        LeRobotReader(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        LeRobotReader(tmp_path / "nowhere")
    info = dataset / "meta/info.json"
    whole = info.read_text()
    info.write_text(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="JSON") as caught:
        LeRobotReader(dataset)
    assert caught.value.where == str(info)
    info.write_text(whole)
    change_info(dataset, codebase_version="v1.6")
    with pytest.raises(DatasetError, match=r"v1\.6") as caught:
        LeRobotReader(dataset)
    assert caught.value.valid == ("v2.0", "v2.1", "v3.0")


@pytest.mark.parametrize("kind", ["data", "videos", "meta/episodes"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_names_the_damaged_file(dataset: Path, kind: str, damage: str) -> None:
    file = sorted(p for p in (dataset / kind).rglob("*") if p.is_file())[0]
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DatasetError) as caught:
        LeRobotReader(dataset)[0].frames["observation.images.front"]()
    assert caught.value.where in (str(file), str(dataset / "meta" / "episodes"))


def test_a_video_that_is_too_short(dataset: Path) -> None:
    longer = make_example_bank(dataset.parent / "other")
    longer.append(make_example(0, frames=30))
    video = "videos/observation.images.front/chunk-000/file-000.mp4"
    shutil.copy(dataset / video, longer.path / video)  # 20 frames
    with pytest.raises(DatasetError, match="20 frames"):
        LeRobotReader(longer.path)[0].frames["observation.images.front"]()
