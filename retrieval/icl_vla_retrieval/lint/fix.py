"""Drops the frames that can be dropped without asking, into a new version of the bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..bank import DemoBank
from ..demonstration import CameraTrack, Demonstration
from ..versions import Taken, revise
from .finding import Finding


def fix(bank: DemoBank, findings: Sequence[Finding]) -> tuple[DemoBank, tuple[str, ...]]:
    """A new version of the bank without the frames that findings name to drop.

    Returns:
        The bank as it is then, and what was done, in words; nothing is written where there is
        nothing to do.
    """
    drops: dict[int, set[int]] = {}
    kinds: dict[int, list[str]] = {}
    for f in findings:
        if f.episode is not None and f.drop:
            drops.setdefault(f.episode, set()).update(f.drop)
            kinds.setdefault(f.episode, []).append(f.kind)
    if not drops:
        return bank, ()
    done = tuple(
        f"episode {i}: dropped {len(drops[i])} frames ({', '.join(dict.fromkeys(kinds[i]))})"
        for i in sorted(drops)
    )

    def plan(now: DemoBank) -> list[Taken]:
        return [
            Taken(now, i, _without(now[i], drops[i]) if i in drops else None)
            for i in range(len(now))
        ]

    return revise(bank, plan, done), done


def _without(d: Demonstration, drop: set[int]) -> Demonstration:
    return cut(d, np.setdiff1d(np.arange(len(d)), sorted(drop)))


def cut(d: Demonstration, keep: NDArray[np.integer]) -> Demonstration:
    """The frames ``keep`` of a demonstration, in order; the time of the others is closed up."""
    durations = np.diff(d.times)
    times = d.times[0] + np.concatenate([[0.0], np.cumsum(durations[keep[1:] - 1])])
    return replace(
        d,
        times=times,
        q=d.q[keep],
        actions=d.actions[keep],
        grippers={e: x[keep] for e, x in d.grippers.items()},
        poses={e: x[keep] for e, x in d.poses.items()},
        commands={e: x[keep] for e, x in d.commands.items()},
        gripper_commands={e: x[keep] for e, x in d.gripper_commands.items()},
        cameras={name: _cut_track(track, keep) for name, track in d.cameras.items()},
    )


def _cut_track(track: CameraTrack, keep: NDArray[np.integer]) -> CameraTrack:
    return CameraTrack(
        frames=partial(_frames, track, keep),
        depths=None if track.depths is None else partial(_depths, track, keep),
        intrinsics=track.intrinsics,
        mount=track.mount,
        T_mount_camera=track.T_mount_camera,
    )


def _frames(track: CameraTrack, keep: NDArray[np.integer]) -> NDArray[np.uint8]:
    return track.rgb[keep]


def _depths(track: CameraTrack, keep: NDArray[np.integer]) -> NDArray[np.float32]:
    assert track.depth is not None
    return track.depth[keep]
