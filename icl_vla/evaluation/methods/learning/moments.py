"""Demonstrations and observations as a network's numbers, and its answers as motion.

A moment is what was seen and measured in one frame, and what was commanded in the ``H`` steps after
it. Motions are relative to the measured hand: ``p_h - p`` and ``R_h R^T``, in the base's axes, with
the first two columns of the rotation (Zhou et al. 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import Observation, ReportedError, se3
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import Demonstration

from ....perception.components import points_in_base
from ....perception.memory import SceneMemory, match
from ....policy.context import DemoContext
from ....runtime.station import Station

if TYPE_CHECKING:
    import torch

Moments = dict[str, "torch.Tensor"]
"""``state`` (N, 10), ``motion`` (N, H, 9), ``flags`` (N, H, 2), and what is seen: ``pictures``
(N, C, 6, S, S), or ``positions`` (N, M, 3), ``features`` (N, M, F) and ``there`` (N, M)."""

HORIZON = 16  # steps in a chunk
STATE = 10  # position, two columns of the rotation, opening
MOTION = 9
SIDE = 96  # [px] of a picture
THINGS = 16  # scene tokens at most
ENDING = 6  # times that the last frame is repeated


def states(tcp: Array, opening: Array) -> Array:
    """``(N, 10)`` of measured poses ``(N, 4, 4)`` and openings ``(N,)``."""
    return np.concatenate([tcp[:, :3, 3], _columns(tcp[:, :3, :3]), opening[:, None]], axis=1)


def motions(tcp: Array, commands: Array, gripper: Array) -> tuple[Array, Array]:
    """What each frame's next steps were.

    Args:
        tcp: ``(T, 4, 4)`` measured.
        commands: ``(T, 4, 4)``; row t is due one step after frame t.
        gripper: ``(T,)`` commanded openings.

    Returns:
        Motions ``(T, H, 9)``, and ``(T, H, 2)``: whether the gripper is to be open, whether the
        demonstration has ended. The last command is repeated after the end.
    """
    last = len(tcp) - 1
    due = np.arange(last + 1)[:, None] + np.arange(HORIZON)
    steps = np.minimum(due, last)
    offset = commands[steps][..., :3, 3] - tcp[:, None, :3, 3]
    turn = commands[steps][..., :3, :3] @ tcp[:, None, :3, :3].swapaxes(-1, -2)
    flags = np.stack([gripper[steps] > 0.5, due >= last - 1], axis=-1)
    return np.concatenate([offset, _columns(turn)], axis=-1), flags.astype(float)


def poses(motion: Array, tcp: Array) -> Array:
    """Poses ``(H, 4, 4)`` of motions ``(H, 9)`` from a measured pose; undoes :func:`motions`."""
    a, b = motion[:, 3:6], motion[:, 6:9]
    a = a / np.linalg.norm(a, axis=-1, keepdims=True)
    b = b - (a * b).sum(-1, keepdims=True) * a
    b = b / np.linalg.norm(b, axis=-1, keepdims=True)
    turn = np.stack([a, b, np.cross(a, b)], axis=-1)
    return se3.pose(turn @ tcp[:3, :3], motion[:, :3] + tcp[:3, 3])


def _columns(R: Array) -> Array:
    """First and second column ``(..., 6)``."""
    return np.concatenate([R[..., 0], R[..., 1]], axis=-1)


def pictures(observation: Observation, station: Station) -> Array:
    """``(C, 6, S, S)`` colours (0 to 1) and points [m] in the base frame, of every camera.

    Raises:
        ReportedError: There is no camera with depth and calibration.
    """
    assert observation.q is not None
    links = station.model.link_poses(observation.q)
    seen = []
    for name in sorted(observation.cameras):
        camera = observation.cameras[name]
        if camera.rgb is None or camera.depth is None or camera.intrinsics is None:
            continue
        color: NDArray[np.float32] = camera.rgb.astype(np.float32) / np.float32(255)
        image = np.concatenate([_small(color), _small(points_in_base(camera, links))], axis=-1)
        seen.append(image.transpose(2, 0, 1))
    if not seen:
        raise ReportedError(
            "this method learns from pictures with depth",
            value=list(observation.cameras),
            valid=["a calibrated camera with colour and depth"],
        )
    return np.stack(seen)


def _small(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(S, S, 3)`` of a picture of any size."""
    import cv2

    if image.shape[:2] == (SIDE, SIDE):
        return image
    made = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(made, dtype=np.float32)


def things(
    now: Array, first: Array, features: Array, reference: Array | None = None
) -> dict[str, Array]:
    """Scene tokens of ``T`` frames in :data:`THINGS` places.

    Args:
        now: ``(T, M, 3)``.
        first: ``(M, 3)`` where they were first seen.
        features: ``(M, F)`` of the encoder.
        reference: ``(R, F)``; each place is for the thing that looks most like its row.
    """
    M = min(len(first), THINGS)
    order = np.full(THINGS, -1)
    if reference is None:
        order[:M] = np.arange(M)
    else:
        rows, columns = match(reference, features)
        order[rows] = columns
    # the last row is for places that nothing takes
    last = ((0, 0), (0, 1), (0, 0))
    told = np.broadcast_to(features, (len(now), *features.shape))
    told = np.concatenate([told, now - first], axis=-1)
    return {
        "positions": np.pad(now, last)[:, order],
        "features": np.pad(told, last)[:, order],
        "there": np.broadcast_to(order >= 0, (len(now), THINGS)),
    }


def looks_of(context: DemoContext) -> Array:
    """A demonstration's things as a reference ``(THINGS, F)``; what is nothing is like nothing."""
    made = np.full((THINGS, context.features.shape[1]), 1e3)
    count = min(len(context.features), THINGS)
    made[:count] = context.features[:count]
    return made


def from_pictures(
    shown: Sequence[Demonstration], station: Station, effector: str, stride: int = 1
) -> list[Moments]:
    """Moments of each demonstration, with pictures; every ``stride``-th frame."""
    made = []
    for d in shown:
        frames = _frames(len(d), stride)
        seen = np.stack([pictures(d.observation(int(t)), station) for t in np.unique(frames)])
        arrays = _moved(d.poses[effector], d.grippers[effector], d.commands[effector],
                        d.gripper_commands[effector])  # fmt: skip
        arrays = {k: x[frames] for k, x in arrays.items()}
        arrays["pictures"] = seen[np.unique(frames, return_inverse=True)[1]].astype(np.float16)
        made.append(tensors(arrays))
    return made


def from_tokens(
    contexts: Sequence[DemoContext], stride: int = 1, reference: Array | None = None
) -> list[Moments]:
    """The same with scene tokens; ``reference`` as in :func:`things`."""
    made = []
    for c in contexts:
        arrays = _moved(c.tcp, c.opening, c.commands, c.gripper)
        arrays |= things(c.tokens, c.first, c.features, reference)
        made.append(tensors({k: x[_frames(len(c), stride)] for k, x in arrays.items()}))
    return made


def _frames(length: int, stride: int) -> NDArray[np.intp]:
    """Every ``stride``-th frame; the last one stays a while, else the end is hardly seen."""
    return np.append(np.arange(0, length, stride), np.full(ENDING, length - 1))


def _moved(tcp: Array, opening: Array, commands: Array, gripper: Array) -> dict[str, Array]:
    motion, flags = motions(tcp, commands, gripper)
    return {"state": states(tcp, opening), "motion": motion, "flags": flags}


def tensors(arrays: dict[str, Array]) -> Moments:
    """The same as tensors; numbers as float32, or float16 where they are."""
    import torch

    made = {name: torch.tensor(np.asarray(x)) for name, x in arrays.items()}
    kept = (torch.bool, torch.half)
    return {name: x if x.dtype in kept else x.float() for name, x in made.items()}


def together(each: Sequence[Moments]) -> Moments:
    """All demonstrations' moments in one."""
    import torch

    return {name: torch.cat([m[name] for m in each]) for name in each[0]}


class Eyes:
    """What an episode sees, as a network takes it.

    Args:
        station: Its encoder and kinematics.
        kind: ``pictures`` or ``tokens``.
        effector: Name of the hand.
        reference: See :func:`things`.
    """

    def __init__(
        self, station: Station, kind: str, effector: str, reference: Array | None = None
    ) -> None:
        self.station, self.kind, self.effector = station, kind, effector
        self.reference = reference
        self.memory = SceneMemory()

    def look(self, observation: Observation) -> tuple[Moments, Array]:
        """One moment ``(1, ...)`` without motion, and the measured pose."""
        assert observation.q is not None
        tcp = self.station.model.poses(observation.q)[self.effector]
        opening = float(observation.effectors[self.effector].gripper or 0.0)
        seen: dict[str, Any] = {"state": states(tcp[None], np.array([opening]))}
        if self.kind == "pictures":
            seen["pictures"] = pictures(observation, self.station)[None]
        else:
            tracked = self.memory.look(self.station.encoder, observation)
            seen |= things(
                tracked.now.positions[None],
                tracked.first.positions,
                tracked.first.features,
                self.reference,
            )
        return tensors(seen), tcp
