"""What every demonstration of a bank shares: robot, action space, cameras."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from icl_vla_embodiments.action_space import ActionSpace

from .errors import BankError
from .lerobot import layout
from .lerobot.reader import read_json

SCHEMA = 1
ARRAYS = "icl_vla/episodes/episode_{index:06d}.npz"
NOTES = "icl_vla/episodes/episode_{index:06d}.json"
DEPTH = "icl_vla/depth/{camera}/episode_{{index:06d}}.mkv"
_CAMERA_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class CameraSpec:
    """A camera of a bank: size in pixels (even, for video), and whether depth is kept."""

    height: int
    width: int
    depth: bool = False


@dataclass(frozen=True)
class BankSpec:
    """What every demonstration of a bank shares.

    Attributes:
        embodiment: Name of the robot.
        urdf_sha256: Hash of its URDF.
        joints: Its actuated joints, in order.
        action_space: What the recorded actions mean; its rate is the bank's.
        cameras: Camera name -> spec.
    """

    embodiment: str
    urdf_sha256: str
    joints: tuple[str, ...]
    action_space: ActionSpace
    cameras: Mapping[str, CameraSpec]

    def __post_init__(self) -> None:
        for name, camera in self.cameras.items():
            if not _CAMERA_NAME.fullmatch(name):
                raise BankError(
                    "a camera's name must do as a folder's",
                    value=name,
                    remedy="use letters, digits, '_', '-' and '.'",
                )
            if camera.height % 2 or camera.width % 2 or min(camera.height, camera.width) < 2:
                raise BankError(
                    f"camera {name!r} has a size that H.264 cannot hold",
                    value=f"{camera.height} x {camera.width}",
                    remedy="crop or scale its pictures to even height and width",
                )

    def features(self) -> dict[str, Any]:
        """Features of the LeRobot dataset."""
        rate = self.action_space.rate
        return {
            layout.STATE: layout.vector_feature(self.joints),
            layout.ACTION: layout.vector_feature(self.action_space.names),
            **{
                layout.IMAGES + name: layout.video_feature(c.height, c.width, rate)
                for name, c in self.cameras.items()
            },
        }

    def side_files(self) -> tuple[str, ...]:
        """Path templates of the files beside an episode."""
        depth = [DEPTH.format(camera=name) for name, c in self.cameras.items() if c.depth]
        return (ARRAYS, NOTES, *depth)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "embodiment": self.embodiment,
            "urdf_sha256": self.urdf_sha256,
            "joints": list(self.joints),
            "action_space": self.action_space.describe(),
            "cameras": {name: asdict(c) for name, c in self.cameras.items()},
        }

    @classmethod
    def from_file(cls, file: Path) -> BankSpec:
        """Inverse of :meth:`to_json`."""
        data = read_json(file)
        if data.get("schema") != SCHEMA:
            raise BankError(
                "this bank was written by another version",
                where=file,
                value=data.get("schema"),
                valid=[SCHEMA],
                remedy="use the version of icl-vla that wrote it, or a newer one",
            )
        try:
            joints = tuple(data["joints"])
            return cls(
                embodiment=data["embodiment"],
                urdf_sha256=data["urdf_sha256"],
                joints=joints,
                action_space=ActionSpace.parse(data["action_space"]).with_joints(joints),
                cameras={name: CameraSpec(**c) for name, c in data["cameras"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise BankError(
                "the bank's description is damaged", where=file, value=str(error)
            ) from error

    def differences(self, other: BankSpec) -> list[str]:
        """How another bank's demonstrations differ, in words."""
        out = []
        if self.embodiment != other.embodiment:
            out.append(f"robot {self.embodiment!r}, not {other.embodiment!r}")
        if self.joints != other.joints:
            out.append(f"joints {list(self.joints)}, not {list(other.joints)}")
        if self.urdf_sha256 != other.urdf_sha256:
            out.append(f"URDF {self.urdf_sha256[:12]}, not {other.urdf_sha256[:12]}")
        if self.action_space != other.action_space:
            out.append(_space_difference(self.action_space, other.action_space))
        return out


def _space_difference(ours: ActionSpace, theirs: ActionSpace) -> str:
    """The first line in which two descriptions part."""
    lines, others = ours.describe().splitlines(), theirs.describe().splitlines()
    pairs = zip(lines, others, strict=False)
    first = next((pair for pair in pairs if pair[0] != pair[1]), None)
    if first is None:
        return f"{len(lines)} lines of action space, not {len(others)}"
    return f"{first[0]!r}, not {first[1]!r}"


def describe_cameras(cameras: Mapping[str, CameraSpec]) -> str:
    """Names and sizes on one line."""
    each = (
        f"{name} {c.height}x{c.width}{' with depth' if c.depth else ''}"
        for name, c in sorted(cameras.items())
    )
    return "; ".join(each) or "none"
