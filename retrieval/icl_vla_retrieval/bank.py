"""A robot's demonstrations on disk: a LeRobotDataset v3.0 and, in ``icl_vla/``, what that lacks.

::

    meta/ data/ videos/                           LeRobot's own tools read these
    icl_vla/bank.json                             robot, action space, cameras
    icl_vla/episodes/episode_000000.npz           times, measured and commanded poses and openings
    icl_vla/episodes/episode_000000.json          provenance, calibration of the cameras
    icl_vla/depth/CAMERA/episode_000000.mkv       depth in whole millimetres, lossless
    icl_vla/history.json                          what was changed since, and where the old is kept
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.action_space import ActionSpace
from icl_vla_embodiments.embodiment import Embodiment

from .checks import check_kind, check_numbers, refuse
from .demonstration import CameraTrack, Demonstration
from .errors import BankError, BankMismatch, DatasetError
from .lerobot import LeRobotWriter, layout
from .lerobot.reader import Episode, EpisodeRecord, LeRobotReader, read_info, read_json
from .lerobot.video import decode_depth, encode_depth
from .spec import ARRAYS, DEPTH, NOTES, BankSpec, CameraSpec, describe_cameras
from .versions import HISTORY, Taken, read_history, revise, settle

BANK = "icl_vla/bank.json"
CHANNELS = ("grippers", "poses", "commands", "gripper_commands")  # by effector


class DemoBank:
    """The demonstrations of one robot in one action space; ``len``, ``bank[i]``, iteration.

    An append is whole or not at all, even if the process is killed or the disk is full. Several
    processes may read while one writes.

    Attributes:
        path: The folder.
        spec: What all demonstrations share.
        repairs: What :meth:`open` mended after an interrupted append, in words.
    """

    def __init__(self, path: Path | str) -> None:
        """Open a bank; :meth:`open` says the same in words."""
        self.path = Path(path)
        settle(self.path)
        info = read_info(self.path)
        if not (self.path / BANK).exists():
            raise BankError(
                "this is a LeRobot dataset, but not a bank: it does not tell what its actions mean",
                where=self.path,
                value=f"{info['codebase_version']}, {BANK} is missing",
                remedy="import it: icl-vla demos add ROBOT FOLDER",
            )
        self.spec = BankSpec.from_file(self.path / BANK)
        self._writer = LeRobotWriter(self.path, side=self.spec.side_files())
        self.repairs = self._writer.repair()

    @classmethod
    def open(cls, path: Path | str) -> DemoBank:
        """Open a bank and mend what an interrupted append left.

        Raises:
            DatasetError: The folder is no dataset, or is damaged.
            BankError: It is a dataset but no bank, or one of another version.
        """
        return cls(path)

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        embodiment: str,
        urdf_sha256: str,
        joints: Sequence[str],
        action_space: ActionSpace,
        cameras: Mapping[str, CameraSpec] | None = None,
    ) -> DemoBank:
        """Make an empty bank.

        Args:
            path: Folder that does not exist or is empty.
            embodiment: Name of the robot.
            urdf_sha256: Hash of its URDF.
            joints: Its actuated joints, in order.
            action_space: What the actions mean; its rate becomes the bank's.
            cameras: Camera name -> spec.

        Raises:
            BankError: The folder is in use, or a camera cannot be stored.
        """
        spec = BankSpec(embodiment, urdf_sha256, tuple(joints), action_space, dict(cameras or {}))
        return cls.of_spec(Path(path), spec)

    @classmethod
    def open_or_create(
        cls,
        path: Path | str,
        *,
        embodiment: str,
        urdf_sha256: str,
        joints: Sequence[str],
        action_space: ActionSpace,
        cameras: Mapping[str, CameraSpec] | None = None,
    ) -> DemoBank:
        """The bank at ``path``, made if there is none.

        Raises:
            BankMismatch: There is one, of another robot, action space or set of cameras.
        """
        spec = BankSpec(embodiment, urdf_sha256, tuple(joints), action_space, dict(cameras or {}))
        settle(Path(path))
        if not (Path(path) / layout.INFO).exists():
            return cls.of_spec(Path(path), spec)
        bank = cls(path)
        refuse(bank.spec, bank.spec.differences(spec), embodiment, bank.path)
        if bank.spec.cameras != spec.cameras:
            raise BankMismatch(
                "the bank has other cameras",
                where=path,
                value=describe_cameras(bank.spec.cameras),
                valid=[describe_cameras(spec.cameras)],
                remedy="record with the bank's cameras, or into a new bank",
            )
        return bank

    @classmethod
    def of_spec(
        cls, path: Path, spec: BankSpec, *, history: Sequence[Mapping[str, Any]] = ()
    ) -> DemoBank:
        """Make an empty bank of this kind; :meth:`create` says the same field by field."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            others = sorted(p.name for p in path.iterdir() if p.name not in _LEFTOVERS)
        except OSError as error:
            raise BankError("no bank can be made here", where=path, value=str(error)) from error
        if others:
            raise BankError(
                "a bank needs a folder of its own",
                where=path,
                value=f"the folder holds {', '.join(others[:3])}",
                remedy="open the bank that is there, or give the path of a new folder",
            )
        LeRobotWriter.create(
            path,
            robot_type=spec.embodiment,
            fps=spec.action_space.rate,
            features=spec.features(),
            files={BANK: _json(spec.to_json()), HISTORY: _json(list(history))},
        )
        return cls(path)

    @property
    def embodiment(self) -> str:
        return self.spec.embodiment

    @property
    def action_space(self) -> ActionSpace:
        return self.spec.action_space

    @property
    def rate(self) -> float:
        """Frames and actions per second [Hz]."""
        return self.spec.action_space.rate

    @property
    def instructions(self) -> tuple[str, ...]:
        """The different instructions, in order of appearance."""
        return tuple(dict.fromkeys(self._instruction(i) for i in range(len(self))))

    def select(self, instruction: str | None = None) -> list[int]:
        """Indices of the episodes with exactly this instruction, or of all."""
        every = range(len(self))
        return [i for i in every if instruction is None or self._instruction(i) == instruction]

    def source(self, i: int) -> tuple[Path, int]:
        """Folder of the bank that holds episode ``i``, and its index there."""
        return self.path, range(len(self))[i]

    def digest(self, instruction: str) -> str:
        """Hex digest that changes with the demonstrations of an instruction."""
        digest = hashlib.sha256()
        for i in self.select(instruction):
            folder, index = self.source(i)
            digest.update((folder / ARRAYS.format(index=index)).read_bytes())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Hex digest that changes with every change of the bank's list of episodes."""
        digest = hashlib.sha256()
        for file in sorted((self.path / "meta").rglob("*.parquet")):
            digest.update(file.read_bytes())
        return digest.hexdigest()

    @property
    def reader(self) -> LeRobotReader:
        """The bank as the LeRobot dataset that it is."""
        return self._writer.reader

    @property
    def records(self) -> tuple[EpisodeRecord, ...]:
        """Length, instruction and files of each episode."""
        return self._writer.reader.records

    def __len__(self) -> int:
        return len(self._writer.reader)

    def __iter__(self) -> Iterator[Demonstration]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Demonstration:
        """Episode ``i``; its pictures are decoded at first use."""
        i = range(len(self))[i]
        episode = self._writer.reader[i]
        arrays = self._arrays(i)
        notes = read_json(self.path / NOTES.format(index=i))
        return Demonstration(
            times=arrays["times"][""],
            q=episode.state.astype(float),
            actions=episode.action.astype(float),
            action_space=self.action_space,
            instruction=self._instruction(i),
            embodiment=self.embodiment,
            grippers=arrays["grippers"],
            poses=arrays["poses"],
            commands=arrays["commands"],
            gripper_commands=arrays["gripper_commands"],
            cameras={name: self._track(i, name, episode, notes) for name in self.spec.cameras},
            provenance=notes["provenance"],
        )

    def append(self, demonstration: Demonstration) -> int:
        """Add a demonstration; its index.

        Numbers are kept as float32 (``q``, actions) or float64 (the rest), colour as H.264, depth
        in whole millimetres.

        Raises:
            BankMismatch: It is of another robot or action space, or lacks a camera.
            DemonstrationError: It holds numbers that are not finite, or runs at another rate.
            DatasetBusy: Another process keeps writing.
            DiskFull: There is no room; the bank is as before.
        """
        d = demonstration
        check_kind(self.spec, d, self.path)
        check_numbers(d, _side_arrays(d))
        side = {ARRAYS: _npz(_side_arrays(d)), NOTES: _json(_notes(d))}
        for name, camera in self.spec.cameras.items():
            if camera.depth:
                depth = d.cameras[name].depth
                assert depth is not None  # check_kind
                side[DEPTH.format(camera=name)] = encode_depth(depth, self.rate)
        return self._store(d, side)

    def append_copy(
        self, source: DemoBank, episode: int, *, relabelled: Demonstration | None = None
    ) -> int:
        """Add an episode of another bank of the same kind, its files byte for byte; its index.

        Args:
            source: The other bank.
            episode: Its index there.
            relabelled: Provenance and calibration are taken from this one instead; what was
                computed with the old ones (caches) stays behind.

        Raises:
            BankMismatch, DatasetBusy, DiskFull: As :meth:`append`.
        """
        d = source[episode]
        check_kind(self.spec, d, self.path)
        side = {}
        for file in sorted((source.path / "icl_vla").rglob(f"episode_{episode:06d}.*")):
            folder = file.relative_to(source.path).parent
            side[f"{folder}/episode_{{index:06d}}{file.suffix}"] = file.read_bytes()
        if relabelled is not None:
            side = {name: side[name] for name in self.spec.side_files()}
            side[NOTES] = _json(_notes(relabelled))
        videos = source._writer.reader.records[episode].videos
        return self._store(d, side, {key: v.path.read_bytes() for key, v in videos.items()})

    def _store(
        self,
        d: Demonstration,
        side: Mapping[str, bytes],
        encoded: Mapping[str, bytes] | None = None,
    ) -> int:
        return self._writer.append(
            {layout.STATE: d.q, layout.ACTION: d.actions},
            {layout.IMAGES + name: d.cameras[name].rgb for name in self.spec.cameras},
            d.instruction,
            side=side,
            encoded=encoded,
        )

    def remove(self, episodes: Iterable[int]) -> DemoBank:
        """A new version without some episodes; the others move up. The old version is kept.

        Raises:
            BankError: There is no such episode.
            DatasetBusy, DiskFull: As :meth:`append`.
        """
        gone = set(episodes)
        self.require(*gone)
        return revise(
            self,
            lambda now: [Taken(now, i) for i in range(len(now)) if i not in gone],
            [f"removed episodes {sorted(gone)}"],
        )

    def merge(self, other: DemoBank) -> DemoBank:
        """A new version that also holds another bank's episodes, less those that it holds already.

        Raises:
            BankMismatch: The other is of another robot, action space or set of cameras.
            DatasetBusy, DiskFull: As :meth:`append`.
        """
        refuse(self.spec, self.spec.differences(other.spec), other.embodiment, self.path)
        known = {self._identity(i) for i in range(len(self))}
        new = [i for i in range(len(other)) if other._identity(i) not in known]
        return revise(
            self,
            lambda now: [
                *(Taken(now, i) for i in range(len(now))),
                *(Taken(other, i) for i in new),
            ],
            [f"merged {len(new)} episodes of {other.path}"],
        )

    def require(self, *episodes: int) -> None:
        """Raise if an episode is not there.

        Raises:
            BankError: There is no such episode.
        """
        missing = sorted(set(episodes) - set(range(len(self))))
        if missing:
            raise BankError(
                "the bank has no such episode",
                where=self.path,
                value=missing,
                valid=[f"0 to {len(self) - 1}"] if len(self) else [],
            )

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was changed in the bank so far."""
        return read_history(self.path)

    def _identity(self, i: int) -> tuple[str, str]:
        """Equal where two banks hold the same recording."""
        content = (self.path / ARRAYS.format(index=i)).read_bytes()
        return self._instruction(i), hashlib.sha256(content).hexdigest()

    def check(self, embodiment: Embodiment) -> None:
        """Refuse a robot that the demonstrations were not recorded with.

        Raises:
            BankMismatch: Name, joints or URDF differ, or the robot's action space of the same name.
        """
        same_name = [s for s in embodiment.action_spaces if s.name == self.action_space.name]
        robot = replace(
            self.spec,
            embodiment=embodiment.name,
            urdf_sha256=embodiment.urdf_sha256,
            joints=embodiment.joints,
            action_space=same_name[0] if same_name else self.action_space,
        )
        refuse(self.spec, self.spec.differences(robot), embodiment.name, self.path)

    def summary(self) -> dict[str, Any]:
        """What the bank holds, ready for JSON."""
        records = self._writer.reader.records
        frames = sum(r.length for r in records)
        return {
            "path": str(self.path),
            **self.spec.to_json(),
            "rate": self.rate,
            "episodes": len(self),
            "frames": frames,
            "seconds": frames / self.rate,
            "instructions": dict(Counter(self._instruction(i) for i in range(len(self)))),
            "repairs": list(self.repairs),
            "history": self.history,
        }

    def _instruction(self, i: int) -> str:
        return self._writer.reader.records[i].tasks[0]

    def _arrays(self, i: int) -> dict[str, dict[str, NDArray]]:
        """Channel -> effector -> array, from an episode's npz."""
        file = self.path / ARRAYS.format(index=i)
        out: dict[str, dict[str, NDArray]] = {name: {} for name in ("times", *CHANNELS)}
        try:
            with np.load(file, allow_pickle=False) as stored:
                for key in stored.files:
                    channel, _, effector = key.partition("/")
                    out[channel][effector] = stored[key]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise _damaged(file, error) from error
        return out

    def _track(self, i: int, name: str, episode: Episode, notes: Mapping[str, Any]) -> CameraTrack:
        depth = self.path / DEPTH.format(camera=name).format(index=i)
        calibration = notes["cameras"][name]
        return CameraTrack(
            frames=episode.frames[layout.IMAGES + name],
            depths=partial(decode_depth, depth) if self.spec.cameras[name].depth else None,
            intrinsics=_matrix(calibration["intrinsics"]),
            mount=calibration["mount"],
            T_mount_camera=_matrix(calibration["T_mount_camera"]),
        )


_LEFTOVERS = {".lock", ".incoming", "icl_vla"}  # of a creation that did not finish


def _side_arrays(d: Demonstration) -> dict[str, NDArray]:
    """Arrays that a LeRobot dataset has no place for: ``channel/effector`` -> array."""
    channels = {f"{c}/{e}": x for c in CHANNELS for e, x in getattr(d, c).items()}
    return {"times": d.times, **channels}


def _notes(d: Demonstration) -> dict[str, Any]:
    cameras = {
        name: {
            "intrinsics": None if c.intrinsics is None else c.intrinsics.tolist(),
            "mount": c.mount,
            "T_mount_camera": None if c.T_mount_camera is None else c.T_mount_camera.tolist(),
        }
        for name, c in d.cameras.items()
    }
    return {"provenance": dict(d.provenance), "cameras": cameras}


def _matrix(rows: list[list[float]] | None) -> NDArray | None:
    return None if rows is None else np.array(rows)


def _npz(arrays: Mapping[str, NDArray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _json(value: object) -> bytes:
    """Indented JSON; numpy scalars become numbers."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=lambda x: x.item()).encode()


def _damaged(file: Path, error: Exception) -> DatasetError:
    return DatasetError(
        "an episode's file cannot be read" if file.exists() else "an episode's file is missing",
        where=file,
        value=str(error) if file.exists() else None,
        remedy="restore it from a copy, or record this bank again",
    )
