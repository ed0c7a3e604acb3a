"""From files to a robot's bank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.action_space import ActionSpace
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel

from ..bank import BANK, DemoBank
from ..demonstration import CameraTrack, Demonstration
from ..errors import BankMismatch, DatasetError
from ..formats import Given, RawEpisode, read_episodes
from ..lerobot import layout
from ..spec import CameraSpec, describe_cameras
from .matching import Match, match
from .translate import translated


@dataclass(frozen=True)
class Recording:
    """Episodes of one path, and what their columns mean.

    Attributes:
        path: Where they were read.
        episodes: As recorded.
        match: What the columns mean.
    """

    path: Path
    episodes: tuple[RawEpisode, ...]
    match: Match

    def demonstrations(
        self, model: RobotModel, given: Given, instruction: str | None = None
    ) -> Iterator[Demonstration]:
        """The episodes as demonstrations, one at a time; pictures are not decoded yet."""
        for episode in self.episodes:
            cameras = {
                given.camera.get(name, name): replace(track, frames=partial(_even, track.frames))
                for name, track in episode.cameras.items()
            }
            d = self.match.demonstration(episode, model, instruction)
            yield replace(d, cameras={n: t for n, t in cameras.items() if n != "ignore"})

    def columns(self) -> dict[str, list[dict[str, str]]]:
        """Column -> name, meaning and unit of each of its numbers; unused ones mean nothing."""
        m, first = self.match, self.episodes[0]
        units = {d.column: d.value for d in m.decisions if d.aspect in ("unit", "gripper")}
        found: dict[tuple[str, int], tuple[str, str]] = {}
        for joint, (slot, _) in m.measured.joints.items():
            unit = units.get(slot.column, "")
            found[slot.column, slot.index] = (f"measured joint position of {joint}", unit)
        for arm, (slot, _) in m.measured.grippers.items():
            unit = units.get(slot.label, "")
            found[slot.column, slot.index] = (f"measured gripper opening of {arm}", unit)
        for used, d in m.actions.parts:
            if used is not None:
                meaning = f"{d.kind} of {d.joint or d.effector}, {d.reference}"
                found[used.column, used.index] = (meaning, units.get(used.label, d.unit))
        for p in m.actions.poses:
            for slot in p.slots:
                found[slot.column, slot.index] = (f"tool pose of {p.effector}, {p.reference}", "")
        out: dict[str, list[dict[str, str]]] = {}
        for c, x in first.columns.items():
            names = first.names.get(c) or [str(k) for k in range(x.shape[1])]
            each = [found.get((c, i), ("", "")) for i in range(x.shape[1])]
            out[c] = [
                {"name": name, "meaning": meaning, "unit": unit}
                for name, (meaning, unit) in zip(names, each, strict=True)
            ]
        return out

    def to_json(self) -> dict[str, Any]:
        """What was found, ready for JSON."""
        first = self.episodes[0]
        return {
            "path": str(self.path),
            "format": first.format,
            "episodes": len(self.episodes),
            "frames": sum(len(e) for e in self.episodes),
            "rate": self.match.rate,
            "instructions": sorted({e.instruction for e in self.episodes}),
            "columns": self.columns(),
            "cameras": list(first.cameras),
            "action_space": self.match.space.describe(),
            "decisions": [d.to_json() for d in self.match.decisions],
            "flags": [d.flag() for d in self.match.flags],
        }


def read_recording(path: Path, robot: Embodiment, model: RobotModel, given: Given) -> Recording:
    """Read and understand the episodes of one path.

    Raises:
        DatasetError: The data cannot be read, or do not fit the robot.
    """
    if (path / BANK).is_file():
        raise DatasetError(
            "this is a bank already, not a recording from elsewhere",
            where=path,
            remedy="icl-vla demos merge takes the demonstrations of another bank",
        )
    episodes = tuple(read_episodes(path))
    if not episodes:
        raise DatasetError("there are no episodes", where=path)
    _check_cameras(episodes, given)
    return Recording(path, episodes, match(episodes, robot, model, given))


def rematch(recording: Recording, robot: Embodiment, model: RobotModel, given: Given) -> Recording:
    """The same episodes, understood anew with what has been settled since."""
    return replace(recording, match=match(recording.episodes, robot, model, given))


def _check_cameras(episodes: Sequence[RawEpisode], given: Given) -> None:
    known = {name for e in episodes for name in e.cameras}
    if unknown := sorted(set(given.camera) - known):
        raise DatasetError(
            "no such camera", where="--camera", value=", ".join(unknown), valid=sorted(known)
        )


def _even(frames: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures whose height and width video can hold: a last odd row or column is cut off."""
    x = frames()
    return np.ascontiguousarray(x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2])


def add_to_bank(
    path: Path,
    robot: Embodiment,
    model: RobotModel,
    demonstrations: Iterator[Demonstration],
    space: ActionSpace,
    progress: Callable[[Demonstration], None] | None = None,
) -> list[int]:
    """Append demonstrations to the bank at ``path``, made for them if there is none.

    A bank has one action space, rate and set of cameras. Demonstrations with another action space
    or rate are translated where that loses next to nothing (:func:`translated`). What the bank
    holds already (the same motion for the same instruction) is not added again, so that an
    interrupted import can be repeated.

    Returns:
        Indices of the new ones.

    Raises:
        BankMismatch: They do not fit the bank.
    """
    bank = DemoBank.open(path) if (path / layout.INFO).exists() else None
    if bank is not None:
        bank.check(robot)
    known = set() if bank is None else set(map(partial(_stored, bank), range(len(bank))))
    out = []
    for d in demonstrations:
        if bank is None:
            bank = DemoBank.create(
                path,
                embodiment=robot.name,
                urdf_sha256=robot.urdf_sha256,
                joints=robot.joints,
                action_space=space,
                cameras=_specs(d.cameras),
            )
        fitting = _with_cameras(translated(d, bank.action_space, model), bank)
        if _content(fitting.instruction, fitting.q) not in known:
            out.append(bank.append(fitting))
        if progress is not None:
            progress(fitting)
    return out


def _stored(bank: DemoBank, i: int) -> tuple[str, bytes]:
    return _content(bank.records[i].tasks[0], bank.reader[i].state)


def _content(instruction: str, q: NDArray) -> tuple[str, bytes]:
    """Equal for the same demonstration; positions are kept as float32."""
    return instruction, q.astype(np.float32).tobytes()


def _specs(cameras: Mapping[str, CameraTrack]) -> dict[str, CameraSpec]:
    return {
        name: CameraSpec(track.rgb.shape[1], track.rgb.shape[2], track.depth is not None)
        for name, track in cameras.items()
    }


def _with_cameras(d: Demonstration, bank: DemoBank) -> Demonstration:
    """Without cameras that the bank does not have.

    Raises:
        BankMismatch: A camera of the bank is missing.
    """
    wanted = bank.spec.cameras
    if missing := sorted(set(wanted) - set(d.cameras)):
        raise BankMismatch(
            "the recording lacks cameras of the bank",
            where=bank.path,
            value=f"it has {', '.join(sorted(d.cameras)) or 'none'}; missing: {', '.join(missing)}",
            valid=[describe_cameras(wanted)],
            remedy="name the camera that is meant: --camera RECORDED=BANK; or give the robot"
            " a second name (add-embodiment --name) and a bank of its own",
        )
    extra = sorted(set(d.cameras) - set(wanted))
    notes = {"cameras_left_out": ", ".join(extra)} if extra else {}
    return replace(
        d,
        cameras={n: d.cameras[n] for n in wanted},
        provenance={**d.provenance, **notes},
    )
