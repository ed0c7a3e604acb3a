"""What one demonstration holds: what was seen, what was commanded, what that meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icl_vla_embodiments.action_space import ActionSpace, SpaceState
from icl_vla_embodiments.types import (
    Array,
    CameraImage,
    EffectorState,
    Observation,
    TaskTarget,
)

from .errors import DemonstrationError

if TYPE_CHECKING:
    from icl_vla_embodiments.kinematics import Kinematics

Value = str | int | float | bool


@dataclass(frozen=True, eq=False)
class CameraTrack:
    """One camera over a demonstration; pictures are decoded at first use and kept.

    Attributes:
        frames: Returns ``(T, H, W, 3)`` uint8.
        depths: Returns ``(T, H, W)`` float32 [m] along the optical axis, 0 for no return.
        intrinsics: ``(3, 3)`` pinhole matrix for pixel centres at integer coordinates.
        mount: Name of the link that the camera is fixed to; None means the robot's base frame.
        T_mount_camera: ``(4, 4)`` in the optical convention (x right, y down, z forward).
    """

    frames: Callable[[], NDArray[np.uint8]]
    depths: Callable[[], NDArray[np.float32]] | None = None
    intrinsics: Array | None = None
    mount: str | None = None
    T_mount_camera: Array | None = None

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """``(T, H, W, 3)`` uint8."""
        return self.frames()

    @cached_property
    def depth(self) -> NDArray[np.float32] | None:
        """``(T, H, W)`` float32 [m], or None."""
        return None if self.depths is None else self.depths()

    def image(self, t: int) -> CameraImage:
        """What the camera saw in frame ``t``."""
        depth = self.depth
        return CameraImage(
            rgb=self.rgb[t],
            depth=None if depth is None else depth[t],
            intrinsics=self.intrinsics,
            mount=self.mount,
            T_mount_camera=self.T_mount_camera,
        )

    @classmethod
    def from_arrays(
        cls,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.floating] | None = None,
        *,
        intrinsics: ArrayLike | None = None,
        mount: str | None = None,
        T_mount_camera: ArrayLike | None = None,
    ) -> CameraTrack:
        """A track of pictures that are in memory already."""
        metres = None if depth is None else np.asarray(depth, dtype=np.float32)
        return cls(
            frames=partial(_same, rgb),
            depths=None if metres is None else partial(_same, metres),
            intrinsics=None if intrinsics is None else np.asarray(intrinsics, dtype=float),
            mount=mount,
            T_mount_camera=None if T_mount_camera is None else np.asarray(T_mount_camera, float),
        )


@dataclass(frozen=True, eq=False)
class Demonstration:
    """One episode of one robot doing one thing; ``T`` frames.

    Attributes:
        times: ``(T,)`` [s], rising.
        q: ``(T, n)`` measured positions of the actuated joints, in the embodiment's order.
        actions: ``(T, D)`` as recorded, in the action space's own units; row t belongs to frame t.
        action_space: What they mean.
        instruction: What is done.
        embodiment: Name of the robot.
        grippers: Effector -> ``(T,)`` measured opening, 0 closed to 1 open.
        poses: Effector -> ``(T, 4, 4)`` measured ``T_base_ee``.
        commands: Effector -> ``(T, 4, 4)`` commanded ``T_base_ee``.
        gripper_commands: Effector -> ``(T,)`` commanded opening.
        cameras: Camera name -> track.
        provenance: Who recorded it, when, with which seed, whether it succeeded ...
    """

    times: Array
    q: Array
    actions: Array
    action_space: ActionSpace
    instruction: str
    embodiment: str
    grippers: Mapping[str, Array] = field(default_factory=dict)
    poses: Mapping[str, Array] = field(default_factory=dict)
    commands: Mapping[str, Array] = field(default_factory=dict)
    gripper_commands: Mapping[str, Array] = field(default_factory=dict)
    cameras: Mapping[str, CameraTrack] = field(default_factory=dict)
    provenance: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        T = len(self.times)
        shapes: dict[str, tuple[NDArray, tuple[int | str, ...]]] = {
            "times": (self.times, (T,)),
            "q": (self.q, (T, "n")),
            "actions": (self.actions, (T, len(self.action_space))),
        }
        for channel in ("grippers", "gripper_commands"):
            shapes |= {f"{channel}.{e}": (x, (T,)) for e, x in getattr(self, channel).items()}
        for channel in ("poses", "commands"):
            shapes |= {f"{channel}.{e}": (x, (T, 4, 4)) for e, x in getattr(self, channel).items()}
        for name, (array, shape) in shapes.items():
            fits = len(array.shape) == len(shape) and all(
                isinstance(want, str) or have == want
                for have, want in zip(array.shape, shape, strict=True)
            )
            if not fits:
                raise DemonstrationError(
                    f"{name} of a demonstration has the wrong shape",
                    value=array.shape,
                    valid=[shape],
                )
        if T == 0 or not np.isfinite(self.times).all() or (np.diff(self.times) <= 0).any():
            raise DemonstrationError(
                "the times of a demonstration do not rise",
                value=f"{T} frames",
                remedy="give one time [s] a frame, each later than the one before",
            )

    def __len__(self) -> int:
        return len(self.times)

    def observation(self, t: int, *, cameras: bool = True) -> Observation:
        """What the robot knew in frame ``t``; without cameras nothing is decoded."""
        return Observation(
            time=float(self.times[t]),
            cameras={name: track.image(t) for name, track in self.cameras.items() if cameras},
            q=self.q[t],
            effectors={e: EffectorState(gripper=float(x[t])) for e, x in self.grippers.items()},
        )

    @classmethod
    def from_arrays(
        cls,
        *,
        q: ArrayLike,
        actions: ArrayLike,
        action_space: ActionSpace,
        embodiment: str,
        instruction: str = "",
        times: ArrayLike | None = None,
        grippers: Mapping[str, ArrayLike] | None = None,
        poses: Mapping[str, ArrayLike] | None = None,
        commands: Mapping[str, ArrayLike] | None = None,
        gripper_commands: Mapping[str, ArrayLike] | None = None,
        cameras: Mapping[str, CameraTrack] | None = None,
        provenance: Mapping[str, Value] | None = None,
        model: Kinematics | None = None,
    ) -> Demonstration:
        """Complete what was recorded by what follows from it.

        Times follow from the action space's rate, measured poses from ``q`` and ``model``,
        commanded poses and openings from the actions (:func:`decode_commands`).

        Args:
            q: ``(T, n)``.
            actions: ``(T, D)``.
            action_space: What the actions mean.
            embodiment: Name of the robot.
            instruction: What is done.
            times: ``(T,)``.
            grippers: Effector -> ``(T,)``.
            poses: Effector -> ``(T, 4, 4)``.
            commands: Effector -> ``(T, 4, 4)``.
            gripper_commands: Effector -> ``(T,)``.
            cameras: Camera name -> track.
            provenance: Who, when, how.
            model: Kinematics of the robot.

        Raises:
            DemonstrationError: Shapes or times contradict each other.
            ActionSpaceError: The actions cannot be decoded without poses or a model.
        """
        q_ = np.asarray(q, dtype=float)
        T = len(q_)
        actions_ = np.asarray(actions, dtype=float)
        times_ = np.arange(T) / action_space.rate if times is None else np.asarray(times, float)
        if poses is None and model is not None:
            each = [model.poses(x) for x in q_]
            poses = {e: np.stack([p[e] for p in each]) for e in (each[0] if each else {})}
        measured = _arrays(poses)
        opening = _arrays(grippers)
        bare = cls(times_, q_, actions_, action_space, instruction, embodiment, opening, measured)
        if commands is None or gripper_commands is None:
            decoded, openings = decode_commands(bare, model)
        return cls(
            times=times_,
            q=q_,
            actions=actions_,
            action_space=action_space,
            instruction=instruction,
            embodiment=embodiment,
            grippers=opening,
            poses=measured,
            commands=decoded if commands is None else _arrays(commands),
            gripper_commands=openings if gripper_commands is None else _arrays(gripper_commands),
            cameras=dict(cameras or {}),
            provenance=dict(provenance or {}),
        )


def decode_commands(
    demonstration: Demonstration, model: Kinematics | None = None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What each action asked for: effector -> ``(T, 4, 4)`` and effector -> ``(T,)``.

    Every frame is decoded on its own from what was measured then and commanded before. Where chunks
    began is not recorded, so a delta from the chunk's start counts from the measured pose.
    """
    d = demonstration
    targets: list[TaskTarget] = []
    for t in range(len(d)):
        state = measured_state(d, t, targets[-1] if targets else None)
        targets += d.action_space.decode(d.actions[t], state, model)
    poses = {e: np.stack([t.poses[e] for t in targets]) for e in targets[0].poses}
    grippers = {e: np.array([t.grippers[e] for t in targets]) for e in targets[0].grippers}
    return poses, grippers


def measured_state(
    demonstration: Demonstration, t: int, commanded: TaskTarget | None = None
) -> SpaceState:
    """What deltas of frame ``t`` count from: what was measured, and ``commanded`` before."""
    d = demonstration
    return SpaceState(
        poses={e: T[t] for e, T in d.poses.items()},
        q=d.q[t],
        grippers={e: float(x[t]) for e, x in d.grippers.items()},
        commanded=commanded,
    )


def _same(array: NDArray) -> NDArray:
    """The array itself: unlike a lambda, a partial of this can be sent between processes."""
    return array


def _arrays(channels: Mapping[str, ArrayLike] | None) -> dict[str, Array]:
    return {name: np.asarray(x, dtype=float) for name, x in (channels or {}).items()}
