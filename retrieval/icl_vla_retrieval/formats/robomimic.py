"""robomimic HDF5: one file, ``data/demo_N`` with ``actions`` and ``obs/<key>``.

Layout from ARISE-Initiative/robomimic: ``docs/datasets/overview.md`` (Dataset Structure, Data
Conventions: images uint8 channel-last, actions within -1..1) and
``robomimic/scripts/dataset_states_to_obs.py`` (what is written; ``obs[t]`` is what ``actions[t]``
answers). What the actions mean stands in ``env_args``, a JSON text: robosuite's
``controller_configs`` (``robosuite/controllers/config/osc_pose.json``: an action of 1 moves by
``output_max``, metres then radians, as a rotation vector about base axes) and ``control_freq``.
Observations of robosuite carry ``robotN_joint_pos`` [rad], ``robotN_eef_pos`` [m, world],
``robotN_eef_quat`` (xyzw; ``robosuite/robots/single_arm.py``) and ``robotN_gripper_qpos``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..demonstration import CameraTrack
from ..errors import DatasetError
from . import hdf5, pictures
from .raw import Given, RawEpisode, as_column

NAME = "robomimic"
_ROBOT = re.compile(r"robot\d+_")
_MEANINGS = (  # observation key without robot's number -> what it is, and its unit
    ("joint_pos", "state", "rad"),
    ("gripper_qpos", "gripper", ""),
    ("eef_pos", "pose", "m"),
    ("eef_quat", "pose", "quat_xyzw"),
)
_PER_ROBOT = ("OSC_POSE", "OSC_POSITION", "JOINT_POSITION")  # controllers whose scale is known


def detect(path: Path) -> bool:
    """Whether a path is such a file."""
    if not path.is_file() or not is_hdf5(path):
        return False
    with hdf5.opened(path) as file:
        data = hdf5.member(file, "data")
        return data is not None and any(str(name).startswith("demo") for name in data)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do (no user block)."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def read(path: Path) -> Iterator[RawEpisode]:
    """Its episodes, in the order of their numbers."""
    with hdf5.opened(path) as file:
        data = hdf5.member(file, "data")
        environment = _environment(data, path)
        episodes = []
        names = sorted((n for n in data if str(n).startswith("demo")), key=_number)
        for name in names:
            demo = hdf5.member(data, name)
            if demo is not None:
                episodes.append(_episode(demo, path, name, environment))
    yield from episodes  # the file is closed while others work


def _number(name: str) -> tuple[int, str]:
    digits = re.sub(r"\D", "", name)
    return (int(digits[:18]) if digits else 0, name)


def _environment(data: Any, path: Path) -> Mapping[str, Any]:
    """``env_args``; empty where the file has none."""
    try:
        found = json.loads(hdf5.text(data.attrs.get("env_args", "")) or "{}")
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            "the description of the environment is not JSON",
            where=f"{path}, attribute env_args of data",
            value=str(error),
        ) from error
    return found if isinstance(found, dict) else {}


def _episode(demo: Any, path: Path, name: str, environment: Mapping[str, Any]) -> RawEpisode:
    source = f"{path}, {name}"
    actions = hdf5.member(demo, "actions")
    if actions is None or not hasattr(actions, "dtype"):
        raise DatasetError("a demonstration has no actions", where=source, valid=["actions"])
    values = as_column(hdf5.read(actions, source, "actions"), source, "actions")
    if values is None:
        raise DatasetError("the actions are not numbers", where=source, value=str(actions.dtype))
    obs = hdf5.member(demo, "obs")
    if obs is None or hasattr(obs, "dtype"):
        raise DatasetError(
            "a demonstration has no observations",
            where=source,
            valid=["obs/<key>"],
            remedy="extract them with robomimic's dataset_states_to_obs.py",
        )
    columns = {"actions": values, **hdf5.columns(obs, source, "obs/")}
    kwargs = environment.get("env_kwargs")
    kwargs = kwargs if isinstance(kwargs, dict) else {}
    cameras = {
        key.removesuffix("_image"): pictures.array_track(
            hdf5.read_later(path, f"data/{name}/obs/{key}"), source, key
        )
        for key, found in hdf5.datasets(obs)
        if pictures.is_pictures(found.shape, found.dtype)
    }
    return RawEpisode(
        format=NAME,
        source=source,
        columns=columns,
        cameras=_same_length(cameras, obs, len(values), source),
        rate=_rate(kwargs.get("control_freq")),
        instruction=_instruction(demo, environment),
        given=Given(map=_meanings(columns), unit=_units(columns, kwargs)),
        notes={"env_name": str(environment["env_name"])} if "env_name" in environment else {},
    )


def _same_length(
    cameras: Mapping[str, CameraTrack], obs: Any, length: int, source: str
) -> dict[str, CameraTrack]:
    for key, found in hdf5.datasets(obs):
        if key.removesuffix("_image") in cameras and found.shape[0] != length:
            raise DatasetError(
                "a camera has another number of pictures than its episode has frames",
                where=source,
                value=f"{key}: {found.shape[0]} pictures",
                valid=[f"{length} pictures"],
            )
    return dict(cameras)


def _rate(value: object) -> float | None:
    good = isinstance(value, int | float) and np.isfinite(value) and 0 < value < 10_000
    return float(value) if good else None  # type: ignore[arg-type]


def _instruction(demo: Any, environment: Mapping[str, Any]) -> str:
    """Language where the file has some: robosuite's ep_meta, or env_args."""
    try:
        meta = json.loads(hdf5.text(demo.attrs.get("ep_meta", "")) or "{}")
    except (ValueError, RecursionError):
        meta = {}
    for holder in (meta, environment):
        lang = holder.get("lang") if isinstance(holder, dict) else None
        if isinstance(lang, str) and lang:
            return lang
    return ""


def _meanings(columns: Mapping[str, Any]) -> dict[str, str]:
    out = {"actions": "action"}
    for column in columns:
        key = column.removeprefix("obs/")
        bare = _ROBOT.sub("", key)
        role = next((r for known, r, _ in _MEANINGS if bare == known), None)
        robot = _ROBOT.match(key)
        if column != "actions":
            out[column] = role if role and robot and robot[0] == "robot0_" else "ignore"
    # files that were not made with robosuite name their observations as they like
    if not any(role == "state" for role in out.values()):
        return {"actions": "action"}
    return out


def _units(columns: Mapping[str, Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
    out = {}
    for column in columns:
        bare = _ROBOT.sub("", column.removeprefix("obs/"))
        unit = next((u for known, _, u in _MEANINGS if bare == known and u), None)
        if unit:
            out[column] = unit
    controller = kwargs.get("controller_configs")
    parts = controller.get("body_parts") if isinstance(controller, dict) else None
    if isinstance(parts, dict):  # robosuite 1.5: one controller a part
        arms = [c for c in parts.values() if isinstance(c, dict) and c.get("type") in _PER_ROBOT]
        controller = arms[0] if len(arms) == 1 else None
    if not isinstance(controller, dict) or controller.get("type") not in _PER_ROBOT:
        return out
    largest = controller.get("output_max")
    if controller.get("control_delta", True) is not True:
        return out
    kind = "rad" if controller["type"] == "JOINT_POSITION" else "m"
    sizes = largest if isinstance(largest, list) else [largest]
    for i, size in enumerate(sizes):
        if isinstance(size, int | float) and 0 < size < 10:
            out[f"actions.{i}"] = f"{size:g}{'rad' if i > 2 else kind}"
    return out
