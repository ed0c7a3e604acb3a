"""A demonstration in another action space and at another rate, if next to nothing is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.action_space import ActionSpace, SpaceState
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import TaskTarget

from ..demonstration import CameraTrack, Demonstration, decode_commands
from ..errors import BankMismatch

LOST_M, LOST_RAD, LOST_OPENING = 2e-3, 0.02, 0.02  # what a translation may lose anywhere
Array = NDArray[np.float64]


def translated(d: Demonstration, space: ActionSpace, model: RobotModel) -> Demonstration:
    """The same motion at the rate and in the numbers of another action space.

    Raises:
        BankMismatch: The motion would change by more than :data:`LOST_M`, :data:`LOST_RAD` or
            :data:`LOST_OPENING`.
    """
    if d.action_space == space:
        return d
    if not math.isclose(d.action_space.rate, space.rate, rel_tol=1e-6):
        d = resampled(d, space.rate, model)
    if replace(d.action_space, rate=space.rate) == space:
        return replace(d, action_space=space)
    return _encoded(d, space, model)


def resampled(d: Demonstration, rate: float, model: RobotModel) -> Demonstration:
    """The same motion at another rate: positions interpolated, pictures the nearest.

    Raises:
        BankMismatch: Too much would be lost; frames too far apart to interpolate between.
    """
    old = d.times
    new = np.arange(0.0, old[-1] - old[0] + 1e-9, 1.0 / rate) + old[0]
    poses = {e: _poses(old, T, new) for e, T in d.commands.items()}
    commanded = {e: _numbers(old, x, new) for e, x in d.gripper_commands.items()}
    for e, T in poses.items():  # there and back
        back = _poses(new, T, old)
        _allow(
            d,
            f"resampling from {d.action_space.rate:g} to {rate:g} Hz",
            np.abs(back[:, :3, 3] - d.commands[e][:, :3, 3]).max(),
            np.abs(se3.log3(back[:, :3, :3].swapaxes(-1, -2) @ d.commands[e][:, :3, :3])).max(),
            0.0,
        )
    nearest = np.abs(old[None, :] - new[:, None]).argmin(axis=1)
    q = _numbers(old, d.q, new)
    space = replace(d.action_space, rate=rate).with_joints(model.embodiment.joints)
    bare = replace(
        d,
        times=new,
        q=q,
        actions=np.zeros((len(new), len(space))),
        action_space=space,
        grippers={e: _numbers(old, x, new) for e, x in d.grippers.items()},
        poses={e: _poses(old, T, new) for e, T in d.poses.items()},
        commands=poses,
        gripper_commands=commanded,
        cameras={n: _picked(t, nearest) for n, t in d.cameras.items()},
        provenance={**d.provenance, "resampled_from": d.action_space.rate},
    )
    return _encoded(bare, space, model, postures=_postures(d, old, new))


def _postures(d: Demonstration, old: Array, new: Array) -> Array | None:
    """Commanded joint positions at new times, where commands are joints."""
    joints = d.action_space.joint_order
    space = d.action_space
    if not any(dim.joint for dim in space.dimensions) or not joints:
        return None
    out, last = [], None
    for t in range(len(d)):
        state = SpaceState(
            poses={e: T[t] for e, T in d.poses.items()},
            q=d.q[t],
            grippers={e: float(x[t]) for e, x in d.grippers.items()},
            commanded=last,
        )
        last = space.decode(d.actions[t], state)[0]
        out.append(d.q[t] if last.posture is None else last.posture)
    return _numbers(old, np.stack(out), new)


def _encoded(
    d: Demonstration, space: ActionSpace, model: RobotModel, postures: Array | None = None
) -> Demonstration:
    """Its commands in the numbers of another space."""
    space = space.with_joints(model.embodiment.joints)
    if postures is None:
        postures = _postures(d, d.times, d.times)
    actions, last = [], None
    for t in range(len(d)):
        target = TaskTarget(
            poses={e: T[t] for e, T in d.commands.items()},
            grippers={e: float(x[t]) for e, x in d.gripper_commands.items()},
            posture=None if postures is None else postures[t],
        )
        state = SpaceState(
            poses={e: T[t] for e, T in d.poses.items()},
            q=d.q[t],
            grippers={e: float(x[t]) for e, x in d.grippers.items()},
            commanded=last,
        )
        actions.append(space.encode([target], state, model)[0])
        last = target
    out = replace(d, actions=np.stack(actions), action_space=space)
    decoded, openings = decode_commands(out, model)
    for e, T in d.commands.items():
        if e not in decoded:
            _allow(d, f"the bank's actions do not move {e!r}", math.inf, 0.0, 0.0)
        back = decoded[e]
        grip = np.abs(openings[e] - d.gripper_commands[e]).max() if e in openings else 0.0
        _allow(
            d,
            "writing them as the bank's actions",
            np.abs(back[:, :3, 3] - T[:, :3, 3]).max(),
            np.abs(se3.log3(back[:, :3, :3].swapaxes(-1, -2) @ T[:, :3, :3])).max(),
            grip,
        )
    return replace(out, commands=decoded, gripper_commands=openings)


def _allow(d: Demonstration, what: str, metres: float, radians: float, opening: float) -> None:
    if metres > LOST_M or radians > LOST_RAD or opening > LOST_OPENING:
        raise BankMismatch(
            "the demonstrations do not fit the bank's action space and rate",
            where=d.provenance.get("source"),
            value=f"{what} would change them by {metres * 1e3:.1f} mm,"
            f" {math.degrees(radians):.1f} deg, {opening:.0%} of the gripper",
            valid=[f"{LOST_M * 1e3:g} mm, {math.degrees(LOST_RAD):.1f} deg, {LOST_OPENING:.0%}"],
            remedy="keep them in a bank of their own: add the robot under a second name"
            " (icl-vla add-embodiment ROBOT.urdf --name NAME) and import them there",
        )


def _numbers(old: Array, x: Array, new: Array) -> Array:
    flat = x.reshape(len(x), -1)
    out = np.column_stack([np.interp(new, old, column) for column in flat.T])
    return out.reshape(len(new), *x.shape[1:])


def _poses(old: Array, T: Array, new: Array) -> Array:
    """Straight lines in position, and in the rotation between two frames."""
    i = np.clip(np.searchsorted(old, new, side="right") - 1, 0, max(len(old) - 2, 0))
    j = np.minimum(i + 1, len(old) - 1)
    span = np.maximum(old[j] - old[i], 1e-12)
    s = np.clip((new - old[i]) / span, 0.0, 1.0)[:, None]
    A, B = T[i], T[j]
    turn = se3.log3(A[:, :3, :3].swapaxes(-1, -2) @ B[:, :3, :3])
    R = A[:, :3, :3] @ se3.exp3(s * turn)
    return se3.pose(R, A[:, :3, 3] + s * (B[:, :3, 3] - A[:, :3, 3]))


def _picked(track: CameraTrack, rows: NDArray[np.int64]) -> CameraTrack:
    return replace(
        track,
        frames=partial(_rows, track.frames, rows),
        depths=None if track.depths is None else partial(_rows, track.depths, rows),
    )


def _rows(read: Callable[[], NDArray], rows: NDArray[np.int64]) -> NDArray:
    return read()[rows]
